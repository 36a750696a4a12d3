/* SPDX-License-Identifier: MIT */
/* create_options.h - which options for a new image make sense together */
#ifndef QCF_CREATE_OPTIONS_H
#define QCF_CREATE_OPTIONS_H

#include "storage.h"

/* Check all that can be said about the options of an image without looking at
 * any file. */
int qcf_create_check_options(const struct qcowfmt_create_options *options,
                             struct qcowfmt_error **errp);

/* Check the name of the backing file, for any version of the format. */
int qcf_create_check_backing(const struct qcowfmt_create_options *options,
                             struct qcowfmt_error **errp);

/* What the options stand for once the defaults are filled in. */
uint32_t qcf_create_version(const struct qcowfmt_create_options *options);
uint64_t qcf_create_cluster_size(const struct qcowfmt_create_options *options);
uint32_t qcf_create_refcount_bits(const struct qcowfmt_create_options *options);
int qcf_create_preallocation(const struct qcowfmt_create_options *options);

#endif
