/* SPDX-License-Identifier: MIT */
/*
 * Promise: what is decided for a write, a zeroing or a discard in an image with
 * subclusters, version 1 or a data file depends on the old entry exactly as the
 * tables here say; what holds data that is not written over keeps it.
 */
#include "extended.h"
#include "write_plan.h"

#define HOST (5 * CLUSTER)
#define NEW  (9 * CLUSTER)

/* --------------------------------------------------------------- actions */

static const struct {
	uint64_t entries[3][2];
	uint64_t count;
	enum qcf_write_action action;
	uint64_t clusters;
} actions[] = {
	{ { { 0, 0 } }, 1, QCF_WRITE_ALLOCATE, 1 },
	{ { { 0, BITS(0, ALL) } }, 1, QCF_WRITE_ALLOCATE, 1 },
	{ { { COMPRESSED | HOST, 0 } }, 1, QCF_WRITE_ALLOCATE, 1 },
	{ { { HOST, BITS(ALL, 0) } }, 1, QCF_WRITE_ALLOCATE, 1 },
	{ { { HOST, BITS(0, 0) } }, 1, QCF_WRITE_ALLOCATE, 1 },
	{ { { COPIED | HOST, BITS(ALL, 0) } }, 1, QCF_WRITE_IN_PLACE, 1 },
	{ { { COPIED | HOST, BITS(ALL >> 1, 0) } }, 1, QCF_WRITE_FILL, 1 },
	{ { { COPIED | HOST, BITS(0, ALL) } }, 1, QCF_WRITE_FILL, 1 },
	{ { { COPIED | HOST, 0 } }, 1, QCF_WRITE_FILL, 1 },
	{ { { COPIED | HOST, BITS(1, 2) },
	    { COPIED | (HOST + CLUSTER), BITS(2, 1) } },
	  2,
	  QCF_WRITE_FILL,
	  2 },
	{ { { COPIED | HOST, BITS(1, 0) }, { COPIED | NEW, BITS(1, 0) } },
	  2,
	  QCF_WRITE_FILL,
	  1 },
	{ { { COPIED | HOST, BITS(ALL, 0) },
	    { COPIED | NEW, BITS(ALL, 0) },
	    { COPIED | NEW, BITS(1, 0) } },
	  3,
	  QCF_WRITE_IN_PLACE,
	  2 },
	{ { { 0, 0 }, { HOST, BITS(1, 0) }, { 0, BITS(0, 1) } },
	  3,
	  QCF_WRITE_ALLOCATE,
	  3 },
};

START_TEST(write_actions)
{
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw entries[3];
	struct qcf_write_plan plan;

	for (uint64_t i = 0; i < actions[_i].count; i++)
		entries[i] = extended(actions[_i].entries[i][0],
		                      actions[_i].entries[i][1]);
	plan = qcf_write_plan(&g, entries, actions[_i].count);
	ck_assert_int_eq(plan.action, actions[_i].action);
	ck_assert_uint_eq(plan.clusters, actions[_i].clusters);
	if (plan.action == QCF_WRITE_FILL)
		ck_assert_uint_eq(plan.host_offset, HOST);
}

END_TEST

/* ----------------------------------------------------------------- spans */

/* A write of [start, end) within one cluster. */
struct span_row {
	enum qcf_write_action action;
	uint64_t word, bitmap;
	bool exclusive;
	uint64_t start, end;
	uint64_t span_start, span_end;
	uint64_t new_bitmap; /* after it */
};

