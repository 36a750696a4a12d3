/* SPDX-License-Identifier: MIT */
/*
 * Promise: a wrapped storage fails exactly the calls it was told to, in the
 * manner it was told, counts what it sees, and otherwise changes nothing.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "count_storage.h"
#include "delay_storage.h"
#include "fail_storage.h"
#include "storage_mem.h"
#include "unit.h"

static struct qcowfmt_storage *new_memory(void)
{
	struct qcowfmt_storage *s;

	ck_assert_int_eq(qcf_storage_mem_new(0, &s, NULL), 0);
	return s;
}

static int put(struct qcowfmt_storage *s, const char *text, uint64_t offset)
{
	return qcf_storage_pwrite(s, text, strlen(text), offset, NULL);
}

START_TEST(nth_call_fails_once)
{
	struct fail_plan plan = {
		.verbs = VERB_BIT(VERB_WRITE),
		.nth = 2,
		.error = ENOSPC,
	};
	struct qcowfmt_storage *s = fail_storage_new(new_memory(), &plan);
	char text[4] = "";

	ck_assert_int_eq(put(s, "one", 0), 0);
	ck_assert_int_eq(qcf_storage_flush(s, NULL), 0);
	ck_assert_int_eq(put(s, "two", 0), -ENOSPC);
	ck_assert_int_eq(qcf_storage_pread_exact(s, text, 3, 0, NULL), 0);
	ck_assert_str_eq(text, "one");
	ck_assert_int_eq(put(s, "two", 0), 0);
	ck_assert_uint_eq(plan.calls, 3);
	ck_assert_uint_eq(plan.failures, 1);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(sticky_failure_stays)
{
	struct fail_plan plan = {
		.verbs = VERB_BIT(VERB_FLUSH) | VERB_BIT(VERB_READ),
		.nth = 1,
		.error = EIO,
		.sticky = true,
	};
	struct qcowfmt_storage *s = fail_storage_new(new_memory(), &plan);
	char text[4];

	ck_assert_int_eq(put(s, "one", 0), 0);
	ck_assert_int_eq(qcf_storage_flush(s, NULL), -EIO);
	ck_assert_int_eq(qcf_storage_flush(s, NULL), -EIO);
	ck_assert_int_eq(qcf_storage_pread_exact(s, text, 3, 0, NULL), -EIO);
	ck_assert_uint_eq(plan.failures, 3);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(part_of_a_write)
{
	struct fail_plan plan = {
		.verbs = VERB_BIT(VERB_WRITE),
		.nth = 1,
		.error = EIO,
		.manner = FAIL_PARTLY,
	};
	struct qcowfmt_storage *s = fail_storage_new(new_memory(), &plan);
	uint8_t bytes[2048];
	uint64_t size;

	memset(bytes, 'x', sizeof(bytes));
	ck_assert_int_eq(qcf_storage_pwrite(s, bytes, 2048, 0, NULL), -EIO);
	ck_assert_int_eq(qcf_storage_get_size(s, &size, NULL), 0);
	ck_assert_uint_eq(size, 1024);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(part_of_a_reservation)
{
	struct fail_plan plan = {
		.verbs = VERB_BIT(VERB_ALLOCATE),
		.nth = 1,
		.error = ENOSPC,
		.manner = FAIL_PARTLY,
	};
	struct qcowfmt_storage *s = fail_storage_new(new_memory(), &plan);
	uint64_t size;

	ck_assert_int_eq(qcf_storage_allocate(s, 0, 4096, NULL), -ENOSPC);
	ck_assert_int_eq(qcf_storage_get_size(s, &size, NULL), 0);
	ck_assert_uint_eq(size, 2048);
	ck_assert_int_eq(qcf_storage_allocate(s, 0, 4096, NULL), 0);
	ck_assert_int_eq(qcf_storage_get_size(s, &size, NULL), 0);
	ck_assert_uint_eq(size, 4096);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(short_read)
{
	struct fail_plan plan = {
		.verbs = VERB_BIT(VERB_READ),
		.nth = 1,
		.manner = FAIL_SHORT,
	};
	struct qcowfmt_storage *s = fail_storage_new(new_memory(), &plan);
	uint8_t bytes[2048] = { 0 };

	memset(bytes, 'x', sizeof(bytes));
	ck_assert_int_eq(qcf_storage_pwrite(s, bytes, 2048, 0, NULL), 0);
	memset(bytes, 0, sizeof(bytes));
	/* Once: the rest is asked for again. */
	ck_assert_int_eq(qcf_storage_pread_exact(s, bytes, 2048, 0, NULL), 0);
	ck_assert_uint_eq(bytes[2047], 'x');
	ck_assert_uint_eq(plan.failures, 1);
	/* Always: halving comes to nothing, which is not the end. */
	plan.sticky = true;
	ck_assert_int_eq(qcf_storage_pread_exact(s, bytes, 2048, 0, NULL),
	                 -EIO);
	ck_assert_int_eq((int)qcf_storage_pread_padded(s, bytes, 2048, 0, NULL),
	                 -EIO);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(counting)
{
	struct storage_counts counts = { 0 };
	struct qcowfmt_storage *s = count_storage_new(new_memory(), &counts);
	char text[4];

	ck_assert_int_eq(put(s, "one", 0), 0);
	ck_assert_int_eq(put(s, "three", 600), 0);
	ck_assert_int_eq(qcf_storage_pread_exact(s, text, 3, 0, NULL), 0);
	ck_assert_int_eq(qcf_storage_zero(s, 0, 4096, true, NULL), 0);
	ck_assert_int_eq(qcf_storage_allocate(s, 0, 8192, NULL), 0);
	ck_assert_int_eq(qcf_storage_flush(s, NULL), 0);
	ck_assert_uint_eq(counts.calls[VERB_WRITE], 2);
	ck_assert_uint_eq(counts.bytes[VERB_WRITE], 8);
	ck_assert_uint_eq(counts.calls[VERB_READ], 1);
	ck_assert_uint_eq(counts.bytes[VERB_ZERO], 4096);
	ck_assert_uint_eq(counts.bytes[VERB_ALLOCATE], 8192);
	ck_assert_uint_eq(counts.calls[VERB_FLUSH], 1);
	ck_assert_uint_eq(counts.calls[VERB_DISCARD], 0);
	storage_counts_reset(&counts);
	ck_assert_uint_eq(counts.calls[VERB_WRITE], 0);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(delaying)
{
	struct delay_plan plan = {
		.verbs = VERB_BIT(VERB_WRITE),
		.microseconds = 20000,
	};
	struct qcowfmt_storage *s = delay_storage_new(new_memory(), &plan);
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	ck_assert_int_eq(put(s, "one", 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ck_assert_int_ge((end.tv_sec - start.tv_sec) * 1000000000 +
	                         end.tv_nsec - start.tv_nsec,
	                 20000000);
	plan.random = true;
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(put(s, "one", 0), 0);
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, nth_call_fails_once);
	tcase_add_test(tcase, sticky_failure_stays);
	tcase_add_test(tcase, part_of_a_write);
	tcase_add_test(tcase, part_of_a_reservation);
	tcase_add_test(tcase, short_read);
	tcase_add_test(tcase, counting);
	tcase_add_test(tcase, delaying);
}

int main(void)
{
	return unit_run("wrapped_storage", add);
}
