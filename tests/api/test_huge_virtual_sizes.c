/* SPDX-License-Identifier: MIT */
/*
 * Promise: virtual sizes up to what the format allows work to the last byte,
 * and cost memory and space for what is used only.
 */
#include "api_test.h"

#define TIB ((uint64_t)1 << 40)
#define PIB ((uint64_t)1 << 50)
#define EIB ((uint64_t)1 << 60)

static struct qcowfmt_image *image;

static void check_size(uint64_t size, uint64_t cluster_size)
{
	const char *path = scratch_path("h.qcow2");
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_extent extents[4];

	api_create(path, size, cluster_size);
	image = api_open(path, API_RW);
	ck_assert_uint_eq(qcowfmt_get_size(image), size);
	api_write(image, size - 1, 1, 'z');
	api_write(image, size / 2 + 7, 1000, 'm');
	api_write(image, 0, 1, 'a');
	api_expect(image, size - 1000, 999, 0);
	api_expect(image, size - 1, 1, 'z');
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert_int_eq(
		qcowfmt_map(image, size - 512, 512, 0, extents, 4, &api_error),
		1);
	ck_assert_int_eq(extents[0].kind, QCOWFMT_EXTENT_DATA);
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_uint_lt(info.allocated_size, (uint64_t)80 << 20);
	api_close(image);
	image = api_open(path, 0);
	api_expect(image, size - 1, 1, 'z');
	api_expect(image, size / 2 + 7, 1000, 'm');
	api_expect(image, 0, 1, 'a');
	api_expect(image, 1, 1000, 0);
	api_check_clean(image);
	api_close(image);
}

START_TEST(sizes_below_the_limits)
{
	check_size(64 * TIB, 65536);
	check_size(100 * TIB + 512, 65536);
	api_qemu_check(scratch_path("h.qcow2"));
}

END_TEST

START_TEST(the_largest_of_each_cluster_size)
{
	check_size((uint64_t)128 << 30, 512);
	check_size(8 * TIB, 4096);
	check_size(2 * PIB, 65536);
	check_size(2 * EIB, 2 << 20);
	api_qemu_check(scratch_path("h.qcow2"));
}

END_TEST

static int create(uint64_t size, uint64_t cluster_size)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = size,
		.cluster_size = cluster_size,
	};

	return qcowfmt_create_file(scratch_path("h.qcow2"), &options,
	                           &api_error);
}

START_TEST(more_is_refused)
{
	API_FAILS(create(((uint64_t)128 << 30) + 512, 512), EFBIG,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(create(2 * PIB + 512, 65536), EFBIG, QCOWFMT_ERR_USAGE);
	API_FAILS(create(2 * EIB + 512, 2 << 20), EFBIG, QCOWFMT_ERR_USAGE);
	API_FAILS(create(UINT64_MAX - 511, 65536), EFBIG, QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(the_ceiling_for_tables_in_memory_is_an_option)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.max_metadata_size = 1 << 20,
	};
	const char *path = scratch_path("h.qcow2");

	/* An L1 table of 2 MiB */
	api_create(path, 128 * TIB, 65536);
	API_FAILS_KEEP(qcowfmt_open_file(path, &options, &image, &api_error),
	               E2BIG, QCOWFMT_ERR_LIMIT);
	API_ERROR_NAMES("max_metadata_size");
	api_error_reset();
	options.max_metadata_size = 2 << 20;
	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	api_close(image);
}

END_TEST

/* Zeroing and discarding nothing must not visit every cluster. */
START_TEST(huge_requests_on_empty_images_are_cheap)
{
	const char *path = scratch_path("h.qcow2");
	struct qcowfmt_extent extent;
	uint64_t size = 1 * TIB;

	api_create(path, size, 65536);
	image = api_open(path, API_RW);
	API_OK(qcowfmt_discard(image, 0, size, &api_error));
	for (uint64_t at = 0; at < size; at += extent.length) {
		ck_assert_int_eq(qcowfmt_map(image, at, size - at, 0, &extent,
		                             1, &api_error),
		                 1);
		ck_assert_int_eq(extent.kind, QCOWFMT_EXTENT_UNALLOCATED);
	}
	api_close(image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, sizes_below_the_limits);
	tcase_add_test(tcase, the_largest_of_each_cluster_size);
	tcase_add_test(tcase, more_is_refused);
	tcase_add_test(tcase, the_ceiling_for_tables_in_memory_is_an_option);
	tcase_add_test(tcase, huge_requests_on_empty_images_are_cheap);
}

int main(int argc, char **argv)
{
	return api_main("huge_virtual_sizes", add_tests, argc, argv);
}
