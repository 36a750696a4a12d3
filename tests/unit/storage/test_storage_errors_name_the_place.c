/* SPDX-License-Identifier: MIT */
/*
 * Promise: the error of any verb names the storage, the operation, the offset
 * and the length; ranges that cannot exist are refused before anything happens;
 * reading past the end is what the caller allowed.
 */
#include "storage_mem.h"
#include "storage_test.h"

/* The next verb fails with this, with or without words of its own. */
static int failure;
static bool with_words;

static int fail_now(struct qcowfmt_error **errp)
{
	if (with_words)
		return qcf_fail(errp, -failure, QCOWFMT_ERR_IO, "the reason");
	return failure;
}

static int64_t broken_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                             int n, uint64_t offset,
                             struct qcowfmt_error **errp)
{
	(void)s;
	(void)iov;
	(void)n;
	(void)offset;
	return fail_now(errp);
}

static int broken_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                          int n, uint64_t offset, struct qcowfmt_error **errp)
{
	(void)s;
	(void)iov;
	(void)n;
	(void)offset;
	return fail_now(errp);
}

static int broken_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	(void)s;
	return fail_now(errp);
}

static int broken_size(struct qcowfmt_storage *s, uint64_t *size,
                       struct qcowfmt_error **errp)
{
	(void)s;
	(void)size;
	return fail_now(errp);
}

static int broken_truncate(struct qcowfmt_storage *s, uint64_t size,
                           struct qcowfmt_error **errp)
{
	(void)s;
	(void)size;
	return fail_now(errp);
}

static int broken_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       bool may_unmap, struct qcowfmt_error **errp)
{
	(void)s;
	(void)offset;
	(void)len;
	(void)may_unmap;
	return fail_now(errp);
}

static int broken_discard(struct qcowfmt_storage *s, uint64_t offset,
                          uint64_t len, struct qcowfmt_error **errp)
{
	(void)s;
	(void)offset;
	(void)len;
	return fail_now(errp);
}

static int broken_allocate(struct qcowfmt_storage *s, uint64_t offset,
                           uint64_t len, struct qcowfmt_error **errp)
{
	(void)s;
	(void)offset;
	(void)len;
	return fail_now(errp);
}

static int broken_extent(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, uint64_t *run,
                         struct qcowfmt_error **errp)
{
	(void)s;
	(void)offset;
	(void)len;
	*run = 1;
	return fail_now(errp);
}

static const struct qcf_storage_verbs broken_verbs = {
	.preadv = broken_preadv,
	.pwritev = broken_pwritev,
	.flush = broken_flush,
	.get_size = broken_size,
	.truncate = broken_truncate,
	.zero = broken_zero,
	.discard = broken_discard,
	.allocate = broken_allocate,
	.extent = broken_extent,
};

static char name[] = "disk.img";

static struct qcowfmt_storage broken = {
	.verbs = &broken_verbs,
	.name = name,
	.writable = true,
	.alignment = 1,
};

/* The call fails with EIO and its message holds the words. */
#define assert_says(call, ...)                                              \
	do {                                                                \
		static const char *const words_[] = { name, __VA_ARGS__ };  \
		struct qcowfmt_error *error_ = NULL;                        \
		struct qcowfmt_error **errp = &error_;                      \
                                                                            \
		ck_assert_int_eq((call), -EIO);                             \
		for (size_t i_ = 0; i_ < QCF_ARRAY_LEN(words_); i_++)       \
			ck_assert_msg(strstr(qcowfmt_error_message(error_), \
			                     words_[i_]) != NULL,           \
			              "'%s' lacks '%s'",                    \
			              qcowfmt_error_message(error_),        \
			              words_[i_]);                          \
		qcowfmt_error_free(error_);                                 \
	} while (0)

START_TEST(every_verb)
{
	struct qcowfmt_storage *s = &broken;
	uint8_t bytes[512] = { 0 };
	uint64_t number;

	failure = -EIO;
	with_words = _i == 1;

	const char *why = with_words ? "the reason" : strerror(EIO);

	(void)why;
	assert_says(qcf_storage_pread_exact(s, bytes, 512, 1536, errp), "read",
	            "512", "1536");
	assert_says(qcf_storage_pwrite(s, bytes, 512, 1536, errp), "write",
	            "512", "1536");
	assert_says(qcf_storage_zero(s, 1536, 512, true, errp), "zero", "512",
	            "1536");
	assert_says(qcf_storage_discard(s, 1536, 512, errp), "discard", "512",
	            "1536");
	assert_says(qcf_storage_allocate(s, 1536, 512, errp), "reserve", "512",
	            "1536");
	assert_says(qcf_storage_extent(s, 1536, 512, &number, errp), "hole",
	            "512", "1536");
	assert_says(qcf_storage_flush(s, errp), "flush");
	assert_says(qcf_storage_truncate(s, 1536, errp), "size", "1536");
	assert_says(qcf_storage_get_size(s, &number, errp), "size");
}

END_TEST

