/* SPDX-License-Identifier: MIT */
/*
 * check_walk.c - count every reference of an image
 *
 * An L2 table may be reached from many L1 tables.  Its entries count once for
 * each, so the L1 tables are read first, and then each L2 table once, with the
 * number of times it was named.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_bitmaps.h"
#include "check_l2.h"
#include "check_refcounts.h"
#include "check_refs.h"
#include "check_snapshots.h"
#include "check_walk.h"
#include "checked.h"
#include "crypto.h"

/* L1 entries of all tables together: those that are looked at, 1 GiB, and those
 * that name a table and are held in memory, 128 MiB. */
#define MAX_L1_ENTRIES (UINT64_C(128) << 20)
#define MAX_L2_NAMES   (UINT64_C(16) << 20)

/* No LUKS header with its key material is longer than 2 MiB. */
#define MAX_LUKS_AREA (UINT64_C(64) << 20)

/* Offsets of L2 tables, one for each L1 entry that names one, in their order; the
 * active ones first. */
struct l2_names {
	uint64_t *offsets;
	size_t count;
	size_t room;
	size_t active;
	uint64_t l1_room; /* L1 entries that may still be looked at */
};

/* --------------------------------------------------------------- L1 tables */

static int add_name(struct l2_names *names, uint64_t l2_offset,
                    struct qcowfmt_error **errp)
{
	uint64_t *offsets;

	if (names->count == MAX_L2_NAMES)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the L1 tables name more than %" PRIu64
		                " L2 tables together",
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

static int walk_l1_entry(struct qcf_checker *c, uint64_t at,
                         struct qcf_be64 raw, struct l2_names *names,
                         struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = c->geometry;
	struct qcf_l1_entry e = qcf_l1_entry_decode(g, raw);

	if (e.reserved != 0)
		qcf_check_report(c, QCF_CHECK_L1_RESERVED, at, 1,
		                 "ERROR found L1 entry with reserved bits set: "
		                 "%" PRIx64,
		                 qcf_be64_decode(raw));
	if (e.l2_offset == 0)
		return 0;
	if (!qcf_is_aligned(e.l2_offset, g->cluster_size))
		qcf_check_report(c, QCF_CHECK_L2_OFFSET, at, 1,
		                 "ERROR l2_offset=%" PRIx64
		                 ": Table is not cluster aligned; L1 entry "
		                 "corrupted",
		                 e.l2_offset);
	if (!e.copied || !qcf_check_in_file(c, e.l2_offset))
		c->need_flags = true;
	return add_name(names, e.l2_offset, errp);
}

static int take_l1_room(struct l2_names *names, uint64_t count,
                        struct qcowfmt_error **errp)
{
	if (count > names->l1_room)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the L1 tables have more than %" PRIu64
		                " entries together",
		                MAX_L1_ENTRIES);
	names->l1_room -= count;
	return 0;
}

/* Count an L1 table and note the L2 tables it names. */
static int walk_l1(struct qcf_checker *c, uint64_t offset, uint64_t count,
                   struct l2_names *names, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	int ret = qcf_check_count_range(c, offset, count * 8, 1, errp);

	if (ret < 0 || count == 0 || !qcf_check_in_file(c, offset))
		return ret;
	ret = take_l1_room(names, count, errp);
	if (ret == 0)
		ret = qcf_check_read_table(c, "L1 table", offset, count * 8,
		                           &entries, errp);
	for (uint64_t i = 0; ret == 0 && entries != NULL && i < count; i++) {
		if (entries[i].raw != 0)
			ret = walk_l1_entry(c, offset + i * 8, entries[i],
			                    names, errp);
	}
	return ret;
}

/* The L1 table is written in place, so it must share no cluster with another
 * table; there is no telling which of the two is right. */
