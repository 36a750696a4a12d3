/* SPDX-License-Identifier: MIT */
/* snapshot_delete.h - forgetting a snapshot */
#ifndef QCF_SNAPSHOT_DELETE_H
#define QCF_SNAPSHOT_DELETE_H

#include "image.h"

/* As qcowfmt_snapshot_delete(). */
int qcf_snapshot_delete(struct qcowfmt_image *image, const char *id,
                        const char *name, struct qcowfmt_error **errp);

#endif
