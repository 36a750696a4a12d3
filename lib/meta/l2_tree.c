/* SPDX-License-Identifier: MIT */
/* l2_tree.c - the L2 tables that one L1 table reaches */
#include <stdlib.h>

#include "check_id.h"
#include "l2_tree.h"

static int by_host_offset(const void *left, const void *right)
{
	const struct qcf_tree_table *a = left;
	const struct qcf_tree_table *b = right;

	return (a->host_offset > b->host_offset) -
	       (a->host_offset < b->host_offset);
}

/* Tables that are named more than once become one. */
static void merge(struct qcf_tree *tree)
{
	size_t kept = 0;

	for (size_t i = 0; i < tree->count; i++) {
		if (kept > 0 && tree->tables[kept - 1].host_offset ==
		                        tree->tables[i].host_offset)
			tree->tables[kept - 1].times++;
		else
			tree->tables[kept++] = tree->tables[i];
	}
	tree->count = kept;
}

static int collect(struct qcf_tree *tree, const struct qcf_meta *meta,
                   const struct qcf_be64 *entries, uint64_t entry_count,
                   struct qcowfmt_error **errp)
{
	for (uint64_t i = 0; i < entry_count; i++) {
		uint64_t offset =
			qcf_l1_entry_decode(&meta->geometry, entries[i])
				.l2_offset;

		if (offset == 0)
			continue;
		if (!qcf_meta_is_cluster_offset(meta, offset))
			return qcf_corrupt(errp, QCF_CHECK_L2_OFFSET, offset);
		tree->tables[tree->count++] = (struct qcf_tree_table){
			.host_offset = offset,
			.times = 1,
		};
	}
	return 0;
}

int qcf_tree_init(struct qcf_tree *tree, const struct qcf_meta *meta,
                  const struct qcf_be64 *entries, uint64_t entry_count,
                  struct qcowfmt_error **errp)
{
	size_t used = 0;
	int ret;

	*tree = (struct qcf_tree){ 0 };
	for (uint64_t i = 0; i < entry_count; i++)
		used += entries[i].raw != 0;
	tree->tables = calloc(used + 1, sizeof(*tree->tables));
	if (tree->tables == NULL)
		return qcf_fail_oom(errp);
	ret = collect(tree, meta, entries, entry_count, errp);
	if (ret < 0) {
		qcf_tree_fini(tree);
		return ret;
	}
	if (tree->count > 1)
		qsort(tree->tables, tree->count, sizeof(*tree->tables),
		      by_host_offset);
	merge(tree);
	return 0;
}

void qcf_tree_fini(struct qcf_tree *tree)
{
	free(tree->tables);
	*tree = (struct qcf_tree){ 0 };
}

const struct qcf_tree_table *qcf_tree_find(const struct qcf_tree *tree,
                                           uint64_t host_offset)
{
	struct qcf_tree_table key = { .host_offset = host_offset };

	return tree->count == 0 ? NULL
	                        : bsearch(&key, tree->tables, tree->count,
	                                  sizeof(key), by_host_offset);
}
