/* SPDX-License-Identifier: MIT */
/* check_walk.h - count every reference of an image */
#ifndef QCF_CHECK_WALK_H
#define QCF_CHECK_WALK_H

#include "check_image.h"

/* Fill in checker->counts, what goes with it, and the counters about guest
 * clusters; report what makes no sense. */
int qcf_check_walk(struct qcf_checker *checker, struct qcowfmt_error **errp);

/* The L2 table at an offset, which some L1 table names. */
struct qcf_l2_ref *qcf_check_find_table(const struct qcf_checker *checker,
                                        uint64_t l2_offset);

#endif
