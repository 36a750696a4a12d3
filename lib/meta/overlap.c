/* SPDX-License-Identifier: MIT */
/*
 * overlap.c - which host clusters hold metadata
 *
 * A set is open addressing with linear probing, at most half full.  Cluster 0
 * is the header and never in the set, so 0 can stand for an empty slot.  A
 * slot goes from empty to a cluster to removed and never back, so a reader that
 * races with a change sees the set before or after it.
 */
#include <errno.h>
#include <stdlib.h>

#include "overlap.h"

#define REMOVED   UINT64_MAX
#define MIN_SLOTS 64u

void qcf_overlap_init(struct qcf_overlap *overlap)
{
	*overlap = (struct qcf_overlap){ .l2_count = 1 };
	qcf_mutex_init(&overlap->lock, QCF_RANK_OVERLAP);
}

static void free_tables(struct qcf_cluster_table *table)
{
	while (table != NULL) {
		struct qcf_cluster_table *older = table->older;

		free(table);
		table = older;
	}
}

void qcf_overlap_fini(struct qcf_overlap *overlap)
{
	for (int i = 0; i < QCF_OVERLAP_KINDS; i++)
		free_tables(atomic_load(&overlap->sets[i].table));
	for (int i = 0; i < QCF_OVERLAP_OWNERS; i++)
		free(overlap->ranges[i].ranges);
	qcf_mutex_fini(&overlap->lock);
}

static size_t home_of(const struct qcf_cluster_table *table, uint64_t cluster)
{
	return (size_t)((cluster * UINT64_C(0x9e3779b97f4a7c15)) >> 32) &
	       (table->slot_count - 1);
}

/* The slot of a cluster, or the empty slot where it would go. */
static size_t slot_of(const struct qcf_cluster_table *table, uint64_t cluster)
{
	size_t at = home_of(table, cluster);

	for (;;) {
		uint64_t found = atomic_load_explicit(&table->slots[at],
		                                      memory_order_acquire);

		if (found == cluster || found == 0)
			return at;
		at = (at + 1) & (table->slot_count - 1);
	}
}

static struct qcf_cluster_table *new_table(size_t wanted)
{
	struct qcf_cluster_table *table;
	size_t slot_count = MIN_SLOTS;

	while (slot_count / 2 < wanted)
		slot_count *= 2;
	table = calloc(1,
	               sizeof(*table) + slot_count * sizeof(table->slots[0]));
	if (table != NULL)
		table->slot_count = slot_count;
	return table;
}

static int grow_locked(struct qcf_cluster_set *set, size_t wanted,
                       struct qcowfmt_error **errp)
{
	struct qcf_cluster_table *old = atomic_load(&set->table);
	struct qcf_cluster_table *table = new_table(wanted);

	if (table == NULL)
		return qcf_fail_oom(errp);
	table->older = old;
	set->used = 0;
	for (size_t i = 0; old != NULL && i < old->slot_count; i++) {
		uint64_t cluster = atomic_load(&old->slots[i]);

		if (cluster == 0 || cluster == REMOVED)
			continue;
		atomic_store(&table->slots[slot_of(table, cluster)], cluster);
		set->used++;
	}
	atomic_store(&set->table, table);
	return 0;
}

int qcf_overlap_reserve(struct qcf_overlap *overlap, enum qcf_overlap_kind kind,
                        size_t count, struct qcowfmt_error **errp)
{
	QCF_GUARD(&overlap->lock);
	return grow_locked(&overlap->sets[kind], count + count / 2, errp);
}

int qcf_overlap_add(struct qcf_overlap *overlap, enum qcf_overlap_kind kind,
                    uint64_t host_cluster, struct qcowfmt_error **errp)
{
	QCF_GUARD(&overlap->lock);
	struct qcf_cluster_set *set = &overlap->sets[kind];
	struct qcf_cluster_table *table = atomic_load(&set->table);
	size_t at;

	if (table == NULL || set->used + 1 > table->slot_count / 2) {
		int ret = grow_locked(set, 2 * (set->used + 1), errp);

		if (ret < 0)
			return ret;
		table = atomic_load(&set->table);
	}
	at = slot_of(table, host_cluster);
	if (atomic_load(&table->slots[at]) == 0) {
		atomic_store(&table->slots[at], host_cluster);
		set->used++;
	}
	return 0;
}

void qcf_overlap_remove(struct qcf_overlap *overlap, enum qcf_overlap_kind kind,
                        uint64_t host_cluster)
{
	QCF_GUARD(&overlap->lock);
	struct qcf_cluster_table *table =
		atomic_load(&overlap->sets[kind].table);
	size_t at;

	if (table == NULL)
		return;
	at = slot_of(table, host_cluster);
	if (atomic_load(&table->slots[at]) == host_cluster)
		atomic_store(&table->slots[at], REMOVED);
}

struct qcf_cluster_table *qcf_overlap_new_set(size_t room)
{
	return new_table(room + room / 2);
}

void qcf_overlap_fill_set(struct qcf_cluster_table *table,
                          uint64_t host_cluster)
{
	atomic_store(&table->slots[slot_of(table, host_cluster)], host_cluster);
}

