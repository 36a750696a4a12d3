/* SPDX-License-Identifier: MIT */
/* dehydrate.h - a copy of an image with its metadata and nothing else */
#ifndef QCF_DEHYDRATE_H
#define QCF_DEHYDRATE_H

#include "storage.h"

/* As qcowfmt_dehydrate(). */
int qcf_dehydrate(struct qcowfmt_storage *source,
                  struct qcowfmt_storage *target, uint32_t flags,
                  struct qcowfmt_error **errp);

#endif
