/* SPDX-License-Identifier: MIT */
/*
 * Promise: what was reserved takes space and cannot run out of it, bytes that
 * were there stay, new ones are zeros, and the storage reaches to the end of
 * the range; where space cannot be reserved, zeros are written behind the end.
 */
#include <sys/resource.h>

#include <signal.h>

#include "array_ops.h"
#include "storage_test.h"
#include "storage_user.h"

#define LEN (UINT64_C(3) << 20)

static uint64_t size_of(struct qcowfmt_storage *s)
{
	uint64_t size = 0;

	assert_works(qcf_storage_get_size(s, &size, errp));
	return size;
}

static uint64_t allocated(struct qcowfmt_storage *s)
{
	uint64_t bytes = 0;

	assert_works(qcf_storage_get_allocated(s, &bytes, errp));
	return bytes;
}

static void assert_bytes(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t end, uint8_t value)
{
	static uint8_t bytes[2 * LEN];

	assert_works(
		qcf_storage_pread_exact(s, bytes, end - offset, offset, errp));
	ck_assert(all_bytes_are(bytes, value, (size_t)(end - offset)));
}

static void put(struct qcowfmt_storage *s, uint64_t offset, size_t len)
{
	static uint8_t bytes[LEN];

	memset(bytes, 0x5a, len);
	assert_works(qcf_storage_pwrite(s, bytes, len, offset, errp));
}

/* Content, a hole, content; then the whole range and more is reserved. */
static void reserve_over_content(struct qcowfmt_storage *s)
{
	put(s, 100, 5000);
	put(s, 1 << 20, 777);
	assert_works(qcf_storage_allocate(s, 50, LEN, errp));
	ck_assert_uint_eq(size_of(s), 50 + LEN);
	assert_bytes(s, 0, 100, 0);
	assert_bytes(s, 100, 5100, 0x5a);
	assert_bytes(s, 5100, 1 << 20, 0);
	assert_bytes(s, 1 << 20, (1 << 20) + 777, 0x5a);
	assert_bytes(s, (1 << 20) + 777, 50 + LEN, 0);
	/* What lies inside does not shrink anything. */
	assert_works(qcf_storage_allocate(s, 0, 512, errp));
	ck_assert_uint_eq(size_of(s), 50 + LEN);
}

static const uint32_t flag_sets[] = { 0, QCOWFMT_FILE_DIRECT };

static struct qcowfmt_storage *new_file(uint32_t flags)
{
	struct qcowfmt_storage *s = NULL;
	int ret = qcf_storage_file_open(scratch_path("file"), NULL,
	                                QCOWFMT_FILE_CREATE | flags, &s, NULL);

	if (ret == -EINVAL && flags != 0) {
		printf("no O_DIRECT here: it is not tested\n");
		return NULL;
	}
	ck_assert_int_eq(ret, 0);
	return s;
}

START_TEST(files)
{
	struct qcowfmt_storage *s = new_file(flag_sets[_i]);

	if (s == NULL)
		return;
	reserve_over_content(s);
	ck_assert_uint_ge(allocated(s), LEN);
	assert_works(qcf_storage_allocate(s, 2 * LEN, LEN, errp));
	ck_assert_uint_eq(size_of(s), 3 * LEN);
	assert_bytes(s, LEN + 50, 3 * LEN, 0);
	qcowfmt_storage_free(s);
}

END_TEST

/* The limit of a process stands in for a file system that is full. */
START_TEST(what_cannot_be_reserved_is_an_error)
{
	struct qcowfmt_storage *s = new_file(0);
	struct rlimit limit = { .rlim_cur = LEN, .rlim_max = RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	put(s, 0, 5000);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_fails(qcf_storage_allocate(s, 0, LEN + 1, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_bytes(s, 0, 5000, 0x5a);
	assert_works(qcf_storage_allocate(s, 0, LEN + 1, errp));
	qcowfmt_storage_free(s);
}

END_TEST

static unsigned int writes, reservations;

static int counted_pwrite(void *opaque, const void *buffer, size_t len,
                          uint64_t offset)
{
	writes++;
	return byte_array_pwrite(opaque, buffer, len, offset);
}

static int counted_allocate(void *opaque, uint64_t offset, uint64_t len)
{
	reservations++;
	return byte_array_allocate(opaque, offset, len);
}

static int unable_allocate(void *opaque, uint64_t offset, uint64_t len)
{
	(void)opaque;
	(void)offset;
	(void)len;
	reservations++;
	return -ENOTSUP;
}

static struct qcowfmt_storage *new_custom(int (*allocate)(void *, uint64_t,
                                                          uint64_t))
{
	struct qcowfmt_storage_ops ops = byte_array_ops;
	struct qcowfmt_storage *s = NULL;
	struct byte_array *array = byte_array_new(3 * LEN);

	/* Between the end and a write beyond it there may be anything. */
	memset(array->bytes, 0xcc, 3 * LEN);
	array->size = 0;
	ops.pwrite = counted_pwrite;
	ops.allocate = allocate;
	assert_works(qcf_storage_user_new(&ops, array, "custom", &s, errp));
	writes = 0;
	reservations = 0;
	return s;
}

START_TEST(functions_that_can)
{
	struct qcowfmt_storage *s = new_custom(counted_allocate);

	assert_works(qcf_storage_allocate(s, 1000, LEN, errp));
	ck_assert_uint_eq(size_of(s), 1000 + LEN);
	assert_bytes(s, 0, 1000 + LEN, 0);
	ck_assert_uint_eq(writes, 0);
	ck_assert_uint_eq(reservations, 1);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(functions_that_cannot)
{
	struct qcowfmt_storage *s =
		new_custom(_i == 0 ? NULL : unable_allocate);

	put(s, 0, 5000);
	writes = 0;
	/* In front of the end nothing is done. */
	assert_works(qcf_storage_allocate(s, 0, 5000, errp));
	ck_assert_uint_eq(writes, 0);
	assert_works(qcf_storage_allocate(s, 100000, 5000, errp));
	ck_assert_uint_gt(writes, 0);
	ck_assert_uint_eq(size_of(s), 105000);
	assert_bytes(s, 0, 5000, 0x5a);
	assert_bytes(s, 5000, 105000, 0);
	assert_fails(qcf_storage_allocate(s, 0, 3 * LEN + 1, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	ck_assert_uint_eq(reservations, (unsigned int)_i * 3);
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, files, 0, QCF_ARRAY_LEN(flag_sets));
	tcase_add_test(tcase, what_cannot_be_reserved_is_an_error);
	tcase_add_test(tcase, functions_that_can);
	tcase_add_loop_test(tcase, functions_that_cannot, 0, 2);
}

int main(void)
{
	return run_with_scratch("reserved_space_is_there", add);
}
