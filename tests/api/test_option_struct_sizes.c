/* SPDX-License-Identifier: MIT */
/*
 * Promise: option structures of older and newer callers work: a shorter one has
 * a tail of defaults, a longer one is accepted if its unknown tail is zero.
 */
#include "api_test.h"

#define SIZE ((uint64_t)1 << 20)

/* A structure of a future version. */
struct longer_open {
	struct qcowfmt_open_options known;
	uint8_t unknown[24];
};

struct longer_create {
	struct qcowfmt_create_options known;
	uint8_t unknown[24];
};

struct longer_file {
	struct qcowfmt_file_options known;
	uint8_t unknown[24];
};

static struct qcowfmt_image *image;

static int open_with(const struct qcowfmt_open_options *options)
{
	image = NULL;
	return qcowfmt_open_file(scratch_path("x.qcow2"), options, &image,
	                         &api_error);
}

static bool is_writable(void)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	return (info.flags & QCOWFMT_INFO_READ_ONLY) == 0;
}

START_TEST(a_shorter_one_ends_where_it_says)
{
	/* Everything behind flags is garbage that must not be looked at. */
	struct qcowfmt_open_options options;

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	memset(&options, 0xff, sizeof(options));
	options.struct_size =
		offsetof(struct qcowfmt_open_options, reference_policy);
	options.format = QCOWFMT_FORMAT_QCOW2;
	options.flags = API_RW;
	API_OK(open_with(&options));
	ck_assert(is_writable());
	api_close(image);
	options.struct_size = offsetof(struct qcowfmt_open_options, format);
	API_OK(open_with(&options));
	ck_assert(!is_writable());
	api_close(image);
}

END_TEST

START_TEST(a_longer_one_needs_a_zero_tail)
{
	struct longer_open options = {
		.known = { .struct_size = sizeof(options), .flags = API_RW },
	};

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	API_OK(open_with(&options.known));
	ck_assert(is_writable());
	api_close(image);
	options.unknown[sizeof(options.unknown) - 1] = 1;
	API_FAILS(open_with(&options.known), E2BIG, QCOWFMT_ERR_USAGE);
	ck_assert_ptr_null(image);
	options.unknown[sizeof(options.unknown) - 1] = 0;
	options.unknown[0] = 1;
	API_FAILS(open_with(&options.known), E2BIG, QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(a_size_that_cannot_hold_itself_is_refused)
{
	struct qcowfmt_open_options options = { .struct_size = 0 };

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	for (size_t size = 0; size < sizeof(size_t); size++) {
		options.struct_size = size;
		API_FAILS(open_with(&options), EINVAL, QCOWFMT_ERR_USAGE);
	}
}

END_TEST

START_TEST(no_structure_means_defaults)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
	API_OK(open_with(NULL));
	ck_assert(!is_writable());
	ck_assert_uint_eq(qcowfmt_get_size(image), SIZE);
	api_close(image);
}

END_TEST

START_TEST(creating)
{
	struct longer_create options = {
		.known = { .struct_size = sizeof(options),
		           .virtual_size = SIZE },
	};
	struct qcowfmt_create_options shorter;

	API_OK(qcowfmt_create_file(scratch_path("c.qcow2"), &options.known,
	                           &api_error));
	options.unknown[7] = 1;
	API_FAILS(qcowfmt_create_file(scratch_path("d.qcow2"), &options.known,
	                              &api_error),
	          E2BIG, QCOWFMT_ERR_USAGE);
	memset(&shorter, 0xff, sizeof(shorter));
	shorter.struct_size = offsetof(struct qcowfmt_create_options, format);
	shorter.virtual_size = SIZE;
	API_OK(qcowfmt_create_file(scratch_path("c.qcow2"), &shorter,
	                           &api_error));
	image = api_open(scratch_path("c.qcow2"), 0);
	ck_assert_uint_eq(qcowfmt_get_size(image), SIZE);
	api_close(image);
}

END_TEST

START_TEST(storage_files)
{
	struct longer_file options = {
		.known = { .struct_size = sizeof(options),
		           .flags = QCOWFMT_FILE_CREATE },
	};
	struct qcowfmt_storage *storage = NULL;

	API_OK(qcowfmt_storage_open_file(scratch_path("f"), &options.known,
	                                 &storage, &api_error));
	qcowfmt_storage_free(storage);
	options.unknown[3] = 1;
	API_FAILS(qcowfmt_storage_open_file(scratch_path("f"), &options.known,
	                                    &storage, &api_error),
	          E2BIG, QCOWFMT_ERR_USAGE);
}

END_TEST

/* Results are filled as far as the caller's structure goes, and no further. */
START_TEST(results_stay_inside_the_structure)
{
	struct qcowfmt_info info;
	const uint8_t *bytes = (const uint8_t *)&info;
	size_t size = offsetof(struct qcowfmt_info, file_size);

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), 0);
	memset(&info, 0xaa, sizeof(info));
	info.struct_size = size;
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_uint_eq(info.virtual_size, SIZE);
	ck_assert_uint_eq(info.cluster_size, 65536);
	for (size_t i = size; i < sizeof(info); i++)
		ck_assert_uint_eq(bytes[i], 0xaa);
	api_close(image);
}

