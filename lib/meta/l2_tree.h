/* SPDX-License-Identifier: MIT */
/*
 * l2_tree.h - the L2 tables that one L1 table reaches
 *
 * Each table once, in the order in which they lie in the file, so that they can
 * be read in long runs.
 */
#ifndef QCF_L2_TREE_H
#define QCF_L2_TREE_H

#include "meta.h"

struct qcf_tree_table {
	uint64_t host_offset;
	/* Host clusters that it refers to, its own included; only if known. */
	uint64_t lowest;
	uint64_t highest;
	uint32_t times; /* L1 entries that name it */
	bool known;
	bool alone; /* its count is 1, */
	bool gone;  /* or has become 0, as the last recount found */
};

struct qcf_tree {
	struct qcf_tree_table *tables; /* sorted by host_offset */
	size_t count;
};

/*
 * The tables that L1 entries, encoded as on storage, name.  An offset that cannot
 * be that of an L2 table is corruption.  On failure *tree needs no
 * qcf_tree_fini().
 */
int qcf_tree_init(struct qcf_tree *tree, const struct qcf_meta *meta,
                  const struct qcf_be64 *entries, uint64_t entry_count,
                  struct qcowfmt_error **errp);
void qcf_tree_fini(struct qcf_tree *tree);

/* The table at a host offset, or NULL. */
const struct qcf_tree_table *qcf_tree_find(const struct qcf_tree *tree,
                                           uint64_t host_offset);

#endif
