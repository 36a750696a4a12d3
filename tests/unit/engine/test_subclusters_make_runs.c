/* SPDX-License-Identifier: MIT */
/*
 * Promise: a run takes in exactly the bytes, across subclusters and clusters,
 * that are of one kind and follow each other on the host.
 */
#include "check_id.h"
#include "extended.h"
#include "map_range.h"

#define HOST (5 * CLUSTER)

struct row {
	const char *what;
	uint64_t entries[3][2];
	uint64_t count;
	uint64_t offset; /* in the first cluster */
	uint64_t len;    /* asked for; 0: all */
	enum qcf_kind kind;
	uint64_t length;
	uint64_t host_offset;
	bool copied;
};

static const struct row rows[] = {
	{ "nothing",
	  { { 0, 0 }, { 0, 0 } },
	  2,
	  0,
	  0,
	  QCF_UNALLOCATED,
	  2 * CLUSTER,
	  0,
	  false },
	{ "data to the first gap",
	  { { COPIED | HOST, BITS(7, 0) } },
	  1,
	  0,
	  0,
	  QCF_DATA,
	  3 * SUB,
	  HOST,
	  true },
	{ "the gap",
	  { { COPIED | HOST, BITS(7, 0x40) } },
	  1,
	  3 * SUB,
	  0,
	  QCF_UNALLOCATED,
	  3 * SUB,
	  0,
	  false },
	{ "zeros with space",
	  { { COPIED | HOST, BITS(7, 0xc0) } },
	  1,
	  6 * SUB,
	  0,
	  QCF_ZERO_ALLOCATED,
	  2 * SUB,
	  HOST + 6 * SUB,
	  true },
	{ "zeros without",
	  { { 0, BITS(0, 0xc0) } },
	  1,
	  6 * SUB,
	  0,
	  QCF_ZERO_PLAIN,
	  2 * SUB,
	  0,
	  false },
	{ "from inside a subcluster",
	  { { HOST, BITS(6, 0) } },
	  1,
	  SUB + 100,
	  0,
	  QCF_DATA,
	  2 * SUB - 100,
	  HOST + SUB + 100,
	  false },
	{ "no more than asked for",
	  { { HOST, BITS(ALL, 0) } },
	  1,
	  100,
	  700,
	  QCF_DATA,
	  700,
	  HOST + 100,
	  false },
	{ "the last subcluster",
	  { { HOST, BITS(0x80000000, 0) } },
	  1,
	  31 * SUB + 1,
	  0,
	  QCF_DATA,
	  SUB - 1,
	  HOST + 31 * SUB + 1,
	  false },
	{ "data into the next cluster",
	  { { COPIED | HOST, BITS(ALL, 0) },
	    { COPIED | (HOST + CLUSTER), BITS(3, 0) } },
	  2,
	  0,
	  0,
	  QCF_DATA,
	  CLUSTER + 2 * SUB,
	  HOST,
	  true },
	{ "data from the end of one to the start of the next",
	  { { COPIED | HOST, BITS(0xf0000000, 0) },
	    { COPIED | (HOST + CLUSTER), BITS(0xff, 0) } },
	  2,
	  28 * SUB,
	  0,
	  QCF_DATA,
	  12 * SUB,
	  HOST + 28 * SUB,
	  true },
	{ "but not across a jump on the host",
	  { { COPIED | HOST, BITS(ALL, 0) },
	    { COPIED | (HOST + 2 * CLUSTER), BITS(ALL, 0) } },
	  2,
	  0,
	  0,
	  QCF_DATA,
	  CLUSTER,
	  HOST,
	  true },
	{ "nor from private to shared",
	  { { COPIED | HOST, BITS(ALL, 0) }, { HOST + CLUSTER, BITS(ALL, 0) } },
	  2,
	  0,
	  0,
	  QCF_DATA,
	  CLUSTER,
	  HOST,
	  true },
	{ "zeros with and without space are two",
	  { { COPIED | HOST, BITS(0, ALL) }, { 0, BITS(0, ALL) } },
	  2,
	  0,
	  0,
	  QCF_ZERO_ALLOCATED,
	  CLUSTER,
	  HOST,
	  true },
	{ "space without data and no space are one",
	  { { COPIED | HOST, 0 }, { 0, 0 }, { 0, BITS(0, 1) } },
	  3,
	  0,
	  0,
	  QCF_UNALLOCATED,
	  2 * CLUSTER,
	  0,
	  false },
	{ "a compressed cluster alone",
	  { { COMPRESSED | HOST, 0 }, { COMPRESSED | HOST, 0 } },
	  2,
	  0,
	  0,
	  QCF_COMPRESSED,
	  CLUSTER,
	  HOST,
	  false },
	{ "from inside a compressed cluster",
	  { { COMPRESSED | HOST, 0 } },
	  1,
	  3 * SUB + 5,
	  0,
	  QCF_COMPRESSED,
	  CLUSTER - 3 * SUB - 5,
	  HOST,
	  false },
	{ "to the first that makes no sense",
	  { { HOST, BITS(ALL, 0) }, { HOST + CLUSTER, BITS(ALL, 1) } },
	  2,
	  0,
	  0,
	  QCF_DATA,
	  CLUSTER,
	  HOST,
	  false },
};