static void check_l1_place(struct qcf_checker *c, const char *what,
                           uint64_t offset, uint64_t len)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t l1 = c->header->l1_table_offset;
	uint64_t l1_len = (uint64_t)c->header->l1_size * 8;

	if (len == 0 || l1_len == 0 ||
	    !qcf_range_within(offset, len, QCF_HOST_OFFSET_LIMIT) ||
	    qcf_host_cluster(g, l1) > qcf_host_cluster(g, offset + len - 1) ||
	    qcf_host_cluster(g, offset) > qcf_host_cluster(g, l1 + l1_len - 1))
		return;
	qcf_check_report(c, QCF_CHECK_OVERLAP, l1, 1,
	                 "ERROR the L1 table at 0x%" PRIx64
	                 " is also the %s at 0x%" PRIx64,
	                 l1, what, offset);
}

static int walk_snapshot_l1s(struct qcf_checker *c,
                             const struct qcf_snapshot_view *view,
                             struct l2_names *names,
                             struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < view->count; i++) {
		const struct qcf_snapshot_parts *p = &view->parts[i];

		if (!qcf_check_is_snapshot_l1(c, p))
			continue;
		check_l1_place(c, "L1 table of a snapshot", p->l1_table_offset,
		               (uint64_t)p->l1_size * 8);
		ret = walk_l1(c, p->l1_table_offset, p->l1_size, names, errp);
	}
	return ret;
}

/* --------------------------------------------------------------- L2 tables */

static int by_offset(const void *left, const void *right)
{
	const struct qcf_l2_ref *a = left;
	const struct qcf_l2_ref *b = right;

	return (a->offset > b->offset) - (a->offset < b->offset);
}

struct qcf_l2_ref *qcf_check_find_table(const struct qcf_checker *c,
                                        uint64_t l2_offset)
{
	struct qcf_l2_ref key = { .offset = l2_offset };

	if (c->table_count == 0)
		return NULL;
	return bsearch(&key, c->tables, c->table_count, sizeof(key), by_offset);
}

static bool is_sorted(const struct qcf_l2_ref *tables, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		if (tables[i - 1].offset > tables[i].offset)
			return false;
	}
	return true;
}

/* Make one of all names of a table. */
static int join_names(struct qcf_checker *c, const struct l2_names *names,
                      struct qcowfmt_error **errp)
{
	size_t out = 0;
	struct qcf_l2_ref *t = calloc(names->count + 1, sizeof(*t));

	if (t == NULL)
		return qcf_fail_oom(errp);
	c->tables = t;
	for (size_t i = 0; i < names->count; i++)
		t[i] = (struct qcf_l2_ref){
			.offset = names->offsets[i],
			.names = 1,
			.active = i < names->active,
		};
	if (!is_sorted(t, names->count))
		qsort(t, names->count, sizeof(*t), by_offset);
	for (size_t i = 1; i < names->count; i++) {
		if (t[i].offset == t[out].offset) {
			t[out].names += t[i].names;
			t[out].active += t[i].active;
		} else {
			t[++out] = t[i];
		}
	}
	c->table_count = names->count == 0 ? 0 : out + 1;
	return 0;
}

/* The tables in the order in which they are named first. */
static int order_tables(struct qcf_checker *c, const struct l2_names *names,
                        struct qcf_l2_ref ***order, struct qcowfmt_error **errp)
{
	size_t count = 0;

	*order = calloc(c->table_count + 1, sizeof(struct qcf_l2_ref *));
	if (*order == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; i < names->count; i++) {
		struct qcf_l2_ref *table =
			qcf_check_find_table(c, names->offsets[i]);

		if (!table->walked)
			(*order)[count++] = table;
		table->walked = true;
	}
	return 0;
}

static int walk_tables(struct qcf_checker *c, const struct l2_names *names,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_l2_ref **order = NULL;
	struct qcf_l2_reader reader = { 0 };
	int ret = join_names(c, names, errp);

	if (ret == 0)
		ret = order_tables(c, names, &order, errp);
	if (ret == 0)
		ret = qcf_l2_reader_init(&reader, c, errp);
	for (size_t i = 0; ret == 0 && i < c->table_count; i++) {
		const struct qcf_be64 *words = NULL;

		ret = qcf_l2_reader_get(&reader, order + i, c->table_count - i,
		                        &words, errp);
		if (ret == 0)
			ret = qcf_check_walk_l2(c, order[i], words, errp);
	}
	qcf_l2_reader_fini(&reader);
	return ret;
}

