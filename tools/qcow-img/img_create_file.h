/* SPDX-License-Identifier: MIT */
/* img_create_file.h - the file of a new image, with what -o says of it */
#ifndef QCF_IMG_CREATE_FILE_H
#define QCF_IMG_CREATE_FILE_H

#include "img_create_options.h"

/*
 * qcowfmt_create_file(), with the options nocow and extent_size_hint.  They are
 * hints: where they cannot be followed there is at most a warning.
 */
int qcf_create_image_file(const char *path,
                          const struct img_create_values *values,
                          const struct qcowfmt_create_options *create,
                          struct qcowfmt_error **errp);

#endif