void qcf_overlap_put_set(struct qcf_overlap *overlap,
                         enum qcf_overlap_kind kind,
                         struct qcf_cluster_table *table)
{
	QCF_GUARD(&overlap->lock);
	struct qcf_cluster_set *set = &overlap->sets[kind];

	free_tables(atomic_load(&set->table));
	atomic_store(&set->table, table);
	set->used = 0;
	for (size_t i = 0; i < table->slot_count; i++)
		set->used += atomic_load(&table->slots[i]) != 0;
}

void qcf_overlap_set_table(struct qcf_overlap *overlap,
                           enum qcf_overlap_table which, uint64_t first,
                           uint64_t count)
{
	atomic_store(&overlap->table_first[which], first);
	atomic_store(&overlap->table_end[which], first + count);
}

static int by_first(const void *left, const void *right)
{
	const struct qcf_overlap_range *a = left;
	const struct qcf_overlap_range *b = right;

	return (a->first > b->first) - (a->first < b->first);
}

void qcf_overlap_set_ranges(struct qcf_overlap *overlap,
                            enum qcf_overlap_owner owner,
                            struct qcf_overlap_range *ranges, size_t count)
{
	size_t kept = 0;

	if (count > 1)
		qsort(ranges, count, sizeof(ranges[0]), by_first);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && ranges[i].first <= ranges[kept - 1].end)
			ranges[kept - 1].end =
				QCF_MAX(ranges[kept - 1].end, ranges[i].end);
		else
			ranges[kept++] = ranges[i];
	}
	free(overlap->ranges[owner].ranges);
	overlap->ranges[owner] = (struct qcf_overlap_ranges){ ranges, kept };
}

static bool hits_range(const struct qcf_overlap_ranges *r, uint64_t first,
                       uint64_t end)
{
	size_t low = 0;
	size_t high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->ranges[middle].end <= first)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->count && r->ranges[low].first < end;
}

static bool hits_set(const struct qcf_cluster_set *set, uint64_t first,
                     uint64_t end)
{
	const struct qcf_cluster_table *table = atomic_load(&set->table);

	for (uint64_t c = first; table != NULL && c < end; c++) {
		if (atomic_load(&table->slots[slot_of(table, c)]) == c)
			return true;
	}
	return false;
}

/* The tables that can move; but may be one, or QCF_OVERLAP_TABLES. */
static bool hits_tables(const struct qcf_overlap *overlap, int but,
                        uint64_t first, uint64_t end)
{
	for (int i = 0; i < QCF_OVERLAP_TABLES; i++) {
		if (i != but && first < atomic_load(&overlap->table_end[i]) &&
		    end > atomic_load(&overlap->table_first[i]))
			return true;
	}
	return false;
}

static bool hits_owners(const struct qcf_overlap *overlap, uint64_t first,
                        uint64_t end)
{
	for (int i = 0; i < QCF_OVERLAP_OWNERS; i++) {
		if (hits_range(&overlap->ranges[i], first, end))
			return true;
	}
	return false;
}

/* The header, the tables that can move, and what lives in ranges. */
static bool hits_fixed(const struct qcf_overlap *overlap, uint64_t first,
                       uint64_t end)
{
	return first == 0 ||
	       hits_tables(overlap, QCF_OVERLAP_TABLES, first, end) ||
	       hits_owners(overlap, first, end);
}

/* Also tables that begin before the range. */
static bool hits_l2(const struct qcf_overlap *overlap, uint64_t first,
                    uint64_t end)
{
	uint64_t before = overlap->l2_count - 1;

	/* None begins at 0. */
	return hits_set(&overlap->sets[QCF_OVERLAP_L2],
	                first > before ? first - before : 1, end);
}

bool qcf_overlap_hits(const struct qcf_overlap *overlap, uint64_t first,
                      uint64_t count)
{
	uint64_t end = first + count;

	return hits_fixed(overlap, first, end) ||
	       hits_l2(overlap, first, end) ||
	       hits_set(&overlap->sets[QCF_OVERLAP_BLOCK], first, end);
}

bool qcf_overlap_is_not_only(const struct qcf_overlap *overlap,
                             enum qcf_overlap_kind kind, uint64_t host_cluster)
{
	enum qcf_overlap_kind other =
		kind == QCF_OVERLAP_L2 ? QCF_OVERLAP_BLOCK : QCF_OVERLAP_L2;

	return hits_fixed(overlap, host_cluster, host_cluster + 1) ||
	       hits_set(&overlap->sets[other], host_cluster, host_cluster + 1);
}

bool qcf_overlap_l1_is_shared(const struct qcf_overlap *overlap)
{
	uint64_t first = atomic_load(&overlap->table_first[QCF_OVERLAP_L1]);
	uint64_t end = atomic_load(&overlap->table_end[QCF_OVERLAP_L1]);

	return first < end &&
	       (first == 0 ||
	        hits_tables(overlap, QCF_OVERLAP_L1, first, end) ||
	        hits_owners(overlap, first, end));
}
