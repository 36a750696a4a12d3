/* SPDX-License-Identifier: MIT */
/* compact_plan.c - which host clusters move, and where to */
#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "checked.h"
#include "compact_bitmaps.h"
#include "compact_plan.h"
#include "refcount.h"
#include "write_plan.h"

/* In uses[]: compressed data goes on from the cluster before. */
#define LINKED   0x80u
#define USE_MASK 0x7fu

enum qcf_use qcf_compact_use(const struct qcf_compaction *c, uint64_t cluster)
{
	return c->uses[cluster - c->first] & USE_MASK;
}

static bool is_linked(const struct qcf_compaction *c, uint64_t cluster)
{
	return (c->uses[cluster - c->first] & LINKED) != 0;
}

static int read_count(struct qcf_meta *meta, uint64_t cluster, uint64_t *count,
                      struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	return qcf_refcount_read(meta, cluster, count, errp);
}

int qcf_compact_plan_init(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	c->to = calloc(QCF_COMPACT_WINDOW, sizeof(*c->to));
	c->uses = calloc(QCF_COMPACT_WINDOW, sizeof(*c->uses));
	return c->to == NULL || c->uses == NULL ? qcf_fail_oom(errp) : 0;
}

static void forget_tables(struct qcf_compaction *c)
{
	qcf_l2_list_fini(&c->list);
	qcf_snapshot_table_fini(&c->snapshots);
	free(c->tables);
	c->tables = NULL;
	c->table_count = 0;
}

void qcf_compact_plan_fini(struct qcf_compaction *c)
{
	forget_tables(c);
	free(c->to);
	free(c->uses);
}

/* ------------------------------------------------------------ what there is */

static void add_table(struct qcf_compaction *c, enum qcf_table_kind kind,
                      uint32_t index, uint64_t offset, uint64_t len)
{
	const struct qcf_geometry *g = &c->meta->geometry;

	if (len == 0)
		return;
	c->tables[c->table_count++] = (struct qcf_table_place){
		.kind = kind,
		.index = index,
		.first = qcf_host_cluster(g, offset),
		.count = qcf_clusters_for(g, len),
	};
}

static int by_first(const void *left, const void *right)
{
	const struct qcf_table_place *a = left;
	const struct qcf_table_place *b = right;

	return (a->first > b->first) - (a->first < b->first);
}

/* Of a bitmap that makes no sense nothing moves. */
static void look_at_bitmaps(struct qcf_compaction *c,
                            const struct qcf_bitmap_ext *ext)
{
	const struct qcf_bitmaps *b = &c->meta->bitmaps;

	add_table(c, QCF_TABLE_BITMAPS, 0, ext->directory_offset,
	          ext->directory_size);
	for (uint32_t i = 0; i < b->count; i++) {
		const struct qcf_bitmap_entry *e = &b->items[i]->entry;

		if (qcf_bitmap_entry_check_table(e, &c->meta->geometry, NULL) ==
		    0)
			add_table(c, QCF_TABLE_BITMAP, i, e->table_offset,
			          (uint64_t)e->table_entries * 8);
	}
}

static int look_at_tables(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	const struct qcf_header *h = &c->meta->header;
	const struct qcf_snapshot_table *s = &c->snapshots;
	struct qcf_bitmap_ext bitmaps;

	c->tables = calloc((size_t)s->count + 4 + c->meta->bitmaps.count,
	                   sizeof(*c->tables));
	if (c->tables == NULL)
		return qcf_fail_oom(errp);
	add_table(c, QCF_TABLE_L1, 0, h->l1_table_offset,
	          (uint64_t)h->l1_size * 8);
	add_table(c, QCF_TABLE_REFCOUNTS, 0, h->refcount_table_offset,
	          (uint64_t)h->refcount_table_clusters
	                  << c->meta->geometry.cluster_bits);
	add_table(c, QCF_TABLE_SNAPSHOTS, 0, h->snapshots_offset,
	          s->stored_len);
	for (uint32_t i = 0; i < s->count; i++)
		add_table(c, QCF_TABLE_SNAPSHOT_L1, i,
		          s->entries[i].l1_table_offset,
		          (uint64_t)s->entries[i].l1_size * 8);
	if (qcf_compact_has_bitmaps(c->meta, &bitmaps))
		look_at_bitmaps(c, &bitmaps);
	qsort(c->tables, c->table_count, sizeof(c->tables[0]), by_first);
	return 0;
}

int qcf_compact_look(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret;

	forget_tables(c);
	ret = qcf_snapshot_table_load(c->meta, &c->snapshots, errp);
	if (ret == 0)
		ret = look_at_tables(c, errp);
	if (ret == 0)
		ret = qcf_l2_list_collect(c->meta, &c->list, errp);
	return ret;
}

