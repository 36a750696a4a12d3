/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image needs no more than qcowfmt_measure() said, as it is made and
 * when all of it is written.
 */
#include "api_test.h"

#define MIB ((uint64_t)1 << 20)

static const struct measure_case {
	uint64_t size;
	uint32_t version;
	uint64_t cluster_size;
	uint32_t refcount_bits;
	uint32_t flags;
} cases[] = {
	{ 3 * MIB, 3, 0, 0, 0 },
	{ 3 * MIB, 2, 4096, 0, 0 },
	{ MIB + 512, 3, 512, 64, 0 },
	{ 2 * MIB, 3, 512, 1, 0 },
	{ 5 * MIB + 1024, 3, 16384, 0, QCOWFMT_CREATE_EXTENDED_L2 },
	{ 4 * MIB, 3, 2 * MIB, 0, 0 },
	{ 0, 3, 0, 0, 0 },
};

static struct qcowfmt_create_options options_of(const struct measure_case *row)
{
	return (struct qcowfmt_create_options){
		.struct_size = sizeof(struct qcowfmt_create_options),
		.virtual_size = row->size,
		.version = row->version,
		.cluster_size = row->cluster_size,
		.refcount_bits = row->refcount_bits,
		.flags = row->flags,
	};
}

static struct qcowfmt_measure_result measure(
	struct qcowfmt_image *source,
	const struct qcowfmt_create_options *options)
{
	struct qcowfmt_measure_result result = { .struct_size =
		                                         sizeof(result) };

	API_OK(qcowfmt_measure(source, options, &result, &api_error));
	return result;
}

static uint64_t file_size(const char *name)
{
	struct api_bytes bytes = api_read_file(scratch_path(name));
	uint64_t size = bytes.len;

	api_bytes_free(&bytes);
	return size;
}

START_TEST(full_images)
{
	const struct measure_case *row = &cases[_i];
	struct qcowfmt_create_options options = options_of(row);
	struct qcowfmt_measure_result result = measure(NULL, &options);
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create_file(scratch_path("x"), &options, &api_error));
	ck_assert_uint_le(file_size("x"), result.required);
	image = api_open(scratch_path("x"), API_RW);
	api_write(image, 0, row->size, 1);
	api_close(image);
	ck_assert_uint_le(file_size("x"), result.fully_allocated);
	ck_assert_uint_le(row->size, result.fully_allocated);
	ck_assert_int_eq(result.has_bitmaps, 0);
	/* Of itself, all of it is needed. */
	image = api_open(scratch_path("x"), 0);
	options.virtual_size = 12345 * 512;
	result = measure(image, &options);
	ck_assert_uint_eq(result.required, result.fully_allocated);
	ck_assert_int_eq(result.has_bitmaps, row->version == 3);
	ck_assert_uint_eq(result.bitmaps, 0);
	api_close(image);
}

END_TEST

START_TEST(preallocation_and_backing_files)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 64 * MIB,
	};
	struct qcowfmt_measure_result plain = measure(NULL, &options);
	struct qcowfmt_measure_result full;

	ck_assert_uint_eq(plain.fully_allocated - plain.required, 64 * MIB);
	options.preallocation = QCOWFMT_PREALLOCATION_METADATA;
	ck_assert_uint_eq(measure(NULL, &options).required, plain.required);
	options.preallocation = QCOWFMT_PREALLOCATION_FULL;
	full = measure(NULL, &options);
	ck_assert_uint_eq(full.required, plain.fully_allocated);
	options.preallocation = QCOWFMT_PREALLOCATION_FALLOC;
	full = measure(NULL, &options);
	ck_assert_uint_eq(full.required, plain.fully_allocated);
	options.preallocation = QCOWFMT_PREALLOCATION_OFF;
	options.backing_filename = "x";
	ck_assert_uint_eq(measure(NULL, &options).required, plain.required);
}

END_TEST

START_TEST(raw)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
		.virtual_size = 3 * 512,
	};
	struct qcowfmt_measure_result result = measure(NULL, &options);

	ck_assert_uint_eq(result.required, 3 * 512);
	ck_assert_uint_eq(result.fully_allocated, 3 * 512);
}

END_TEST

START_TEST(refusals)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = MIB,
	};
	struct qcowfmt_measure_result result = { .struct_size =
		                                         sizeof(result) };

	API_FAILS(qcowfmt_measure(NULL, &options, &result, &api_error), ENOTSUP,
	          QCOWFMT_ERR_UNSUPPORTED);
	options.format = QCOWFMT_FORMAT_QCOW2;
	options.cluster_size = 3000;
	API_FAILS(qcowfmt_measure(NULL, &options, &result, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	options.cluster_size = 512;
	options.virtual_size = (uint64_t)1 << 40;
	API_FAILS(qcowfmt_measure(NULL, &options, &result, &api_error), EFBIG,
	          QCOWFMT_ERR_USAGE);
	options.virtual_size = 100;
	API_FAILS(qcowfmt_measure(NULL, &options, &result, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	options.virtual_size = MIB;
	result.struct_size = 1;
	API_FAILS(qcowfmt_measure(NULL, &options, &result, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, full_images, 0, (int)QCF_ARRAY_LEN(cases));
	tcase_add_test(tcase, preallocation_and_backing_files);
	tcase_add_test(tcase, raw);
	tcase_add_test(tcase, refusals);
}

int main(int argc, char **argv)
{
	return api_main("measure_is_enough", add, argc, argv);
}
