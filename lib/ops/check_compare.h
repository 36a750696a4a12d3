/* SPDX-License-Identifier: MIT */
/* check_compare.h - hold what is stored against the references found */
#ifndef QCF_CHECK_COMPARE_H
#define QCF_CHECK_COMPARE_H

#include "check_image.h"

/* Compare the stored counts; adds to corruptions, leaks, image_end_offset. */
int qcf_check_compare_counts(struct qcf_checker *checker,
                             struct qcowfmt_error **errp);

/*
 * Compare the COPIED flags of the active tables with the stored counts, or, with
 * fix, with the references found, and correct them in memory.
 */
int qcf_check_copied(struct qcf_checker *checker, bool fix,
                     struct qcowfmt_error **errp);

/* The stored count; 0 where the refcount block cannot be. */
int qcf_check_stored_count(struct qcf_checker *checker, uint64_t host_cluster,
                           uint64_t *count, struct qcowfmt_error **errp);

/* Whether a host cluster has a refcount block that can be used. */
bool qcf_check_has_block(const struct qcf_checker *checker,
                         uint64_t host_cluster);

#endif
