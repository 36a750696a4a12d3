/* SPDX-License-Identifier: MIT */
/* storage_user.h - storage behind functions of the application */
#ifndef QCF_STORAGE_USER_H
#define QCF_STORAGE_USER_H

#include "storage.h"

/* ops is complete and of this library's version of the structure. */
int qcf_storage_user_new(const struct qcowfmt_storage_ops *ops, void *opaque,
                         const char *name, struct qcowfmt_storage **storage,
                         struct qcowfmt_error **errp);

#endif
