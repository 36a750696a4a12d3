/* SPDX-License-Identifier: MIT */
/*
 * Promise: every corruption id is unique, has words, and an error raised by id
 * carries the id, the place and the errno of its class.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "check_id.h"
#include "unit.h"

static const struct {
	uint32_t id;
	const char *text;
	enum qcf_repair_class repair;
} rows[] = {

#define QCF_CHECK(number, name, repair, text) \
	{ (number), (text), QCF_REPAIR_##repair },
#include "checks.def"
#undef QCF_CHECK
};

START_TEST(ids_are_unique_and_ascending)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		ck_assert_uint_ne(rows[i].id, QCF_CHECK_NONE);
		if (i > 0)
			ck_assert_uint_gt(rows[i].id, rows[i - 1].id);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(rows[i].text, rows[j].text);
	}
}

END_TEST

START_TEST(every_id_has_its_text_and_repair_class)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		ck_assert_str_eq(qcf_check_text(rows[i].id), rows[i].text);
		ck_assert_int_eq(qcf_check_repair(rows[i].id), rows[i].repair);
	}
	ck_assert_str_eq(qcf_check_text(0), "unknown corruption");
	ck_assert_str_eq(qcf_check_text(UINT32_MAX), "unknown corruption");
	ck_assert_int_eq(qcf_check_repair(UINT32_MAX), QCF_REPAIR_NONE);
}

END_TEST

START_TEST(raised_errors_carry_id_and_place)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcowfmt_error *error = NULL;
		bool in_header = rows[i].id < 20 ||
		                 (rows[i].id >= 80 && rows[i].id < 110);
		int err = in_header ? EINVAL : EIO;

		ck_assert_int_eq(
			qcf_corrupt(&error, (enum qcf_check)rows[i].id, 0x1f0),
			-err);
		ck_assert_int_eq(qcowfmt_error_code(error),
		                 QCOWFMT_ERR_CORRUPT);
		ck_assert_int_eq(qcowfmt_error_errno(error), err);
		ck_assert_uint_eq(qcowfmt_error_corruption_id(error),
		                  rows[i].id);
		ck_assert_uint_eq(qcowfmt_error_host_offset(error), 0x1f0);
		ck_assert_ptr_nonnull(
			strstr(qcowfmt_error_message(error), "0x1f0"));
		qcowfmt_error_free(error);
	}
}

END_TEST

START_TEST(detail_follows_and_no_place_is_no_place)
{
	struct qcowfmt_error *error = NULL;

	qcf_corruptf(&error, QCF_CHECK_L1_SIZE, QCOWFMT_NO_OFFSET,
	             "have %d, want %d", 5, 6);
	ck_assert_uint_eq(qcowfmt_error_host_offset(error), QCOWFMT_NO_OFFSET);
	ck_assert_str_eq(qcowfmt_error_message(error),
	                 "L1 table size is out of range: have 5, want 6");
	qcowfmt_error_free(error);
}

END_TEST

START_TEST(an_earlier_error_stays)
{
	struct qcowfmt_error *error = NULL;

	qcf_fail(&error, EIO, QCOWFMT_ERR_IO, "first");
	ck_assert_int_eq(qcf_corrupt(&error, QCF_CHECK_OVERLAP, 512), -EIO);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(error), 0);
	ck_assert_uint_eq(qcowfmt_error_host_offset(error), QCOWFMT_NO_OFFSET);
	ck_assert_int_eq(qcf_corrupt(NULL, QCF_CHECK_OVERLAP, 512), -EIO);
	qcowfmt_error_free(error);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, ids_are_unique_and_ascending);
	tcase_add_test(tcase, every_id_has_its_text_and_repair_class);
	tcase_add_test(tcase, raised_errors_carry_id_and_place);
	tcase_add_test(tcase, detail_follows_and_no_place_is_no_place);
	tcase_add_test(tcase, an_earlier_error_stays);
}

int main(void)
{
	return unit_run("corruption_ids", add_tests);
}
