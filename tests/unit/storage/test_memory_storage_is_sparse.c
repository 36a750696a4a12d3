/* SPDX-License-Identifier: MIT */
/*
 * Promise: memory storage takes memory only for what was written, up to offsets
 * near 2^63, gives it back, keeps to its ceiling, and bears several threads.
 */
#include <pthread.h>

#include "storage_mem.h"
#include "storage_test.h"

static struct qcowfmt_storage *new_memory(uint64_t max_size)
{
	struct qcowfmt_storage *s;

	assert_works(qcf_storage_mem_new(max_size, &s, errp));
	return s;
}

static uint64_t allocated(struct qcowfmt_storage *s)
{
	uint64_t bytes;

	assert_works(qcf_storage_get_allocated(s, &bytes, errp));
	return bytes;
}

START_TEST(far_offsets)
{
	struct qcowfmt_storage *s = new_memory(0);
	const uint64_t far = (UINT64_C(1) << 63) - 4097;
	char text[8] = "";
	uint64_t size;

	assert_works(qcf_storage_pwrite(s, "far", 4, far, errp));
	assert_works(qcf_storage_pwrite(s, "mid", 4, far / 2, errp));
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, far + 4);
	assert_works(qcf_storage_pread_exact(s, text, 4, far, errp));
	ck_assert_str_eq(text, "far");
	assert_works(qcf_storage_pread_exact(s, text, 4, far / 3, errp));
	ck_assert_str_eq(text, "");
	ck_assert_uint_le(allocated(s), 2 << 16);
	assert_works(qcf_storage_zero(s, 4096, far - 4096, true, errp));
	ck_assert_uint_le(allocated(s), 1 << 16);
	assert_works(qcf_storage_truncate(s, 4096, errp));
	ck_assert_uint_eq(allocated(s), 0);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(reserving)
{
	struct qcowfmt_storage *s = new_memory(1 << 20);
	char text[8] = "";
	uint64_t size;

	assert_works(qcf_storage_pwrite(s, "kept", 5, 100, errp));
	assert_works(qcf_storage_allocate(s, 0, 300000, errp));
	ck_assert_uint_eq(allocated(s), 5u << 16);
	assert_works(qcf_storage_pread_exact(s, text, 5, 100, errp));
	ck_assert_str_eq(text, "kept");
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, 300000);
	assert_works(qcf_storage_allocate(s, 0, 100, errp));
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, 300000);
	assert_fails(qcf_storage_allocate(s, 0, (1 << 20) + 1, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, 300000);
	ck_assert_uint_eq(allocated(s), 5u << 16);
	/* Beyond the size as well. */
	assert_works(qcf_storage_allocate(s, 900000, 65536, errp));
	assert_works(qcf_storage_truncate(s, 0, errp));
	ck_assert_uint_eq(allocated(s), 0);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(many_chunks)
{
	struct qcowfmt_storage *s = new_memory(0);
	const uint64_t stride = UINT64_C(3) << 30;

	for (uint64_t i = 0; i < 1000; i++)
		assert_works(
			qcf_storage_pwrite(s, &i, sizeof(i), i * stride, errp));
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t got;

		assert_works(qcf_storage_pread_exact(s, &got, sizeof(got),
		                                     i * stride, errp));
		ck_assert_uint_eq(got, i);
	}
	assert_works(qcf_storage_discard(s, 0, 500 * stride, errp));
	ck_assert_uint_eq(allocated(s), 500u << 16);
	assert_works(qcf_storage_truncate(s, 900 * stride, errp));
	ck_assert_uint_eq(allocated(s), 400u << 16);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(extents)
{
	struct qcowfmt_storage *s = new_memory(0);
	uint64_t run;

	assert_works(qcf_storage_truncate(s, 1 << 20, errp));
	ck_assert_int_eq(qcf_storage_extent(s, 0, 1 << 20, &run, NULL),
	                 QCOWFMT_STORAGE_HOLE);
	ck_assert_uint_eq(run, 1 << 20);
	assert_works(qcf_storage_pwrite(s, "x", 1, 2 << 16, errp));
	ck_assert_int_eq(qcf_storage_extent(s, 100, 1 << 20, &run, NULL),
	                 QCOWFMT_STORAGE_HOLE);
	ck_assert_uint_eq(run, (2 << 16) - 100);
	ck_assert_int_eq(
		qcf_storage_extent(s, (2 << 16) + 5, 1 << 20, &run, NULL),
		QCOWFMT_STORAGE_DATA);
	ck_assert_uint_eq(run, (1 << 16) - 5);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(ceiling)
{
	struct qcowfmt_storage *s = new_memory(1000);
	uint64_t size;

	assert_works(qcf_storage_pwrite(s, "0123456789", 10, 990, errp));
	assert_fails(qcf_storage_pwrite(s, "0123456789", 10, 991, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_truncate(s, 1001, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_zero(s, 0, 1001, false, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, 1000);
	qcowfmt_storage_free(s);
}

END_TEST

#define THREADS 4
#define RECORDS 3000u

static struct qcowfmt_storage *shared;

static void *write_records(void *opaque)
{
	uint64_t thread = (uintptr_t)opaque;

	for (uint64_t i = 0; i < RECORDS; i++) {
		uint64_t place = (i * THREADS + thread) * 1000;

		if (qcf_storage_pwrite(shared, &place, sizeof(place), place,
		                       NULL) < 0)
			return opaque;
		if (i % 16 == 0 &&
		    qcf_storage_zero(shared, place + 8, 500, true, NULL) < 0)
			return opaque;
	}
	return NULL;
}

START_TEST(threads)
{
	pthread_t ids[THREADS];

	shared = new_memory(0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&ids[i], NULL, write_records, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(ids[i], &failed);
		ck_assert_ptr_null(failed);
	}
	for (uint64_t place = 0; place < RECORDS * THREADS * 1000;
	     place += 1000) {
		uint64_t got;

		assert_works(qcf_storage_pread_exact(shared, &got, sizeof(got),
		                                     place, errp));
		ck_assert_uint_eq(got, place);
	}
	qcowfmt_storage_free(shared);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, far_offsets);
	tcase_add_test(tcase, reserving);
	tcase_add_test(tcase, many_chunks);
	tcase_add_test(tcase, extents);
	tcase_add_test(tcase, ceiling);
	tcase_add_test(tcase, threads);
}

int main(void)
{
	return unit_run("memory_storage_is_sparse", add);
}
