/* SPDX-License-Identifier: MIT */
/* amend_zeros.h - what version 2 cannot say about clusters */
#ifndef QCF_AMEND_ZEROS_H
#define QCF_AMEND_ZEROS_H

#include "amend.h"

/* Whether any table, active or of a snapshot, has a compressed cluster. */
int qcf_amend_has_compressed(struct qcf_amending *a, bool *found,
                             struct qcowfmt_error **errp);

/*
 * Make every zero cluster of all tables unallocated, where that reads as zeros,
 * or write zeros.  The guest sees the same at every moment.  Stable when it
 * returns.
 */
int qcf_amend_expand_zeros(struct qcf_amending *a, struct qcowfmt_error **errp);

#endif