START_TEST(runs)
{
	const struct row *row = &rows[_i];
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw entries[3];
	struct qcf_run run;
	uint64_t len =
		row->len == 0 ? row->count * CLUSTER - row->offset : row->len;

	for (uint64_t i = 0; i < row->count; i++)
		entries[i] = extended(row->entries[i][0], row->entries[i][1]);
	ck_assert_msg(qcf_map_range(&g, entries, row->count, row->offset, len,
	                            &run) == 0,
	              "%s", row->what);
	ck_assert_msg(run.kind == row->kind, "%s: kind %d", row->what,
	              (int)run.kind);
	ck_assert_msg(run.length == row->length, "%s: %" PRIu64, row->what,
	              run.length);
	ck_assert_msg(run.host_offset == row->host_offset, "%s: %#" PRIx64,
	              row->what, run.host_offset);
	ck_assert_msg(run.copied == row->copied, "%s", row->what);
}

END_TEST

START_TEST(illegal_bitmap_is_named)
{
	static const uint64_t entries[][2] = {
		{ HOST, BITS(1, 1) },
		{ 0, BITS(0x8000, 0) },
		{ COMPRESSED | HOST, BITS(0, 1) },
		{ COMPRESSED | HOST, BITS(1, 0) },
	};
	struct qcf_geometry g = extended_geometry();
	struct qcf_run run;

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct qcf_l2_raw raw = extended(entries[i][0], entries[i][1]);

		ck_assert_uint_eq(qcf_map_range(&g, &raw, 1, 0, 1, &run),
		                  QCF_CHECK_SUBCLUSTER_BITMAP);
	}
}

END_TEST

/* The state of one subcluster, without any cleverness. */
static enum qcf_kind kind_at(uint32_t data, uint32_t zeros, uint64_t sub)
{
	if ((data >> sub & 1) != 0)
		return QCF_DATA;
	return (zeros >> sub & 1) != 0 ? QCF_ZERO_ALLOCATED : QCF_UNALLOCATED;
}

START_TEST(random_bitmaps)
{
	struct unit_random random = unit_random_init();
	struct qcf_geometry g = extended_geometry();

	for (int i = 0; i < 20000; i++) {
		uint32_t data = (uint32_t)unit_random_u64(&random);
		uint32_t zeros = (uint32_t)unit_random_u64(&random) & ~data;
		struct qcf_l2_raw raw =
			extended(COPIED | HOST, BITS(data, zeros));
		uint64_t offset = unit_random_below(&random, CLUSTER);
		uint64_t sub = offset / SUB;
		uint64_t end = sub;
		struct qcf_run run;

		while (end < 32 &&
		       kind_at(data, zeros, end) == kind_at(data, zeros, sub))
			end++;
		ck_assert_uint_eq(
			qcf_map_range(&g, &raw, 1, offset, CLUSTER, &run), 0);
		ck_assert_int_eq(run.kind, kind_at(data, zeros, sub));
		ck_assert_uint_eq(run.length, end * SUB - offset);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, runs, 0,
	                    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, illegal_bitmap_is_named);
	tcase_add_test(tcase, random_bitmaps);
}

int main(void)
{
	return unit_run("subclusters make runs", add);
}