START_TEST(reason_and_host_offset)
{
	struct qcowfmt_error *error = NULL;
	uint8_t bytes[512] = { 0 };

	failure = -EIO;
	with_words = _i == 1;
	ck_assert_int_eq(qcf_storage_pwrite(&broken, bytes, 512, 1536, &error),
	                 -EIO);
	ck_assert_ptr_nonnull(
		strstr(qcowfmt_error_message(error),
	               with_words ? "the reason" : strerror(EIO)));
	ck_assert_uint_eq(qcowfmt_error_host_offset(error), 1536);
	qcowfmt_error_free(error);
	/* Without an error object only the value tells. */
	ck_assert_int_eq(qcf_storage_pwrite(&broken, bytes, 512, 1536, NULL),
	                 -EIO);
}

END_TEST

START_TEST(impossible_ranges)
{
	struct qcowfmt_storage *s = &broken;
	uint8_t bytes[512] = { 0 };
	uint64_t run;

	/* The verbs are not reached: they would fail with something else. */
	failure = -ENOTDIR;
	assert_fails(qcf_storage_pwrite(s, bytes, 512, INT64_MAX - 511, errp),
	             EFBIG, QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_pwrite(s, bytes, 512, UINT64_MAX - 100, errp),
	             EFBIG, QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_pread_exact(s, bytes, 512, INT64_MAX, errp),
	             EFBIG, QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_zero(s, 1, UINT64_MAX, true, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_discard(s, UINT64_MAX, 1, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_allocate(s, INT64_MAX, 1, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_truncate(s, UINT64_MAX, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_extent(s, 1, INT64_MAX, &run, errp), EFBIG,
	             QCOWFMT_ERR_NO_SPACE);
}

END_TEST

START_TEST(impossible_vectors)
{
	struct iovec iov[2] = { { NULL, SIZE_MAX }, { NULL, 2 } };

	/* A narrower size_t cannot say anything that long. */
	if (SIZE_MAX == UINT64_MAX) {
		assert_fails(qcf_storage_pwritev(&broken, iov, 2, 0, errp),
		             EINVAL, QCOWFMT_ERR_USAGE);
		assert_fails(qcf_storage_preadv(&broken, iov, 2, 0, true, errp),
		             EINVAL, QCOWFMT_ERR_USAGE);
	}
	assert_fails(qcf_storage_preadv(&broken, iov, -1, 0, true, errp),
	             EINVAL, QCOWFMT_ERR_USAGE);
	assert_fails(qcf_storage_preadv(&broken, NULL, 1, 0, true, errp),
	             EINVAL, QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(nothing_to_do)
{
	failure = -EIO;
	assert_works(qcf_storage_pwrite(&broken, NULL, 0, 5, errp));
	assert_works(qcf_storage_preadv(&broken, NULL, 0, 5, false, errp));
	assert_works(qcf_storage_zero(&broken, 5, 0, true, errp));
	assert_works(qcf_storage_discard(&broken, 5, 0, errp));
	assert_works(qcf_storage_allocate(&broken, 5, 0, errp));
}

END_TEST

START_TEST(past_the_end)
{
	struct qcowfmt_storage *s;
	uint8_t bytes[8];
	struct iovec iov = { bytes, 8 };

	assert_works(qcf_storage_mem_new(0, &s, errp));
	assert_works(qcf_storage_pwrite(s, "0123456789", 10, 0, errp));
	assert_fails(qcf_storage_pread_exact(s, bytes, 8, 5, errp), EIO,
	             QCOWFMT_ERR_IO);
	assert_fails(qcf_storage_preadv(s, &iov, 1, 10, false, errp), EIO,
	             QCOWFMT_ERR_IO);
	memset(bytes, 0xff, 8);
	assert_works(qcf_storage_preadv(s, &iov, 1, 10, true, errp));
	ck_assert_mem_eq(bytes, "\0\0\0\0\0\0\0\0", 8);
	memset(bytes, 0xff, 8);
	assert_works(qcf_storage_preadv(s, &iov, 1, 5, false, errp));
	ck_assert_mem_eq(bytes, "56789\0\0\0", 8);
	memset(bytes, 0xff, 8);
	ck_assert_int_eq(qcf_storage_pread_padded(s, bytes, 8, 8, NULL), 2);
	ck_assert_mem_eq(bytes, "89\0\0\0\0\0\0", 8);
	qcowfmt_storage_free(s);
}

END_TEST

START_TEST(lacking_verbs)
{
	struct qcf_storage_verbs few = broken_verbs;
	struct qcowfmt_storage s = broken;
	uint64_t run;

	few.discard = NULL;
	few.extent = NULL;
	s.verbs = &few;
	assert_works(qcf_storage_discard(&s, 0, 512, errp));
	assert_works(qcf_storage_lock(&s, QCF_LOCK_IMAGE_WRITE, errp));
	ck_assert_int_eq(qcf_storage_extent(&s, 0, 512, &run, NULL),
	                 QCOWFMT_STORAGE_DATA);
	ck_assert_uint_eq(run, 512);
	qcowfmt_storage_free(NULL);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, every_verb, 0, 2);
	tcase_add_loop_test(tcase, reason_and_host_offset, 0, 2);
	tcase_add_test(tcase, impossible_ranges);
	tcase_add_test(tcase, impossible_vectors);
	tcase_add_test(tcase, nothing_to_do);
	tcase_add_test(tcase, past_the_end);
	tcase_add_test(tcase, lacking_verbs);
}

int main(void)
{
	return unit_run("storage_errors_name_the_place", add);
}
