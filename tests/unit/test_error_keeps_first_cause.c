/* SPDX-License-Identifier: MIT */
/*
 * Promise: an error object holds the first failure with code, errno and place,
 * gains context on the way up, and never carries control characters.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "unit.h"

START_TEST(fail_sets_every_member)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_fail(&error, ERANGE, QCOWFMT_ERR_USAGE,
	                   "have %d, want %d", 3, 4);

	ck_assert_int_eq(ret, -ERANGE);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_USAGE);
	ck_assert_int_eq(qcowfmt_error_errno(error), ERANGE);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(error), 0);
	ck_assert_uint_eq(qcowfmt_error_guest_offset(error), QCOWFMT_NO_OFFSET);
	ck_assert_uint_eq(qcowfmt_error_host_offset(error), QCOWFMT_NO_OFFSET);
	ck_assert_str_eq(qcowfmt_error_message(error), "have 3, want 4");
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(first_failure_wins)
{
	struct qcowfmt_error *error = NULL;

	qcf_fail(&error, EIO, QCOWFMT_ERR_IO, "first");
	ck_assert_int_eq(qcf_fail(&error, EINVAL, QCOWFMT_ERR_USAGE, "second"),
	                 -EINVAL);
	ck_assert_int_eq(qcf_fail_sys(&error, ENOSPC, "third"), -ENOSPC);
	ck_assert_int_eq(qcf_fail_oom(&error), -ENOMEM);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_IO);
	ck_assert_str_eq(qcowfmt_error_message(error), "first");
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(null_target_still_returns_the_errno)
{
	ck_assert_int_eq(qcf_fail(NULL, EIO, QCOWFMT_ERR_IO, "x"), -EIO);
	ck_assert_int_eq(qcf_fail_sys(NULL, ENOENT, "x"), -ENOENT);
	ck_assert_int_eq(qcf_fail_oom(NULL), -ENOMEM);
	ck_assert_int_eq(qcf_wrap(NULL, "context", -EIO), -EIO);
	qcf_error_at_host(NULL, 1);
	qcf_error_at_guest(NULL, 1);
}

END_TEST

START_TEST(control_characters_are_cleaned)
{
	struct qcowfmt_error *error = NULL;

	qcf_fail(&error, EIO, QCOWFMT_ERR_IO, "a\nb\033[31mc\177");
	qcf_wrapf(&error, -EIO, "in %s", "x\ty");
	ck_assert_str_eq(qcowfmt_error_message(error), "in x?y: a?b?[31mc?");
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(wrap_puts_context_in_front)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_fail(&error, EIO, QCOWFMT_ERR_IO, "cause");

	ret = qcf_wrap(&error, "inner", ret);
	ret = qcf_wrapf(&error, ret, "outer %d", 7);
	ck_assert_int_eq(ret, -EIO);
	ck_assert_str_eq(qcowfmt_error_message(error), "outer 7: inner: cause");
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_IO);
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(wrap_without_an_error_does_nothing)
{
	struct qcowfmt_error *error = NULL;

	ck_assert_int_eq(qcf_wrap(&error, "context", -EIO), -EIO);
	ck_assert_ptr_null(error);
}

END_TEST

START_TEST(system_errors_name_reason_and_code)
{
	static const struct {
		int err;
		int code;
	} rows[] = {
		{ ENOMEM, QCOWFMT_ERR_NO_MEMORY },
		{ ENOSPC, QCOWFMT_ERR_NO_SPACE },
		{ EDQUOT, QCOWFMT_ERR_NO_SPACE },
		{ EFBIG, QCOWFMT_ERR_NO_SPACE },
		{ EIO, QCOWFMT_ERR_IO },
		{ EACCES, QCOWFMT_ERR_SYSTEM },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcowfmt_error *error = NULL;
		const char *message = NULL;

		ck_assert_int_eq(qcf_fail_sys(&error, rows[i].err, "open"),
		                 -rows[i].err);
		ck_assert_int_eq(qcowfmt_error_code(error), rows[i].code);
		message = qcowfmt_error_message(error);
		ck_assert_int_eq(strncmp(message, "open: ", 6), 0);
		ck_assert_ptr_nonnull(strstr(message, strerror(rows[i].err)));
		qcowfmt_error_free(error);
	}
}

END_TEST

START_TEST(first_place_wins)
{
	struct qcowfmt_error *error = NULL;

	qcf_fail(&error, EIO, QCOWFMT_ERR_IO, "x");
	qcf_error_at_host(&error, 512);
	qcf_error_at_host(&error, 1024);
	qcf_error_at_guest(&error, 0);
	qcf_error_at_guest(&error, 4096);
	ck_assert_uint_eq(qcowfmt_error_host_offset(error), 512);
	ck_assert_uint_eq(qcowfmt_error_guest_offset(error), 0);
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(out_of_memory_is_shared_and_stays_as_it_is)
{
	struct qcowfmt_error *error = NULL;

	ck_assert_int_eq(qcf_fail_oom(&error), -ENOMEM);
	qcf_wrap(&error, "context", -ENOMEM);
	qcf_error_at_host(&error, 1);
	qcf_error_at_guest(&error, 1);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_NO_MEMORY);
	ck_assert_str_eq(qcowfmt_error_message(error), "out of memory");
	ck_assert_uint_eq(qcowfmt_error_host_offset(error), QCOWFMT_NO_OFFSET);
	qcowfmt_error_free(error);
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(copy_is_equal_and_independent)
{
	struct qcowfmt_error *error = NULL;

	qcf_fail(&error, EIO, QCOWFMT_ERR_IO, "cause");
	qcf_error_at_host(&error, 5);
	qcf_error_at_guest(&error, 6);

	struct qcowfmt_error *copy = qcf_error_copy(error);

	qcowfmt_error_free(error);
	ck_assert_int_eq(qcowfmt_error_code(copy), QCOWFMT_ERR_IO);
	ck_assert_int_eq(qcowfmt_error_errno(copy), EIO);
	ck_assert_uint_eq(qcowfmt_error_host_offset(copy), 5);
	ck_assert_uint_eq(qcowfmt_error_guest_offset(copy), 6);
	ck_assert_str_eq(qcowfmt_error_message(copy), "cause");
	qcowfmt_error_free(copy);
	ck_assert_ptr_null(qcf_error_copy(NULL));
}

END_TEST

START_TEST(no_error_has_defined_answers)
{
	ck_assert_int_eq(qcowfmt_error_code(NULL), QCOWFMT_ERR_NONE);
	ck_assert_int_eq(qcowfmt_error_errno(NULL), 0);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(NULL), 0);
	ck_assert_uint_eq(qcowfmt_error_guest_offset(NULL), QCOWFMT_NO_OFFSET);
	ck_assert_uint_eq(qcowfmt_error_host_offset(NULL), QCOWFMT_NO_OFFSET);
	ck_assert_ptr_nonnull(qcowfmt_error_message(NULL));
	qcowfmt_error_free(NULL);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, fail_sets_every_member);
	tcase_add_test(tcase, first_failure_wins);
	tcase_add_test(tcase, null_target_still_returns_the_errno);
	tcase_add_test(tcase, control_characters_are_cleaned);
	tcase_add_test(tcase, wrap_puts_context_in_front);
	tcase_add_test(tcase, wrap_without_an_error_does_nothing);
	tcase_add_test(tcase, system_errors_name_reason_and_code);
	tcase_add_test(tcase, first_place_wins);
	tcase_add_test(tcase, out_of_memory_is_shared_and_stays_as_it_is);
	tcase_add_test(tcase, copy_is_equal_and_independent);
	tcase_add_test(tcase, no_error_has_defined_answers);
}

int main(void)
{
	return unit_run("error_keeps_first_cause", add_tests);
}
