/* SPDX-License-Identifier: MIT */
/* check_stored.h - the refcount table and the counts that it leads to */
#ifndef QCF_CHECK_STORED_H
#define QCF_CHECK_STORED_H

#include "check_image.h"

/* Read the refcount table; one outside the file is empty. */
int qcf_check_read_reftable(struct qcf_checker *checker,
                            struct qcowfmt_error **errp);

/* The refcount block of an index; 0 if there is none that can be read. */
uint64_t qcf_check_block(const struct qcf_checker *checker, uint64_t index);

/* The stored count of one cluster; 0 where there is no block. */
int qcf_check_stored_count(struct qcf_checker *checker, uint64_t host_cluster,
                           uint64_t *count, struct qcowfmt_error **errp);

/* Forget what qcf_check_stored_count() has read. */
void qcf_check_stored_forget(struct qcf_checker *checker);

#endif
