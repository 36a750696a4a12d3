/* SPDX-License-Identifier: MIT */
/*
 * bitmap_draft.h - what the dirty bitmaps of an image are to become
 *
 *   begin   a draft says what there is
 *   edit    it is changed in memory
 *   write   new bits, tables and a directory go to free clusters and become
 *           stable; nothing points to them
 *   switch  one rewrite of the header makes them the bitmaps of the image, all
 *           "in use" flags of good bitmaps cleared; then what they replace is
 *           freed
 *   fini    without a switch the clusters are given back
 *
 * The caller is alone (exclusive.h, opening or closing), and everything is
 * written back: then a bitmap that is not "in use" says all there is to say.
 */
#ifndef QCF_BITMAP_DRAFT_H
#define QCF_BITMAP_DRAFT_H

#include "meta.h"

struct qcf_draft_item {
	struct qcf_bitmap *base; /* what it was; NULL for a new one */
	struct qcf_bitmap
		*next; /* what it will be: entry, no dirty bits; owned */
	bool emptied;  /* the content of base does not count */
	struct qcf_bits merged; /* dirty besides */
};

struct qcf_bitmap_draft {
	struct qcf_meta *meta;
	uint64_t virtual_size; /* that the disk will have */
	bool keep_old;         /* what is replaced is not freed but leaks */
	struct qcf_draft_item *items;
	uint32_t count;
	uint32_t room;

	/* once written */
	struct qcf_bitmap **next_items; /* of items, for the switch */
	struct qcf_bitmap **enabled;
	uint8_t *directory;
	size_t directory_len;
	struct qcf_bitmap_ext ext;        /* count 0: no bitmaps are left */
	struct qcf_header header;         /* with them */
	struct qcf_cluster_run *reserved; /* new clusters */
	size_t reserved_count;
	size_t reserved_room;
};

int qcf_draft_begin(struct qcf_bitmap_draft *draft, struct qcf_meta *meta,
                    uint64_t virtual_size, struct qcowfmt_error **errp);

/* The item of a name, or NULL. */
struct qcf_draft_item *qcf_draft_find(struct qcf_bitmap_draft *draft,
                                      const char *name);

/* Add an empty bitmap; the name is new and 1 to 1023 bytes long. */
int qcf_draft_add(struct qcf_bitmap_draft *draft, const char *name,
                  uint32_t granularity_bits, struct qcowfmt_error **errp);
void qcf_draft_remove(struct qcf_bitmap_draft *draft,
                      struct qcf_draft_item *item);
void qcf_draft_clear(struct qcf_draft_item *item);

/* A look through an item, which must be good, as the draft has it. */
void qcf_draft_view(struct qcf_bitmap_draft *draft,
                    const struct qcf_draft_item *item,
                    struct qcf_bitmap_view *view);

int qcf_draft_write(struct qcf_bitmap_draft *draft,
                    struct qcowfmt_error **errp);
int qcf_draft_switch(struct qcf_bitmap_draft *draft,
                     struct qcowfmt_error **errp);
void qcf_draft_fini(struct qcf_bitmap_draft *draft);

/*
 * Store what is in memory, if anything is, so that storage says all, and is not
 * "in use"; with a new virtual size, which the header says from then on, too.
 */
int qcf_bitmaps_settle(struct qcf_meta *meta, struct qcowfmt_error **errp);
int qcf_bitmaps_resize(struct qcf_meta *meta, uint64_t virtual_size,
                       struct qcowfmt_error **errp);

/* Forget all bitmaps, damaged or stale ones, too; their clusters leak. */
int qcf_bitmaps_drop(struct qcf_meta *meta, struct qcowfmt_error **errp);

#endif
