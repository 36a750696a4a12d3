/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever a storage held before, the space of a new image reads as
 * zeros, however it is preallocated, and not a byte behind it changes.
 */
#include <string.h>

#include "preallocate.h"
#include "storage_mem.h"
#include "unit.h"

#define OLD_SIZE 300000u
#define NEW_SIZE 262144u

static struct qcowfmt_storage *stale_storage(void)
{
	struct qcowfmt_storage *s = NULL;
	uint8_t *bytes = malloc(OLD_SIZE);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 0xee, OLD_SIZE);
	ck_assert_int_eq(qcowfmt_storage_new_memory(0, &s, NULL), 0);
	ck_assert_int_eq(qcf_storage_pwrite(s, bytes, OLD_SIZE, 0, NULL), 0);
	free(bytes);
	return s;
}

/* NEW_SIZE zeros, and what is left of the old content behind them. */
static void expect_zeros(struct qcowfmt_storage *s, uint64_t size)
{
	uint8_t *bytes = malloc(OLD_SIZE);
	uint64_t have = 0;

	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(qcf_storage_get_size(s, &have, NULL), 0);
	ck_assert_uint_eq(have, size);
	ck_assert_int_eq(
		qcf_storage_pread_exact(s, bytes, (size_t)size, 0, NULL), 0);
	for (size_t i = 0; i < size; i++)
		ck_assert_msg(bytes[i] == (i < NEW_SIZE ? 0 : 0xee),
		              "byte %zu is 0x%02x", i, bytes[i]);
	free(bytes);
}

static const int modes[] = { QCOWFMT_PREALLOCATION_OFF,
	                     QCOWFMT_PREALLOCATION_METADATA,
	                     QCOWFMT_PREALLOCATION_FALLOC,
	                     QCOWFMT_PREALLOCATION_FULL };
static const uint64_t froms[] = { 0, 512, 70000, NEW_SIZE };

START_TEST(in_storage_that_grows)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(modes) * QCF_ARRAY_LEN(froms);
	     i++) {
		struct qcowfmt_storage *s = stale_storage();

		ck_assert_int_eq(qcf_preallocate_space(s, NEW_SIZE,
		                                       froms[i / 4],
		                                       modes[i % 4], NULL),
		                 0);
		expect_zeros(s, NEW_SIZE);
		qcowfmt_storage_free(s);
	}
}

END_TEST

START_TEST(in_storage_of_fixed_size)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(modes) * QCF_ARRAY_LEN(froms);
	     i++) {
		struct qcowfmt_storage *s = stale_storage();

		s->fixed_size = true;
		s->reads_zero_when_grown = false;
		ck_assert_int_eq(qcf_preallocate_space(s, NEW_SIZE,
		                                       froms[i / 4],
		                                       modes[i % 4], NULL),
		                 0);
		expect_zeros(s, OLD_SIZE);
		qcowfmt_storage_free(s);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, in_storage_that_grows);
	tcase_add_test(tcase, in_storage_of_fixed_size);
}

int main(void)
{
	return unit_run("new_space_is_zeros", add_tests);
}
