/* SPDX-License-Identifier: MIT */
/* resize.h - changing the virtual size */
#ifndef QCF_RESIZE_H
#define QCF_RESIZE_H

#include "image.h"

/* As qcowfmt_resize(), options copied. */
int qcf_resize(struct qcowfmt_image *image, uint64_t virtual_size,
               const struct qcowfmt_resize_options *options,
               struct qcowfmt_error **errp);

#endif
