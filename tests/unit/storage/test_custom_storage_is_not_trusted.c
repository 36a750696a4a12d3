/* SPDX-License-Identifier: MIT */
/*
 * Promise: an application's storage that returns nonsense causes an I/O error
 * and nothing worse; a vector reaches it without tearing sectors; what it lacks
 * is said when it is made.
 */
#include "array_ops.h"
#include "storage_test.h"
#include "storage_user.h"

static int64_t answer;
static uint64_t cuts_inside_sectors, write_calls;

static int64_t bad_pread(void *opaque, void *buffer, size_t len,
                         uint64_t offset)
{
	(void)opaque;
	(void)offset;
	memset(buffer, 1, len);
	return answer;
}

static int bad_pwrite(void *opaque, const void *buffer, size_t len,
                      uint64_t offset)
{
	(void)opaque;
	(void)buffer;
	(void)len;
	(void)offset;
	return (int)answer;
}

static int bad_flush(void *opaque)
{
	(void)opaque;
	return (int)answer;
}

static int bad_get_size(void *opaque, uint64_t *size)
{
	(void)opaque;
	*size = UINT64_MAX;
	return (int)answer;
}

static int bad_range(void *opaque, uint64_t offset, uint64_t len)
{
	(void)opaque;
	(void)offset;
	(void)len;
	return (int)answer;
}

static int bad_truncate(void *opaque, uint64_t size)
{
	(void)opaque;
	(void)size;
	return (int)answer;
}

static int bad_extent(void *opaque, uint64_t offset, uint64_t len,
                      uint64_t *run)
{
	(void)opaque;
	(void)offset;
	*run = len + 1000;
	return (int)answer;
}

static const struct qcowfmt_storage_ops bad_ops = {
	.struct_size = sizeof(bad_ops),
	.pread = bad_pread,
	.pwrite = bad_pwrite,
	.flush = bad_flush,
	.get_size = bad_get_size,
	.truncate = bad_truncate,
	.zero = bad_range,
	.discard = bad_range,
	.extent = bad_extent,
	.allocate = bad_range,
};

static struct qcowfmt_storage *new_bad(void)
{
	struct qcowfmt_storage *s;

	assert_works(qcf_storage_user_new(&bad_ops, NULL, "bad", &s, errp));
	return s;
}

START_TEST(nonsense)
{
	static const int64_t answers[] = { 7000, 1 << 30, -4096, INT32_MIN };
	struct qcowfmt_storage *s = new_bad();
	uint8_t bytes[512];
	uint64_t run;

	answer = answers[_i];
	assert_fails(qcf_storage_pread_exact(s, bytes, 512, 0, errp), EIO,
	             QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_pwrite(s, bytes, 512, 0, errp), EIO,
	             QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_flush(s, errp), EIO, QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_truncate(s, 0, errp), EIO, QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_discard(s, 0, 512, errp), EIO, QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_allocate(s, 0, 512, errp), EIO,
	             QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_extent(s, 0, 512, &run, errp), EIO,
	             QCOWFMT_ERR_IO);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(sizes_beyond_everything)
{
	struct qcowfmt_storage *s = new_bad();
	uint64_t size = 5, run;

	answer = 0;
	assert_fails(qcf_storage_get_size(s, &size, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
	ck_assert_uint_eq(size, 5);
	answer = QCOWFMT_STORAGE_HOLE;
	assert_works(qcf_storage_extent(s, 0, 512, &run, errp));
	ck_assert_uint_eq(run, 512);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(its_own_errors_come_through)
{
	struct qcowfmt_storage *s = new_bad();
	uint8_t byte = 0;

	answer = -EDQUOT;
	assert_fails(qcf_storage_pwrite(s, &byte, 1, 0, errp), EDQUOT,
	             QCOWFMT_ERR_NO_SPACE);
	answer = -ETIMEDOUT;
	assert_fails(qcf_storage_flush(s, errp), ETIMEDOUT, QCOWFMT_ERR_SYSTEM);
	qcowfmt_storage_free(s);
}

END_TEST

static int watched_pwrite(void *opaque, const void *buffer, size_t len,
                          uint64_t offset)
{
	write_calls++;
	if (offset % 512 != 0 && offset != 100)
		cuts_inside_sectors++;
	return byte_array_pwrite(opaque, buffer, len, offset);
}

START_TEST(sectors_are_not_torn)
{
	struct qcowfmt_storage_ops ops = byte_array_ops;
	const size_t len = 5u << 20;
	uint8_t *bytes = malloc(len);
	struct iovec iov[3] = { { bytes, 77 },
		                { bytes + 77, len / 2 },
		                { bytes + 77 + len / 2, len / 2 - 77 } };
	struct qcowfmt_storage *s;

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 13 / 7);
	ops.pwrite = watched_pwrite;
	assert_works(qcf_storage_user_new(&ops, byte_array_new(8u << 20), NULL,
	                                  &s, errp));
	assert_works(qcf_storage_pwritev(s, iov, 3, 100, errp));
	ck_assert_uint_eq(cuts_inside_sectors, 0);
	ck_assert_uint_le(write_calls, 7);

	uint8_t *back = malloc(len);

	ck_assert_ptr_nonnull(back);
	assert_works(qcf_storage_pread_exact(s, back, len, 100, errp));
	ck_assert_mem_eq(back, bytes, len);
	free(back);
	free(bytes);
	qcowfmt_storage_free(s);
}

END_TEST

static void assert_incomplete(const struct qcowfmt_storage_ops *ops,
                              const char *missing)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_storage *s;

	ck_assert_int_eq(qcf_storage_user_new(ops, NULL, NULL, &s, &error),
	                 -EINVAL);
	ck_assert_ptr_nonnull(strstr(qcowfmt_error_message(error), missing));
	qcowfmt_error_free(error);
}

START_TEST(incomplete)
{
	struct qcowfmt_storage_ops ops = bad_ops;

	ops.pread = NULL;
	assert_incomplete(&ops, "pread");
	ops = bad_ops;
	ops.get_size = NULL;
	assert_incomplete(&ops, "get_size");
	ops = bad_ops;
	ops.flush = NULL;
	assert_incomplete(&ops, "flush");
	ops = bad_ops;
	ops.truncate = NULL;
	assert_incomplete(&ops, "truncate");
}

END_TEST

START_TEST(read_only)
{
	struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = bad_pread,
		.get_size = bad_get_size,
	};
	struct qcowfmt_storage *s;

	assert_works(qcf_storage_user_new(&ops, NULL, NULL, &s, errp));
	assert_fails(qcf_storage_pwrite(s, "x", 1, 0, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	assert_fails(qcf_storage_zero(s, 0, 1, true, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	assert_fails(qcf_storage_discard(s, 0, 1, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	assert_fails(qcf_storage_truncate(s, 1, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	assert_fails(qcf_storage_allocate(s, 0, 1, errp), EROFS,
	             QCOWFMT_ERR_READ_ONLY);
	assert_works(qcf_storage_flush(s, errp));
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, nonsense, 0, 4);
	tcase_add_test(tcase, sizes_beyond_everything);
	tcase_add_test(tcase, its_own_errors_come_through);
	tcase_add_test(tcase, sectors_are_not_torn);
	tcase_add_test(tcase, incomplete);
	tcase_add_test(tcase, read_only);
}

int main(void)
{
	return unit_run("custom_storage_is_not_trusted", add);
}
