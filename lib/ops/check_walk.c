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

#include "check_l2.h"
#include "check_refs.h"
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
			qcf_check_report_reserved(c, QCF_CHECK_L1_RESERVED,
			                          "L1", offset + i * 8,
			                          e.reserved);
		if (e.l2_offset == 0 ||
		    !qcf_check_offset(c, QCF_CHECK_L2_OFFSET, "L2 table",
		                      e.l2_offset))
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
	ret = qcf_check_count_range(c, offset, count * 8, 1, errp);
	if (ret < 0)
		return ret;
	if (!qcf_range_within(offset, count * 8, end)) {
		c->result->check_errors++;
		return 0;
	}
	ret = qcf_check_read_table(c, "L1", offset, count * 8, &entries, errp);
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
		ret = qcf_check_walk_l2(c, offset, n, is_active, errp);
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
	return qcf_check_count_range(c, meta->header.snapshots_offset,
	                             reader->pos, 1, errp);
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
	if (c->meta->geometry.data_file) {
		qcf_finding(c, QCF_CHECK_DATA_FILE_SNAPSHOTS,
		            c->meta->header.snapshots_offset,
		            "ERROR %" PRIu32
		            " snapshots in image with data file",
		            c->meta->header.snapshot_count);
		c->result->corruptions++;
	}
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
	int ret = qcf_check_count_range(
		c, meta->header.refcount_table_offset,
		(uint64_t)meta->header.refcount_table_clusters
			<< g->cluster_bits,
		1, errp);

	for (uint64_t i = 0; ret == 0 && i < r->entry_count; i++) {
		if (r->table[i] == 0)
			continue;
		if (qcf_check_offset(c, QCF_CHECK_BLOCK_OFFSET,
		                     "Refcount block", r->table[i]))
			ret = qcf_check_count_range(c, r->table[i],
			                            g->cluster_size, 1, errp);
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

/* Key slots and key material of LUKS. */
static int walk_luks_area(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	uint64_t offset = 0;
	uint64_t len = 0;

	qcf_crypto_area(&c->meta->header, &offset, &len);
	return qcf_check_count_range(c, offset, len, 1, errp);
}

int qcf_check_walk(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct l2_names all = { 0 };
	struct l2_names active = { 0 };
	int ret = qcf_check_count_range(c, 0, c->meta->geometry.cluster_size, 1,
	                                errp);

	if (ret == 0)
		ret = walk_mappings(c, &all, &active, errp);
	if (ret == 0)
		ret = walk_refcounts(c, errp);
	if (ret == 0)
		ret = walk_luks_area(c, errp);
	free(all.offsets);
	free(active.offsets);
	return ret;
}
