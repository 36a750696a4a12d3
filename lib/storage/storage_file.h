/* SPDX-License-Identifier: MIT */
/* storage_file.h - storage in a local regular file or block device */
#ifndef QCF_STORAGE_FILE_H
#define QCF_STORAGE_FILE_H

#include "storage.h"

/*
 * As qcowfmt_storage_open_file(), with flags QCOWFMT_FILE_*.  If dir is not
 * NULL the path is opened beneath that directory ("" is the current one) and
 * must not leave it by "..", an absolute name or a symbolic link.
 */
int qcf_storage_file_open(const char *path, const char *dir, uint32_t flags,
                          struct qcowfmt_storage **storage,
                          struct qcowfmt_error **errp);

int qcf_storage_file_from_fd(int fd, const char *name, uint32_t flags,
                             struct qcowfmt_storage **storage,
                             struct qcowfmt_error **errp);

#endif