static const struct span_row spans[] = {
	/* New clusters: subclusters are completed, data comes along. */
	{ QCF_WRITE_ALLOCATE, 0, 0, false, 100, 200, 0, SUB, BITS(1, 0) },
	{ QCF_WRITE_ALLOCATE, 0, 0, false, SUB, 2 * SUB, SUB, 2 * SUB,
	  BITS(2, 0) },
	{ QCF_WRITE_ALLOCATE, 0, BITS(0, ALL), false, SUB - 1, SUB + 1, 0,
	  2 * SUB, BITS(3, ALL - 3) },
	{ QCF_WRITE_ALLOCATE, HOST, BITS(0x10, 0), false, 8 * SUB, 9 * SUB,
	  4 * SUB, 9 * SUB, BITS(0x1f0, 0) },
	{ QCF_WRITE_ALLOCATE, HOST, BITS(0x1000, 0x1), false, 8 * SUB, 9 * SUB,
	  8 * SUB, 13 * SUB, BITS(0x1f00, 0x1) },
	{ QCF_WRITE_ALLOCATE, HOST, BITS(0x80000001, 0x10), false, 8 * SUB,
	  9 * SUB, 0, CLUSTER, BITS(ALL, 0) },
	{ QCF_WRITE_ALLOCATE, HOST, BITS(0, 0x80000001), false, 8 * SUB,
	  9 * SUB, 8 * SUB, 9 * SUB, BITS(0x100, 0x80000001) },
	{ QCF_WRITE_ALLOCATE, COMPRESSED | HOST, 0, false, 8 * SUB, 9 * SUB, 0,
	  CLUSTER, BITS(ALL, 0) },
	{ QCF_WRITE_ALLOCATE, 0, 0, true, 100, 200, 0, SUB, BITS(1, 0) },
	/* Filling: data that is there is left alone, but not when whole
	 * subclusters are to be written anyway. */
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(1, 0), false, 100, 200, 100, 200,
	  BITS(1, 0) },
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(1, 0), false, 100, SUB + 100, 100,
	  2 * SUB, BITS(3, 0) },
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(2, 0), false, 100, SUB + 100, 0,
	  SUB + 100, BITS(3, 0) },
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(0, ALL), false, 100, SUB + 100, 0,
	  2 * SUB, BITS(3, ALL - 3) },
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(0x80000000, 1), false, SUB,
	  2 * SUB, SUB, 2 * SUB, BITS(0x80000002, 1) },
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(1, 0), true, 100, SUB + 100, 0,
	  2 * SUB, BITS(3, 0) },
	{ QCF_WRITE_FILL, COPIED | HOST, BITS(2, 4), false, 0, CLUSTER, 0,
	  CLUSTER, BITS(ALL, 0) },
};

START_TEST(write_spans)
{
	const struct span_row *row = &spans[_i];
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw old = extended(row->word, row->bitmap);
	uint64_t host = row->action == QCF_WRITE_FILL ? HOST : NEW;
	/* Somewhere else than in the first cluster of the disk. */
	uint64_t base = 3 * CLUSTER;
	struct qcf_l2_raw now;
	uint64_t from, to;

	qcf_plan_span(&g, row->action, old, old, row->exclusive,
	              base + row->start, base + row->end, &from, &to);
	ck_assert_uint_eq(from, base + row->span_start);
	ck_assert_uint_eq(to, base + row->span_end);
	now = qcf_written_entry(&g, row->action, old, host, from - base,
	                        to - base);
	ck_assert_uint_eq(qcf_be64_decode(now.word), COPIED | host);
	ck_assert_uint_eq(qcf_be64_decode(now.bitmap), row->new_bitmap);
}

END_TEST

/* The first and the last cluster of a longer write decide by themselves. */
START_TEST(spans_over_clusters)
{
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw first = extended(HOST, BITS(4, 0));
	struct qcf_l2_raw last = extended(HOST + CLUSTER, BITS(0x100, 0));
	uint64_t from, to;

	qcf_plan_span(&g, QCF_WRITE_ALLOCATE, first, last, false, 30 * SUB,
	              CLUSTER + SUB, &from, &to);
	ck_assert_uint_eq(from, 2 * SUB);
	ck_assert_uint_eq(to, CLUSTER + 9 * SUB);
	first = extended(COPIED | HOST, BITS(0x40000000, 0));
	last = extended(COPIED | (HOST + CLUSTER), BITS(0, 0));
	qcf_plan_span(&g, QCF_WRITE_FILL, first, last, false, 30 * SUB + 5,
	              CLUSTER + 7, &from, &to);
	ck_assert_uint_eq(from, 30 * SUB + 5);
	ck_assert_uint_eq(to, CLUSTER + SUB);
}

END_TEST

/* ------------------------------------------------------- zero and discard */

struct change_row {
	uint64_t word, bitmap;
	uint32_t mask;
	bool may_unmap;
	uint64_t new_word, new_bitmap;
	bool frees, impossible;
};

