/* SPDX-License-Identifier: MIT */
/* create_v1.h - a new image of version 1 */
#ifndef QCF_CREATE_V1_H
#define QCF_CREATE_V1_H

#include "storage.h"

/* Options have been checked. */
int qcf_create_v1(struct qcowfmt_storage *storage,
                  const struct qcowfmt_create_options *options,
                  struct qcowfmt_error **errp);

/* Check all that can be said about the options without looking at any file.
 * What images of every format have in common has been checked. */
int qcf_create_v1_check_options(const struct qcowfmt_create_options *options,
                                struct qcowfmt_error **errp);

#endif
