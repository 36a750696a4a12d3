/* SPDX-License-Identifier: MIT */
/*
 * Promise: freed clusters leave quarantine only after a commit has made their
 * removal stable and every request of that time has ended.
 */
#include "gate.h"
#include "quarantine.h"
#include "unit.h"

static struct qcf_quarantine q;

static void set_up(void)
{
	qcf_quarantine_init(&q);
}

static void tear_down(void)
{
	qcf_quarantine_fini(&q);
}

static void put(uint64_t cluster, uint64_t count)
{
	struct qcf_freed_batch *batch = qcf_freed_batch_new(1);

	qcf_freed_batch_add(batch, cluster, count);
	qcf_quarantine_add(&q, batch);
}

static uint64_t take(uint64_t oldest)
{
	struct qcf_freed_batch *batch = qcf_quarantine_take(&q, oldest);
	uint64_t count = 0;

	while (batch != NULL) {
		struct qcf_freed_batch *next = batch->next;

		count += batch->runs[0].count;
		free(batch);
		batch = next;
	}
	return count;
}

START_TEST(test_not_before_the_commit)
{
	put(5, 3);
	ck_assert_uint_eq(take(UINT64_MAX), 0);
	qcf_quarantine_begin(&q);
	ck_assert_uint_eq(take(UINT64_MAX), 0);
	qcf_quarantine_stable(&q, 1);
	ck_assert_uint_eq(take(UINT64_MAX), 3);
	ck_assert_uint_eq(take(UINT64_MAX), 0);
}

END_TEST

START_TEST(test_not_while_an_older_request_runs)
{
	struct qcf_gate gate;
	struct qcf_gate_slot *slot;

	qcf_gate_init(&gate);
	slot = qcf_gate_enter(&gate);
	put(5, 3);
	qcf_quarantine_begin(&q);
	qcf_quarantine_stable(&q, qcf_gate_advance(&gate));
	ck_assert_uint_eq(take(qcf_gate_oldest(&gate)), 0);
	qcf_gate_renew(&gate, slot);
	ck_assert_uint_eq(take(qcf_gate_oldest(&gate)), 3);
	qcf_gate_leave(&gate, slot);
	qcf_gate_fini(&gate);
}

END_TEST

START_TEST(test_a_failed_commit_changes_nothing)
{
	put(5, 3);
	qcf_quarantine_begin(&q);
	put(9, 1);
	qcf_quarantine_failed(&q);
	ck_assert_uint_eq(qcf_quarantine_unlinked(&q), 4);
	qcf_quarantine_begin(&q);
	qcf_quarantine_stable(&q, 7);
	ck_assert_uint_eq(take(7), 0);
	ck_assert_uint_eq(take(8), 4);
	ck_assert(!qcf_quarantine_has_stable(&q));
}

END_TEST

START_TEST(test_what_is_freed_during_a_commit_waits_for_the_next)
{
	put(5, 3);
	qcf_quarantine_begin(&q);
	put(9, 1);
	qcf_quarantine_stable(&q, 1);
	ck_assert_uint_eq(take(UINT64_MAX), 3);
	ck_assert_uint_eq(qcf_quarantine_unlinked(&q), 1);
}

END_TEST

START_TEST(test_neighbours_make_one_run)
{
	struct qcf_freed_batch *batch = qcf_freed_batch_new(2);

	qcf_freed_batch_add(batch, 5, 1);
	qcf_freed_batch_add(batch, 6, 2);
	qcf_freed_batch_add(batch, 6, 1);
	ck_assert_uint_eq(batch->run_count, 2);
	ck_assert_uint_eq(batch->runs[0].count, 3);
	free(batch);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_not_before_the_commit);
	tcase_add_test(tcase, test_not_while_an_older_request_runs);
	tcase_add_test(tcase, test_a_failed_commit_changes_nothing);
	tcase_add_test(tcase,
	               test_what_is_freed_during_a_commit_waits_for_the_next);
	tcase_add_test(tcase, test_neighbours_make_one_run);
}

int main(void)
{
	return unit_run("freed clusters wait", add);
}