int qcf_compact_find_end(struct qcf_meta *meta, uint64_t *end,
                         struct qcowfmt_error **errp)
{
	const struct qcf_refcounts *r = &meta->refcounts;
	uint64_t per_block = UINT64_C(1) << meta->geometry.block_bits;

	for (uint64_t index = r->entry_count; index-- > 0;) {
		if (r->table[index] == 0)
			continue;
		for (uint64_t i = per_block; i-- > 0;) {
			uint64_t count = 0;
			int ret = read_count(meta, index * per_block + i,
			                     &count, errp);

			*end = index * per_block + i + 1;
			if (ret < 0 || count > 0)
				return ret;
		}
	}
	*end = 0;
	return 0;
}

/* --------------------------------------------------------------- the window */

static void mark(struct qcf_compaction *c, uint64_t cluster, enum qcf_use use,
                 bool may_repeat)
{
	uint8_t *at;

	if (!qcf_compact_in_window(c, cluster))
		return;
	at = &c->uses[cluster - c->first];
	if ((*at & USE_MASK) == QCF_USE_UNKNOWN ||
	    (may_repeat && (*at & USE_MASK) == (uint8_t)use))
		*at = (uint8_t)((*at & LINKED) | (uint8_t)use);
	else
		*at = (uint8_t)((*at & LINKED) | QCF_USE_MIXED);
}

void qcf_compact_mark(struct qcf_compaction *c, uint64_t cluster,
                      enum qcf_use use)
{
	mark(c, cluster, use, false);
}

static void mark_packed(struct qcf_compaction *c, uint64_t first,
                        uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		mark(c, first + i, QCF_USE_PACKED, true);
		if (i == 0 || !qcf_compact_in_window(c, first + i))
			continue;
		c->uses[first + i - c->first] |= LINKED;
	}
}

static int mark_slice(void *opaque, const struct qcf_l2_name *table,
                      struct qcf_block *slice, uint64_t first,
                      struct qcowfmt_error **errp)
{
	struct qcf_compaction *c = opaque;
	const struct qcf_geometry *g = &c->meta->geometry;

	(void)table;
	(void)first;
	(void)errp;
	for (uint64_t i = 0; i < g->slice_entry_count; i++) {
		struct qcf_l2_raw raw = qcf_l2_slice_get(c->meta, slice, i);
		uint64_t cluster = 0;
		uint64_t count = qcf_entry_host_clusters(g, raw, &cluster);

		if (count == 0 || cluster + count <= c->first)
			continue;
		if (qcf_l2_entry_decode(g, raw).kind == QCF_COMPRESSED)
			mark_packed(c, cluster, count);
		else
			mark(c, cluster, QCF_USE_DATA, true);
	}
	return 0;
}

static int mark_uses(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	const struct qcf_refcounts *r = &meta->refcounts;
	const struct qcf_geometry *g = &meta->geometry;
	int ret;

	memset(c->to, 0, (c->end - c->first) * sizeof(*c->to));
	memset(c->uses, 0, c->end - c->first);
	for (size_t i = 0; i < c->list.count; i++)
		mark(c, qcf_host_cluster(g, c->list.tables[i].l2_offset),
		     QCF_USE_L2, false);
	for (uint64_t i = 0; i < r->entry_count; i++) {
		if (r->table[i] != 0)
			mark(c, qcf_host_cluster(g, r->table[i]), QCF_USE_BLOCK,
			     false);
	}
	for (size_t i = 0; i < c->table_count; i++) {
		for (uint64_t k = 0; k < c->tables[i].count; k++)
			mark(c, c->tables[i].first + k, QCF_USE_TABLE, false);
	}
	ret = qcf_compact_mark_bits(c, errp);
	return ret < 0 ? ret
	               : qcf_l2_visit_all(meta, &c->list, mark_slice, c, errp);
}

/* --------------------------------------------------------------- new places */

/* The first free cluster from one on, and how many follow it.  A refcount block
 * that is missing is made, if the cluster lies before limit. */
static int find_free(struct qcf_meta *meta, uint64_t from, uint64_t max,
                     uint64_t limit, uint64_t *found, uint64_t *run,
                     struct qcowfmt_error **errp)
{
	for (;;) {
		bool has_block = false;
		int ret = qcf_refcount_find_free(meta, from, max, found, run,
		                                 &has_block, errp);

		if (ret < 0 || has_block || *found >= limit)
			return ret;
		ret = qcf_refcount_add_block(meta, *found, errp);
		if (ret < 0)
			return ret;
	}
}

/* The first count free clusters in a row that end at or before limit; 0 if
 * there are none. */
