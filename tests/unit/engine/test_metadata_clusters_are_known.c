/* SPDX-License-Identifier: MIT */
/*
 * Promise: a cluster that holds metadata is recognised, one that does not is
 * not, whatever was added and removed before.
 */
#include "overlap.h"
#include "unit.h"

#define CLUSTERS 4096

static struct qcf_overlap overlap;

static void set_up(void)
{
	qcf_overlap_init(&overlap);
}

static void tear_down(void)
{
	qcf_overlap_fini(&overlap);
}

START_TEST(test_header_always)
{
	ck_assert(qcf_overlap_hits(&overlap, 0, 1));
	ck_assert(!qcf_overlap_hits(&overlap, 1, 1000));
}

END_TEST

START_TEST(test_tables_move)
{
	qcf_overlap_set_table(&overlap, QCF_OVERLAP_L1, 10, 4);
	ck_assert(!qcf_overlap_hits(&overlap, 9, 1));
	ck_assert(qcf_overlap_hits(&overlap, 9, 2));
	ck_assert(qcf_overlap_hits(&overlap, 13, 1));
	ck_assert(!qcf_overlap_hits(&overlap, 14, 5));
	qcf_overlap_set_table(&overlap, QCF_OVERLAP_L1, 20, 4);
	ck_assert(!qcf_overlap_hits(&overlap, 10, 4));
	ck_assert(qcf_overlap_hits(&overlap, 10, 11));
}

END_TEST

START_TEST(test_ranges_merge)
{
	struct qcf_overlap_range *ranges = calloc(3, sizeof(*ranges));

	ranges[0] = (struct qcf_overlap_range){ 50, 60 };
	ranges[1] = (struct qcf_overlap_range){ 10, 20 };
	ranges[2] = (struct qcf_overlap_range){ 15, 30 };
	qcf_overlap_set_ranges(&overlap, QCF_OVERLAP_SNAPSHOTS, ranges, 3);
	ck_assert_uint_eq(overlap.ranges[QCF_OVERLAP_SNAPSHOTS].count, 2);
	ck_assert(qcf_overlap_hits(&overlap, 29, 1));
	ck_assert(!qcf_overlap_hits(&overlap, 30, 20));
	ck_assert(qcf_overlap_hits(&overlap, 30, 21));
	ck_assert(!qcf_overlap_hits(&overlap, 60, 1));
}

END_TEST

START_TEST(test_random_sets)
{
	struct unit_random random = unit_random_init();
	bool is_in[CLUSTERS] = { false };

	for (int i = 0; i < 20000; i++) {
		uint64_t c = 1 + unit_random_below(&random, CLUSTERS - 1);

		if (unit_random_below(&random, 3) > 0) {
			ck_assert_int_eq(qcf_overlap_add(&overlap,
			                                 QCF_OVERLAP_L2, c,
			                                 NULL),
			                 0);
			is_in[c] = true;
		} else {
			qcf_overlap_remove(&overlap, QCF_OVERLAP_L2, c);
			is_in[c] = false;
		}
	}
	for (uint64_t c = 1; c < CLUSTERS; c++)
		ck_assert_int_eq(qcf_overlap_hits(&overlap, c, 1), is_in[c]);
}

END_TEST

START_TEST(test_one_cluster_two_uses)
{
	ck_assert_int_eq(qcf_overlap_add(&overlap, QCF_OVERLAP_L2, 5, NULL), 0);
	ck_assert(!qcf_overlap_is_not_only(&overlap, QCF_OVERLAP_L2, 5));
	ck_assert(qcf_overlap_is_not_only(&overlap, QCF_OVERLAP_BLOCK, 5));
	ck_assert_int_eq(qcf_overlap_add(&overlap, QCF_OVERLAP_BLOCK, 5, NULL),
	                 0);
	ck_assert(qcf_overlap_is_not_only(&overlap, QCF_OVERLAP_L2, 5));
	qcf_overlap_set_table(&overlap, QCF_OVERLAP_REFTABLE, 7, 1);
	ck_assert(qcf_overlap_is_not_only(&overlap, QCF_OVERLAP_L2, 7));
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_header_always);
	tcase_add_test(tcase, test_tables_move);
	tcase_add_test(tcase, test_ranges_merge);
	tcase_add_test(tcase, test_random_sets);
	tcase_add_test(tcase, test_one_cluster_two_uses);
}

int main(void)
{
	return unit_run("metadata clusters are known", add);
}
