/* SPDX-License-Identifier: MIT */
/* compact.h - making an image file shorter, in place */
#ifndef QCF_COMPACT_H
#define QCF_COMPACT_H

#include "image.h"

/* As qcowfmt_compact(), options copied; result of this library's version. */
int qcf_compact(struct qcowfmt_image *image,
                const struct qcowfmt_compact_options *options,
                struct qcowfmt_compact_result *result,
                struct qcowfmt_error **errp);

#endif
