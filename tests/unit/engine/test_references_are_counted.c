/* SPDX-License-Identifier: MIT */
/*
 * Promise: the counts of a check are those of an array with a number for each
 * cluster, near and far ones, small counts and such that reach the maximum; and
 * everything that is asked about a group of them at once agrees with that.
 */
#include <stdlib.h>
#include <string.h>

#include "check_counts.h"
#include "checked.h"
#include "unit.h"

/* Two areas of clusters that are far apart. */
#define AREA ((uint64_t)512)
#define FAR  (UINT64_C(1) << 47)

static uint64_t model[2 * AREA];
static struct qcf_counts counts;

static uint64_t cluster_of(uint64_t slot)
{
	return slot < AREA ? slot : FAR + slot - AREA;
}

static void add(uint64_t slot, uint64_t len, uint32_t n)
{
	ck_assert_int_eq(
		qcf_counts_add(&counts, cluster_of(slot), len, n, NULL), 0);
	for (uint64_t i = slot; i < slot + len; i++)
		model[i] = QCF_MIN(model[i] + n, (uint64_t)UINT32_MAX);
}

static void subtract(uint64_t slot, uint64_t len, uint32_t n)
{
	qcf_counts_subtract(&counts, cluster_of(slot), len, n);
	for (uint64_t i = slot; i < slot + len; i++)
		model[i] -= QCF_MIN(model[i], (uint64_t)n);
}

static void compare_group(uint64_t slot)
{
	uint64_t number = cluster_of(slot) / QCF_COUNT_GROUP;
	uint64_t ones = qcf_counts_ones(&counts, number);
	uint32_t values[QCF_COUNT_GROUP];
	uint32_t value = 0;
	bool equal = true;
	bool any = false;

	qcf_counts_group(&counts, number, values);
	for (uint64_t i = 0; i < QCF_COUNT_GROUP; i++) {
		uint64_t want = model[slot + i];

		ck_assert_uint_eq(values[i], want);
		ck_assert_uint_eq(ones >> i & 1, want == 1);
		ck_assert_uint_eq(qcf_counts_get(&counts, cluster_of(slot + i)),
		                  want);
		equal = equal && want == model[slot];
		any = any || want > 0;
	}
	ck_assert(qcf_counts_are_equal(&counts, number, &value) == equal);
	ck_assert(!equal || value == model[slot]);
	ck_assert(qcf_counts_in_group(&counts, number) == any);
}

static void compare_end(void)
{
	uint64_t end = 2 * AREA;

	while (end > 0 && model[end - 1] == 0)
		end--;
	ck_assert_uint_eq(qcf_counts_end(&counts),
	                  end == 0 ? 0 : cluster_of(end - 1) + 1);
}

static void compare(void)
{
	for (uint64_t slot = 0; slot < 2 * AREA; slot += QCF_COUNT_GROUP)
		compare_group(slot);
	compare_end();
}

static void begin(void)
{
	counts = (struct qcf_counts){ 0 };
	memset(model, 0, sizeof(model));
}

/* Small numbers, those that carry over several digits, and huge ones. */
static uint32_t some_number(struct unit_random *random)
{
	uint64_t bits = unit_random_below(random, 33);

	if (unit_random_below(random, 4) > 0 || bits == 0)
		return 1;
	return (uint32_t)(unit_random_u64(random) >> (64 - bits));
}

START_TEST(random_changes)
{
	struct unit_random random = unit_random_init();

	begin();
	for (int i = 0; i < 3000; i++) {
		uint64_t area = unit_random_below(&random, 2) * AREA;
		uint64_t slot = unit_random_below(&random, AREA);
		uint64_t len = 1 + unit_random_below(&random, AREA - slot);

		if (unit_random_below(&random, 5) == 0)
			subtract(area + slot, QCF_MIN(len, UINT64_C(9)),
			         some_number(&random));
		else
			add(area + slot,
			    unit_random_below(&random, 2) == 0 ? len : 1,
			    some_number(&random));
		if (i % 50 == 0)
			compare();
	}
	compare();
	qcf_counts_fini(&counts);
}

END_TEST

START_TEST(nothing_is_shared_before_it_is)
{
	begin();
	add(0, AREA, 1);
	add(AREA, AREA, 1);
	ck_assert(!counts.shared);
	compare();
	add(7, 1, 1);
	ck_assert(counts.shared);
	qcf_counts_fini(&counts);

	begin();
	add(7, 1, 16);
	ck_assert(counts.shared);
	qcf_counts_fini(&counts);
}

END_TEST

START_TEST(the_maximum_stays)
{
	begin();
	add(0, 100, UINT32_MAX - 1);
	compare();
	add(0, 50, 1);
	compare();
	add(0, 100, 1);
	compare();
	add(0, 100, UINT32_MAX);
	compare();
	qcf_counts_fini(&counts);
}

END_TEST

/* What the memory of a check is said to be, for an image without gaps. */
START_TEST(packed_counts_are_small)
{
	uint64_t clusters = UINT64_C(1) << 20;

	begin();
	ck_assert_int_eq(qcf_counts_add(&counts, 0, clusters, 1, NULL), 0);
	ck_assert_uint_le(
		counts.digits[0].group_count * sizeof(struct qcf_count_group) +
			counts.digits[0].slot_count * sizeof(uint32_t),
		clusters * 8 / 10);
	for (size_t i = 1; i < QCF_COUNT_DIGITS; i++)
		ck_assert_uint_eq(counts.digits[i].group_count, 0);
	qcf_counts_fini(&counts);
}

END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, random_changes);
	tcase_add_test(tests, nothing_is_shared_before_it_is);
	tcase_add_test(tests, the_maximum_stays);
	tcase_add_test(tests, packed_counts_are_small);
}

int main(void)
{
	return unit_run("references are counted", add_tests);
}
