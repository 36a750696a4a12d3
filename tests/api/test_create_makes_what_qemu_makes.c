/* SPDX-License-Identifier: MIT */
/*
 * Promise: a new image has the very bytes that qemu-img would have written;
 * options that make no sense are refused before anything is touched.
 */
#include <sys/stat.h>

#include "api_test.h"

#define SIZE ((uint64_t)100 << 20)

struct options_row {
	struct qcowfmt_create_options ours;
	const char *theirs;
};

static int create(const char *name, const struct qcowfmt_create_options *row)
{
	struct qcowfmt_create_options options = *row;

	options.struct_size = sizeof(options);
	return qcowfmt_create_file(scratch_path(name), &options, &api_error);
}

static void compare(const struct options_row *row, const char *size,
                    const char *backing, const char *format)
{
	struct qcowfmt_create_options ours = row->ours;
	struct api_bytes a;
	struct api_bytes b;

	ours.backing_filename = backing;
	ours.backing_format = format;
	API_OK(create("ours.qcow2", &ours));
	if (backing == NULL)
		ck_assert_int_eq(api_run(api_qemu_img, "create", "-q", "-f",
		                         "qcow2", "-o", row->theirs,
		                         scratch_path("theirs.qcow2"), size,
		                         NULL),
		                 0);
	else
		ck_assert_int_eq(api_run(api_qemu_img, "create", "-q", "-u",
		                         "-f", "qcow2", "-o", row->theirs, "-b",
		                         backing, "-F", format,
		                         scratch_path("theirs.qcow2"), size,
		                         NULL),
		                 0);
	a = api_read_file(scratch_path("ours.qcow2"));
	b = api_read_file(scratch_path("theirs.qcow2"));
	ck_assert_msg(api_bytes_equal(&a, &b), "%s: %zu and %zu bytes",
	              row->theirs, a.len, b.len);
	api_bytes_free(&a);
	api_bytes_free(&b);
}

