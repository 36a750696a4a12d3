/* SPDX-License-Identifier: MIT */
/* check_compare.h - hold stored counts against the references found */
#ifndef QCF_CHECK_COMPARE_H
#define QCF_CHECK_COMPARE_H

#include "check_image.h"

/* Sees a cluster whose stored count is not the number of references found. */
typedef int (*qcf_mismatch_visitor)(struct qcf_checker *checker,
                                    uint64_t host_cluster, uint64_t stored,
                                    uint64_t found,
                                    struct qcowfmt_error **errp);

/*
 * Visit all clusters of the file whose counts differ, ascending.  A refcount
 * block that cannot be read counts as a check error, and as all zeros.
 */
int qcf_check_each_mismatch(struct qcf_checker *checker,
                            qcf_mismatch_visitor visitor,
                            struct qcowfmt_error **errp);

/* Report all of them; adds to corruptions, leaks and image_end_offset. */
int qcf_check_compare_counts(struct qcf_checker *checker,
                             struct qcowfmt_error **errp);

#endif
