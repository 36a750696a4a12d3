/* SPDX-License-Identifier: MIT */
/*
 * Promise: what is decided for a write, a zeroing or a discard depends on the
 * old entry exactly as the tables here say; nothing shared is written in place.
 */
#include "unit.h"
#include "write_plan.h"

#define COPIED     QCF_ENTRY_COPIED
#define CLUSTER    UINT64_C(0x10000)
#define COMPRESSED (QCF_ENTRY_COMPRESSED | 5 * CLUSTER)

static struct qcf_geometry v2;
static struct qcf_geometry v3;

static struct qcf_l2_raw raw(uint64_t word)
{
	return (struct qcf_l2_raw){ .word = qcf_be64_encode(word) };
}

static void set_up(void)
{
	ck_assert_int_eq(qcf_geometry_init(&v2, 2, 16, 4, false, NULL), 0);
	ck_assert_int_eq(qcf_geometry_init(&v3, 3, 16, 4, false, NULL), 0);
}

struct write_row {
	uint64_t entries[4];
	size_t count;
	enum qcf_write_action action;
	uint64_t clusters;
};

static const struct write_row write_rows[] = {
	{ { 0, 0, 0 }, 3, QCF_WRITE_ALLOCATE, 3 },
	{ { 1, 0, 5 * CLUSTER, COMPRESSED }, 4, QCF_WRITE_ALLOCATE, 4 },
	{ { 5 * CLUSTER | 1 }, 1, QCF_WRITE_ALLOCATE, 1 },
	{ { 0, COPIED | 5 * CLUSTER }, 2, QCF_WRITE_ALLOCATE, 1 },
	{ { COPIED | 5 * CLUSTER, COPIED | 9 * CLUSTER, 0 },
	  3,
	  QCF_WRITE_IN_PLACE,
	  2 },
	{ { COPIED | 5 * CLUSTER | 1, COPIED | 6 * CLUSTER | 1 },
	  2,
	  QCF_WRITE_FILL,
	  2 },
	{ { COPIED | 5 * CLUSTER | 1, COPIED | 9 * CLUSTER | 1 },
	  2,
	  QCF_WRITE_FILL,
	  1 },
};

START_TEST(test_write)
{
	const struct write_row *row = &write_rows[_i];
	struct qcf_l2_raw entries[4];
	struct qcf_write_plan plan;

	for (size_t i = 0; i < row->count; i++)
		entries[i] = raw(row->entries[i]);
	plan = qcf_write_plan(&v3, entries, row->count);
	ck_assert_int_eq(plan.action, row->action);
	ck_assert_uint_eq(plan.clusters, row->clusters);
}

END_TEST

struct change_row {
	uint64_t old;
	uint64_t new;
	bool frees;
};

static const struct change_row zero_keep[] = {
	{ 0, 1, false },
	{ 1, 1, false },
	{ COPIED | 5 * CLUSTER, COPIED | 5 * CLUSTER | 1, false },
	{ 5 * CLUSTER, 5 * CLUSTER | 1, false },
	{ COPIED | 5 * CLUSTER | 1, COPIED | 5 * CLUSTER | 1, false },
	{ COMPRESSED, 1, true },
};

static const struct change_row zero_unmap[] = {
	{ 0, 1, false },
	{ 1, 1, false },
	{ COPIED | 5 * CLUSTER, 1, true },
	{ 5 * CLUSTER, 1, true },
	{ COPIED | 5 * CLUSTER | 1, 1, true },
	{ COMPRESSED, 1, true },
};

static const struct change_row discard_v3_backed[] = {
	{ 0, 1, false },
	{ 1, 1, false },
	{ COPIED | 5 * CLUSTER, 1, true },
	{ 5 * CLUSTER | 1, 1, true },
	{ COMPRESSED, 1, true },
};

static const struct change_row discard_v2[] = {
	{ 0, 0, false },
	{ COPIED | 5 * CLUSTER, 0, true },
	{ COMPRESSED, 0, true },
};

static void expect(struct qcf_entry_change change, const struct change_row *row)
{
	ck_assert_uint_eq(qcf_be64_decode(change.entry.word), row->new);
	ck_assert_int_eq(change.changed, row->old != row->new);
	ck_assert_int_eq(change.frees, row->frees);
}

#define FOR_EACH(row, rows)                       \
	for (const struct change_row *row = rows; \
	     row < rows + sizeof(rows) / sizeof(rows[0]); row++)

START_TEST(test_zero)
{
	FOR_EACH(row, zero_keep)
	expect(qcf_zero_plan(&v3, raw(row->old), 1, false), row);
	FOR_EACH(row, zero_unmap)
	expect(qcf_zero_plan(&v3, raw(row->old), 1, true), row);
}

END_TEST

START_TEST(test_discard)
{
	const struct change_row unbacked = { 0, 0, false };

	FOR_EACH(row, discard_v3_backed)
	expect(qcf_discard_plan(&v3, raw(row->old), 1, true), row);
	FOR_EACH(row, discard_v2)
	expect(qcf_discard_plan(&v2, raw(row->old), 1, false), row);
	expect(qcf_discard_plan(&v3, raw(0), 1, false), &unbacked);
}

END_TEST

START_TEST(test_host_clusters)
{
	/* Two extra sectors from the last one of cluster 5 on. */
	uint64_t across =
		QCF_ENTRY_COMPRESSED | UINT64_C(2) << 54 | (6 * CLUSTER - 512);
	uint64_t first;

	ck_assert_uint_eq(qcf_entry_host_clusters(&v3, raw(across), &first), 2);
	ck_assert_uint_eq(first, 5);
	ck_assert_uint_eq(
		qcf_entry_host_clusters(&v3, raw(COPIED | 7 * CLUSTER), &first),
		1);
	ck_assert_uint_eq(first, 7);
	ck_assert_uint_eq(qcf_entry_host_clusters(&v3, raw(1), &first), 0);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_loop_test(tcase, test_write, 0,
	                    (int)(sizeof(write_rows) / sizeof(write_rows[0])));
	tcase_add_test(tcase, test_zero);
	tcase_add_test(tcase, test_discard);
	tcase_add_test(tcase, test_host_clusters);
}

int main(void)
{
	return unit_run("write plans", add);
}
