/* SPDX-License-Identifier: MIT */
/*
 * Promise: walking the extensions of a hostile header ends, stays inside the
 * area, and refuses every record that does not fit.
 */
#include <errno.h>
#include <string.h>

#include "check_id.h"
#include "header.h"
#include "sample_header.h"
#include "unit.h"

static int decode(struct sample *sample, struct qcf_header *h, uint32_t *id)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_header_decode(h, sample->bytes, sample->len, &error);

	*id = qcowfmt_error_corruption_id(error);
	qcowfmt_error_free(error);
	return ret;
}

static void refused(struct sample *sample)
{
	struct qcf_header h;
	uint32_t id = 0;

	ck_assert_int_eq(decode(sample, &h, &id), -EINVAL);
	ck_assert_uint_eq(id, QCF_CHECK_EXTENSION);
}

static void accepted(struct sample *sample, size_t count)
{
	struct qcf_header h;
	uint32_t id = 0;

	ck_assert_int_eq(decode(sample, &h, &id), 0);
	ck_assert_uint_eq(h.extension_count, count);
	qcf_header_fini(&h);
}

START_TEST(hostile_lengths)
{
	static const uint32_t lengths[] = {
		0xffffffff, 0xfffffffe, 0xfffffff9, 0xfffffff8, 0xfffffff7,
		0xffffff88, 0x80000000, 0x7fffffff, 65536,      65417,
	};

	for (uint32_t version = 2; version <= 3; version++) {
		size_t at = version == 2 ? 72 : 112;

		for (size_t i = 0; i < QCF_ARRAY_LEN(lengths); i++) {
			struct sample sample = sample_new(version, 16);

			sample_put(&sample, at, 4, 0x12345678);
			sample_put(&sample, at + 4, 4, lengths[i]);
			if (version == 2 && lengths[i] == 65417)
				accepted(&sample, 1);
			else
				refused(&sample);
			sample_free(&sample);
		}
	}
}

END_TEST

START_TEST(a_record_may_fill_the_area_exactly)
{
	struct sample sample = sample_new(3, 16);

	sample_put(&sample, 112, 4, 0x12345678);
	sample_put(&sample, 116, 4, 65536 - 120);
	accepted(&sample, 1);
	/* Padding may be cut off by the end of the area. */
	sample_put(&sample, 116, 4, 65536 - 120 - 3);
	accepted(&sample, 1);
	sample_free(&sample);
}

END_TEST

START_TEST(a_head_that_crosses_the_end_is_refused)
{
	for (size_t left = 1; left < 8; left++) {
		struct sample sample = sample_new(3, 16);

		/* One record that leaves a few bytes, not zero. */
		sample_put(&sample, 100, 4, (uint32_t)(65536 - left));
		memset(sample.bytes + 65536 - left, 0x11, left);
		refused(&sample);
		sample_free(&sample);
	}
}

END_TEST

START_TEST(the_backing_name_ends_the_area)
{
	struct sample sample = sample_new(3, 16);

	sample_put_extension(&sample, 112, 0x12345678, "12345678", 8);
	sample_put(&sample, 8, 8, 128);
	accepted(&sample, 1);
	sample_put(&sample, 8, 8, 127);
	refused(&sample);
	sample_put(&sample, 8, 8, 112);
	accepted(&sample, 0);
	sample_put(&sample, 8, 8, 8);
	accepted(&sample, 0);
	sample_free(&sample);
}

END_TEST

START_TEST(nothing_is_read_behind_the_end_record)
{
	struct sample sample = sample_new(3, 16);

	sample_put_extension(&sample, 112, 0x12345678, "x", 1);
	memset(sample.bytes + 136, 0xff, 65536 - 136);
	accepted(&sample, 1);
	sample_free(&sample);
}

END_TEST

START_TEST(an_end_record_may_claim_any_length)
{
	struct sample sample = sample_new(3, 16);

	sample_put(&sample, 116, 4, UINT32_MAX);
	accepted(&sample, 0);
	sample_free(&sample);
}

END_TEST

START_TEST(a_cluster_full_of_empty_records)
{
	struct sample sample = sample_new(3, 21);
	size_t count = ((size_t)2097152 - 112) / 8;

	for (size_t i = 0; i < count; i++)
		sample_put(&sample, 112 + i * 8, 4, 0x80000000 + i);
	accepted(&sample, count);
	sample_free(&sample);
}

END_TEST

START_TEST(backing_formats_have_at_most_15_bytes)
{
	struct sample sample = sample_new(3, 16);
	struct qcf_header h;
	uint32_t id = 0;

	sample_put_extension(&sample, 112, QCF_EXT_BACKING_FORMAT,
	                     "sixteen-letters-", 16);
	refused(&sample);
	sample_put(&sample, 116, 4, 15);
	ck_assert_int_eq(decode(&sample, &h, &id), 0);
	ck_assert_str_eq(h.backing_format, "sixteen-letters");
	qcf_header_fini(&h);
	sample_free(&sample);
}

END_TEST

START_TEST(the_end_of_the_file_ends_the_area)
{
	struct sample sample = sample_new(3, 16);

	sample_put_extension(&sample, 112, 0x12345678, "12345678", 8);
	sample.len = 128;
	accepted(&sample, 1);
	sample.len = 127;
	refused(&sample);
	sample.len = 119;
	refused(&sample);
	sample_free(&sample);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, hostile_lengths);
	tcase_add_test(tcase, a_record_may_fill_the_area_exactly);
	tcase_add_test(tcase, a_head_that_crosses_the_end_is_refused);
	tcase_add_test(tcase, the_backing_name_ends_the_area);
	tcase_add_test(tcase, nothing_is_read_behind_the_end_record);
	tcase_add_test(tcase, an_end_record_may_claim_any_length);
	tcase_add_test(tcase, a_cluster_full_of_empty_records);
	tcase_add_test(tcase, backing_formats_have_at_most_15_bytes);
	tcase_add_test(tcase, the_end_of_the_file_ends_the_area);
}

int main(void)
{
	return unit_run("header_extension_walk", add_tests);
}
