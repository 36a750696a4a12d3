/* SPDX-License-Identifier: MIT */
/*
 * Promise: when storage fails, flush or close says so; after a failed flush
 * nothing is written any more while reads go on.
 */
#include "api_disk.h"
#include "api_test.h"

#define SIZE ((uint64_t)4 << 20)

static struct api_disk disk;
static struct qcowfmt_image *image;

static void open_image(void)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&disk);

	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	api_write(image, 0, 100000, 'a');
	API_OK(qcowfmt_flush(image, &api_error));
}

START_TEST(close_reports_a_failed_flush)
{
	open_image();
	api_write(image, 200000, 100000, 'b');
	disk.fail_flush = EIO;
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_IO);
	ck_assert_uint_eq(disk.closed, 1);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(close_reports_a_failed_write)
{
	open_image();
	api_write(image, 200000, 100000, 'b');
	disk.fail_pwrite = EIO;
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_IO);
	ck_assert_uint_eq(disk.closed, 1);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(close_without_an_error_object)
{
	open_image();
	api_write(image, 200000, 100000, 'b');
	disk.fail_flush = EIO;
	ck_assert_int_eq(qcowfmt_close(image, NULL), -EIO);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(a_failed_flush_ends_all_writing)
{
	uint8_t byte = 'x';

	open_image();
	api_write(image, 200000, 100000, 'b');
	disk.fail_flush = EIO;
	API_FAILS(qcowfmt_flush(image, &api_error), EIO, QCOWFMT_ERR_IO);
	/* The device claims to be well again: too late. */
	disk.fail_flush = 0;

	struct api_bytes before = { malloc(disk.size), disk.size };

	ck_assert_ptr_nonnull(before.bytes);
	memcpy(before.bytes, disk.bytes, disk.size);
	API_FAILS(qcowfmt_flush(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	API_FAILS(qcowfmt_pwrite(image, &byte, 1, 0, &api_error), EIO,
	          QCOWFMT_ERR_POISONED);
	API_FAILS(qcowfmt_write_zeroes(image, 0, SIZE, 0, &api_error), EIO,
	          QCOWFMT_ERR_POISONED);
	API_FAILS(qcowfmt_discard(image, 0, SIZE, &api_error), EIO,
	          QCOWFMT_ERR_POISONED);
	api_expect(image, 0, 100000, 'a');
	api_expect(image, 200000, 100000, 'b');
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	ck_assert_uint_eq(disk.size, before.len);
	ck_assert_mem_eq(disk.bytes, before.bytes, before.len);
	api_bytes_free(&before);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(flushed_data_survives_a_failed_close)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};

	open_image();
	api_write(image, 200000, 100000, 'b');
	disk.fail_flush = EIO;
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_IO);
	disk.fail_flush = 0;
	API_OK(qcowfmt_open(api_disk_storage(&disk), &options, &image,
	                    &api_error));
	api_expect(image, 0, 100000, 'a');
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(a_failed_data_write_is_the_requests_own)
{
	uint8_t byte = 'x';

	open_image();
	disk.fail_pwrite = EIO;
	ck_assert_int_eq(qcowfmt_pwrite(image, &byte, 1, 0, &api_error), -EIO);
	ck_assert_int_eq(qcowfmt_error_code(api_error), QCOWFMT_ERR_IO);
	api_error_reset();
	disk.fail_pwrite = 0;
	api_expect(image, 0, 100000, 'a');
	/* In place: nothing but that request was lost. */
	API_OK(qcowfmt_pwrite(image, &byte, 1, 0, &api_error));
	api_expect(image, 0, 1, 'x');
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(a_failed_read_is_reported)
{
	uint8_t byte = 0;

	open_image();
	disk.fail_pread = EIO;
	API_FAILS_KEEP(qcowfmt_pread(image, &byte, 1, 0, &api_error), EIO,
	               QCOWFMT_ERR_IO);
	API_ERROR_NAMES("disk");
	api_error_reset();
	disk.fail_pread = 0;
	api_expect(image, 0, 100000, 'a');
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(a_clean_close_flushes)
{
	unsigned int flushes;

	open_image();
	flushes = disk.flushes;
	api_write(image, 200000, 100000, 'b');
	api_close(image);
	ck_assert_uint_gt(disk.flushes, flushes);
	api_disk_fini(&disk);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, close_reports_a_failed_flush);
	tcase_add_test(tcase, close_reports_a_failed_write);
	tcase_add_test(tcase, close_without_an_error_object);
	tcase_add_test(tcase, a_failed_flush_ends_all_writing);
	tcase_add_test(tcase, flushed_data_survives_a_failed_close);
	tcase_add_test(tcase, a_failed_data_write_is_the_requests_own);
	tcase_add_test(tcase, a_failed_read_is_reported);
	tcase_add_test(tcase, a_clean_close_flushes);
}

int main(int argc, char **argv)
{
	return api_main("failures_are_reported", add_tests, argc, argv);
}
