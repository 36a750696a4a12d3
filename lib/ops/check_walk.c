/* SPDX-License-Identifier: MIT */
/*
 * check_walk.c - count every reference of an image
 *
 * An L2 table may be reached from many L1 tables.  Its entries count once for
 * each, so the L1 tables are read first, and each L2 table once, with the
 * number of times it was named.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_walk.h"
#include "checked.h"
#include "snapshot_entry.h"

/* L1 entries of all tables together that are held in memory: 128 MiB. */
#define MAX_L2_NAMES (UINT64_C(16) << 20)

/* Offsets of L2 tables, one for each L1 entry that names one. */
struct l2_names {
	uint64_t *offsets;
	size_t count;
	size_t room;
};

/* ---------------------------------------------------------------- counting */

/* Count a reference to len bytes, each cluster touched once. */
static int count_range(struct qcf_checker *c, uint64_t offset, uint64_t len,
                       uint32_t n, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	uint64_t first = qcf_host_cluster(g, offset);
	uint64_t last;

	if (len == 0)
		return 0;
	last = qcf_host_cluster(g, offset + len - 1);
	for (uint64_t cluster = first; cluster <= last; cluster++) {
		int ret;

		if (cluster >= c->file_clusters) {
			qcf_finding(c, QCF_CHECK_BEYOND_END, offset,
			            "ERROR: reference to offset 0x%" PRIx64
			            " is beyond the end of the image file",
			            qcf_host_offset(g, cluster));
			c->result->corruptions++;
			return 0;
		}
		ret = qcf_counts_add(&c->counts, cluster, n, errp);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static bool check_offset(struct qcf_checker *c, enum qcf_check id,
                         const char *what, uint64_t offset)
{
	if (qcf_meta_is_cluster_offset(c->meta, offset))
		return true;
	qcf_finding(c, id, offset,
	            "ERROR %s offset=0x%" PRIx64
	            " is not a multiple of the cluster size or too large",
	            what, offset);
	c->result->corruptions++;
	return false;
}

static void report_reserved(struct qcf_checker *c, enum qcf_check id,
                            const char *what, uint64_t at, uint64_t reserved)
{
	qcf_finding(c, id, at,
	            "ERROR %s entry at 0x%" PRIx64
	            " has reserved bits set: 0x%" PRIx64,
	            what, at, reserved);
	c->result->corruptions++;
}

/* --------------------------------------------------------------- L2 tables */

/*
 * Read a table; one that cannot be read is a check error, and *table NULL then.
 * The caller frees it.
 */
static int read_table(struct qcf_checker *c, const char *what, uint64_t offset,
                      uint64_t size, struct qcf_be64 **table,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	QCF_AUTO_FREE struct qcf_be64 *bytes = malloc(size);
	int ret;

	*table = NULL;
	if (bytes == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(c->meta, offset, bytes, size, &failure);
	if (ret == -ENOMEM) {
		qcf_error_move(errp, failure);
		return ret;
	}
	if (ret < 0) {
		qcf_finding(c, QCF_CHECK_NONE, offset,
		            "ERROR: cannot read the %s table at 0x%" PRIx64
		            ": %s",
		            what, offset, qcowfmt_error_message(failure));
		qcowfmt_error_free(failure);
		c->result->check_errors++;
		return 0;
	}
	*table = qcf_take(&bytes);
	return 0;
}

int qcf_check_read_l2(struct qcf_checker *c, uint64_t l2_offset,
                      struct qcf_be64 **entries, struct qcowfmt_error **errp)
{
	return read_table(c, "L2", l2_offset, c->meta->geometry.cluster_size,
	                  entries, errp);
}

/* Fragmentation counters of the active tree. */
struct active_stats {
	bool active;
	uint64_t expected; /* host offset that would follow; 0 = no opinion */
};

static void count_guest_cluster(struct qcf_checker *c, struct active_stats *s,
                                const struct qcf_mapping *m)
{
	uint64_t cluster_size = c->meta->geometry.cluster_size;

	if (!s->active || m->kind == QCF_UNALLOCATED ||
	    m->kind == QCF_ZERO_PLAIN)
		return;
	c->result->allocated_clusters++;
	if (m->kind == QCF_COMPRESSED) {
		c->result->compressed_clusters++;
		c->result->fragmented_clusters++;
		return;
	}
	if (s->expected != 0 && m->host_offset != s->expected)
		c->result->fragmented_clusters++;
	s->expected = m->host_offset + cluster_size;
}

static int walk_entry(struct qcf_checker *c, uint64_t at, struct qcf_l2_raw raw,
                      uint32_t n, struct active_stats *stats,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);

	if (m.reserved != 0)
		report_reserved(c, QCF_CHECK_L2_RESERVED, "L2", at, m.reserved);
	count_guest_cluster(c, stats, &m);
	switch (m.kind) {
	case QCF_UNALLOCATED:
	case QCF_ZERO_PLAIN:
		return 0;
	case QCF_COMPRESSED:
		if (m.copied) {
			qcf_finding(c, QCF_CHECK_COMPRESSED_COPIED, at,
			            "ERROR: coffset=0x%" PRIx64
			            ": copied flag must never be set for "
			            "compressed clusters",
			            m.host_offset);
			c->result->corruptions++;
		}
		return count_range(
			c, qcf_align_down(m.host_offset, QCF_SECTOR_SIZE),
			m.compressed_len + m.host_offset % QCF_SECTOR_SIZE, n,
			errp);
	case QCF_DATA:
	case QCF_ZERO_ALLOCATED:
		if (!check_offset(c, QCF_CHECK_DATA_OFFSET, "Cluster",
		                  m.host_offset))
			return 0;
		return count_range(c, m.host_offset, g->cluster_size, n, errp);
	}
	return 0;
}

static int walk_l2(struct qcf_checker *c, uint64_t l2_offset, uint32_t n,
                   bool active, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	struct active_stats stats = { .active = active };
	int ret = count_range(c, l2_offset, g->cluster_size, n, errp);

	if (ret == 0 && qcf_host_cluster(g, l2_offset) < c->file_clusters)
		ret = qcf_check_read_l2(c, l2_offset, &entries, errp);
	for (uint64_t i = 0;
	     ret == 0 && entries != NULL && i < g->l2_entry_count; i++)
		ret = walk_entry(c, l2_offset + i * g->l2_entry_size,
		                 qcf_l2_table_get(g, entries, i), n, &stats,
		                 errp);
	return ret;
}

/* --------------------------------------------------------------- L1 tables */

static int add_name(struct l2_names *names, uint64_t l2_offset,
                    struct qcowfmt_error **errp)
{
	uint64_t *offsets;

	if (names->count == MAX_L2_NAMES)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the L1 tables have more than %" PRIu64
		                " entries together",
		                MAX_L2_NAMES);
	if (names->count == names->room) {
		names->room = QCF_MAX(names->room * 2, (size_t)64);
		offsets =
			realloc(names->offsets, names->room * sizeof(*offsets));
		if (offsets == NULL)
			return qcf_fail_oom(errp);
		names->offsets = offsets;
	}
	names->offsets[names->count++] = l2_offset;
	return 0;
}

static int walk_l1_entries(struct qcf_checker *c, uint64_t offset,
                           const struct qcf_be64 *entries, uint64_t count,
                           struct l2_names *names, struct qcowfmt_error **errp)
{
	for (uint64_t i = 0; i < count; i++) {
		struct qcf_l1_entry e =
			qcf_l1_entry_decode(&c->meta->geometry, entries[i]);
		int ret;

		if (e.reserved != 0)
			report_reserved(c, QCF_CHECK_L1_RESERVED, "L1",
			                offset + i * 8, e.reserved);
		if (e.l2_offset == 0 || !check_offset(c, QCF_CHECK_L2_OFFSET,
		                                      "L2 table", e.l2_offset))
			continue;
		ret = add_name(names, e.l2_offset, errp);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Count an L1 table and note the L2 tables it names. */
static int walk_l1(struct qcf_checker *c, uint64_t offset, uint64_t count,
                   struct l2_names *names, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	uint64_t end = c->file_clusters << c->meta->geometry.cluster_bits;
	int ret;

	if (count == 0)
		return 0;
	ret = count_range(c, offset, count * 8, 1, errp);
	if (ret < 0)
		return ret;
	if (!qcf_range_within(offset, count * 8, end)) {
		c->result->check_errors++;
		return 0;
	}
	ret = read_table(c, "L1", offset, count * 8, &entries, errp);
	if (ret < 0 || entries == NULL)
		return ret;
	return walk_l1_entries(c, offset, entries, count, names, errp);
}

static int by_value(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* Walk each L2 table once, with its number of names. */
static int walk_names(struct qcf_checker *c, struct l2_names *names,
                      const struct l2_names *active,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	if (names->count > 1)
		qsort(names->offsets, names->count, sizeof(uint64_t), by_value);
	for (size_t i = 0; i < names->count && ret == 0;) {
		uint64_t offset = names->offsets[i];
		uint32_t n = 0;
		bool is_active =
			active->count > 0 &&
			bsearch(&offset, active->offsets, active->count,
		                sizeof(uint64_t), by_value) != NULL;

		for (; i < names->count && names->offsets[i] == offset; i++)
			n++;
		ret = walk_l2(c, offset, n, is_active, errp);
	}
	return ret;
}

/* --------------------------------------------------------------- snapshots */

static int walk_snapshot_entries(struct qcf_checker *c,
                                 struct qcf_reader *reader,
                                 struct l2_names *names,
                                 struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;

	for (uint32_t i = 0; i < meta->header.snapshot_count; i++) {
		struct qcf_snapshot_entry entry = { 0 };
		int ret = qcf_snapshot_entry_decode(&entry, &meta->geometry,
		                                    reader, NULL);

		if (ret == -ENOMEM)
			return qcf_fail_oom(errp);
		if (ret < 0) {
			qcf_finding(c, QCF_CHECK_SNAPSHOT_ENTRY,
			            meta->header.snapshots_offset + reader->pos,
			            "ERROR: snapshot table entry %" PRIu32
			            " is malformed",
			            i);
			c->result->check_errors++;
			return 0;
		}
		ret = walk_l1(c, entry.l1_table_offset, entry.l1_size, names,
		              errp);
		qcf_snapshot_entry_fini(&entry);
		if (ret < 0)
			return ret;
	}
	return count_range(c, meta->header.snapshots_offset, reader->pos, 1,
	                   errp);
}

static int walk_snapshots(struct qcf_checker *c, struct l2_names *names,
                          struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *table = NULL;
	struct qcf_reader reader;
	size_t len = 0;
	int ret;

	if (c->meta->header.snapshot_count == 0)
		return 0;
	ret = qcf_meta_read_snapshot_table(c->meta, &table, &len, errp);
	if (ret < 0)
		return ret;
	reader = qcf_reader_init(table, len);
	return walk_snapshot_entries(c, &reader, names, errp);
}

/* ----------------------------------------------------------------- the rest */

static int walk_refcounts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	const struct qcf_geometry *g = &meta->geometry;
	const struct qcf_refcounts *r = &meta->refcounts;
	int ret = count_range(c, meta->header.refcount_table_offset,
	                      (uint64_t)meta->header.refcount_table_clusters
	                              << g->cluster_bits,
	                      1, errp);

	for (uint64_t i = 0; ret == 0 && i < r->entry_count; i++) {
		if (r->table[i] == 0)
			continue;
		if (check_offset(c, QCF_CHECK_BLOCK_OFFSET, "Refcount block",
		                 r->table[i]))
			ret = count_range(c, r->table[i], g->cluster_size, 1,
			                  errp);
	}
	return ret;
}

static int walk_mappings(struct qcf_checker *c, struct l2_names *all,
                         struct l2_names *active, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	int ret = walk_l1(c, meta->header.l1_table_offset, meta->header.l1_size,
	                  active, errp);

	for (size_t i = 0; ret == 0 && i < active->count; i++)
		ret = add_name(all, active->offsets[i], errp);
	if (active->count > 1)
		qsort(active->offsets, active->count, sizeof(uint64_t),
		      by_value);
	if (ret == 0)
		ret = walk_snapshots(c, all, errp);
	return ret < 0 ? ret : walk_names(c, all, active, errp);
}

int qcf_check_walk(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct l2_names all = { 0 };
	struct l2_names active = { 0 };
	int ret = count_range(c, 0, c->meta->geometry.cluster_size, 1, errp);

	if (ret == 0)
		ret = walk_mappings(c, &all, &active, errp);
	if (ret == 0)
		ret = walk_refcounts(c, errp);
	free(all.offsets);
	free(active.offsets);
	return ret;
}
