/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image works the same in a file, a descriptor, memory and storage
 * of the application; each storage has one owner and is freed once.
 */
#include <fcntl.h>
#include <unistd.h>

#include "api_disk.h"
#include "api_test.h"

#define SIZE ((uint64_t)4 << 20)

static struct qcowfmt_image *image;

static void create_on(struct qcowfmt_storage *storage)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
	};

	API_OK(qcowfmt_create(storage, &options, &api_error));
}

/* The storage used for it is gone afterwards. */
static void create_on_disk(struct api_disk *disk)
{
	struct qcowfmt_storage *storage = api_disk_storage(disk);

	create_on(storage);
	qcowfmt_storage_free(storage);
	ck_assert_uint_eq(disk->closed, 1);
	disk->closed = 0;
}

static int open_on(struct qcowfmt_storage *storage, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};

	image = NULL;
	return qcowfmt_open(storage, &options, &image, &api_error);
}

static void use_image(void)
{
	api_write(image, 1000, 300000, 'u');
	API_OK(qcowfmt_write_zeroes(image, 2000, 100000, 0, &api_error));
	API_OK(qcowfmt_discard(image, 131072, 65536, &api_error));
	API_OK(qcowfmt_flush(image, &api_error));
	api_expect(image, 0, 1000, 0);
	api_expect(image, 1000, 1000, 'u');
	api_expect(image, 2000, 100000, 0);
	api_expect(image, 102000, 131072 - 102000, 'u');
	api_expect(image, 131072, 65536, 0);
	api_check_clean(image);
}

START_TEST(memory)
{
	struct qcowfmt_storage *storage = NULL;

	API_OK(qcowfmt_storage_new_memory(0, &storage, &api_error));
	create_on(storage);
	API_OK(open_on(storage, API_RW));
	use_image();
	api_close(image);
}

END_TEST

