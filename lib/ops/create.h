/* SPDX-License-Identifier: MIT */
/* create.h - making a new image */
#ifndef QCF_CREATE_H
#define QCF_CREATE_H

#include "storage.h"

/* options is complete and of this library's version of the structure; so is
 * options->encryption. */
int qcf_create(struct qcowfmt_storage *storage,
               const struct qcowfmt_create_options *options,
               struct qcowfmt_error **errp);

/* Check options without doing anything. */
int qcf_create_check(const struct qcowfmt_create_options *options,
                     struct qcowfmt_error **errp);

#endif
