/* SPDX-License-Identifier: MIT */
/* write_plan.c - what to do with a range of L2 entries */
#include "write_plan.h"

static enum qcf_write_action action_for(const struct qcf_mapping *mapping)
{
	if (mapping->copied && mapping->kind == QCF_DATA)
		return QCF_WRITE_IN_PLACE;
	if (mapping->copied && mapping->kind == QCF_ZERO_ALLOCATED)
		return QCF_WRITE_FILL;
	return QCF_WRITE_ALLOCATE;
}

struct qcf_write_plan qcf_write_plan(const struct qcf_geometry *g,
                                     const struct qcf_be64 *entries,
                                     uint64_t count)
{
	struct qcf_mapping first = qcf_l2_entry_decode(g, entries[0]);
	struct qcf_write_plan plan = {
		.action = action_for(&first),
		.clusters = 1,
		.host_offset = first.host_offset,
	};

	for (; plan.clusters < count; plan.clusters++) {
		struct qcf_mapping next =
			qcf_l2_entry_decode(g, entries[plan.clusters]);

		if (action_for(&next) != plan.action)
			break;
		if (plan.action == QCF_WRITE_FILL &&
		    next.host_offset !=
		            first.host_offset +
		                    (plan.clusters << g->cluster_bits))
			break;
	}
	return plan;
}

struct qcf_entry_change qcf_zero_plan(const struct qcf_geometry *g,
                                      struct qcf_be64 entry, bool may_unmap)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, entry);
	struct qcf_entry_change change = { .entry = entry };
	bool has_cluster =
		mapping.kind == QCF_DATA || mapping.kind == QCF_ZERO_ALLOCATED;

	if (mapping.kind == QCF_ZERO_PLAIN ||
	    (mapping.kind == QCF_ZERO_ALLOCATED && !may_unmap))
		return change;
	change.changed = true;
	if (has_cluster && !may_unmap) {
		mapping.kind = QCF_ZERO_ALLOCATED;
	} else {
		change.frees = has_cluster || mapping.kind == QCF_COMPRESSED;
		mapping = (struct qcf_mapping){ .kind = QCF_ZERO_PLAIN };
	}
	change.entry = qcf_l2_entry_encode(g, mapping);
	return change;
}

struct qcf_entry_change qcf_discard_plan(const struct qcf_geometry *g,
                                         struct qcf_be64 entry,
                                         bool has_backing)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, entry);
	struct qcf_mapping empty = { .kind = g->version >= 3
		                                     ? QCF_ZERO_PLAIN
		                                     : QCF_UNALLOCATED };

	if (mapping.kind == QCF_ZERO_PLAIN ||
	    (mapping.kind == QCF_UNALLOCATED && !has_backing))
		return (struct qcf_entry_change){ .entry = entry };
	return (struct qcf_entry_change){
		.entry = qcf_l2_entry_encode(g, empty),
		.changed = true,
		.frees = mapping.kind != QCF_UNALLOCATED,
	};
}

uint64_t qcf_entry_host_clusters(const struct qcf_geometry *g,
                                 struct qcf_be64 entry, uint64_t *first)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, entry);
	uint64_t start = mapping.host_offset;

	*first = qcf_host_cluster(g, start);
	switch (mapping.kind) {
	case QCF_UNALLOCATED:
	case QCF_ZERO_PLAIN:
		return 0;
	case QCF_DATA:
	case QCF_ZERO_ALLOCATED:
		return 1;
	case QCF_COMPRESSED:
		return qcf_host_cluster(g, start + mapping.compressed_len - 1) -
		       *first + 1;
	}
	return 0;
}
