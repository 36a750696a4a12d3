/* SPDX-License-Identifier: MIT */
/* storage_file_open.h - opening files whose names may come from an image */
#ifndef QCF_STORAGE_FILE_OPEN_H
#define QCF_STORAGE_FILE_OPEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "error.h"

struct qcf_opened_file {
	int fd;
	int new_in;   /* with CREATE: the directory that holds the file, to be
		     * synced once; -1 if it cannot be */
	bool created; /* there was none before: whoever cannot use it after
		       * all removes it */
	char *name;   /* dir and path joined, allocated */
	struct stat st;
};

/*
 * Open path as qcf_storage_file_open() promises: never blocks, touches nothing
 * but regular files and block devices (unless ANY_TYPE), stays beneath dir.
 * flags are QCOWFMT_FILE_*.  The caller owns fd, new_in and name.
 */
int qcf_open_path(const char *path, const char *dir, uint32_t flags,
                  struct qcf_opened_file *opened, struct qcowfmt_error **errp);

/* -EINVAL unless fd is of an allowed type.  Fills in st. */
int qcf_check_file_type(int fd, const char *name, uint32_t flags,
                        struct stat *st, struct qcowfmt_error **errp);

#endif
