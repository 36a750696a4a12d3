/* SPDX-License-Identifier: MIT */
/* rebase.h - putting an image on another backing file */
#ifndef QCF_REBASE_H
#define QCF_REBASE_H

#include "image.h"

/* As qcowfmt_rebase(). */
int qcf_rebase(struct qcowfmt_image *image, struct qcowfmt_image *new_base,
               const struct qcowfmt_rebase_options *options,
               struct qcowfmt_error **errp);

#endif
