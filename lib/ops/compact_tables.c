/* SPDX-License-Identifier: MIT */
/*
 * compact_tables.c - tables of several clusters, and what names L2 tables
 *
 * A table is copied as it is, and one header write switches to the copy (CS-6).
 * L1 tables of snapshots are named by the snapshot table, so if any of them
 * moves a new snapshot table does, too; tables of bitmaps are named by a directory,
 * where they are changed in place.
 */
#include <errno.h>

#include "alloc.h"
#include "checked.h"
#include "compact_bitmaps.h"
#include "compact_tables.h"
#include "header_switch.h"
#include "l1_table.h"
#include "meta_tables.h"
#include "refcount.h"
#include "snapshot_table.h"
#include "writeback.h"

/* Bytes copied at a time, unless a cluster is longer. */
#define COPY_SIZE (UINT64_C(1) << 20)

/* --------------------------------------------------------------- L1 entries */

/* The new offset of an L2 table, or 0. */
static uint64_t new_l2_offset(const struct qcf_compaction *c,
                              struct qcf_l1_entry entry)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	uint64_t to =
		qcf_compact_new_place(c, qcf_host_cluster(g, entry.l2_offset));

	return entry.l2_offset == 0 ? 0 : qcf_host_offset(g, to);
}

static int switch_active(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&meta->l1.entries[i]) };
		uint64_t to = new_l2_offset(
			c, qcf_l1_entry_decode(&meta->geometry, raw));

		if (to != 0)
			ret = qcf_l1_set_table(meta, i, to, errp);
	}
	return ret;
}

/* Write entries [first, end) of the L1 table of a snapshot. */
static int write_entries(struct qcf_meta *meta,
                         const struct qcf_snapshot_entry *snapshot,
                         const struct qcf_be64 *entries, uint32_t first,
                         uint32_t end, struct qcowfmt_error **errp)
{
	if (first >= end)
		return 0;
	return qcf_storage_pwrite(
		meta->storage, entries + first, (size_t)(end - first) * 8,
		snapshot->l1_table_offset + (uint64_t)first * 8, errp);
}

static int switch_snapshot(struct qcf_compaction *c,
                           const struct qcf_snapshot_entry *snapshot,
                           struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	uint32_t first = UINT32_MAX;
	uint32_t end = 0;
	int ret = qcf_snapshot_read_l1(c->meta, snapshot, &entries, errp);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < snapshot->l1_size; i++) {
		struct qcf_l1_entry entry = qcf_l1_entry_decode(g, entries[i]);
		uint64_t to = new_l2_offset(c, entry);

		if (to == 0)
			continue;
		entry.l2_offset = to;
		entries[i] = qcf_l1_entry_encode(g, entry);
		first = QCF_MIN(first, i);
		end = i + 1;
	}
	return write_entries(c->meta, snapshot, entries, first, end, errp);
}

int qcf_compact_switch_l1(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret = switch_active(c, errp);

	for (uint32_t i = 0; ret == 0 && i < c->snapshots.count; i++)
		ret = switch_snapshot(c, &c->snapshots.entries[i], errp);
	return ret;
}

/* ------------------------------------------------------------------- tables */

static int copy_table(struct qcf_meta *meta, const struct qcf_table_place *t,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t step = QCF_MAX(COPY_SIZE >> g->cluster_bits, UINT64_C(1));
	QCF_AUTO_FREE void *bytes = malloc((size_t)(step << g->cluster_bits));
	int ret = bytes == NULL ? qcf_fail_oom(errp) : 0;

	for (uint64_t at = 0; ret == 0 && at < t->count; at += step) {
		uint64_t n = QCF_MIN(step, t->count - at);
		size_t len = (size_t)(n << g->cluster_bits);
		int64_t got = qcf_storage_pread_padded(
			meta->storage, bytes, len,
			qcf_host_offset(g, t->first + at), errp);

		ret = got < 0 ? (int)got
		              : qcf_storage_pwrite(
					meta->storage, bytes, len,
					qcf_host_offset(g, t->to + at), errp);
	}
	return ret;
}

static int free_table(struct qcf_meta *meta, const struct qcf_table_place *t,
                      struct qcowfmt_error **errp)
{
	return qcf_alloc_free(meta, t->first, t->count, errp);
}

