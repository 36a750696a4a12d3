/* SPDX-License-Identifier: MIT */
/* write_plan.c - what to do with a range of L2 entries */
#include "write_plan.h"
#include "checked.h"

static enum qcf_write_action action_for(const struct qcf_geometry *g,
                                        const struct qcf_mapping *mapping)
{
	bool full =
		!g->extended_l2 || mapping->allocated == QCF_ALL_SUBCLUSTERS;

	if (!mapping->copied || !qcf_mapping_has_cluster(mapping))
		return QCF_WRITE_ALLOCATE;
	return mapping->kind == QCF_DATA && full ? QCF_WRITE_IN_PLACE
	                                         : QCF_WRITE_FILL;
}

struct qcf_write_plan qcf_write_plan(const struct qcf_geometry *g,
                                     const struct qcf_l2_raw *entries,
                                     uint64_t count)
{
	struct qcf_mapping first = qcf_l2_entry_decode(g, entries[0]);
	struct qcf_write_plan plan = {
		.action = action_for(g, &first),
		.clusters = 1,
		.host_offset = first.host_offset,
	};

	for (; plan.clusters < count; plan.clusters++) {
		struct qcf_mapping next =
			qcf_l2_entry_decode(g, entries[plan.clusters]);

		if (action_for(g, &next) != plan.action)
			break;
		if (plan.action == QCF_WRITE_FILL &&
		    next.host_offset !=
		            first.host_offset +
		                    (plan.clusters << g->cluster_bits))
			break;
	}
	return plan;
}

/* ------------------------------------------------------------------- spans */

/* Subclusters whose data has to move when the cluster does. */
static uint32_t must_copy(const struct qcf_geometry *g, struct qcf_l2_raw entry)
{
	struct qcf_mapping m = qcf_l2_entry_decode(g, entry);

	return m.kind == QCF_COMPRESSED ? QCF_ALL_SUBCLUSTERS : m.allocated;
}

static uint64_t subcluster_start(const struct qcf_geometry *g, uint64_t offset)
{
	return qcf_align_down(offset, g->subcluster_size);
}

static bool holds_data(const struct qcf_geometry *g, struct qcf_l2_raw entry,
                       uint64_t guest_offset)
{
	struct qcf_mapping m = qcf_l2_entry_decode(g, entry);

	return (m.allocated >> qcf_subcluster_index(g, guest_offset) & 1) != 0;
}

static uint64_t fill_start(const struct qcf_geometry *g,
                           struct qcf_l2_raw first, uint64_t start)
{
	return holds_data(g, first, start) ? start : subcluster_start(g, start);
}

static uint64_t fill_end(const struct qcf_geometry *g, struct qcf_l2_raw last,
                         uint64_t end)
{
	return holds_data(g, last, end - 1)
	               ? end
	               : qcf_align_up(end, g->subcluster_size);
}

static uint64_t copy_start(const struct qcf_geometry *g,
                           struct qcf_l2_raw first, uint64_t start)
{
	uint32_t copy = must_copy(g, first);
	uint64_t lowest = copy == 0 ? 31 : (uint64_t)__builtin_ctz(copy);

	return QCF_MIN(subcluster_start(g, start),
	               qcf_cluster_start(g, start) +
	                       (lowest << g->subcluster_bits));
}

static uint64_t copy_end(const struct qcf_geometry *g, struct qcf_l2_raw last,
                         uint64_t end)
{
	uint32_t copy = must_copy(g, last);
	uint64_t above = copy == 0 ? 0 : 32 - (uint64_t)__builtin_clz(copy);

	return QCF_MAX(qcf_align_up(end, g->subcluster_size),
	               qcf_cluster_start(g, end - 1) +
	                       (above << g->subcluster_bits));
}

void qcf_plan_span(const struct qcf_geometry *g, enum qcf_write_action action,
                   struct qcf_l2_raw first, struct qcf_l2_raw last,
                   bool exclusive, uint64_t start, uint64_t end,
                   uint64_t *span_start, uint64_t *span_end)
{
	*span_start = qcf_align_down(start, g->subcluster_size);
	*span_end = qcf_align_up(end, g->subcluster_size);
	if (!g->extended_l2)
		return;
	if (action == QCF_WRITE_ALLOCATE) {
		*span_start = copy_start(g, first, start);
		*span_end = copy_end(g, last, end);
	} else if (!exclusive) {
		*span_start = fill_start(g, first, start);
		*span_end = fill_end(g, last, end);
	}
}

/* The subclusters that bytes [from, to) of a cluster touch. */
static uint32_t mask_of(const struct qcf_geometry *g, uint64_t from,
                        uint64_t to)
{
	uint32_t first = (uint32_t)(from >> g->subcluster_bits);
	uint32_t last = (uint32_t)((to - 1) >> g->subcluster_bits);

	return (QCF_ALL_SUBCLUSTERS >> (31 - (last - first))) << first;
}

struct qcf_l2_raw qcf_written_entry(const struct qcf_geometry *g,
                                    enum qcf_write_action action,
                                    struct qcf_l2_raw old, uint64_t host_offset,
                                    uint64_t from, uint64_t to)
{
	struct qcf_mapping was = qcf_l2_entry_decode(g, old);
	struct qcf_mapping now = {
		.kind = QCF_DATA,
		.host_offset = host_offset,
		.copied = true,
	};

	if (g->extended_l2) {
		uint32_t written = mask_of(g, from, to);

		now.zero = was.zero & ~written;
		now.allocated = written;
		if (action == QCF_WRITE_FILL)
			now.allocated |= was.allocated;
	}
	return qcf_l2_entry_encode(g, now);
}

