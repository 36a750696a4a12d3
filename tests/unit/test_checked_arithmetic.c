/* SPDX-License-Identifier: MIT */
/*
 * Promise: checked arithmetic says exactly when a result does not fit, and
 * leaves the target alone then.
 */
#include "checked.h"
#include "unit.h"

/* Values around every place where something can go wrong. */
static const uint64_t edges[] = {
	0,
	1,
	2,
	511,
	512,
	513,
	UINT32_MAX,
	(uint64_t)UINT32_MAX + 1,
	INT64_MAX,
	(uint64_t)INT64_MAX + 1,
	UINT64_MAX - 1,
	UINT64_MAX,
};

static void check_pair(uint64_t a, uint64_t b)
{
	uint64_t result = 4711;
	bool sum_fits = a <= UINT64_MAX - b;
	bool product_fits = b == 0 || a <= UINT64_MAX / b;

	ck_assert(qcf_add_u64(a, b, &result) == sum_fits);
	ck_assert_uint_eq(result, sum_fits ? a + b : 4711);
	result = 4711;
	ck_assert(qcf_mul_u64(a, b, &result) == product_fits);
	ck_assert_uint_eq(result, product_fits ? a * b : 4711);
	if (b == 0)
		return;
	/* The smallest number of pieces of b that cover a. */
	result = qcf_div_ceil(a, b);
	ck_assert(result == 0 || result - 1 <= UINT64_MAX / b);
	ck_assert(result == 0 ? a == 0 : (result - 1) * b < a);
	ck_assert(result > UINT64_MAX / b || result * b >= a);
}

START_TEST(sums_products_and_quotients)
{
	struct unit_random random = unit_random_init();

	for (size_t i = 0; i < QCF_ARRAY_LEN(edges); i++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(edges); j++)
			check_pair(edges[i], edges[j]);
	}
	for (int i = 0; i < 20000; i++) {
		uint64_t a = unit_random_u64(&random);
		uint64_t b = unit_random_u64(&random);

		check_pair(a >> (a % 64), b >> (b % 64));
	}
}

END_TEST

START_TEST(ranges)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(edges); i++) {
		for (size_t j = 0; j < QCF_ARRAY_LEN(edges); j++) {
			for (size_t k = 0; k < QCF_ARRAY_LEN(edges); k++) {
				bool within =
					edges[i] <= UINT64_MAX - edges[j] &&
					edges[i] + edges[j] <= edges[k];

				ck_assert(qcf_range_within(edges[i], edges[j],
				                           edges[k]) == within);
			}
		}
	}
}

END_TEST

START_TEST(alignment)
{
	ck_assert_uint_eq(qcf_align_down(513, 512), 512);
	ck_assert_uint_eq(qcf_align_down(511, 512), 0);
	ck_assert_uint_eq(qcf_align_up(0, 512), 0);
	ck_assert_uint_eq(qcf_align_up(1, 512), 512);
	ck_assert_uint_eq(qcf_align_up(512, 512), 512);
	ck_assert_uint_eq(qcf_align_up(UINT64_MAX, 512), 0);
	ck_assert(qcf_is_aligned(0, 512));
	ck_assert(qcf_is_aligned(1024, 512));
	ck_assert(!qcf_is_aligned(1025, 512));
	ck_assert(!qcf_is_aligned(256, 512));
}

END_TEST

START_TEST(powers_of_two)
{
	ck_assert(!qcf_is_power_of_two(0));
	ck_assert(!qcf_is_power_of_two(3));
	ck_assert(!qcf_is_power_of_two(UINT64_MAX));
	for (uint32_t i = 0; i < 64; i++) {
		ck_assert(qcf_is_power_of_two(UINT64_C(1) << i));
		ck_assert_uint_eq(qcf_log2(UINT64_C(1) << i), i);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, sums_products_and_quotients);
	tcase_add_test(tcase, ranges);
	tcase_add_test(tcase, alignment);
	tcase_add_test(tcase, powers_of_two);
}

int main(void)
{
	return unit_run("checked_arithmetic", add_tests);
}
