/* SPDX-License-Identifier: MIT */
/* check_copied.h - the COPIED flags of the active tables */
#ifndef QCF_CHECK_COPIED_H
#define QCF_CHECK_COPIED_H

#include "check_image.h"

/* What is done about an entry whose flag contradicts a count. */
struct qcf_copied_rules {
	/* The count that a flag has to follow. */
	int (*count)(struct qcf_checker *checker, uint64_t host_cluster,
	             uint64_t *count, struct qcowfmt_error **errp);
	/* Where a cluster has one reference exactly if that count is 1, flags
	 * that agree with what was found need no look at it. */
	bool as_found;
	/* Change the flag of the L1 entry of an index, or of the L2 entry whose
	 * first word is at a host offset.  NULL: the flag is reported as wrong;
	 * otherwise it is reported as repaired. */
	int (*fix_l1)(struct qcf_checker *checker, uint64_t l1_index,
	              bool copied, struct qcowfmt_error **errp);
	int (*fix_l2)(struct qcf_checker *checker, uint64_t at,
	              struct qcf_be64 raw, struct qcowfmt_error **errp);
};

/*
 * Hold the flags of the active tables against counts; report what contradicts
 * them, and in a data file what is not at its place.
 */
int qcf_check_copied(struct qcf_checker *checker,
                     const struct qcf_copied_rules *rules,
                     struct qcowfmt_error **errp);

#endif
