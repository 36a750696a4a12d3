/* SPDX-License-Identifier: MIT */
/*
 * recount.h - changing the counts of everything that an L1 table reaches
 *
 * What a snapshot operation costs.  L2 tables and refcount blocks are read and
 * written in long runs, past the caches: nothing is dirty when it begins, and
 * qcf_recount_end() drops what the caches hold.  Nobody else uses the image.
 *
 * Nothing is stable before the caller flushes, and a failure may come half way.
 */
#ifndef QCF_RECOUNT_H
#define QCF_RECOUNT_H

#include "l2_tree.h"

/* What becomes of the COPIED flags in the L2 tables. */
enum qcf_copied_rule {
	QCF_FLAGS_KEEP,
	QCF_FLAGS_CLEAR, /* everything is shared now */
	QCF_FLAGS_TRUE,  /* set where the count is 1, and nowhere else */
};

struct qcf_recount {
	int change; /* of each count, for each reference: 1, 0 or -1 */
	enum qcf_copied_rule flags;
	bool discard; /* give back the host space of what becomes free */
};

/*
 * Change counts and flags of the tables of a tree and of what they refer to.  A
 * reference to a cluster whose count is 0, when counts change, is corruption;
 * -EOVERFLOW for a count that is as large as it can be.
 */
int qcf_recount(struct qcf_meta *meta, struct qcf_tree *tree,
                const struct qcf_recount *how, struct qcowfmt_error **errp);

/* -EOVERFLOW and code LIMIT if adding 1 for each reference of a tree would take
 * a count above its maximum.  Writes nothing.  Finds the first free cluster, too. */
int qcf_recount_check_room(struct qcf_meta *meta, struct qcf_tree *tree,
                           struct qcowfmt_error **errp);

/* Find the first free cluster, without filling the cache with counts.  Everything
 * is written back. */
int qcf_recount_find_free(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* Forget what the caches hold. */
void qcf_recount_end(struct qcf_meta *meta);

#endif
