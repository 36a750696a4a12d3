/* SPDX-License-Identifier: MIT */
/* snapshot_create.h - keeping the present state as a snapshot */
#ifndef QCF_SNAPSHOT_CREATE_H
#define QCF_SNAPSHOT_CREATE_H

#include "image.h"

/* As qcowfmt_snapshot_create(). */
int qcf_snapshot_create(struct qcowfmt_image *image,
                        const struct qcowfmt_snapshot_options *options,
                        struct qcowfmt_error **errp);

#endif