START_TEST(the_application)
{
	struct api_disk disk = { .bytes = NULL };

	create_on_disk(&disk);
	ck_assert_uint_gt(disk.flushes, 0);
	API_OK(open_on(api_disk_storage(&disk), API_RW));
	use_image();
	ck_assert_uint_eq(disk.closed, 0);
	api_close(image);
	ck_assert_uint_eq(disk.closed, 1);
	API_OK(open_on(api_disk_storage(&disk), 0));
	api_expect(image, 1000, 1000, 'u');
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(a_descriptor)
{
	struct qcowfmt_storage *storage = NULL;
	int fd = open(scratch_path("fd.qcow2"), O_RDWR | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	API_OK(qcowfmt_storage_from_fd(fd, "by fd", NULL, &storage,
	                               &api_error));
	create_on(storage);
	API_OK(open_on(storage, API_RW));
	close(fd);
	use_image();
	api_close(image);
	api_qemu_check(scratch_path("fd.qcow2"));
	fd = open(scratch_path("fd.qcow2"), O_RDONLY);
	API_OK(qcowfmt_storage_from_fd(fd, NULL, NULL, &storage, &api_error));
	API_FAILS(open_on(storage, API_RW), EACCES, QCOWFMT_ERR_READ_ONLY);
	API_OK(open_on(storage, 0));
	api_expect(image, 1000, 1000, 'u');
	api_close(image);
	close(fd);
}

END_TEST

START_TEST(a_failed_open_leaves_the_storage_with_the_caller)
{
	struct api_disk disk = { .bytes = NULL };
	struct qcowfmt_storage *storage = api_disk_storage(&disk);
	uint64_t size = 1;

	API_FAILS(open_on(storage, API_RW), EINVAL, QCOWFMT_ERR_NOT_QCOW);
	ck_assert_uint_eq(disk.closed, 0);
	API_OK(qcowfmt_storage_get_size(storage, &size, &api_error));
	ck_assert_uint_eq(size, 0);
	create_on(storage);
	disk.fail_pread = EIO;
	API_FAILS(open_on(storage, API_RW), EIO, QCOWFMT_ERR_IO);
	disk.fail_pread = 0;
	ck_assert_uint_eq(disk.closed, 0);
	API_OK(open_on(storage, API_RW));
	use_image();
	api_close(image);
	ck_assert_uint_eq(disk.closed, 1);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(functions_that_are_required)
{
	struct api_disk disk = { .bytes = NULL };
	struct qcowfmt_storage_ops ops[5];
	struct qcowfmt_storage *storage = NULL;

	for (size_t i = 0; i < QCF_ARRAY_LEN(ops); i++)
		ops[i] = api_disk_ops();
	ops[0].pread = NULL;
	ops[1].get_size = NULL;
	ops[2].flush = NULL;
	ops[3].truncate = NULL;
	ops[4].struct_size = 0;
	for (size_t i = 0; i < QCF_ARRAY_LEN(ops); i++)
		API_FAILS(qcowfmt_storage_new_custom(&ops[i], &disk, "x",
		                                     &storage, &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
	ck_assert_ptr_null(storage);
	ck_assert_uint_eq(disk.closed, 0);
}

END_TEST

START_TEST(functions_that_are_not)
{
	struct api_disk disk = { .bytes = NULL };
	struct qcowfmt_storage_ops ops = api_disk_ops();
	struct qcowfmt_storage *storage = NULL;

	create_on_disk(&disk);
	ops.pwrite = NULL;
	ops.flush = NULL;
	ops.truncate = NULL;
	ops.close = NULL;
	API_OK(qcowfmt_storage_new_custom(&ops, &disk, NULL, &storage,
	                                  &api_error));
	API_FAILS(open_on(storage, API_RW), EACCES, QCOWFMT_ERR_READ_ONLY);
	API_OK(open_on(storage, 0));
	api_expect(image, 0, (size_t)SIZE, 0);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(bytes_beneath_the_format)
{
	struct api_disk disk = { .bytes = NULL };
	struct qcowfmt_storage *storage = api_disk_storage(&disk);
	uint8_t bytes[8] = { 0 };
	uint64_t size = 0;

	create_on(storage);
	API_OK(qcowfmt_storage_get_size(storage, &size, &api_error));
	ck_assert_uint_eq(size, disk.size);
	ck_assert_int_eq(
		qcowfmt_storage_pread(storage, bytes, 8, 0, &api_error), 8);
	ck_assert_int_eq(qcowfmt_probe(bytes, sizeof(bytes)),
	                 QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(
		qcowfmt_storage_pread(storage, bytes, 8, size - 3, &api_error),
		3);
	ck_assert_int_eq(
		qcowfmt_storage_pread(storage, bytes, 8, size, &api_error), 0);
	qcowfmt_storage_free(storage);
	qcowfmt_storage_free(NULL);
	api_disk_fini(&disk);
}

END_TEST

/* A write to a raw disk that was opened by guessing must not change the guess. */
START_TEST(a_probed_raw_image_stays_raw)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
	};
	const uint8_t magic[] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 3 };
	const uint8_t zeros[65536] = { 0 };
	const char *path = scratch_path("r.raw");

	api_write_file(path, zeros, sizeof(zeros));
	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	API_FAILS(qcowfmt_pwrite(image, magic, sizeof(magic), 0, &api_error),
	          EPERM, QCOWFMT_ERR_REFUSED);
	/* Nor in pieces */
	API_OK(qcowfmt_pwrite(image, magic, 4, 0, &api_error));
	API_FAILS(qcowfmt_pwrite(image, magic + 4, 4, 4, &api_error), EPERM,
	          QCOWFMT_ERR_REFUSED);
	API_OK(qcowfmt_pwrite(image, magic, sizeof(magic), 512, &api_error));
	api_close(image);
	options.format = QCOWFMT_FORMAT_RAW;
	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	API_OK(qcowfmt_pwrite(image, magic, sizeof(magic), 0, &api_error));
	api_close(image);
}

END_TEST

START_TEST(a_stated_format_is_not_probed)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	const uint8_t zeros[65536] = { 0 };

	api_write_file(scratch_path("r.raw"), zeros, sizeof(zeros));
	API_FAILS(qcowfmt_open_file(scratch_path("r.raw"), &options, &image,
	                            &api_error),
	          EINVAL, QCOWFMT_ERR_NOT_QCOW);
	options.format = 9;
	API_FAILS(qcowfmt_open_file(scratch_path("r.raw"), &options, &image,
	                            &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	options.format = QCOWFMT_FORMAT_QCOW;
	ck_assert_int_lt(qcowfmt_open_file(scratch_path("r.raw"), &options,
	                                   &image, &api_error),
	                 0);
	api_error_reset();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, memory);
	tcase_add_test(tcase, the_application);
	tcase_add_test(tcase, a_descriptor);
	tcase_add_test(tcase, a_failed_open_leaves_the_storage_with_the_caller);
	tcase_add_test(tcase, functions_that_are_required);
	tcase_add_test(tcase, functions_that_are_not);
	tcase_add_test(tcase, bytes_beneath_the_format);
	tcase_add_test(tcase, a_probed_raw_image_stays_raw);
	tcase_add_test(tcase, a_stated_format_is_not_probed);
}

int main(int argc, char **argv)
{
	return api_main("images_in_any_storage", add_tests, argc, argv);
}