/* --------------------------------------------------------- zero and discard */

static struct qcf_mapping zero_mapping(const struct qcf_geometry *g)
{
	if (g->extended_l2)
		return (struct qcf_mapping){ .kind = QCF_UNALLOCATED,
			                     .zero = QCF_ALL_SUBCLUSTERS };
	return (struct qcf_mapping){ .kind = QCF_ZERO_PLAIN };
}

static struct qcf_entry_change zero_subclusters(const struct qcf_geometry *g,
                                                struct qcf_l2_raw entry,
                                                uint32_t mask, bool may_unmap)
{
	struct qcf_mapping m = qcf_l2_entry_decode(g, entry);
	struct qcf_entry_change change = { .entry = entry };
	bool compressed = m.kind == QCF_COMPRESSED;
	bool all = mask == QCF_ALL_SUBCLUSTERS;

	change.impossible = compressed && !all;
	if (change.impossible ||
	    ((m.zero & mask) == mask &&
	     !(all && may_unmap && qcf_mapping_has_cluster(&m))))
		return change;
	change.changed = true;
	if (all && (compressed || may_unmap)) {
		change.frees = compressed || qcf_mapping_has_cluster(&m);
		m = zero_mapping(g);
	}
	m.zero |= mask;
	m.allocated &= ~mask;
	change.entry = qcf_l2_entry_encode(g, m);
	return change;
}

static struct qcf_entry_change zero_cluster(const struct qcf_geometry *g,
                                            struct qcf_l2_raw entry,
                                            bool may_unmap)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, entry);
	struct qcf_entry_change change = { .entry = entry };
	bool has_cluster = qcf_mapping_has_cluster(&mapping);

	if (mapping.kind == QCF_ZERO_PLAIN ||
	    (mapping.kind == QCF_ZERO_ALLOCATED && !may_unmap))
		return change;
	change.changed = true;
	if (has_cluster && !may_unmap) {
		mapping.kind = QCF_ZERO_ALLOCATED;
	} else {
		change.frees = has_cluster || mapping.kind == QCF_COMPRESSED;
		mapping = zero_mapping(g);
	}
	change.entry = qcf_l2_entry_encode(g, mapping);
	return change;
}

struct qcf_entry_change qcf_zero_plan(const struct qcf_geometry *g,
                                      struct qcf_l2_raw entry, uint32_t mask,
                                      bool may_unmap)
{
	return g->extended_l2 ? zero_subclusters(g, entry, mask, may_unmap)
	                      : zero_cluster(g, entry, may_unmap);
}

/* Whether nothing but zeros is in a cluster, and no host cluster either. */
static bool is_plain_zero(const struct qcf_mapping *m)
{
	return m->kind == QCF_ZERO_PLAIN ||
	       (m->kind == QCF_UNALLOCATED && m->zero == QCF_ALL_SUBCLUSTERS);
}

/* Some of the subclusters, not all. */
static struct qcf_entry_change discard_subclusters(const struct qcf_geometry *g,
                                                   struct qcf_l2_raw entry,
                                                   uint32_t mask,
                                                   bool has_backing)
{
	struct qcf_mapping m = qcf_l2_entry_decode(g, entry);
	uint32_t silent = ~(m.allocated | m.zero);
	uint32_t zeros;

	/* What shows zeros without a backing file needs no flag to say so. */
	if (!has_backing)
		mask &= ~silent;
	if (m.kind == QCF_COMPRESSED || (mask & ~m.zero) == 0)
		return (struct qcf_entry_change){ .entry = entry };
	zeros = m.zero | mask | (has_backing ? 0 : silent);
	if (zeros == QCF_ALL_SUBCLUSTERS)
		mask = zeros;
	return zero_subclusters(g, entry, mask, true);
}

struct qcf_entry_change qcf_discard_plan(const struct qcf_geometry *g,
                                         struct qcf_l2_raw entry, uint32_t mask,
                                         bool has_backing)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, entry);
	struct qcf_mapping empty = { .kind = QCF_UNALLOCATED };

	if (g->extended_l2 && mask != QCF_ALL_SUBCLUSTERS)
		return discard_subclusters(g, entry, mask, has_backing);
	if (is_plain_zero(&mapping) ||
	    (mapping.kind == QCF_UNALLOCATED && !has_backing))
		return (struct qcf_entry_change){ .entry = entry };
	if (g->version >= 3)
		empty = zero_mapping(g);
	return (struct qcf_entry_change){
		.entry = qcf_l2_entry_encode(g, empty),
		.changed = true,
		.frees = mapping.kind != QCF_UNALLOCATED,
	};
}

struct qcf_entry_change qcf_drop_plan(const struct qcf_geometry *g,
                                      struct qcf_l2_raw entry)
{
	struct qcf_mapping mapping = qcf_l2_entry_decode(g, entry);

	return (struct qcf_entry_change){
		.changed = mapping.kind != QCF_UNALLOCATED || mapping.zero != 0,
		.frees = mapping.kind != QCF_UNALLOCATED,
	};
}

uint64_t qcf_entry_host_clusters(const struct qcf_geometry *g,
                                 struct qcf_l2_raw entry, uint64_t *first)
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
		return g->data_file ? 0 : 1;
	case QCF_COMPRESSED:
		return qcf_host_cluster(g, start + mapping.compressed_len - 1) -
		       *first + 1;
	}
	return 0;
}
