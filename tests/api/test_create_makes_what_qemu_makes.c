/* SPDX-License-Identifier: MIT */
/*
 * Promise: a new image has the very bytes that qemu-img would have written;
 * options that make no sense are refused before anything is touched.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"
#include "built_with.h"

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

	if (ours.compression_type == 1 && !built_with_zstd())
		return;
	ours.backing_filename = backing;
	ours.backing_format = format;
	API_OK(create("ours.qcow2", &ours));
	if (backing == NULL)
		ck_assert_int_eq(
			api_run(api_qemu_img, "create", "-q", "--object",
		                "secret,id=sec0,data=secret", "-f", "qcow2",
		                "-o", row->theirs, scratch_path("theirs.qcow2"),
		                size, NULL),
			0);
	else
		ck_assert_int_eq(
			api_run(api_qemu_img, "create", "-q", "-u", "--object",
		                "secret,id=sec0,data=secret", "-f", "qcow2",
		                "-o", row->theirs, "-b", backing, "-F", format,
		                scratch_path("theirs.qcow2"), size, NULL),
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

static const struct qcowfmt_encryption_options aes = {
	.struct_size = sizeof(aes),
	.encryption = QCOWFMT_ENCRYPTION_AES,
	.secret = "secret",
	.secret_len = 6,
};

START_TEST(every_feature)
{
	static const struct options_row rows[] = {
		{ { .virtual_size = SIZE, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
		  "extended_l2=on" },
		{ { .virtual_size = SIZE,
		    .cluster_size = 16384,
		    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
		  "extended_l2=on,cluster_size=16k" },
		{ { .virtual_size = SIZE,
		    .cluster_size = 2 << 20,
		    .refcount_bits = 1,
		    .flags = QCOWFMT_CREATE_EXTENDED_L2 |
		             QCOWFMT_CREATE_LAZY_REFCOUNTS },
		  "extended_l2=on,cluster_size=2M,refcount_bits=1,"
		  "lazy_refcounts=on" },
		{ { .virtual_size = SIZE, .compression_type = 1 },
		  "compression_type=zstd" },
		{ { .virtual_size = SIZE,
		    .cluster_size = 4096,
		    .compression_type = 1 },
		  "compression_type=zstd,cluster_size=4k" },
		{ { .virtual_size = SIZE,
		    .compression_type = 1,
		    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
		  "compression_type=zstd,extended_l2=on" },
		{ { .virtual_size = SIZE, .encryption = &aes },
		  "encrypt.format=aes,encrypt.key-secret=sec0" },
		{ { .virtual_size = SIZE, .version = 2, .encryption = &aes },
		  "compat=0.10,encrypt.format=aes,encrypt.key-secret=sec0" },
		{ { .virtual_size = SIZE,
		    .encryption = &aes,
		    .compression_type = 1,
		    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
		  "encryption=on,encrypt.key-secret=sec0,extended_l2=on,"
		  "compression_type=zstd" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		compare(&rows[i], "100M", NULL, NULL);
		compare(&rows[i], "100M", "base.img", "raw");
	}
}

END_TEST

/* Relative names of data files start at the working directory. */
static void enter_scratch(void)
{
	ck_assert_int_eq(chdir(scratch_path(".")), 0);
}

START_TEST(data_files)
{
	static const struct options_row rows[] = {
		{ { .virtual_size = SIZE, .data_filename = "d.raw" },
		  "data_file=d.raw" },
		{ { .virtual_size = SIZE,
		    .data_filename = "d.raw",
		    .encryption = &aes,
		    .flags = QCOWFMT_CREATE_EXTENDED_L2,
		    .compression_type = 1 },
		  "data_file=d.raw,encrypt.format=aes,encrypt.key-secret=sec0,"
		  "extended_l2=on,compression_type=zstd" },
		{ { .virtual_size = SIZE,
		    .data_filename = "a-name-of-17-long",
		    .cluster_size = 4096 },
		  "data_file=a-name-of-17-long,cluster_size=4k" },
		{ { .virtual_size = SIZE,
		    .data_filename = "d.raw",
		    .preallocation = QCOWFMT_PREALLOCATION_METADATA },
		  "data_file=d.raw,preallocation=metadata" },
		{ { .virtual_size = SIZE,
		    .data_filename = "d.raw",
		    .flags = QCOWFMT_CREATE_DATA_FILE_RAW },
		  "data_file=d.raw,data_file_raw=on" },
		{ { .virtual_size = SIZE,
		    .data_filename = "d.raw",
		    .flags = QCOWFMT_CREATE_DATA_FILE_RAW |
		             QCOWFMT_CREATE_EXTENDED_L2 },
		  "data_file=d.raw,data_file_raw=on,extended_l2=on" },
	};
	const uint64_t raw = QCOWFMT_CREATE_DATA_FILE_RAW;
	struct stat st;

	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		compare(&rows[i], "100M", NULL, NULL);
		if ((rows[i].ours.flags & raw) == 0 &&
		    rows[i].ours.preallocation == 0)
			compare(&rows[i], "100M", "base.img", "raw");
		ck_assert_int_eq(stat(rows[i].ours.data_filename, &st), 0);
		ck_assert_int_eq(st.st_size, (off_t)SIZE);
	}
}

