/* SPDX-License-Identifier: MIT */
/* append.h - where a version 1 image may grow */
#ifndef QCF_APPEND_H
#define QCF_APPEND_H

#include "meta.h"

/*
 * Set refcounts.append_at of a version 1 image that is about to be written to.
 * The L1 table has been read.  -ENOTSUP if the image cannot be changed safely.
 */
int qcf_append_prepare(struct qcf_meta *meta, uint64_t file_size,
                       struct qcowfmt_error **errp);

#endif