/* ----------------------------------------------------------------- the rest */

static int walk_mappings(struct qcf_checker *c,
                         const struct qcf_snapshot_view *view,
                         struct qcowfmt_error **errp)
{
	struct l2_names names = { .l1_room = MAX_L1_ENTRIES };
	int ret = walk_l1(c, c->header->l1_table_offset, c->header->l1_size,
	                  &names, errp);

	names.active = names.count;
	if (ret == 0)
		ret = walk_snapshot_l1s(c, view, &names, errp);
	if (ret == 0)
		ret = walk_tables(c, &names, errp);
	free(names.offsets);
	return ret;
}

/* Key slots and key material of LUKS. */
static int walk_luks_area(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	uint64_t offset = 0;
	uint64_t len = 0;

	qcf_crypto_area(c->header, &offset, &len);
	if (len > MAX_LUKS_AREA) {
		qcf_check_report(c, QCF_CHECK_LUKS_AREA, offset, 1,
		                 "ERROR LUKS area has %" PRIu64
		                 " bytes, want at most %" PRIu64,
		                 len, MAX_LUKS_AREA);
		len = MAX_LUKS_AREA;
	}
	check_l1_place(c, "LUKS area", offset, len);
	return qcf_check_count_range(c, offset, len, 1, errp);
}

static void check_data_file(struct qcf_checker *c)
{
	if (c->geometry->data_file && c->header->snapshot_count > 0)
		qcf_check_report(c, QCF_CHECK_DATA_FILE_SNAPSHOTS,
		                 c->header->snapshots_offset, 1,
		                 "ERROR %" PRIu32
		                 " snapshots in image with data file",
		                 c->header->snapshot_count);
}

/* The order is that in which findings are told. */
static int walk_all(struct qcf_checker *c, struct qcf_snapshot_view *snapshots,
                    struct qcf_bitmap_listing *bitmaps,
                    struct qcowfmt_error **errp)
{
	int ret = qcf_snapshot_view_read(snapshots, c, errp);

	check_data_file(c);
	check_l1_place(c, "header", 0, c->geometry->cluster_size);
	if (ret == 0)
		ret = qcf_check_walk_snapshots(c, snapshots, errp);
	if (ret == 0)
		check_l1_place(c, "snapshot table", c->header->snapshots_offset,
		               snapshots->end);
	if (ret == 0)
		ret = qcf_check_count_range(c, 0, c->geometry->cluster_size, 1,
		                            errp);
	if (ret == 0)
		ret = walk_mappings(c, snapshots, errp);
	if (ret == 0)
		ret = walk_luks_area(c, errp);
	if (ret == 0)
		ret = qcf_bitmap_listing_read(bitmaps, c, errp);
	if (ret == 0 && bitmaps->present)
		check_l1_place(c, "bitmap directory",
		               bitmaps->ext.directory_offset,
		               bitmaps->ext.directory_size);
	if (ret == 0)
		ret = qcf_check_walk_bitmaps(c, bitmaps, errp);
	return ret < 0 ? ret : qcf_check_walk_refcounts(c, errp);
}

int qcf_check_walk(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct qcf_snapshot_view snapshots = { 0 };
	struct qcf_bitmap_listing bitmaps = { 0 };
	int ret = walk_all(c, &snapshots, &bitmaps, errp);

	c->sound_bitmaps = qcf_take(&bitmaps.sound);
	c->bitmap_count = bitmaps.count;
	c->broken_directory = bitmaps.broken;
	qcf_snapshot_view_fini(&snapshots);
	qcf_bitmap_listing_fini(&bitmaps);
	return ret;
}
