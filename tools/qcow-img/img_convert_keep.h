/* SPDX-License-Identifier: MIT */
/* img_convert_keep.h - bitmaps and snapshots that "convert" takes along */
#ifndef QCF_IMG_CONVERT_KEEP_H
#define QCF_IMG_CONVERT_KEEP_H

#include "img_convert_target.h"

/* Whether a source can have bitmaps at all; false with a message. */
bool qcf_keep_bitmaps_has_source(struct qcowfmt_image *source);

/* Whether the bitmaps of the source can be taken along; false with a message. */
bool qcf_keep_bitmaps_check(const struct img_convert_request *r,
                            struct qcowfmt_image *source,
                            struct qcowfmt_image *target);

/* Make them in the target, which has the data; false with a message. */
bool qcf_keep_bitmaps(const struct img_convert_request *r,
                      struct qcowfmt_image *source,
                      struct qcowfmt_image *target);

/*
 * Copy the source with its snapshots: for each in the order of the table, what
 * differs from the one before, then a snapshot of it; and at last the active
 * state.  False with a message.
 */
bool qcf_keep_snapshots(const struct img_convert_request *r,
                        const struct img_source *source,
                        struct qcowfmt_image *target);

#endif