/* Writeback knows how to move the refcount table, also to where it is told: the next
 * commit does it. */
static void move_refcount_table(struct qcf_meta *meta,
                                const struct qcf_table_place *t)
{
	struct qcf_refcounts *r = &meta->refcounts;

	qcf_mutex_lock(&r->lock);
	r->moving_to = qcf_host_offset(&meta->geometry, t->to);
	r->moving_clusters = t->count;
	qcf_mutex_unlock(&r->lock);
}

/* A new snapshot table, at first if that is not 0, with the new places of L1
 * tables in it. */
static int replace_snapshots(struct qcf_compaction *c, uint64_t first,
                             struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	struct qcf_snapshot_table table;
	struct qcf_area area = { 0 };
	struct qcf_area old;
	bool switched = false;
	int ret = qcf_snapshot_table_load(meta, &table, errp);

	if (ret < 0)
		return ret;
	old = qcf_area_of(meta, meta->header.snapshots_offset,
	                  table.stored_len);
	for (size_t i = 0; i < c->table_count; i++) {
		const struct qcf_table_place *t = &c->tables[i];

		if (t->kind == QCF_TABLE_SNAPSHOT_L1 && t->to != 0)
			table.entries[t->index].l1_table_offset =
				qcf_host_offset(&meta->geometry, t->to);
	}
	ret = qcf_snapshot_table_write(meta, &table, first, &area, errp);
	if (ret == 0)
		ret = qcf_writeback_drain(meta, errp);
	if (ret == 0)
		ret = qcf_snapshot_table_switch(meta, &table, &area, &switched,
		                                errp);
	if (ret == 0)
		ret = qcf_area_free(meta, &old, errp);
	else if (first == 0 && !switched)
		(void)qcf_area_free(meta, &area, NULL);
	qcf_snapshot_table_fini(&table);
	return ret;
}

/* Move snapshot L1 tables and the table that names them, if any of them has
 * a new place. */
static int move_snapshot_tables(struct qcf_compaction *c,
                                struct qcowfmt_error **errp)
{
	uint64_t first = 0;
	bool any = false;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < c->table_count; i++) {
		const struct qcf_table_place *t = &c->tables[i];

		if (t->to == 0)
			continue;
		any |= t->kind == QCF_TABLE_SNAPSHOT_L1 ||
		       t->kind == QCF_TABLE_SNAPSHOTS;
		if (t->kind == QCF_TABLE_SNAPSHOTS)
			first = t->to;
		if (t->kind == QCF_TABLE_SNAPSHOT_L1)
			ret = copy_table(c->meta, t, errp);
	}
	if (ret == 0 && any)
		ret = replace_snapshots(c, first, errp);
	for (size_t i = 0; ret == 0 && i < c->table_count; i++) {
		const struct qcf_table_place *t = &c->tables[i];

		if (t->kind == QCF_TABLE_SNAPSHOT_L1 && t->to != 0)
			ret = free_table(c->meta, t, errp);
	}
	return ret;
}

/* Directory or table of bits: one at a time. */
static int move_bitmap_table(struct qcf_compaction *c,
                             const struct qcf_table_place *t,
                             struct qcowfmt_error **errp)
{
	int ret = copy_table(c->meta, t, errp);

	if (ret == 0)
		ret = qcf_meta_flush(c->meta, errp);
	if (ret == 0)
		ret = qcf_compact_switch_bitmap_table(c, t, errp);
	return ret < 0 ? ret : free_table(c->meta, t, errp);
}

int qcf_compact_move_tables(struct qcf_compaction *c,
                            struct qcowfmt_error **errp)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < c->table_count; i++) {
		const struct qcf_table_place *t = &c->tables[i];

		if (t->kind == QCF_TABLE_L1 && t->to != 0)
			ret = qcf_l1_move(c->meta, t->to, errp);
		if (t->kind == QCF_TABLE_REFCOUNTS && t->to != 0)
			move_refcount_table(c->meta, t);
		if ((t->kind == QCF_TABLE_BITMAPS ||
		     t->kind == QCF_TABLE_BITMAP) &&
		    ret == 0 && t->to != 0)
			ret = move_bitmap_table(c, t, errp);
	}
	return ret < 0 ? ret : move_snapshot_tables(c, errp);
}
