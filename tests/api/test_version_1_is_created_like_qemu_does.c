/* SPDX-License-Identifier: MIT */
/*
 * Promise: a new version 1 image has the very bytes that qemu-img would have
 * written, and each option that version 1 has no way to express is refused by
 * name before anything is touched.
 */
#include <sys/stat.h>

#include "api_disk.h"
#include "api_test.h"

#define SIZE ((uint64_t)100 << 20)

static int create(const char *name, const struct qcowfmt_create_options *row)
{
	struct qcowfmt_create_options options = *row;

	options.struct_size = sizeof(options);
	options.format = QCOWFMT_FORMAT_QCOW;
	return qcowfmt_create_file(scratch_path(name), &options, &api_error);
}

/* ---------------------------------------------------------------- same bytes */

static void compare(uint64_t size, const char *backing, const char *format)
{
	struct qcowfmt_create_options ours = {
		.virtual_size = size,
		.backing_filename = backing,
		.backing_format = format,
	};
	char text[32];
	struct api_bytes a;
	struct api_bytes b;

	snprintf(text, sizeof(text), "%" PRIu64, size);
	API_OK(create("ours", &ours));
	if (backing == NULL)
		ck_assert_int_eq(api_run(api_qemu_img, "create", "-q", "-f",
		                         "qcow", scratch_path("theirs"), text,
		                         NULL),
		                 0);
	else
		ck_assert_int_eq(api_run(api_qemu_img, "create", "-q", "-u",
		                         "-f", "qcow", "-b", backing, "-F",
		                         format, scratch_path("theirs"), text,
		                         NULL),
		                 0);
	a = api_read_file(scratch_path("ours"));
	b = api_read_file(scratch_path("theirs"));
	ck_assert_msg(api_bytes_equal(&a, &b), "%s, %s: %zu and %zu bytes",
	              text, backing == NULL ? "no backing" : backing, a.len,
	              b.len);
	api_bytes_free(&a);
	api_bytes_free(&b);
}

START_TEST(every_size)
{
	static const uint64_t sizes[] = {
		512,
		1024,
		1 << 20,
		2 << 20,
		(2 << 20) + 512,
		/* One sector of the table, and one entry more */
		128 << 20,
		(128 << 20) + 512,
		(uint64_t)10 << 30,
		(uint64_t)1 << 40,
	};
	char longest[1024];

	memset(longest, 'n', 1023);
	longest[1023] = '\0';
	for (size_t i = 0; i < QCF_ARRAY_LEN(sizes); i++) {
		compare(sizes[i], NULL, NULL);
		compare(sizes[i], "base.raw", "raw");
	}
	compare(SIZE, longest, "qcow2");
	/* Lengths that leave 7, 0 and 1 bytes to the table */
	compare(SIZE, "b", "raw");
	compare(SIZE, "12345678", "raw");
	compare(SIZE, "1234567", "qcow2");
	/* The name ends with the first sector, or with the next byte. */
	longest[465] = '\0';
	compare(SIZE, longest, "raw");
	longest[464] = '\0';
	compare(SIZE, longest, "raw");
	compare(SIZE, "fat:", "raw");
	compare(SIZE, "fat:x", "raw");
}

END_TEST

START_TEST(old_content_does_not_shine_through)
{
	struct qcowfmt_create_options options = { .virtual_size = SIZE };
	char old[20000];
	struct api_bytes image;

	memset(old, 0x5a, sizeof(old));
	api_write_file(scratch_path("x"), old, sizeof(old));
	API_OK(create("x", &options));
	image = api_read_file(scratch_path("x"));
	ck_assert_uint_eq(image.len, 48 + 512);
	for (size_t i = 48; i < image.len; i++)
		ck_assert_uint_eq(image.bytes[i], 0);
	api_bytes_free(&image);
}

END_TEST

START_TEST(defaults_may_be_said)
{
	struct qcowfmt_create_options options = {
		.virtual_size = SIZE,
		.version = 1,
		.cluster_size = 4096,
	};

	API_OK(create("x", &options));
	ck_assert_uint_eq(api_get(scratch_path("x"), 32, 2), 0x0c09);
	options.backing_filename = "base";
	options.cluster_size = 512;
	API_OK(create("x", &options));
	ck_assert_uint_eq(api_get(scratch_path("x"), 32, 2), 0x090c);
}

END_TEST

/* ----------------------------------------------------------------- refusals */

static const struct qcowfmt_encryption_options luks = {
	.struct_size = sizeof(luks),
	.encryption = QCOWFMT_ENCRYPTION_LUKS,
	.secret = "x",
	.secret_len = 1,
};