static const struct change_row zeros[] = {
	/* Part of a cluster: the host cluster stays in any case. */
	{ 0, 0, 3, false, 0, BITS(0, 3), false, false },
	{ 0, BITS(0, 3), 3, true, 0, BITS(0, 3), false, false },
	{ 0, BITS(0, 1), 6, true, 0, BITS(0, 7), false, false },
	{ COPIED | HOST, BITS(0xf, 0), 3, true, COPIED | HOST, BITS(0xc, 3),
	  false, false },
	{ HOST, BITS(0xf, 0xf0), 0x18, false, HOST, BITS(7, 0xf8), false,
	  false },
	{ COPIED | HOST, BITS(3, 0), 3, true, COPIED | HOST, BITS(0, 3), false,
	  false },
	{ COMPRESSED | HOST, 0, 1, false, COMPRESSED | HOST, 0, false, true },
	{ COMPRESSED | HOST, 0, ALL - 1, true, COMPRESSED | HOST, 0, false,
	  true },
	/* All of it. */
	{ 0, 0, ALL, false, 0, BITS(0, ALL), false, false },
	{ 0, BITS(0, ALL), ALL, true, 0, BITS(0, ALL), false, false },
	{ COPIED | HOST, BITS(ALL, 0), ALL, false, COPIED | HOST, BITS(0, ALL),
	  false, false },
	{ COPIED | HOST, BITS(ALL, 0), ALL, true, 0, BITS(0, ALL), true,
	  false },
	{ COPIED | HOST, BITS(0, ALL), ALL, false, COPIED | HOST, BITS(0, ALL),
	  false, false },
	{ COPIED | HOST, BITS(0, ALL), ALL, true, 0, BITS(0, ALL), true,
	  false },
	{ HOST, BITS(1, 2), ALL, true, 0, BITS(0, ALL), true, false },
	{ COMPRESSED | HOST, 0, ALL, false, 0, BITS(0, ALL), true, false },
	{ COMPRESSED | HOST, 0, ALL, true, 0, BITS(0, ALL), true, false },
};

static void expect(struct qcf_entry_change change, const struct change_row *row)
{
	bool same =
		row->word == row->new_word && row->bitmap == row->new_bitmap;

	ck_assert_uint_eq(qcf_be64_decode(change.entry.word), row->new_word);
	ck_assert_uint_eq(qcf_be64_decode(change.entry.bitmap),
	                  row->new_bitmap);
	ck_assert_int_eq(change.changed, !same);
	ck_assert_int_eq(change.frees, row->frees);
	ck_assert_int_eq(change.impossible, row->impossible);
}

START_TEST(zeroing)
{
	const struct change_row *row = &zeros[_i];
	struct qcf_geometry g = extended_geometry();

	expect(qcf_zero_plan(&g, extended(row->word, row->bitmap), row->mask,
	                     row->may_unmap),
	       row);
}

END_TEST

/* may_unmap stands for a backing file here, and mask 0 for all of it. */
static const struct change_row discards[] = {
	{ 0, 0, 0, false, 0, 0, false, false },
	{ 0, 0, 0, true, 0, BITS(0, ALL), false, false },
	{ 0, BITS(0, 7), 0, true, 0, BITS(0, ALL), false, false },
	{ 0, BITS(0, 7), 0, false, 0, BITS(0, 7), false, false },
	{ 0, BITS(0, ALL), 0, true, 0, BITS(0, ALL), false, false },
	{ COPIED | HOST, BITS(ALL, 0), 0, false, 0, BITS(0, ALL), true, false },
	{ COPIED | HOST, BITS(1, 2), 0, true, 0, BITS(0, ALL), true, false },
	{ HOST, 0, 0, false, 0, BITS(0, ALL), true, false },
	{ COMPRESSED | HOST, 0, 0, true, 0, BITS(0, ALL), true, false },
	/* Part of a cluster. */
	{ 0, 0, 3, false, 0, 0, false, false },
	{ 0, 0, 3, true, 0, BITS(0, 3), false, false },
	{ 0, BITS(0, 3), 6, false, 0, BITS(0, 3), false, false },
	{ COPIED | HOST, BITS(0xf, 0), 3, true, COPIED | HOST, BITS(0xc, 3),
	  false, false },
	{ COPIED | HOST, BITS(0xc, 0), 0xf, true, COPIED | HOST, BITS(0, 0xf),
	  false, false },
	{ COPIED | HOST, BITS(0xc, ALL - 0xf), 0xf, true, 0, BITS(0, ALL), true,
	  false },
	{ COPIED | HOST, BITS(0xc, 0), 0xf, false, 0, BITS(0, ALL), true,
	  false },
	{ HOST, BITS(0x1c, 0), 0xf, false, HOST, BITS(0x10, 0xc), false,
	  false },
	{ COPIED | HOST, 0, 1, false, COPIED | HOST, 0, false, false },
	{ COMPRESSED | HOST, 0, 1, true, COMPRESSED | HOST, 0, false, false },
};

