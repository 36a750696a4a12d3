/* SPDX-License-Identifier: MIT */
/* open.h - opening an image with everything it needs */
#ifndef QCF_OPEN_H
#define QCF_OPEN_H

#include "image.h"

/* o is complete and of this library's version of the structure.
 * Ownership as qcowfmt_open(). */
int qcf_open(struct qcowfmt_storage *storage,
             const struct qcowfmt_open_options *o,
             struct qcowfmt_image **result, struct qcowfmt_error **errp);

#endif
