/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image marked corrupt is never written except to repair it; one
 * that was not closed cleanly is repaired before the first write, and only then.
 */
#include "api_test.h"

#define SIZE    ((uint64_t)4 << 20)
#define DIRTY   1u
#define CORRUPT 2u

static struct qcowfmt_image *image;

static int open_flags(uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path("x.qcow2"), &options, &image,
	                         &api_error);
}

static uint32_t info_flags(void)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	return info.flags;
}

static uint64_t stored_bits(void)
{
	return api_get(scratch_path("x.qcow2"), API_AT_INCOMPATIBLE, 8);
}

static void make_image(void)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	api_write(image, 0, 200000, 'a');
	api_close(image);
}

START_TEST(a_corrupt_image_can_be_read_and_repaired)
{
	struct api_bytes before;
	struct api_bytes after;

	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_INCOMPATIBLE, 8, CORRUPT);
	before = api_read_file(scratch_path("x.qcow2"));
	API_FAILS_KEEP(open_flags(API_RW), EINVAL, QCOWFMT_ERR_CORRUPT);
	API_ERROR_NAMES("corrupt");
	api_error_reset();
	ck_assert_ptr_null(image);
	API_OK(open_flags(0));
	ck_assert_uint_ne(info_flags() & QCOWFMT_INFO_CORRUPT, 0);
	api_expect(image, 0, 200000, 'a');
	api_close(image);
	after = api_read_file(scratch_path("x.qcow2"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

START_TEST(repair_clears_the_corrupt_bit)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_INCOMPATIBLE, 8, CORRUPT);
	API_OK(open_flags(API_RW | QCOWFMT_OPEN_REPAIR));
	ck_assert_uint_eq(stored_bits(), CORRUPT);
	API_OK(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                     &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	api_close(image);
	ck_assert_uint_eq(stored_bits(), 0);
	API_OK(open_flags(API_RW));
	api_expect(image, 0, 200000, 'a');
	api_close(image);
	api_qemu_check(scratch_path("x.qcow2"));
}

END_TEST

/*
 * What a crash leaves: written with lazy refcounts, flushed, and copied while
 * it is open.
 */
static void make_crashed_image(void)
{
	struct api_bytes copy;

	make_image();
	API_OK(open_flags(API_RW | QCOWFMT_OPEN_LAZY_REFCOUNTS_ON));
	api_write(image, 1 << 20, 300000, 'c');
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert_uint_eq(stored_bits(), DIRTY);
	copy = api_read_file(scratch_path("x.qcow2"));
	api_close(image);
	ck_assert_uint_eq(stored_bits(), 0);
	api_write_file(scratch_path("x.qcow2"), copy.bytes, copy.len);
	api_bytes_free(&copy);
	ck_assert_uint_eq(stored_bits(), DIRTY);
}

static void expect_content(void)
{
	api_expect(image, 0, 200000, 'a');
	api_expect(image, 1 << 20, 300000, 'c');
}

START_TEST(reading_a_dirty_image_changes_nothing)
{
	struct api_bytes before;
	struct api_bytes after;

	make_crashed_image();
	before = api_read_file(scratch_path("x.qcow2"));
	API_OK(open_flags(0));
	ck_assert_uint_ne(info_flags() & QCOWFMT_INFO_DIRTY, 0);
	expect_content();
	api_close(image);
	after = api_read_file(scratch_path("x.qcow2"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

START_TEST(opening_a_dirty_image_for_writing_repairs_it)
{
	make_crashed_image();
	API_OK(open_flags(API_RW));
	api_check_clean(image);
	expect_content();
	api_write(image, 2 << 20, 100000, 'n');
	expect_content();
	api_close(image);
	ck_assert_uint_eq(stored_bits(), 0);
	api_qemu_check(scratch_path("x.qcow2"));
}

END_TEST

START_TEST(opening_it_for_repair_leaves_that_to_the_caller)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	make_crashed_image();
	API_OK(open_flags(API_RW | QCOWFMT_OPEN_REPAIR));
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_gt(result.corruptions, 0);
	API_OK(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                     &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	ck_assert_uint_gt(result.corruptions_fixed, 0);
	expect_content();
	api_close(image);
	ck_assert_uint_eq(stored_bits(), 0);
	api_qemu_check(scratch_path("x.qcow2"));
}

END_TEST

START_TEST(qemu_repairs_what_we_left_dirty)
{
	make_crashed_image();
	ck_assert_int_eq(api_run(api_qemu_img, "check", "-r", "all",
	                         scratch_path("x.qcow2"), NULL),
	                 0);
	API_OK(open_flags(API_RW));
	expect_content();
	api_check_clean(image);
	api_close(image);
}

END_TEST

START_TEST(lazy_refcounts_follow_the_image_and_the_option)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.flags = QCOWFMT_CREATE_LAZY_REFCOUNTS,
	};

	static const struct {
		uint32_t flags;
		uint64_t bits;
	} rows[] = {
		{ API_RW, DIRTY },
		{ API_RW | QCOWFMT_OPEN_LAZY_REFCOUNTS_ON, DIRTY },
		{ API_RW | QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF, 0 },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		API_OK(qcowfmt_create_file(scratch_path("x.qcow2"), &options,
		                           &api_error));
		API_OK(open_flags(rows[i].flags));
		ck_assert_uint_ne(info_flags() & QCOWFMT_INFO_LAZY_REFCOUNTS,
		                  0);
		ck_assert_uint_eq(stored_bits(), 0);
		api_write(image, 0, 1000, 'x');
		API_OK(qcowfmt_flush(image, &api_error));
		ck_assert_uint_eq(stored_bits(), rows[i].bits);
		api_close(image);
		ck_assert_uint_eq(stored_bits(), 0);
		api_qemu_check(scratch_path("x.qcow2"));
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_corrupt_image_can_be_read_and_repaired);
	tcase_add_test(tcase, repair_clears_the_corrupt_bit);
	tcase_add_test(tcase, reading_a_dirty_image_changes_nothing);
	tcase_add_test(tcase, opening_a_dirty_image_for_writing_repairs_it);
	tcase_add_test(tcase, opening_it_for_repair_leaves_that_to_the_caller);
	tcase_add_test(tcase, lazy_refcounts_follow_the_image_and_the_option);
	if (api_has_qemu())
		tcase_add_test(tcase, qemu_repairs_what_we_left_dirty);
}

int main(int argc, char **argv)
{
	return api_main("corrupt_and_dirty_bits", add_tests, argc, argv);
}