START_TEST(discarding)
{
	const struct change_row *row = &discards[_i];
	struct qcf_geometry g = extended_geometry();

	expect(qcf_discard_plan(&g, extended(row->word, row->bitmap),
	                        row->mask == 0 ? ALL : row->mask,
	                        row->may_unmap),
	       row);
}

END_TEST

START_TEST(dropping)
{
	static const struct change_row drops[] = {
		{ 0, 0, 0, false, 0, 0, false, false },
		{ 0, BITS(0, 1), 0, false, 0, 0, false, false },
		{ COPIED | HOST, BITS(1, 2), 0, false, 0, 0, true, false },
		{ COMPRESSED | HOST, 0, 0, false, 0, 0, true, false },
	};
	struct qcf_geometry g = extended_geometry();

	for (size_t i = 0; i < sizeof(drops) / sizeof(drops[0]); i++)
		expect(qcf_drop_plan(&g,
		                     extended(drops[i].word, drops[i].bitmap)),
		       &drops[i]);
}

END_TEST

/* ------------------------------------------------- version 1, data files */

START_TEST(version_1_writes)
{
	struct qcf_geometry g;
	struct qcf_l2_raw data = extended(0x2200, 0);
	struct qcf_l2_raw none = extended(0, 0);
	struct qcf_l2_raw compressed =
		extended(UINT64_C(0x8118000000002000), 0);
	struct qcf_l2_raw now;

	ck_assert_int_eq(qcf_geometry_init_v1(&g, 12, 9, NULL), 0);
	ck_assert_int_eq(qcf_write_plan(&g, &data, 1).action,
	                 QCF_WRITE_IN_PLACE);
	ck_assert_int_eq(qcf_write_plan(&g, &none, 1).action,
	                 QCF_WRITE_ALLOCATE);
	ck_assert_int_eq(qcf_write_plan(&g, &compressed, 1).action,
	                 QCF_WRITE_ALLOCATE);
	now = qcf_written_entry(&g, QCF_WRITE_ALLOCATE, none, 0x3000, 0, 4096);
	ck_assert_uint_eq(qcf_be64_decode(now.word), 0x3000);
	ck_assert_uint_eq(qcf_be64_decode(now.bitmap), 0);
}

END_TEST

START_TEST(data_file_clusters_are_not_counted)
{
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw entry = extended(COPIED | HOST, BITS(1, 0));
	uint64_t first;

	ck_assert_uint_eq(qcf_entry_host_clusters(&g, entry, &first), 1);
	ck_assert_uint_eq(first, 5);
	g.data_file = true;
	ck_assert_uint_eq(qcf_entry_host_clusters(&g, entry, &first), 0);
	/* Cluster 0 of the data file is private as well. */
	entry = extended(COPIED, BITS(ALL, 0));
	ck_assert_int_eq(qcf_write_plan(&g, &entry, 1).action,
	                 QCF_WRITE_IN_PLACE);
	entry = extended(0, 0);
	ck_assert_int_eq(qcf_write_plan(&g, &entry, 1).action,
	                 QCF_WRITE_ALLOCATE);
}

END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, write_actions, 0, COUNT(actions));
	tcase_add_loop_test(tcase, write_spans, 0, COUNT(spans));
	tcase_add_test(tcase, spans_over_clusters);
	tcase_add_loop_test(tcase, zeroing, 0, COUNT(zeros));
	tcase_add_loop_test(tcase, discarding, 0, COUNT(discards));
	tcase_add_test(tcase, dropping);
	tcase_add_test(tcase, version_1_writes);
	tcase_add_test(tcase, data_file_clusters_are_not_counted);
}

int main(void)
{
	return unit_run("subcluster plans", add);
}
