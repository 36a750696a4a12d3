/* SPDX-License-Identifier: MIT */
/*
 * Promise: neighbouring L2 entries make one run exactly if their clusters are of
 * one kind and follow each other on the host.
 */
#include "check_id.h"
#include "map_range.h"
#include "unit.h"

#define COPIED  QCF_ENTRY_COPIED
#define CLUSTER UINT64_C(0x10000)

static struct qcf_geometry g;

static void set_up(void)
{
	ck_assert_int_eq(qcf_geometry_init(&g, 3, 16, 4, false, NULL), 0);
}

/* The run of count entries from the start of the first; in clusters. */
static uint64_t range(const uint64_t *values, size_t count, struct qcf_run *run,
                      uint32_t *corruption)
{
	struct qcf_l2_raw entries[16];

	for (size_t i = 0; i < count; i++)
		entries[i] = (struct qcf_l2_raw){
			.word = qcf_be64_encode(values[i]),
		};
	*corruption =
		qcf_map_range(&g, entries, count, 0, count * CLUSTER, run);
	return run->length / CLUSTER;
}

struct row {
	const char *what;
	uint64_t entries[6];
	size_t count;
	uint64_t run;
	enum qcf_kind kind;
};

static const struct row rows[] = {
	{ "nothing anywhere", { 0, 0, 0 }, 3, 3, QCF_UNALLOCATED },
	{ "zeros", { 1, 1, 0 }, 3, 2, QCF_ZERO_PLAIN },
	{ "data that follows",
	  { COPIED | 5 * CLUSTER, COPIED | 6 * CLUSTER, COPIED | 8 * CLUSTER },
	  3,
	  2,
	  QCF_DATA },
	{ "shared and private data apart",
	  { 5 * CLUSTER, COPIED | 6 * CLUSTER },
	  2,
	  1,
	  QCF_DATA },
	{ "data backwards",
	  { COPIED | 6 * CLUSTER, COPIED | 5 * CLUSTER },
	  2,
	  1,
	  QCF_DATA },
	{ "reserved space that follows",
	  { COPIED | 5 * CLUSTER | 1, COPIED | 6 * CLUSTER | 1, 1 },
	  3,
	  2,
	  QCF_ZERO_ALLOCATED },
	{ "compressed clusters one by one",
	  { QCF_ENTRY_COMPRESSED | 5 * CLUSTER,
	    QCF_ENTRY_COMPRESSED | (5 * CLUSTER + 100) },
	  2,
	  1,
	  QCF_COMPRESSED },
	{ "data up to the highest offset, and what would be behind it",
	  { COPIED | (QCF_HOST_OFFSET_LIMIT - 2 * CLUSTER),
	    COPIED | (QCF_HOST_OFFSET_LIMIT - CLUSTER),
	    COPIED | QCF_HOST_OFFSET_LIMIT },
	  3,
	  2,
	  QCF_DATA },
	{ "zeros whose words are not the same",
	  { 1, 1, COPIED | 1, 1 },
	  4,
	  4,
	  QCF_ZERO_PLAIN },
	{ "a COPIED flag without offset, then the first cluster",
	  { COPIED, COPIED | CLUSTER },
	  2,
	  1,
	  QCF_UNALLOCATED },
	{ "a COPIED flag without offset is nothing",
	  { COPIED, 0 },
	  2,
	  2,
	  QCF_UNALLOCATED },
};

START_TEST(test_runs)
{
	const struct row *row = &rows[_i];
	struct qcf_run first;
	uint32_t corruption;

	ck_assert_msg(range(row->entries, row->count, &first, &corruption) ==
	                      row->run,
	              "%s", row->what);
	ck_assert_msg(first.kind == row->kind, "%s", row->what);
	ck_assert_uint_eq(corruption, 0);
}

END_TEST

START_TEST(test_bad_first_entry_is_named)
{
	const uint64_t unaligned[] = { COPIED | (5 * CLUSTER + 512) };
	struct qcf_run first;
	uint32_t corruption;

	ck_assert_uint_eq(range(unaligned, 1, &first, &corruption), 0);
	ck_assert_uint_eq(corruption, QCF_CHECK_DATA_OFFSET);
}

END_TEST

START_TEST(test_bad_later_entry_ends_the_run)
{
	const uint64_t values[] = { 1, 1, COPIED | (5 * CLUSTER + 512) };
	struct qcf_run first;
	uint32_t corruption;

	ck_assert_uint_eq(range(values, 3, &first, &corruption), 2);
	ck_assert_uint_eq(corruption, 0);
}

END_TEST

START_TEST(test_runs_append)
{
	struct qcf_run run = { .length = 0 };
	struct qcf_run data = { .kind = QCF_DATA,
		                .length = CLUSTER,
		                .host_offset = 5 * CLUSTER,
		                .copied = true };
	struct qcf_run next = data;

	ck_assert(qcf_run_append(&run, &data));
	ck_assert_uint_eq(run.length, CLUSTER);
	next.host_offset = 6 * CLUSTER;
	ck_assert(qcf_run_append(&run, &next));
	ck_assert_uint_eq(run.length, 2 * CLUSTER);
	ck_assert(!qcf_run_append(&run, &next));
	next.host_offset = 7 * CLUSTER;
	next.copied = false;
	ck_assert(!qcf_run_append(&run, &next));
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_loop_test(tcase, test_runs, 0,
	                    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, test_bad_first_entry_is_named);
	tcase_add_test(tcase, test_bad_later_entry_ends_the_run);
	tcase_add_test(tcase, test_runs_append);
}

int main(void)
{
	return unit_run("L2 entries make runs", add);
}
