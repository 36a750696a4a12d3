/* SPDX-License-Identifier: MIT */
/*
 * Promise: a large array of bits gives back what was set, wherever that is, takes
 * memory for that only, and stops at its limit; several threads that set bits
 * lose none.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bitmap_bits.h"
#include "unit.h"

#define BITS ((uint64_t)1 << 20)

static struct qcf_bits_memory memory;
static struct qcf_bits bits;

static void setup(void)
{
	memory = (struct qcf_bits_memory){ .limit = 16 << 20 };
	qcf_bits_init(&bits, &memory);
}

static void teardown(void)
{
	qcf_bits_fini(&bits);
	ck_assert_uint_eq(memory.used, 0);
}

START_TEST(random_ranges_match_a_plain_array)
{
	struct unit_random random = unit_random_init();
	static uint8_t want[BITS];
	static uint8_t bytes[BITS / 8];

	for (int round = 0; round < 300; round++) {
		uint64_t first = unit_random_u64(&random) % BITS;
		uint64_t count = 1 + unit_random_u64(&random) % 5000;

		count = QCF_MIN(count, BITS - first);
		ck_assert_int_eq(qcf_bits_set(&bits, first, count, NULL), 0);
		memset(want + first, 1, count);
	}
	qcf_bits_or_into(&bits, 0, BITS, bytes);
	for (uint64_t i = 0; i < BITS; i++)
		ck_assert_uint_eq(bytes[i / 8] >> i % 8 & 1, want[i]);
	for (uint64_t at = 0; at < BITS;) {
		uint64_t first = qcf_bits_next(&bits, at, BITS);
		uint64_t end = qcf_bits_next_clear(&bits, first, BITS);

		for (; at < first; at++)
			ck_assert_uint_eq(want[at], 0);
		for (; at < end; at++)
			ck_assert_uint_eq(want[at], 1);
	}
}

END_TEST

static const uint64_t places[] = {
	0,
	1,
	63,
	64,
	4095,
	32767,
	32768,
	(1 << 24) - 1,
	1 << 24,
	(UINT64_C(1) << 32) - 1,
	UINT64_C(1) << 32,
	QCF_BITS_MAX - 1,
};

START_TEST(single_bits_are_found_anywhere)
{
	uint64_t place = places[_i];

	ck_assert(qcf_bits_is_empty(&bits));
	ck_assert_uint_eq(qcf_bits_next(&bits, 0, QCF_BITS_MAX), QCF_BITS_MAX);
	ck_assert_uint_eq(qcf_bits_next_clear(&bits, place, QCF_BITS_MAX),
	                  place);
	ck_assert_int_eq(qcf_bits_set(&bits, place, 1, NULL), 0);
	ck_assert(!qcf_bits_is_empty(&bits));
	ck_assert_uint_eq(qcf_bits_next(&bits, 0, QCF_BITS_MAX), place);
	ck_assert_uint_eq(qcf_bits_next(&bits, place, place), place);
	ck_assert_uint_eq(qcf_bits_next(&bits, 0, place), place);
	ck_assert_uint_eq(qcf_bits_next(&bits, place + 1, QCF_BITS_MAX),
	                  QCF_BITS_MAX);
	ck_assert_uint_eq(qcf_bits_next_clear(&bits, place, QCF_BITS_MAX),
	                  place + 1);
	ck_assert_uint_le(memory.used, 3 * 4096);
}

END_TEST

START_TEST(the_limit_holds)
{
	uint64_t one_of_each = sizeof(struct qcf_bits_root) +
	                       sizeof(struct qcf_bits_node) +
	                       sizeof(struct qcf_bits_leaf);
	struct qcowfmt_error *error = NULL;

	memory.limit = one_of_each + 100;
	ck_assert_int_eq(qcf_bits_set(&bits, 5, 1, NULL), 0);
	ck_assert_int_eq(qcf_bits_set(&bits, 1 << 20, 1, &error), -E2BIG);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_LIMIT);
	ck_assert_uint_eq(memory.used, one_of_each);
	ck_assert_uint_eq(qcf_bits_next(&bits, 0, BITS * 2), 5);
	ck_assert_uint_eq(qcf_bits_next(&bits, 6, BITS * 2), BITS * 2);
	ck_assert_int_eq(qcf_bits_set(&bits, 100, 1000, NULL), 0);
	qcowfmt_error_free(error);
}

END_TEST

#define THREADS    4u
#define PER_THREAD 20000u

/* Each thread has every fourth bit, so that all of them change the same words. */
static void *set_bits(void *opaque)
{
	uint64_t mine = (uint64_t)(uintptr_t)opaque;

	for (uint64_t i = 0; i < PER_THREAD; i++) {
		if (qcf_bits_set(&bits, i * 101 * THREADS + mine, 1, NULL) < 0)
			return &bits;
	}
	return NULL;
}

START_TEST(threads_lose_no_bit)
{
	pthread_t threads[THREADS];

	for (uint64_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, set_bits,
		                                (void *)(uintptr_t)i),
		                 0);
	for (uint64_t i = 0; i < THREADS; i++) {
		void *failed = NULL;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	for (uint64_t i = 0; i < PER_THREAD; i++) {
		uint64_t first = i * 101 * THREADS;

		ck_assert_uint_eq(qcf_bits_next(&bits, first, BITS * 64),
		                  first);
		ck_assert_uint_eq(qcf_bits_next_clear(&bits, first, BITS * 64),
		                  first + THREADS);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, random_ranges_match_a_plain_array);
	tcase_add_loop_test(tcase, single_bits_are_found_anywhere, 0,
	                    (int)(sizeof(places) / sizeof(places[0])));
	tcase_add_test(tcase, the_limit_holds);
	tcase_add_test(tcase, threads_lose_no_bit);
}

int main(void)
{
	return unit_run("bitmap_bits_are_kept", add);
}