START_TEST(every_option)
{
	static const struct options_row rows[] = {
		{ { .virtual_size = SIZE }, "compat=1.1" },
		{ { .virtual_size = SIZE, .version = 3 }, "compat=1.1" },
		{ { .virtual_size = SIZE, .version = 2 }, "compat=0.10" },
		{ { .virtual_size = SIZE, .cluster_size = 512 },
		  "cluster_size=512" },
		{ { .virtual_size = SIZE, .cluster_size = 4096 },
		  "cluster_size=4096" },
		{ { .virtual_size = SIZE,
		    .cluster_size = 1 << 20,
		    .version = 2 },
		  "cluster_size=1M,compat=0.10" },
		{ { .virtual_size = SIZE, .cluster_size = 2 << 20 },
		  "cluster_size=2M" },
		{ { .virtual_size = SIZE, .refcount_bits = 1 },
		  "refcount_bits=1" },
		{ { .virtual_size = SIZE, .refcount_bits = 2 },
		  "refcount_bits=2" },
		{ { .virtual_size = SIZE, .refcount_bits = 8 },
		  "refcount_bits=8" },
		{ { .virtual_size = SIZE, .refcount_bits = 32 },
		  "refcount_bits=32" },
		{ { .virtual_size = SIZE, .refcount_bits = 64 },
		  "refcount_bits=64" },
		{ { .virtual_size = SIZE,
		    .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS },
		  "lazy_refcounts=on" },
		{ { .virtual_size = SIZE,
		    .refcount_bits = 64,
		    .cluster_size = 512 },
		  "refcount_bits=64,cluster_size=512" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		compare(&rows[i], "100M", NULL, NULL);
		compare(&rows[i], "100M", "base.img", "raw");
	}
}

END_TEST

START_TEST(every_size)
{
	static const struct {
		uint64_t size;
		const char *text;
	} rows[] = {
		{ 0, "0" },
		{ 512, "512" },
		{ 65536, "65536" },
		{ (uint64_t)512 << 20, "512M" },
		{ ((uint64_t)512 << 20) + 512, "536871424" },
		{ (uint64_t)1 << 40, "1T" },
		{ (uint64_t)64 << 40, "64T" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct options_row row = {
			{ .virtual_size = rows[i].size },
			"compat=1.1",
		};

		compare(&row, rows[i].text, NULL, NULL);
	}
}

END_TEST

static const struct {
	struct qcowfmt_create_options options;
	int err;
	int code;
} bad_options[] = {
	{ { .virtual_size = 1000 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .virtual_size = 511 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .cluster_size = 256 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .cluster_size = 4 << 20 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .cluster_size = 65537 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .cluster_size = UINT64_C(1) << 63 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .cluster_size = (UINT64_C(1) << 32) + 512 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE },
	{ { .refcount_bits = 3 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .refcount_bits = 128 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .refcount_bits = UINT32_C(1) << 31 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .version = 1 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .version = 4 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .version = 2, .refcount_bits = 8 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .version = 2, .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS },
	  EINVAL,
	  QCOWFMT_ERR_USAGE },
	{ { .flags = 0x80000000 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .format = 4 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .format = -1 }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .format = QCOWFMT_FORMAT_QCOW }, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED },
	{ { .format = QCOWFMT_FORMAT_RAW, .cluster_size = 65536 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE },
	{ { .format = QCOWFMT_FORMAT_RAW, .version = 3 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE },
	{ { .format = QCOWFMT_FORMAT_RAW, .backing_filename = "x" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE },
	{ { .backing_format = "raw" }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .backing_filename = "" }, EINVAL, QCOWFMT_ERR_USAGE },
	{ { .backing_filename = "b", .backing_format = "sixteen-letters-" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE },
	{ { .virtual_size = UINT64_C(3) << 50 }, EFBIG, QCOWFMT_ERR_USAGE },
};

START_TEST(bad_options_leave_an_existing_file_alone)
{
	struct api_bytes after;

	for (size_t i = 0; i < QCF_ARRAY_LEN(bad_options); i++) {
		api_write_file(scratch_path("x"), "precious", 8);
		ck_assert_msg(create("x", &bad_options[i].options) ==
		                      -bad_options[i].err,
		              "row %zu: %s", i,
		              qcowfmt_error_message(api_error));
		ck_assert_int_eq(qcowfmt_error_code(api_error),
		                 bad_options[i].code);
		api_error_reset();
		after = api_read_file(scratch_path("x"));
		ck_assert_msg(after.len == 8, "row %zu", i);
		ck_assert_mem_eq(after.bytes, "precious", 8);
		api_bytes_free(&after);
	}
}

END_TEST

START_TEST(bad_options_leave_no_new_file)
{
	struct stat st;

	for (size_t i = 0; i < QCF_ARRAY_LEN(bad_options); i++) {
		ck_assert_int_lt(create("new", &bad_options[i].options), 0);
		api_error_reset();
		ck_assert_int_eq(stat(scratch_path("new"), &st), -1);
	}
}

END_TEST

START_TEST(a_backing_name_must_fit)
{
	struct qcowfmt_create_options options = { .virtual_size = SIZE };
	struct stat st;
	char name[1025];

	memset(name, 'n', 1024);
	name[1024] = '\0';
	options.backing_filename = name;
	API_FAILS(create("n.qcow2", &options), EINVAL, QCOWFMT_ERR_USAGE);
	name[1023] = '\0';
	API_OK(create("n.qcow2", &options));
	options.cluster_size = 512;
	API_FAILS(create("m.qcow2", &options), ENOSPC, QCOWFMT_ERR_NO_SPACE);
	ck_assert_int_eq(stat(scratch_path("m.qcow2"), &st), -1);
}

END_TEST

START_TEST(a_raw_image_is_a_hole)
{
	struct qcowfmt_create_options options = {
		.virtual_size = SIZE,
		.format = QCOWFMT_FORMAT_RAW,
	};
	struct stat st;

	api_write_file(scratch_path("r.raw"), "old", 3);
	API_OK(create("r.raw", &options));
	ck_assert_int_eq(stat(scratch_path("r.raw"), &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)SIZE);
	ck_assert_uint_eq(api_get(scratch_path("r.raw"), 0, 4), 0);
	ck_assert_int_lt(st.st_blocks, 1000);
}

END_TEST

START_TEST(places_that_cannot_be_written)
{
	struct qcowfmt_create_options options = { .virtual_size = SIZE };

	API_FAILS(create("no/such/directory.qcow2", &options), ENOENT,
	          QCOWFMT_ERR_SYSTEM);
	ck_assert_int_eq(mkdir(scratch_path("dir"), 0700), 0);
	ck_assert_int_lt(create("dir", &options), 0);
	api_error_reset();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, bad_options_leave_an_existing_file_alone);
	tcase_add_test(tcase, bad_options_leave_no_new_file);
	tcase_add_test(tcase, a_backing_name_must_fit);
	tcase_add_test(tcase, a_raw_image_is_a_hole);
	tcase_add_test(tcase, places_that_cannot_be_written);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, every_option);
	tcase_add_test(tcase, every_size);
}

int main(int argc, char **argv)
{
	return api_main("create_makes_what_qemu_makes", add_tests, argc, argv);
}
