/* SPDX-License-Identifier: MIT */
/*
 * bitmap_view.h - looking through a bitmap without loading it
 *
 * What is dirty is what storage says or any of some arrays of bits in memory.
 * Storage is read in pieces of 4 KiB, of which the last one of the table and the
 * last one of the bits are kept.  Clusters of zeros and ones are stepped over
 * without being read.
 */
#ifndef QCF_BITMAP_VIEW_H
#define QCF_BITMAP_VIEW_H

#include "bitmap_bits.h"
#include "bitmap_entry.h"

struct qcf_meta;

#define QCF_VIEW_PIECE 4096u
#define QCF_VIEW_BITS  2u

struct qcf_bitmap_view {
	struct qcf_meta *meta;
	uint64_t table_offset;
	uint32_t table_entries; /* 0: nothing on storage counts */
	uint64_t bit_count;
	const struct qcf_bits *bits[QCF_VIEW_BITS]; /* NULL = none */

	/* the pieces that are kept; none if the length is 0 */
	uint32_t table_first;
	uint32_t table_len; /* entries */
	uint64_t data_offset;
	uint32_t data_len; /* bytes */
	struct qcf_be64 table[QCF_VIEW_PIECE / 8];
	uint8_t data[QCF_VIEW_PIECE];
};

/* Of a table of an entry that was checked; an empty one if entry is NULL. */
void qcf_bitmap_view_init(struct qcf_bitmap_view *view, struct qcf_meta *meta,
                          const struct qcf_bitmap_entry *entry,
                          uint64_t bit_count);

/* The entry of a table; those behind its end are clusters of zeros. */
int qcf_bitmap_view_cluster(struct qcf_bitmap_view *view, uint64_t index,
                            struct qcf_bitmap_cluster *cluster,
                            struct qcowfmt_error **errp);

/* The first dirty bits from a bit on: [*first, *end).  Both are bit_count if
 * there are none. */
int qcf_bitmap_view_next(struct qcf_bitmap_view *view, uint64_t from,
                         uint64_t *first, uint64_t *end,
                         struct qcowfmt_error **errp);

#endif
