/* SPDX-License-Identifier: MIT */
/* check_refcounts.h - count the refcount table and its blocks */
#ifndef QCF_CHECK_REFCOUNTS_H
#define QCF_CHECK_REFCOUNTS_H

#include "check_image.h"

/*
 * Read the refcount table, count it and its blocks, and report what is wrong with
 * either.  Comes last of all walks: a block must be counted nowhere else.
 */
int qcf_check_walk_refcounts(struct qcf_checker *checker,
                             struct qcowfmt_error **errp);

/* Take back the references that it has counted. */
void qcf_check_uncount_refcounts(struct qcf_checker *checker);

#endif
