/* SPDX-License-Identifier: MIT */
/*
 * bitmap_content.h - the bits and the table of a bitmap that changes
 */
#ifndef QCF_BITMAP_CONTENT_H
#define QCF_BITMAP_CONTENT_H

#include "bitmap_draft.h"

/* The entry whose table says what an item has on storage; NULL if none does. */
const struct qcf_bitmap_entry *qcf_draft_stored_entry(
	const struct qcf_draft_item *item);

/* Write bytes to new contiguous clusters of the draft. */
int qcf_draft_write_new(struct qcf_bitmap_draft *draft, const void *bytes,
                        uint64_t len, uint64_t *host_offset,
                        struct qcowfmt_error **errp);

/* Write what is new in an item and have its next entry say where.  One whose
 * table makes no sense becomes broken, unless somebody changes it. */
int qcf_draft_write_item(struct qcf_bitmap_draft *draft,
                         struct qcf_draft_item *item,
                         struct qcowfmt_error **errp);

#endif
