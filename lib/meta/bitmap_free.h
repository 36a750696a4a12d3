/* SPDX-License-Identifier: MIT */
/*
 * bitmap_free.h - giving back the clusters of dirty bitmaps
 *
 * What is freed came from an image and may be nonsense: a cluster that holds
 * other metadata, or that is not counted, is left alone.  Nothing here fails; what
 * cannot be freed leaks.
 */
#ifndef QCF_BITMAP_FREE_H
#define QCF_BITMAP_FREE_H

#include "meta.h"

/* Free the table and the bits of an entry that the next entry does not use; NULL:
 * there is none. */
void qcf_bitmap_free_replaced(struct qcf_meta *meta,
                              const struct qcf_bitmap_entry *old,
                              const struct qcf_bitmap_entry *next);

/* Free the clusters of a range, which may be empty. */
void qcf_bitmap_free_range(struct qcf_meta *meta, uint64_t host_offset,
                           uint64_t len);

#endif