END_TEST

START_TEST(check_results_stay_inside_the_structure)
{
	struct qcowfmt_check_result result;
	const uint8_t *bytes = (const uint8_t *)&result;
	size_t size = offsetof(struct qcowfmt_check_result, corruptions_fixed);

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), 0);
	memset(&result, 0xaa, sizeof(result));
	result.struct_size = size;
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	for (size_t i = size; i < sizeof(result); i++)
		ck_assert_uint_eq(bytes[i], 0xaa);
	api_close(image);
}

END_TEST

/* The verdict was added behind what was there. */
START_TEST(inspections_stay_inside_the_structure)
{
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_READ_ONLY,
	};

	struct {
		struct qcowfmt_inspection found;
		uint8_t tail[64]; /* of a later version */
	} longer;
	struct qcowfmt_inspection *found = &longer.found;
	const uint8_t *bytes = (const uint8_t *)&longer;
	size_t size = offsetof(struct qcowfmt_inspection, unsafe);
	struct qcowfmt_storage *storage = NULL;

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	API_OK(qcowfmt_storage_open_file(scratch_path("x.qcow2"), &options,
	                                 &storage, &api_error));
	memset(&longer, 0xaa, sizeof(longer));
	found->struct_size = size;
	API_OK(qcowfmt_inspect(storage, NULL, NULL, found, &api_error));
	ck_assert_uint_eq(found->virtual_size, SIZE);
	for (size_t i = size; i < sizeof(longer); i++)
		ck_assert_uint_eq(bytes[i], 0xaa);
	memset(&longer, 0xaa, sizeof(longer));
	found->struct_size = sizeof(longer);
	API_OK(qcowfmt_inspect(storage, NULL, NULL, found, &api_error));
	ck_assert_uint_eq(found->unsafe, 0);
	for (size_t i = sizeof(*found); i < sizeof(longer); i++)
		ck_assert_uint_eq(bytes[i], 0);
	qcowfmt_storage_free(storage);
}

END_TEST

START_TEST(unknown_flags_are_refused)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = UINT32_C(1) << 31,
	};
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.flags = UINT32_C(1) << 31,
	};

	api_create(scratch_path("x.qcow2"), SIZE, 0);
	API_FAILS(open_with(&options), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_create_file(scratch_path("y.qcow2"), &create,
	                              &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	options.flags = QCOWFMT_OPEN_LAZY_REFCOUNTS_ON |
	                QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF | API_RW;
	API_FAILS(open_with(&options), EINVAL, QCOWFMT_ERR_USAGE);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	API_FAILS(qcowfmt_write_zeroes(image, 0, 512, 0x80000000, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	api_close(image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_shorter_one_ends_where_it_says);
	tcase_add_test(tcase, a_longer_one_needs_a_zero_tail);
	tcase_add_test(tcase, a_size_that_cannot_hold_itself_is_refused);
	tcase_add_test(tcase, no_structure_means_defaults);
	tcase_add_test(tcase, creating);
	tcase_add_test(tcase, storage_files);
	tcase_add_test(tcase, results_stay_inside_the_structure);
	tcase_add_test(tcase, check_results_stay_inside_the_structure);
	tcase_add_test(tcase, inspections_stay_inside_the_structure);
	tcase_add_test(tcase, unknown_flags_are_refused);
}

int main(int argc, char **argv)
{
	return api_main("option_struct_sizes", add_tests, argc, argv);
}
