/* SPDX-License-Identifier: MIT */
/* compare.h - whether a guest sees the same in two images */
#ifndef QCF_COMPARE_H
#define QCF_COMPARE_H

#include "image.h"

/* As qcowfmt_compare(), with a result of this library's version, which is filled
 * in after a failure, too. */
int qcf_compare(struct qcowfmt_image *first, struct qcowfmt_image *second,
                const struct qcowfmt_compare_options *options,
                struct qcowfmt_compare_result *result,
                struct qcowfmt_error **errp);

#endif
