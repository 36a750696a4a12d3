/* SPDX-License-Identifier: MIT */
/* check_l2.h - what the entries of an L2 table refer to */
#ifndef QCF_CHECK_L2_H
#define QCF_CHECK_L2_H

#include "check_image.h"

/*
 * Read an L2 table from storage.  A table that cannot be read counts as a check
 * error; *entries is then NULL.  The caller frees it.
 */
int qcf_check_read_l2(struct qcf_checker *checker, uint64_t l2_offset,
                      struct qcf_be64 **entries, struct qcowfmt_error **errp);

/*
 * Count a table that n L1 entries name, and what it refers to, n times; report
 * entries that make no sense.  An active one adds to the counters about guest
 * clusters.
 */
int qcf_check_walk_l2(struct qcf_checker *checker, uint64_t l2_offset,
                      uint32_t n, bool active, struct qcowfmt_error **errp);

#endif
