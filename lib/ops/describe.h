/* SPDX-License-Identifier: MIT */
/* describe.h - what an image is, and where its guest data lives */
#ifndef QCF_DESCRIBE_H
#define QCF_DESCRIBE_H

#include "image.h"

/* As qcowfmt_get_info(), into a structure of this library's version. */
int qcf_describe(struct qcowfmt_image *image, uint32_t depth,
                 struct qcowfmt_info *info, struct qcowfmt_error **errp);

/* As qcowfmt_map(), with valid arguments. */
int qcf_describe_map(struct qcowfmt_image *image, uint64_t guest_offset,
                     uint64_t len, uint32_t flags,
                     struct qcowfmt_extent *extents, int max,
                     struct qcowfmt_error **errp);

#endif
