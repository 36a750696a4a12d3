/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image opened without QCOWFMT_OPEN_READ_WRITE refuses every change
 * and its file keeps every byte.
 */
#include "api_test.h"

#define SIZE ((uint64_t)1 << 20)

static struct qcowfmt_image *image;

static void make_image(void)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	api_write(image, 0, 100000, 'a');
	api_close(image);
}

START_TEST(every_change_is_refused)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	uint8_t byte = 'b';
	const struct iovec iov = { &byte, 1 };
	struct api_bytes before;
	struct api_bytes after;

	make_image();
	before = api_read_file(scratch_path("x.qcow2"));
	image = api_open(scratch_path("x.qcow2"), 0);
	API_FAILS(qcowfmt_pwrite(image, &byte, 1, 0, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	API_FAILS(qcowfmt_pwritev(image, &iov, 1, 0, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	API_FAILS(qcowfmt_write_zeroes(image, 0, SIZE, QCOWFMT_ZERO_MAY_UNMAP,
	                               &api_error),
	          EROFS, QCOWFMT_ERR_READ_ONLY);
	API_FAILS(qcowfmt_discard(image, 0, SIZE, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	API_FAILS(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                        &result, &api_error),
	          EROFS, QCOWFMT_ERR_READ_ONLY);
	API_OK(qcowfmt_flush(image, &api_error));
	api_check_clean(image);
	api_expect(image, 0, 100000, 'a');
	api_expect(image, 100000, (size_t)SIZE - 100000, 0);
	api_close(image);
	after = api_read_file(scratch_path("x.qcow2"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

START_TEST(read_only_storage_cannot_be_opened_for_writing)
{
	struct qcowfmt_file_options file = {
		.struct_size = sizeof(file),
		.flags = QCOWFMT_FILE_READ_ONLY,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
	};
	struct qcowfmt_storage *storage = NULL;

	make_image();
	API_OK(qcowfmt_storage_open_file(scratch_path("x.qcow2"), &file,
	                                 &storage, &api_error));
	API_FAILS(qcowfmt_open(storage, &options, &image, &api_error), EACCES,
	          QCOWFMT_ERR_READ_ONLY);
	/* It is still ours and still good. */
	options.flags = 0;
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	api_expect(image, 0, 100000, 'a');
	api_close(image);
}

END_TEST

START_TEST(backing_files_are_never_written)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct api_bytes before;
	struct api_bytes after;

	make_image();
	before = api_read_file(scratch_path("x.qcow2"));
	api_create_overlay(scratch_path("o.qcow2"), SIZE, "x.qcow2", "qcow2");
	API_OK(qcowfmt_open_file(scratch_path("o.qcow2"), &options, &image,
	                         &api_error));
	api_write(image, 10, 70000, 'o');
	API_OK(qcowfmt_discard(image, 0, SIZE, &api_error));
	api_write(image, 1, 1, 'p');
	api_close(image);
	after = api_read_file(scratch_path("x.qcow2"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, every_change_is_refused);
	tcase_add_test(tcase, read_only_storage_cannot_be_opened_for_writing);
	tcase_add_test(tcase, backing_files_are_never_written);
}

int main(int argc, char **argv)
{
	return api_main("read_only_refuses_writes", add_tests, argc, argv);
}
