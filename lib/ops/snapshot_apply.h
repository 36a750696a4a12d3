/* SPDX-License-Identifier: MIT */
/* snapshot_apply.h - going back to a snapshot */
#ifndef QCF_SNAPSHOT_APPLY_H
#define QCF_SNAPSHOT_APPLY_H

#include "image.h"

/* As qcowfmt_snapshot_apply(). */
int qcf_snapshot_apply(struct qcowfmt_image *image, const char *id,
                       const char *name, struct qcowfmt_error **errp);

#endif
