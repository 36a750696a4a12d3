/* SPDX-License-Identifier: MIT */
/* measure.h - how large an image would be */
#ifndef QCF_MEASURE_H
#define QCF_MEASURE_H

#include "image.h"

/* As qcowfmt_measure(), with a result of this library's version. */
int qcf_measure(struct qcowfmt_image *source,
                const struct qcowfmt_create_options *options,
                struct qcowfmt_measure_result *result,
                struct qcowfmt_error **errp);

#endif
