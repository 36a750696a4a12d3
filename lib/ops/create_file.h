/* SPDX-License-Identifier: MIT */
/* create_file.h - making a new image in a local file */
#ifndef QCF_CREATE_FILE_H
#define QCF_CREATE_FILE_H

#include "create.h"

/* As qcowfmt_create_file(), options as for qcf_create(). */
int qcf_create_file(const char *path,
                    const struct qcowfmt_create_options *options,
                    struct qcowfmt_error **errp);

#endif
