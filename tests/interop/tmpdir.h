/* SPDX-License-Identifier: MIT */
/*
 * tmpdir.h - a fresh directory for the files of one image and its chain
 *
 * Beneath the scratch directory of the program, which goes away with all that
 * a crashed test left behind.
 */
#ifndef QCF_TMPDIR_H
#define QCF_TMPDIR_H

#include <stdbool.h>

#define QCF_PATH_SIZE 512

struct qcf_tmpdir {
	char path[QCF_PATH_SIZE - 128]; /* absolute; file names fit behind */
};

/* Ends the program when that is impossible. */
void qcf_tmpdir_new(struct qcf_tmpdir *dir);

/* Remove the directory and the files in it. */
void qcf_tmpdir_remove(const struct qcf_tmpdir *dir);

/* out = dir/name */
void qcf_tmpdir_path(const struct qcf_tmpdir *dir, const char *name,
                     char out[QCF_PATH_SIZE]);

#endif
