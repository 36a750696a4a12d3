/* SPDX-License-Identifier: MIT */
/*
 * bitmap_store.h - the dirty bitmaps of one open image
 *
 * The directory is read when it is first needed, or when the image is opened for
 * writing; bits stay on storage.  What a writer makes dirty is kept in memory and
 * stored when the image is closed or its bitmaps are changed (bitmap_draft.h).
 *
 * A bitmap is one of
 *
 *   good           its content on storage, and what is in memory, is what is
 *                  dirty
 *   inconsistent   storage said "in use" when the image was opened: who wrote
 *                  last did not get to store it.  It stays marked so.
 *   broken         its entry makes no sense, or shares its name with another.
 *                  It is left as it is, and marked "in use" by a writer.
 *
 * Of the last two nothing but the name is used; they can only be removed.
 *
 * A directory that cannot be told into entries is damaged: the image can be
 * read, but not be written to until it is repaired.
 *
 *   clean --first write--> in use --close, or a change--> clean
 *
 * While "in use" is stable on storage for all bitmaps, storage may lag behind
 * (CS-7).
 */
#ifndef QCF_BITMAP_STORE_H
#define QCF_BITMAP_STORE_H

#include "bitmap_bits.h"
#include "bitmap_entry.h"
#include "bitmap_view.h"
#include "header.h"
#include "lock.h"

struct qcf_meta;

struct qcf_bitmap {
	struct qcf_bitmap_entry entry; /* as stored when clean */
	bool broken;
	bool inconsistent;
	struct qcf_bits dirty; /* set since it was stored */
};

struct qcf_bitmaps {
	bool ready; /* a writer's: count and items may be used without the
		     * lock; they change only while no request runs */
	bool damaged;
	_Atomic bool in_use; /* "in use" is stable on storage */
	uint64_t max_size;   /* bytes of the directory */
	struct qcf_bits_memory memory;

	/* making the directory known and "in use" stable */
	struct qcf_mutex lock;
	bool loaded;
	bool flags_uncertain;      /* marking "in use" failed half way */
	struct qcf_bitmap **items; /* in the order of the directory */
	uint32_t count;
	struct qcf_bitmap **enabled; /* those that record writes */
	uint32_t enabled_count;
	struct qcf_bitmap_view
		*view; /* of the bitmap that was looked at last */
	const struct qcf_bitmap *viewed;
};

void qcf_bitmaps_init(struct qcf_bitmaps *bitmaps, uint64_t max_size);
void qcf_bitmaps_fini(struct qcf_bitmaps *bitmaps);
void qcf_bitmap_free(struct qcf_bitmap *bitmap);

/* Whether the bitmap records writes. */
static inline bool qcf_bitmap_is_enabled(const struct qcf_bitmap *bitmap)
{
	return !bitmap->broken && !bitmap->inconsistent &&
	       (bitmap->entry.flags & QCF_BITMAP_AUTO) != 0;
}

static inline bool qcf_bitmap_is_good(const struct qcf_bitmap *bitmap)
{
	return !bitmap->broken && !bitmap->inconsistent;
}

/* The extension, if it is there and means something; NULL otherwise. */
const struct qcf_extension *qcf_bitmaps_extension(const struct qcf_header *h);

/* Whether an image has bitmaps, good or not. */
bool qcf_bitmaps_exist(const struct qcf_meta *meta);

/*
 * Make the directory known, for a reader: the caller then holds bitmaps->lock, or
 * the image is writable.
 */
int qcf_bitmaps_load(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* The same for a writer, when the image is opened.  With repair a damaged
 * directory is let through. */
int qcf_bitmaps_open(struct qcf_meta *meta, bool repair,
                     struct qcowfmt_error **errp);

/* Forget what is known, and what was not stored yet, and read the directory that
 * the header has now.  No request is running. */
int qcf_bitmaps_reload(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* The bitmap of a name, or NULL. */
struct qcf_bitmap *qcf_bitmaps_find(const struct qcf_bitmaps *bitmaps,
                                    const char *name);

/* The directory as it is in memory, with more flags in each entry, and "in use"
 * in those that are not good; the caller frees it. */
int qcf_bitmaps_encode(struct qcf_bitmap *const *items, uint32_t count,
                       uint32_t more_flags, uint8_t **directory, size_t *len,
                       struct qcowfmt_error **errp);

/* Put items in place of those there are; takes them over.  *enabled has room for
 * count pointers and is taken over, too. */
void qcf_bitmaps_adopt(struct qcf_meta *meta, struct qcf_bitmap **items,
                       uint32_t count, struct qcf_bitmap **enabled);

/*
 * Write the flags of all entries where they are, and make that stable: "in use",
 * or what they are without it.
 */
int qcf_bitmaps_write_flags(struct qcf_meta *meta, bool in_use,
                            struct qcowfmt_error **errp);

/* The dirty bits of a bitmap from a bit on; the caller holds bitmaps->lock. */
int qcf_bitmaps_next_locked(struct qcf_meta *meta,
                            const struct qcf_bitmap *bitmap, uint64_t from,
                            uint64_t *first, uint64_t *end,
                            struct qcowfmt_error **errp);

#endif
