/* SPDX-License-Identifier: MIT */
/* bitmap_ops.h - listing, reading and changing dirty bitmaps */
#ifndef QCF_BITMAP_OPS_H
#define QCF_BITMAP_OPS_H

#include "image.h"

/* As the exported functions of these names. */
int qcf_bitmap_list(struct qcowfmt_image *image, uint32_t depth,
                    struct qcowfmt_bitmap_list **list,
                    struct qcowfmt_error **errp);
uint32_t qcf_bitmap_list_count(const struct qcowfmt_bitmap_list *list);
int qcf_bitmap_list_get(const struct qcowfmt_bitmap_list *list, uint32_t index,
                        struct qcowfmt_bitmap *bitmap,
                        struct qcowfmt_error **errp);
void qcf_bitmap_list_free(struct qcowfmt_bitmap_list *list);

int qcf_bitmap_next(struct qcowfmt_image *image, const char *name,
                    uint64_t guest_offset, uint64_t *dirty_offset,
                    uint64_t *dirty_len, struct qcowfmt_error **errp);

/* The error for a bitmap that was not found, or that is not good. */
int qcf_bitmap_missing(const char *name, struct qcowfmt_error **errp);
int qcf_bitmap_unusable(const char *name, struct qcowfmt_error **errp);

#endif
