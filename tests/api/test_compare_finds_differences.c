/* SPDX-License-Identifier: MIT */
/*
 * Promise: compare says whether two disks are the same and where they first
 * differ, reads nothing that need not be read, and says which image failed.
 */
#include "api_disk.h"
#include "api_test.h"

#define MIB ((uint64_t)1 << 20)

static struct qcowfmt_compare_result result;

static int compare(struct qcowfmt_image *a, struct qcowfmt_image *b,
                   uint32_t flags)
{
	struct qcowfmt_compare_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
	};

	result = (struct qcowfmt_compare_result){ .struct_size =
		                                          sizeof(result) };
	return qcowfmt_compare(a, b, &options, &result, &api_error);
}

/* In both directions. */
static void expect(struct qcowfmt_image *a, struct qcowfmt_image *b,
                   uint32_t flags, int difference, uint64_t offset)
{
	for (int i = 0; i < 2; i++) {
		API_OK(compare(i ? a : b, i ? b : a, flags));
		ck_assert_int_eq(result.difference, difference);
		ck_assert_uint_eq(result.failed_image, 0);
		if (difference != QCOWFMT_SAME)
			ck_assert_uint_eq(result.guest_offset, offset);
	}
}

static struct qcowfmt_image *make(const char *name, uint64_t size)
{
	api_create(scratch_path(name), size, 0);
	return api_open(scratch_path(name), API_RW);
}

START_TEST(content)
{
	struct qcowfmt_image *a = make("a", 4 * MIB);
	struct qcowfmt_image *b = make("b", 4 * MIB);

	expect(a, b, 0, QCOWFMT_SAME, 0);
	api_write(a, MIB, MIB, 5);
	expect(a, b, 0, QCOWFMT_DIFFERENT_CONTENT, MIB);
	api_write(b, MIB, MIB, 5);
	expect(a, b, 0, QCOWFMT_SAME, 0);
	expect(a, b, QCOWFMT_COMPARE_STRICT, QCOWFMT_SAME, 0);
	api_write(b, 2 * MIB - 1, 1, 6);
	expect(a, b, 0, QCOWFMT_DIFFERENT_CONTENT, 2 * MIB - 512);
	api_write(a, 3 * MIB, MIB, 0);
	api_write(b, 2 * MIB - 1, 1, 5);
	expect(a, b, 0, QCOWFMT_SAME, 0);
	expect(a, b, QCOWFMT_COMPARE_STRICT, QCOWFMT_DIFFERENT_ALLOCATION,
	       2 * MIB);
	expect(a, a, 0, QCOWFMT_SAME, 0);
	api_close(a);
	api_close(b);
}

END_TEST

START_TEST(sizes)
{
	struct qcowfmt_image *a = make("a", 4 * MIB);
	struct qcowfmt_image *b = make("b", 6 * MIB);

	expect(a, b, 0, QCOWFMT_SAME, 0);
	expect(a, b, QCOWFMT_COMPARE_STRICT, QCOWFMT_DIFFERENT_SIZE, 4 * MIB);
	api_write(b, 5 * MIB + 700, 1, 1);
	expect(a, b, 0, QCOWFMT_DIFFERENT_CONTENT, 5 * MIB + 512);
	api_close(a);
	api_close(b);
}

END_TEST

START_TEST(misuse)
{
	struct qcowfmt_image *a = make("a", MIB);

	API_FAILS(compare(a, a, 2), EINVAL, QCOWFMT_ERR_USAGE);
	result.struct_size = 0;
	API_FAILS(qcowfmt_compare(a, a, NULL, &result, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	api_close(a);
}

END_TEST

static int cancel(void *opaque, uint64_t done, uint64_t total)
{
	ck_assert_uint_le(done, total);
	return ++*(int *)opaque == 1;
}

START_TEST(cancelling)
{
	int calls = 0;
	struct qcowfmt_compare_options options = {
		.struct_size = sizeof(options),
		.progress = cancel,
		.progress_opaque = &calls,
	};
	struct qcowfmt_image *a = make("a", 4 * MIB);

	result.struct_size = sizeof(result);
	API_FAILS(qcowfmt_compare(a, a, &options, &result, &api_error),
	          ECANCELED, QCOWFMT_ERR_CANCELLED);
	api_close(a);
}

END_TEST

static struct qcowfmt_image *open_disk(struct api_disk *disk, int32_t format)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = format,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open(api_disk_storage(disk), &options, &image,
	                    &api_error));
	return image;
}

START_TEST(failures)
{
	struct api_disk disk = { 0 };
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = 2 * MIB,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&disk);
	struct qcowfmt_open_options rw = { .struct_size = sizeof(rw),
		                           .flags = API_RW };
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_image *zeros = make("zeros", 2 * MIB);

	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &rw, &image, &api_error));
	api_write(image, MIB, MIB, 0);
	api_close(image);
	image = open_disk(&disk, QCOWFMT_FORMAT_QCOW2);
	disk.fail_pread = EIO;
	API_FAILS(compare(zeros, image, 0), EIO, QCOWFMT_ERR_IO);
	ck_assert_uint_eq(result.failed_image, 2);
	ck_assert_int_eq(result.failed_step, QCOWFMT_COMPARE_MAPPING);
	disk.fail_pread = 0;
	API_OK(compare(zeros, image, 0));
	disk.fail_pread = EIO;
	API_FAILS(compare(image, zeros, 0), EIO, QCOWFMT_ERR_IO);
	ck_assert_uint_eq(result.failed_image, 1);
	ck_assert_int_eq(result.failed_step, QCOWFMT_COMPARE_READING);
	ck_assert_uint_eq(result.guest_offset, MIB);
	api_close(image);
	api_close(zeros);
	api_disk_fini(&disk);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, content);
	tcase_add_test(tcase, sizes);
	tcase_add_test(tcase, misuse);
	tcase_add_test(tcase, cancelling);
	tcase_add_test(tcase, failures);
}

int main(int argc, char **argv)
{
	return api_main("compare_finds_differences", add, argc, argv);
}
