/* SPDX-License-Identifier: MIT */
/*
 * Promise: while the gate is closed no request is inside, also when more threads
 * come than there are slots; none is lost and none waits for ever.
 */
#include <pthread.h>

#include "gate.h"
#include "unit.h"

#define THREADS  (QCF_GATE_SLOTS + 16)
#define ROUNDS   300
#define CLOSINGS 200

static struct qcf_gate gate;
static atomic_int inside;
static atomic_int entered;
static atomic_bool is_closed;
static atomic_int violations;

static void *guest(void *unused)
{
	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		struct qcf_gate_slot *slot = qcf_gate_enter(&gate);

		atomic_fetch_add(&inside, 1);
		atomic_fetch_add(&entered, 1);
		if (atomic_load(&is_closed))
			atomic_fetch_add(&violations, 1);
		if (i % 7 == 0)
			sched_yield();
		atomic_fetch_sub(&inside, 1);
		qcf_gate_leave(&gate, slot);
	}
	return NULL;
}

static void *closer(void *unused)
{
	(void)unused;
	for (int i = 0; i < CLOSINGS; i++) {
		qcf_gate_close(&gate);
		if (atomic_exchange(&is_closed, true) ||
		    atomic_load(&inside) != 0)
			atomic_fetch_add(&violations, 1);
		sched_yield();
		atomic_store(&is_closed, false);
		qcf_gate_open(&gate);
	}
	return NULL;
}

START_TEST(test_closed_means_empty)
{
	pthread_t guests[THREADS];
	pthread_t closers[2];

	qcf_gate_init(&gate);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&guests[i], NULL, guest, NULL),
		                 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
			pthread_create(&closers[i], NULL, closer, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(guests[i], NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(closers[i], NULL);
	ck_assert_int_eq(atomic_load(&violations), 0);
	ck_assert_int_eq(atomic_load(&entered), THREADS * ROUNDS);
	ck_assert_uint_eq(qcf_gate_oldest(&gate), UINT64_MAX);
	qcf_gate_fini(&gate);
}

END_TEST

START_TEST(test_oldest_is_the_oldest)
{
	struct qcf_gate_slot *first;
	struct qcf_gate_slot *second;

	qcf_gate_init(&gate);
	ck_assert_uint_eq(qcf_gate_oldest(&gate), UINT64_MAX);
	first = qcf_gate_enter(&gate);
	ck_assert_uint_eq(qcf_gate_advance(&gate), 1);
	second = qcf_gate_enter(&gate);
	ck_assert_uint_eq(qcf_gate_oldest(&gate), 1);
	qcf_gate_leave(&gate, first);
	ck_assert_uint_eq(qcf_gate_oldest(&gate), 2);
	qcf_gate_leave(&gate, second);
	qcf_gate_fini(&gate);
}

END_TEST

/* Whoever finds the gate closed may have a slot for a moment before. */
START_TEST(test_visitors_do_not_count)
{
	qcf_gate_init(&gate);
	qcf_gate_close(&gate);
	atomic_store(&gate.slots[5].epoch, atomic_load(&gate.epoch));
	ck_assert_uint_eq(qcf_gate_oldest(&gate), UINT64_MAX);
	qcf_gate_open(&gate);
	ck_assert_uint_eq(qcf_gate_oldest(&gate), atomic_load(&gate.epoch));
	atomic_store(&gate.slots[5].epoch, 0);
	qcf_gate_fini(&gate);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, test_closed_means_empty);
	tcase_add_test(tcase, test_oldest_is_the_oldest);
	tcase_add_test(tcase, test_visitors_do_not_count);
}

int main(void)
{
	return unit_run("the gate keeps requests apart", add);
}