static int find_place(struct qcf_compaction *c, uint64_t count, uint64_t limit,
                      uint64_t *place, struct qcowfmt_error **errp)
{
	uint64_t *hint = &c->hints[QCF_MIN(count, QCF_COMPACT_HINTS - 1)];
	QCF_GUARD(&c->meta->refcounts.lock);
	uint64_t start = *hint;
	uint64_t at = start;

	*place = 0;
	while (at - start < count && start + count <= limit) {
		uint64_t found = 0;
		uint64_t run = 0;
		int ret = find_free(c->meta, at, count - (at - start), limit,
		                    &found, &run, errp);

		if (ret < 0)
			return ret;
		if (found != at)
			start = found;
		at = found + run;
	}
	/* Longer runs share the last hint, so for them it is not exact. */
	if (count < QCF_COMPACT_HINTS - 1)
		*hint = start;
	if (start + count <= limit)
		*place = start;
	return 0;
}

/* Count new clusters as often as old ones. */
static int count_place(struct qcf_compaction *c, uint64_t from, uint64_t to,
                       uint64_t n, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	QCF_GUARD(&meta->refcounts.lock);
	int ret = 0;

	if (qcf_overlap_hits(&meta->overlap, to, n))
		return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
		                "metadata that is not counted");
	for (uint64_t i = 0; ret == 0 && i < n; i++) {
		uint64_t count = 0;

		ret = qcf_refcount_read(meta, from + i, &count, errp);
		if (ret == 0)
			ret = qcf_refcount_write(meta, to + i, count, errp);
	}
	meta->refcounts.fresh_from =
		QCF_MAX(meta->refcounts.fresh_from, to + n);
	return ret;
}

/* Find a place in front of n clusters; *to is 0 if there is none. */
static int place_unit(struct qcf_compaction *c, uint64_t from, uint64_t n,
                      uint64_t *to, struct qcowfmt_error **errp)
{
	int ret = find_place(c, n, from, to, errp);

	if (ret < 0 || *to == 0)
		return ret;
	return count_place(c, from, *to, n, errp);
}

/* -------------------------------------------------------------------- units */

static int any_counted(struct qcf_compaction *c, uint64_t first, uint64_t end,
                       bool *counted, struct qcowfmt_error **errp)
{
	int ret = 0;

	*counted = false;
	for (; ret == 0 && !*counted && first < end; first++) {
		uint64_t count = 0;

		ret = read_count(c->meta, first, &count, errp);
		*counted = count > 0;
	}
	return ret;
}

/*
 * Whether a refcount block counts nothing that stays: what is behind it has a
 * new place already, and nothing is in front of it.
 */
static int is_needless(struct qcf_compaction *c, uint64_t cluster,
                       bool *needless, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	uint64_t index = qcf_block_index(g, cluster);
	uint64_t start = index << g->block_bits;
	bool counted = true;
	int ret = 0;

	*needless =
		index < c->meta->refcounts.entry_count &&
		c->meta->refcounts.table[index] == qcf_host_offset(g, cluster);
	if (*needless)
		ret = any_counted(c, start, cluster, &counted, errp);
	*needless &= !counted;
	return ret;
}

