/* SPDX-License-Identifier: MIT */
/* preallocate.h - giving a new image what it will need */
#ifndef QCF_PREALLOCATE_H
#define QCF_PREALLOCATE_H

#include "create_plan.h"
#include "storage.h"

/*
 * Empty a storage and give it a size.  All of it reads as zeros afterwards; a
 * storage of fixed size is only cleared up to there.  mode, an enum
 * qcowfmt_preallocation, is for the bytes from a position on: with FALLOC space
 * is reserved, with FULL zeros are written.
 */
int qcf_preallocate_space(struct qcowfmt_storage *storage, uint64_t size,
                          uint64_t from, int mode, struct qcowfmt_error **errp);

/* Write the L1 table and the L2 tables of a plan with preallocation. */
int qcf_preallocate_tables(struct qcowfmt_storage *storage,
                           const struct qcf_create_plan *plan,
                           struct qcowfmt_error **errp);

#endif
