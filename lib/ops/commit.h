/* SPDX-License-Identifier: MIT */
/* commit.h - copying what overlays hold into the image below them */
#ifndef QCF_COMMIT_H
#define QCF_COMMIT_H

#include "image.h"

/* As qcowfmt_commit(). */
int qcf_commit(struct qcowfmt_image *image, struct qcowfmt_image *base,
               const struct qcowfmt_commit_options *options,
               struct qcowfmt_error **errp);

#endif