END_TEST

/* qemu-img takes seconds to make keys, so there are few rows.  Keys are random:
 * what can be compared is everything in front of them. */
static void compare_luks(const struct options_row *row, uint64_t area)
{
	static const struct qcowfmt_encryption_options luks = {
		.struct_size = sizeof(luks),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 10,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_create_options ours = row->ours;
	struct api_bytes a;
	struct api_bytes b;
	int ret = -1;

	ours.encryption = &luks;
	if (ours.compression_type == 1 && !built_with_zstd())
		return;
	API_OK(create("ours.qcow2", &ours));
	/* Measuring how fast a hash is may fail on a busy machine. */
	for (int i = 0; ret != 0 && i < 10; i++)
		ret = api_run(api_qemu_img, "create", "-q", "--object",
		              "secret,id=sec0,data=secret", "-f", "qcow2", "-o",
		              "encrypt.format=luks,encrypt.key-secret=sec0,"
		              "encrypt.iter-time=10",
		              "-o", row->theirs, scratch_path("theirs.qcow2"),
		              "100M", NULL);
	ck_assert_int_eq(ret, 0);
	a = api_read_file(scratch_path("ours.qcow2"));
	b = api_read_file(scratch_path("theirs.qcow2"));
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_uint_gt(a.len, area);
	/* And 112 bytes of it: version, cipher, mode, hash, sizes. */
	ck_assert_mem_eq(a.bytes, b.bytes, area + 112);
	api_bytes_free(&a);
	api_bytes_free(&b);
}

START_TEST(luks_headers_are_where_qemu_has_them)
{
	static const struct {
		struct options_row options;
		uint64_t area;
	} rows[] = {
		{ { { .virtual_size = SIZE }, "compat=1.1" }, 0x40000 },
		{ { { .virtual_size = SIZE,
		      .data_filename = "d.raw",
		      .compression_type = 1,
		      .flags = QCOWFMT_CREATE_EXTENDED_L2 },
		    "data_file=d.raw,compression_type=zstd,extended_l2=on" },
		  0x40000 },
	};

	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++)
		compare_luks(&rows[i].options, rows[i].area);
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
	{ { .format = QCOWFMT_FORMAT_QCOW }, EINVAL, QCOWFMT_ERR_USAGE },
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
	{ { .virtual_size = UINT64_C(3) << 49,
	    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  EFBIG,
	  QCOWFMT_ERR_USAGE },
	/* The refcount table could not list all the blocks. */
	{ { .virtual_size = UINT64_C(127) << 30,
	    .cluster_size = 512,
	    .refcount_bits = 64,
	    .preallocation = QCOWFMT_PREALLOCATION_METADATA },
	  EFBIG,
	  QCOWFMT_ERR_USAGE },
};

static const struct {
	struct qcowfmt_create_options options;
	int err;
	int code;
	const char *words;
} refusals[] = {
	{ { .version = 2, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Extended L2 entries are only supported with compatibility level" },
	{ { .cluster_size = 8192, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "cluster sizes of at least 16384 bytes" },
	{ { .version = 2, .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Lazy refcounts only supported" },
	{ { .version = 2, .refcount_bits = 8 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Different refcount widths than 16 bits" },
	{ { .version = 2, .compression_type = 1 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Non-zlib compression type is only supported" },
	{ { .compression_type = 2 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "compression type 2" },
	{ { .version = 2, .data_filename = "d.raw" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "External data files are only supported" },
	{ { .flags = QCOWFMT_CREATE_DATA_FILE_RAW },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "data-file-raw requires data-file" },
	{ { .data_filename = "d.raw",
	    .flags = QCOWFMT_CREATE_DATA_FILE_RAW,
	    .backing_filename = "b" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Backing file and data-file-raw cannot be used" },
	{ { .data_filename = "" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "data file name is empty" },
	{ { .data_filename = "nbd://host/export" },
	  ENOTSUP,
	  QCOWFMT_ERR_UNSUPPORTED,
	  "protocol 'nbd'" },
	{ { .data_filename = "json:{}" },
	  ENOTSUP,
	  QCOWFMT_ERR_UNSUPPORTED,
	  "protocol 'json'" },
	{ { .preallocation = 4 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "preallocation mode 4" },
	{ { .preallocation = -1 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "preallocation mode -1" },
	{ { .preallocation = QCOWFMT_PREALLOCATION_FALLOC,
	    .backing_filename = "b" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Backing file and preallocation can only" },
	{ { .format = QCOWFMT_FORMAT_RAW,
	    .preallocation = QCOWFMT_PREALLOCATION_METADATA },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "Unsupported preallocation mode: metadata" },
	{ { .format = QCOWFMT_FORMAT_RAW, .compression_type = 1 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "compression_type" },
	{ { .format = QCOWFMT_FORMAT_RAW, .data_filename = "d.raw" },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "data file" },
	{ { .format = QCOWFMT_FORMAT_RAW, .encryption = &aes },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "encryption" },
	{ { .format = QCOWFMT_FORMAT_RAW, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  EINVAL,
	  QCOWFMT_ERR_USAGE,
	  "flags" },
};

START_TEST(contradictions_are_refused_by_name)
{
	struct api_bytes after;
	struct stat st;

	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(refusals); i++) {
		api_write_file("x", "precious", 8);
		API_FAILS_KEEP(create("x", &refusals[i].options),
		               refusals[i].err, refusals[i].code);
		API_ERROR_NAMES(refusals[i].words);
		api_error_reset();
		after = api_read_file("x");
		ck_assert_uint_eq(after.len, 8);
		api_bytes_free(&after);
		ck_assert_int_eq(stat("d.raw", &st), -1);
	}
}

END_TEST

START_TEST(a_data_file_is_never_the_image)
{
	struct qcowfmt_create_options options = { .virtual_size = SIZE };
	struct api_bytes after;
	struct stat st;

	enter_scratch();
	options.data_filename = "./fresh";
	API_FAILS_KEEP(create("fresh", &options), EINVAL, QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("is the image itself");
	api_error_reset();
	ck_assert_int_eq(stat("fresh", &st), -1);
	api_write_file("x", "precious", 8);
	ck_assert_int_eq(symlink("x", "link"), 0);
	options.data_filename = "link";
	API_FAILS(create("x", &options), EINVAL, QCOWFMT_ERR_USAGE);
	after = api_read_file("x");
	ck_assert_uint_eq(after.len, 8);
	api_bytes_free(&after);
	ck_assert_int_eq(unlink("link"), 0);
}

END_TEST

START_TEST(a_failure_leaves_no_file_behind)
{
	struct qcowfmt_create_options options = {
		.virtual_size = SIZE,
		.data_filename = "no/such/directory/d.raw",
	};
	struct stat st;

	enter_scratch();
	API_FAILS(create("fresh", &options), ENOENT, QCOWFMT_ERR_SYSTEM);
	ck_assert_int_eq(stat("fresh", &st), -1);
	options.data_filename = "d.raw";
	API_FAILS(create("no/such.qcow2", &options), ENOENT,
	          QCOWFMT_ERR_SYSTEM);
	ck_assert_int_eq(stat("d.raw", &st), -1);
}

END_TEST

START_TEST(an_existing_data_file_is_emptied)
{
	struct qcowfmt_create_options options = {
		.virtual_size = SIZE,
		.data_filename = "file:old.raw",
	};
	struct stat st;

	enter_scratch();
	api_write_file("old.raw", "old", 3);
	API_OK(create("x", &options));
	ck_assert_int_eq(stat("old.raw", &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)SIZE);
	ck_assert_uint_eq(api_get("old.raw", 0, 4), 0);
	ck_assert_int_eq(unlink("old.raw"), 0);
}

END_TEST

START_TEST(data_storage_is_used_as_it_is)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.data_filename = "never-made.raw",
		.preallocation = QCOWFMT_PREALLOCATION_FULL,
	};
	struct qcowfmt_storage *image = NULL;
	struct qcowfmt_storage *data = NULL;
	uint64_t size = 0;
	struct stat st;

	enter_scratch();
	API_OK(qcowfmt_storage_new_memory(0, &image, &api_error));
	API_FAILS_KEEP(qcowfmt_create(image, &options, &api_error), EINVAL,
	               QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("data_storage");
	api_error_reset();
	options.data_storage = image;
	API_FAILS(qcowfmt_create(image, &options, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_storage_new_memory(0, &data, &api_error));
	options.data_storage = data;
	API_OK(qcowfmt_create(image, &options, &api_error));
	API_OK(qcowfmt_storage_get_size(data, &size, &api_error));
	ck_assert_uint_eq(size, 1 << 20);
	API_OK(create("x", &options));
	ck_assert_int_eq(stat("never-made.raw", &st), -1);
	options.data_filename = NULL;
	API_FAILS(qcowfmt_create(image, &options, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	qcowfmt_storage_free(image);
	qcowfmt_storage_free(data);
}

END_TEST

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
	tcase_add_test(tcase, contradictions_are_refused_by_name);
	tcase_add_test(tcase, a_data_file_is_never_the_image);
	tcase_add_test(tcase, a_failure_leaves_no_file_behind);
	tcase_add_test(tcase, an_existing_data_file_is_emptied);
	tcase_add_test(tcase, data_storage_is_used_as_it_is);
	tcase_add_test(tcase, a_backing_name_must_fit);
	tcase_add_test(tcase, a_raw_image_is_a_hole);
	tcase_add_test(tcase, places_that_cannot_be_written);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, every_option);
	tcase_add_test(tcase, every_feature);
	tcase_add_test(tcase, data_files);
	tcase_add_test(tcase, luks_headers_are_where_qemu_has_them);
	tcase_add_test(tcase, every_size);
}

int main(int argc, char **argv)
{
	return api_main("create_makes_what_qemu_makes", add_tests, argc, argv);
}
