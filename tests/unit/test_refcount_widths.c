/* SPDX-License-Identifier: MIT */
/*
 * Promise: counts of every width are stored as documented, setting one changes
 * no other, and the fast searches agree with looking at every slot.
 */
#include <stdlib.h>
#include <string.h>

#include "refcount_entry.h"
#include "unit.h"

#define MAX_BYTES 4096u

START_TEST(documented_bytes)
{
	static const struct {
		uint32_t order;
		uint64_t counts[8];
		const char *bytes;
		size_t len;
	} rows[] = {
		{ 0, { 1, 1, 1, 1, 1, 1, 0, 0 }, "\x3f", 1 },
		{ 1, { 1, 1, 1, 1, 2, 2, 1, 1 }, "\x55\x5a", 2 },
		{ 2, { 1, 1, 1, 1, 2, 2, 1, 1 }, "\x11\x11\x22\x11", 4 },
		{ 3,
		  { 1, 1, 1, 1, 2, 2, 1, 1 },
		  "\x01\x01\x01\x01\x02\x02\x01\x01",
		  8 },
		{ 4,
		  { 1, 1, 1, 1, 2, 0x1234, 1, 1 },
		  "\0\x01\0\x01\0\x01\0\x01\0\x02\x12\x34\0\x01\0\x01",
		  16 },
		{ 5,
		  { 1, 0x12345678, 0, 0, 0, 0, 0, 0 },
		  "\0\0\0\x01\x12\x34\x56\x78\0\0\0\0\0\0\0\0"
		  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
		  32 },
		{ 6,
		  { UINT64_C(0x0123456789abcdef), 0, 0, 0, 0, 0, 0, 1 },
		  "\x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0"
		  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
		  64 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[64] = { 0 };

		for (uint64_t slot = 0; slot < 8; slot++)
			qcf_refcount_set(bytes, slot, rows[i].order,
			                 rows[i].counts[slot]);
		ck_assert_mem_eq(bytes, rows[i].bytes, rows[i].len);
		for (uint64_t slot = 0; slot < 8; slot++)
			ck_assert_uint_eq(
				qcf_refcount_get(bytes, slot, rows[i].order),
				rows[i].counts[slot]);
	}
}

END_TEST

static uint64_t random_count(struct unit_random *random, uint32_t order)
{
	uint64_t max = UINT64_MAX >> (64 - (1u << order));

	switch (unit_random_below(random, 4)) {
	case 0:
		return max;
	case 1:
		return unit_random_u64(random) & max;
	case 2:
		return max / 2 + 1;
	default:
		return 0;
	}
}

static bool agrees(const uint8_t *counts, const uint64_t *model, uint64_t count,
                   uint32_t order)
{
	for (uint64_t slot = 0; slot < count; slot++) {
		if (qcf_refcount_get(counts, slot, order) != model[slot])
			return false;
	}
	return true;
}

START_TEST(runs_are_counts_one_by_one)
{
	struct unit_random random = unit_random_init();

	for (uint32_t order = 0; order <= 6; order++) {
		uint8_t bytes[1024] = { 0 };
		uint64_t model[128];
		uint64_t values[100];

		for (size_t i = 0; i < 128; i++) {
			model[i] = random_count(&random, order);
			qcf_refcount_set(bytes, i, order, model[i]);
		}
		qcf_refcount_get_run(bytes, 17, 100, order, values);
		ck_assert_mem_eq(values, model + 17, sizeof(values));
		for (size_t i = 0; i < 100; i++)
			model[17 + i] = values[i] =
				random_count(&random, order);
		qcf_refcount_set_run(bytes, 17, 100, order, values);
		ck_assert(agrees(bytes, model, 128, order));
	}
}

END_TEST

START_TEST(setting_one_changes_no_other)
{
	struct unit_random random = unit_random_init();

	for (uint32_t order = 0; order <= 6; order++) {
		uint64_t model[64] = { 0 };
		uint8_t bytes[64 * 8] = { 0 };

		for (int i = 0; i < 2000; i++) {
			uint64_t slot = unit_random_below(&random, 64);

			model[slot] = random_count(&random, order);
			qcf_refcount_set(bytes, slot, order, model[slot]);
			ck_assert(agrees(bytes, model, 64, order));
		}
	}
}

END_TEST

static uint64_t naive_find_zero(const uint8_t *counts, uint64_t from,
                                uint64_t count, uint32_t order)
{
	while (from < count && qcf_refcount_get(counts, from, order) != 0)
		from++;
	return from < count ? from : count;
}

static uint64_t naive_zero_run(const uint8_t *counts, uint64_t from,
                               uint64_t max, uint32_t order)
{
	uint64_t run = 0;

	while (run < max && qcf_refcount_get(counts, from + run, order) == 0)
		run++;
	return run;
}

/*
 * The array is a block of its own of exactly the bytes its slots need, so that
 * a load behind it is noticed by memory checkers.
 */
static uint8_t *random_counts(struct unit_random *random, uint64_t count,
                              uint32_t order)
{
	size_t len = (size_t)((count << order) + 7) / 8;
	uint8_t *counts = calloc(1, len);
	uint64_t density = 1 + unit_random_below(random, 200);

	ck_assert_ptr_nonnull(counts);
	/* Bits of slots behind the end are no business of a search. */
	memset(counts, unit_random_below(random, 2) == 0 ? 0 : 0xff, len);
	for (uint64_t slot = 0; slot < count; slot++) {
		bool zero = unit_random_below(random, density) == 0;

		if (unit_random_below(random, 2) == 0)
			qcf_refcount_set(counts, slot, order,
			                 zero ? 0
			                      : random_count(random, order));
	}
	return counts;
}

START_TEST(searches_agree_with_the_naive_ones)
{
	struct unit_random random = unit_random_init();

	for (int i = 0; i < 5000; i++) {
		uint32_t order = (uint32_t)unit_random_below(&random, 7);
		uint64_t count = 1 + unit_random_below(&random, 150);
		uint8_t *counts = random_counts(&random, count, order);

		for (int j = 0; j < 8; j++) {
			uint64_t from = unit_random_below(&random, count + 1);
			uint64_t end =
				from +
				unit_random_below(&random, count - from + 1);

			ck_assert_uint_eq(
				qcf_refcount_find_zero(counts, from, end,
			                               order),
				naive_find_zero(counts, from, end, order));
			ck_assert_uint_eq(qcf_refcount_zero_run(counts, from,
			                                        end - from,
			                                        order),
			                  naive_zero_run(counts, from,
			                                 end - from, order));
		}
		free(counts);
	}
}

END_TEST

START_TEST(a_full_and_an_empty_block)
{
	uint8_t *counts = malloc(MAX_BYTES);

	ck_assert_ptr_nonnull(counts);
	for (uint32_t order = 0; order <= 6; order++) {
		uint64_t count = (uint64_t)MAX_BYTES * 8 >> order;

		memset(counts, 0xff, MAX_BYTES);
		ck_assert_uint_eq(
			qcf_refcount_find_zero(counts, 0, count, order), count);
		ck_assert_uint_eq(
			qcf_refcount_zero_run(counts, 0, count, order), 0);
		qcf_refcount_set(counts, count - 1, order, 0);
		ck_assert_uint_eq(
			qcf_refcount_find_zero(counts, 0, count, order),
			count - 1);
		memset(counts, 0, MAX_BYTES);
		ck_assert_uint_eq(
			qcf_refcount_zero_run(counts, 0, count, order), count);
		ck_assert_uint_eq(
			qcf_refcount_find_zero(counts, count, count, order),
			count);
		ck_assert_uint_eq(
			qcf_refcount_zero_run(counts, count, 0, order), 0);
	}
	free(counts);
}

END_TEST

START_TEST(table_entries_mask_their_reserved_bits)
{
	struct qcf_be64 raw = qcf_be64_encode(UINT64_C(0xffff0000000201ff));

	ck_assert_uint_eq(qcf_reftable_entry_decode(raw),
	                  UINT64_C(0xffff000000020000));
	ck_assert_uint_eq(
		qcf_reftable_entry_decode(qcf_reftable_entry_encode(0x20000)),
		0x20000);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, documented_bytes);
	tcase_add_test(tcase, runs_are_counts_one_by_one);
	tcase_add_test(tcase, setting_one_changes_no_other);
	tcase_add_test(tcase, searches_agree_with_the_naive_ones);
	tcase_add_test(tcase, a_full_and_an_empty_block);
	tcase_add_test(tcase, table_entries_mask_their_reserved_bits);
}

int main(void)
{
	return unit_run("refcount_widths", add_tests);
}
