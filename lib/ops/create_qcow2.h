/* SPDX-License-Identifier: MIT */
/* create_qcow2.h - writing a new image of version 2 or 3 */
#ifndef QCF_CREATE_QCOW2_H
#define QCF_CREATE_QCOW2_H

#include "storage.h"

/* Options have been checked. */
int qcf_create_qcow2(struct qcowfmt_storage *storage,
                     const struct qcowfmt_create_options *options,
                     struct qcowfmt_error **errp);

/* Check what only a plan can tell: whether sizes and names fit. */
int qcf_create_qcow2_check(const struct qcowfmt_create_options *options,
                           struct qcowfmt_error **errp);

#endif
