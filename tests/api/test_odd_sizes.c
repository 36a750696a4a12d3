/* SPDX-License-Identifier: MIT */
/*
 * Promise: images of no size, of a size that is no multiple of a cluster, and
 * raw files of any length work to their last byte.
 */
#include "api_test.h"

static struct qcowfmt_image *image;

START_TEST(an_empty_image)
{
	uint8_t byte = 0;

	api_create(scratch_path("e.qcow2"), 0, 0);
	image = api_open(scratch_path("e.qcow2"), API_RW);
	ck_assert_uint_eq(qcowfmt_get_size(image), 0);
	API_OK(qcowfmt_pread(image, NULL, 0, 0, &api_error));
	API_FAILS(qcowfmt_pread(image, &byte, 1, 0, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_pwrite(image, &byte, 1, 0, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_flush(image, &api_error));
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("e.qcow2"));
}

END_TEST

static void check_size(uint64_t size, uint64_t cluster_size)
{
	api_create(scratch_path("s.qcow2"), size, cluster_size);
	image = api_open(scratch_path("s.qcow2"), API_RW);
	ck_assert_uint_eq(qcowfmt_get_size(image), size);
	api_expect(image, 0, (size_t)size, 0);
	api_write(image, size - 1, 1, 'l');
	api_write(image, 0, 1, 'f');
	api_close(image);
	image = api_open(scratch_path("s.qcow2"), API_RW);
	api_expect(image, 0, 1, 'f');
	api_expect(image, size - 1, 1, 'l');
	if (size > 2)
		api_expect(image, 1, (size_t)size - 2, 0);
	api_write(image, 0, (size_t)size, 'w');
	api_expect(image, 0, (size_t)size, 'w');
	API_OK(qcowfmt_write_zeroes(image, size - 1, 1, 0, &api_error));
	api_expect(image, size - 1, 1, 0);
	API_OK(qcowfmt_discard(image, 0, size, &api_error));
	api_expect(image, size - 1, 1, 0);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("s.qcow2"));
}

START_TEST(sizes_around_a_cluster)
{
	static const uint64_t cluster_sizes[] = { 512, 4096, 65536, 2097152 };

	for (size_t i = 0; i < QCF_ARRAY_LEN(cluster_sizes); i++) {
		uint64_t size = cluster_sizes[i];

		check_size(512, size);
		check_size(size, size);
		check_size(size + 512, size);
		check_size(3 * size - 512 + (size == 512 ? 512 : 0), size);
	}
}

END_TEST

/* Not written by anyone sane, but found: the size is rounded down. */
START_TEST(a_stored_size_that_is_no_multiple_of_512)
{
	uint8_t byte = 0;

	api_create(scratch_path("o.qcow2"), 4096, 0);
	api_put(scratch_path("o.qcow2"), API_AT_VIRTUAL_SIZE, 8, 1000);
	image = api_open(scratch_path("o.qcow2"), API_RW);
	ck_assert_uint_eq(qcowfmt_get_size(image), 512);
	api_write(image, 0, 512, 'x');
	API_FAILS(qcowfmt_pwrite(image, &byte, 1, 512, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	api_close(image);
}

END_TEST

static int open_raw(const char *name, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = flags,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error);
}

START_TEST(a_raw_file_is_rounded_up_with_zeros)
{
	uint8_t bytes[1000];

	memset(bytes, 'r', sizeof(bytes));
	api_write_file(scratch_path("r.raw"), bytes, sizeof(bytes));
	API_OK(open_raw("r.raw", 0));
	ck_assert_uint_eq(qcowfmt_get_size(image), 1024);
	api_expect(image, 0, 1000, 'r');
	api_expect(image, 1000, 24, 0);
	api_close(image);

	struct api_bytes after = api_read_file(scratch_path("r.raw"));

	ck_assert_uint_eq(after.len, 1000);
	api_bytes_free(&after);
	API_OK(open_raw("r.raw", API_RW));
	api_write(image, 990, 20, 'n');
	api_expect(image, 990, 20, 'n');
	api_expect(image, 1010, 14, 0);
	api_close(image);
}

END_TEST

START_TEST(an_empty_raw_file)
{
	api_write_file(scratch_path("e.raw"), "", 0);
	API_OK(open_raw("e.raw", API_RW));
	ck_assert_uint_eq(qcowfmt_get_size(image), 0);
	api_close(image);
}

END_TEST

/* Backing files shorter and longer than what lies on them */
static void check_overlay(uint64_t size, size_t backing_len)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	uint64_t shown = backing_len < size ? backing_len : size;
	uint8_t *bytes = malloc(backing_len + 1);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'b', backing_len);
	api_write_file(scratch_path("b.raw"), bytes, backing_len);
	free(bytes);
	api_create_overlay(scratch_path("o.qcow2"), size, "b.raw", "raw");
	API_OK(qcowfmt_open_file(scratch_path("o.qcow2"), &options, &image,
	                         &api_error));
	ck_assert_uint_eq(qcowfmt_get_size(image), size);
	api_expect(image, 0, (size_t)shown, 'b');
	if (shown < size)
		api_expect(image, shown, (size_t)(size - shown), 0);
	/* One sector of the last cluster; the rest of it is copied. */
	api_write(image, size - 512, 512, 'o');
	api_expect(image, size - 512, 512, 'o');
	if (shown < size - 512)
		api_expect(image, shown, (size_t)(size - 512 - shown), 0);
	api_expect(image, 0, (size_t)(shown < size - 512 ? shown : size - 512),
	           'b');
	api_check_clean(image);
	api_close(image);
}

START_TEST(backing_files_of_other_sizes)
{
	check_overlay(65536 * 4, 65536 * 2);
	check_overlay(65536 * 4, 65536 * 2 + 512);
	check_overlay(65536 * 4, 65536 * 4 - 3);
	check_overlay(65536 * 4, 1);
	check_overlay(65536 * 4, 65536 * 8);
	check_overlay(65536 * 4 + 512, 65536 * 8);
	check_overlay(65536 * 4 + 512, 65536 * 4 + 100);
	check_overlay(1024, 700);
	check_overlay(65536, 0);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, an_empty_image);
	tcase_add_test(tcase, sizes_around_a_cluster);
	tcase_add_test(tcase, a_stored_size_that_is_no_multiple_of_512);
	tcase_add_test(tcase, a_raw_file_is_rounded_up_with_zeros);
	tcase_add_test(tcase, an_empty_raw_file);
	tcase_add_test(tcase, backing_files_of_other_sizes);
}

int main(int argc, char **argv)
{
	return api_main("odd_sizes", add_tests, argc, argv);
}