static const struct {
	struct qcowfmt_create_options options;
	int err;
	const char *name; /* what the message names */
} refusals[] = {
	{ { .virtual_size = 0 }, EINVAL, "zero length" },
	{ { .virtual_size = 1000 }, EINVAL, "512" },
	/* 2^28 - 1 entries of 2 MiB are allowed. */
	{ { .virtual_size = UINT64_C(1) << 49 }, EFBIG, "562949951324160" },
	{ { .virtual_size = UINT64_C(1) << 49, .backing_filename = "b" },
	  EFBIG,
	  "562949951324160" },
	{ { .virtual_size = INT64_MAX - 511 }, EFBIG, "too large" },
	{ { .virtual_size = SIZE, .version = 2 }, EINVAL, "version" },
	{ { .virtual_size = SIZE, .version = 3 }, EINVAL, "version" },
	{ { .virtual_size = SIZE, .cluster_size = 512 },
	  EINVAL,
	  "cluster_size" },
	{ { .virtual_size = SIZE, .cluster_size = 65536 },
	  EINVAL,
	  "cluster_size" },
	{ { .virtual_size = SIZE,
	    .cluster_size = 4096,
	    .backing_filename = "b" },
	  EINVAL,
	  "cluster_size" },
	{ { .virtual_size = SIZE, .refcount_bits = 16 },
	  EINVAL,
	  "refcount_bits" },
	{ { .virtual_size = SIZE, .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS },
	  EINVAL,
	  "lazy_refcounts" },
	{ { .virtual_size = SIZE, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  EINVAL,
	  "extended_l2" },
	{ { .virtual_size = SIZE, .flags = QCOWFMT_CREATE_DATA_FILE_RAW },
	  EINVAL,
	  "data_file" },
	{ { .virtual_size = SIZE, .flags = 0x80000000 }, EINVAL, "flags" },
	{ { .virtual_size = SIZE, .compression_type = 1 },
	  EINVAL,
	  "compression_type" },
	{ { .virtual_size = SIZE,
	    .preallocation = QCOWFMT_PREALLOCATION_METADATA },
	  EINVAL,
	  "preallocation" },
	{ { .virtual_size = SIZE, .preallocation = QCOWFMT_PREALLOCATION_FULL },
	  EINVAL,
	  "preallocation" },
	{ { .virtual_size = SIZE, .data_filename = "d" }, EINVAL, "data_file" },
	{ { .virtual_size = SIZE, .encryption = &luks }, EINVAL, "AES" },
	{ { .virtual_size = SIZE, .backing_filename = "" }, EINVAL, "empty" },
	{ { .virtual_size = SIZE, .backing_format = "raw" },
	  EINVAL,
	  "backing file name" },
};

START_TEST(what_version_1_cannot_do_is_named)
{
	struct stat st;
	struct api_bytes after;

	api_write_file(scratch_path("x"), "precious", 8);
	for (size_t i = 0; i < QCF_ARRAY_LEN(refusals); i++) {
		ck_assert_msg(
			create("x", &refusals[i].options) == -refusals[i].err,
			"row %zu: %s", i, qcowfmt_error_message(api_error));
		ck_assert_int_eq(qcowfmt_error_code(api_error),
		                 QCOWFMT_ERR_USAGE);
		API_ERROR_NAMES(refusals[i].name);
		api_error_reset();
		ck_assert_int_lt(create("new", &refusals[i].options), 0);
		api_error_reset();
		ck_assert_int_eq(stat(scratch_path("new"), &st), -1);
	}
	after = api_read_file(scratch_path("x"));
	ck_assert_uint_eq(after.len, 8);
	ck_assert_mem_eq(after.bytes, "precious", 8);
	api_bytes_free(&after);
}

END_TEST

START_TEST(a_backing_name_has_at_most_1023_bytes)
{
	struct qcowfmt_create_options options = { .virtual_size = SIZE };
	char name[1025];

	memset(name, 'n', 1024);
	name[1024] = '\0';
	options.backing_filename = name;
	API_FAILS(create("x", &options), EINVAL, QCOWFMT_ERR_USAGE);
	name[1023] = '\0';
	API_OK(create("x", &options));
	ck_assert_uint_eq(api_get(scratch_path("x"), 16, 4), 1023);
}

END_TEST

/* ----------------------------------------------------------------- failures */

START_TEST(no_image_without_all_of_it)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = (uint64_t)10 << 30,
		.format = QCOWFMT_FORMAT_QCOW,
	};
	struct api_disk disk = { .limit = 20000 };
	struct qcowfmt_storage *storage = api_disk_storage(&disk);

	/* The table of 40 KiB does not fit. */
	API_FAILS(qcowfmt_create(storage, &options, &api_error), ENOSPC,
	          QCOWFMT_ERR_NO_SPACE);
	ck_assert(disk.size < 4 || disk.bytes[0] == 0);
	disk.limit = 0;
	disk.fail_flush = EIO;
	API_FAILS(qcowfmt_create(storage, &options, &api_error), EIO,
	          QCOWFMT_ERR_IO);
	ck_assert_uint_eq(disk.bytes[0], 0);
	disk.fail_flush = 0;
	API_OK(qcowfmt_create(storage, &options, &api_error));
	ck_assert_uint_eq(disk.bytes[0], 'Q');
	ck_assert_uint_eq(disk.flushes, 2);
	qcowfmt_storage_free(storage);
	api_disk_fini(&disk);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, old_content_does_not_shine_through);
	tcase_add_test(tcase, defaults_may_be_said);
	tcase_add_test(tcase, what_version_1_cannot_do_is_named);
	tcase_add_test(tcase, a_backing_name_has_at_most_1023_bytes);
	tcase_add_test(tcase, no_image_without_all_of_it);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, every_size);
}

int main(int argc, char **argv)
{
	return api_main("version_1_is_created_like_qemu_does", add_tests, argc,
	                argv);
}