/* The table that has a cluster; there is one. */
static struct qcf_table_place *table_at(struct qcf_compaction *c,
                                        uint64_t cluster)
{
	size_t low = 0;
	size_t high = c->table_count;

	/* The first table behind the cluster: what counts is the one before. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->tables[middle].first <= cluster)
			low = middle + 1;
		else
			high = middle;
	}
	return &c->tables[low - 1];
}

static int plan_table(struct qcf_compaction *c, uint64_t cluster,
                      uint64_t *unit, struct qcowfmt_error **errp)
{
	struct qcf_table_place *t = table_at(c, cluster);
	int ret = place_unit(c, t->first, t->count, &t->to, errp);

	c->blocked = t->to == 0;
	*unit = cluster - t->first + 1;
	if (!c->blocked)
		c->moving += t->count;
	return ret;
}

/* Compressed clusters that belong together, of which this is the last. */
static int plan_packed(struct qcf_compaction *c, uint64_t cluster,
                       uint64_t *unit, struct qcowfmt_error **errp)
{
	uint64_t from = cluster;
	uint64_t to = 0;
	int ret;

	while (is_linked(c, from) && from > c->first &&
	       qcf_compact_use(c, from - 1) == QCF_USE_PACKED)
		from--;
	*unit = cluster - from + 1;
	c->blocked = is_linked(c, from);
	if (c->blocked)
		return 0;
	ret = place_unit(c, from, *unit, &to, errp);
	c->blocked = to == 0;
	for (uint64_t i = 0; ret == 0 && to != 0 && i < *unit; i++)
		c->to[from - c->first + i] = to + i;
	if (!c->blocked)
		c->moving += *unit;
	return ret;
}

static int plan_single(struct qcf_compaction *c, uint64_t cluster,
                       struct qcowfmt_error **errp)
{
	uint64_t *to = &c->to[cluster - c->first];
	bool needless = false;
	int ret = 0;

	if (qcf_compact_use(c, cluster) == QCF_USE_BLOCK)
		ret = is_needless(c, cluster, &needless, errp);
	if (needless)
		*to = QCF_VANISH;
	else if (ret == 0)
		ret = place_unit(c, cluster, 1, to, errp);
	c->blocked = *to == QCF_STAYS;
	c->moving += !c->blocked && !needless;
	return ret;
}

/* One unit, which ends with a cluster; *unit is how many clusters it has. */
static int plan_unit(struct qcf_compaction *c, uint64_t cluster, uint64_t *unit,
                     struct qcowfmt_error **errp)
{
	uint64_t count = 0;
	int ret = read_count(c->meta, cluster, &count, errp);

	*unit = 1;
	if (ret < 0 || count == 0)
		return ret;
	switch (qcf_compact_use(c, cluster)) {
	case QCF_USE_TABLE:
		return plan_table(c, cluster, unit, errp);
	case QCF_USE_PACKED:
		return plan_packed(c, cluster, unit, errp);
	case QCF_USE_DATA:
	case QCF_USE_L2:
	case QCF_USE_BLOCK:
	case QCF_USE_BITS:
		return plan_single(c, cluster, errp);
	default:
		c->blocked = true;
		return 0;
	}
}

static bool is_single(const struct qcf_compaction *c, uint64_t cluster)
{
	return qcf_compact_new_place(c, cluster) != QCF_STAYS &&
	       qcf_compact_use(c, cluster) != QCF_USE_PACKED;
}

/*
 * Places were given away from the end on, the lowest first.  Exchange them so
 * that what follows each other keeps doing so.  Both have the same count of 1,
 * or they stay as they are.
 */
static void keep_order(struct qcf_compaction *c)
{
	uint64_t low = c->first;
	uint64_t high = c->end;

	while (low < high) {
		uint64_t swap;

		while (low < high && !is_single(c, low))
			low++;
		while (low < high && !is_single(c, high - 1))
			high--;
		if (low >= high)
			return;
		swap = c->to[low - c->first];
		c->to[low - c->first] = c->to[high - 1 - c->first];
		c->to[high - 1 - c->first] = swap;
		low++;
		high--;
	}
}

/* Counts follow the exchange. */
static int recount(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint64_t i = c->first; ret == 0 && i < c->end; i++) {
		QCF_GUARD(&c->meta->refcounts.lock);
		uint64_t count = 0;

		if (!is_single(c, i))
			continue;
		ret = qcf_refcount_read(c->meta, i, &count, errp);
		if (ret == 0)
			ret = qcf_refcount_write(c->meta,
			                         qcf_compact_new_place(c, i),
			                         count, errp);
	}
	return ret;
}

int qcf_compact_plan_window(struct qcf_compaction *c,
                            struct qcowfmt_error **errp)
{
	uint64_t at = c->end;
	int ret;

	c->first = c->end - QCF_MIN(c->end, QCF_COMPACT_WINDOW);
	c->moving = 0;
	c->blocked = false;
	memset(c->hints, 0, sizeof(c->hints));
	ret = mark_uses(c, errp);
	while (ret == 0 && !c->blocked && at > c->first) {
		uint64_t unit = 0;

		ret = plan_unit(c, at - 1, &unit, errp);
		at -= QCF_MIN(unit, at - c->first);
	}
	if (ret < 0)
		return ret;
	keep_order(c);
	return recount(c, errp);
}

static void abandon(struct qcf_compaction *c, uint64_t to, uint64_t n)
{
	QCF_GUARD(&c->meta->refcounts.lock);

	for (uint64_t i = 0; i < n; i++)
		(void)qcf_refcount_write(c->meta, to + i, 0, NULL);
	c->meta->refcounts.first_free =
		QCF_MIN(c->meta->refcounts.first_free, to);
}

void qcf_compact_abandon_window(struct qcf_compaction *c)
{
	for (uint64_t i = c->first; i < c->end; i++) {
		uint64_t to = qcf_compact_new_place(c, i);

		if (to != QCF_STAYS)
			abandon(c, to, 1);
	}
	for (size_t i = 0; i < c->table_count; i++) {
		if (c->tables[i].to != 0)
			abandon(c, c->tables[i].to, c->tables[i].count);
	}
}
