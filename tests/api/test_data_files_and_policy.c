/* SPDX-License-Identifier: MIT */
/*
 * Promise: a data file is opened only as the reference policy says, whatever
 * name the image stores; guest data goes there and nowhere else, so that qemu-img
 * and, for a raw one, anybody reads the same.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"

#define SIZE ((size_t)1 << 20)

/* The data file's name is the first extension of a version 3 header. */
#define AT_NAME_LEN 116u
#define AT_NAME     120u

static struct qcowfmt_image *image;

static void enter_scratch(void)
{
	ck_assert_int_eq(chdir(scratch_path(".")), 0);
}

static int open_as(const char *name, int32_t policy, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = policy,
	};

	image = NULL;
	return qcowfmt_open_file(name, &options, &image, &api_error);
}

/* An image x whose data is in a memory storage that is gone: only what is stored
 * in x matters. */
static void make_image_naming(const char *image_name, const char *data_name)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.data_filename = data_name,
	};
	struct qcowfmt_storage *data = NULL;

	API_OK(qcowfmt_storage_new_memory(0, &data, &api_error));
	options.data_storage = data;
	API_OK(qcowfmt_create_file(image_name, &options, &api_error));
	qcowfmt_storage_free(data);
}

static void make_raw(const char *name, uint8_t value)
{
	static uint8_t bytes[SIZE];

	memset(bytes, value, SIZE);
	api_write_file(name, bytes, SIZE);
}

static void make_directories(void)
{
	enter_scratch();
	ck_assert_int_eq(api_run("/bin/sh", "-c", "rm -rf ./*", NULL), 0);
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(mkdir("d/sub", 0700), 0);
}

/* Write through the image; say whether it arrived in a file. */
static void expect_data_in(const char *name)
{
	api_write(image, 4096, 512, 'd');
	api_expect(image, 4096, 512, 'd');
	api_close(image);
	ck_assert_uint_eq(api_get(name, 4096, 1), 'd');
}

/* ---------------------------------------------------------------- policies */

START_TEST(refused_by_default)
{
	make_directories();
	make_image_naming("x", "d.raw");
	make_raw("d.raw", 0);
	API_FAILS_KEEP(qcowfmt_open_file("x", NULL, &image, &api_error), EACCES,
	               QCOWFMT_ERR_REFUSED);
	API_ERROR_NAMES("d.raw");
	API_ERROR_NAMES("data file");
	api_error_reset();
}

END_TEST

START_TEST(local_names_start_at_the_working_directory)
{
	make_directories();
	make_image_naming("d/x", "d.raw");
	API_FAILS(open_as("d/x", QCOWFMT_REFERENCES_LOCAL, API_RW), ENOENT,
	          QCOWFMT_ERR_SYSTEM);
	make_raw("d/d.raw", 'n');
	make_raw("d.raw", 0);
	API_OK(open_as("d/x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	expect_data_in("d.raw");
	ck_assert_uint_eq(api_get("d/d.raw", 4096, 1), 'n');

	make_image_naming("d/x", "file:d.raw");
	make_raw("d.raw", 0);
	API_OK(open_as("d/x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	expect_data_in("d.raw");

	make_image_naming("d/x", scratch_path("d/sub/abs.raw"));
	make_raw("d/sub/abs.raw", 0);
	API_OK(open_as("d/x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	expect_data_in("d/sub/abs.raw");
}

END_TEST

START_TEST(beneath_means_the_directory_of_the_image)
{
	static const char *const inside[] = { "d.raw", "./d.raw",
		                              "sub/../d.raw", "sub/deep.raw" };

	make_directories();
	make_raw("d.raw", 'n');
	for (size_t i = 0; i < QCF_ARRAY_LEN(inside); i++) {
		const char *file = i < 3 ? "d/d.raw" : "d/sub/deep.raw";

		make_image_naming("d/x", inside[i]);
		make_raw(file, 0);
		API_OK(open_as("d/x", QCOWFMT_REFERENCES_BENEATH, API_RW));
		expect_data_in(file);
	}
	ck_assert_uint_eq(api_get("d.raw", 4096, 1), 'n');
}

END_TEST

START_TEST(nothing_above_is_opened)
{
	static const char *const outside[] = {
		"../d.raw", "sub/../../d.raw", "out.raw",
		"up/d.raw", "file:d.raw",      "/etc/hostname",
	};

	make_directories();
	make_raw("d.raw", 'n');
	make_raw("d/d.raw", 'n');
	ck_assert_int_eq(symlink("../d.raw", "d/out.raw"), 0);
	ck_assert_int_eq(symlink("..", "d/up"), 0);
	for (size_t i = 0; i < QCF_ARRAY_LEN(outside); i++) {
		make_image_naming("d/x", outside[i]);
		API_FAILS_KEEP(
			open_as("d/x", QCOWFMT_REFERENCES_BENEATH, API_RW),
			EACCES, QCOWFMT_ERR_REFUSED);
		API_ERROR_NAMES(outside[i]);
		api_error_reset();
	}
	ck_assert_uint_eq(api_get("d.raw", 4096, 1), 'n');
}

END_TEST

START_TEST(ignoring_leaves_the_metadata)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_check_result result = {
		.struct_size = sizeof(result),
	};
	struct qcowfmt_extent extent;
	uint8_t byte;

	make_directories();
	make_image_naming("x", "nowhere/at/all.raw");
	API_FAILS(open_as("x", QCOWFMT_REFERENCES_IGNORE, API_RW), EACCES,
	          QCOWFMT_ERR_REFUSED);
	API_OK(open_as("x", QCOWFMT_REFERENCES_IGNORE, 0));
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_str_eq(info.data_filename, "nowhere/at/all.raw");
	ck_assert_uint_eq(info.flags & (QCOWFMT_INFO_DATA_FILE |
	                                QCOWFMT_INFO_DATA_FILE_RAW),
	                  QCOWFMT_INFO_DATA_FILE);
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_int_eq(qcowfmt_map(image, 0, SIZE, 0, &extent, 1, &api_error),
	                 1);
	ck_assert_int_lt(qcowfmt_pread(image, &byte, 1, 0, &api_error), 1);
	api_error_reset();
	api_close(image);
}

END_TEST

/* ---------------------------------------------------------------- callback */

struct answers {
	unsigned int calls;
	struct qcowfmt_reference seen;
	char name[64];
	char format[16];
	int ret;
	bool no_storage;
	int32_t use_format;
	const char *file;
	uint32_t file_flags;
};

static int answer(void *opaque, const struct qcowfmt_reference *reference,
                  struct qcowfmt_storage **storage, int32_t *format)
{
	struct answers *a = opaque;
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = a->file_flags,
	};

	a->calls++;
	a->seen = *reference;
	snprintf(a->name, sizeof(a->name), "%s", reference->name);
	snprintf(a->format, sizeof(a->format), "%s", reference->format);
	if (a->ret < 0 || a->no_storage)
		return a->ret;
	if (a->use_format != 0)
		*format = a->use_format;
	return qcowfmt_storage_open_file(a->file, &options, storage, NULL);
}

static int open_with(struct answers *a, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = answer,
		.reference_opaque = a,
	};

	image = NULL;
	return qcowfmt_open_file("x", &options, &image, &api_error);
}

START_TEST(a_callback_decides)
{
	struct answers a = { .file = "other.raw" };

	make_directories();
	make_image_naming("x", "nbd://host/export");
	make_raw("other.raw", 0);
	API_OK(open_with(&a, API_RW));
	ck_assert_uint_eq(a.calls, 1);
	ck_assert_int_eq(a.seen.kind, QCOWFMT_REFERENCE_DATA_FILE);
	ck_assert_uint_eq(a.seen.depth, 1);
	ck_assert_int_eq(a.seen.writable, 1);
	ck_assert_str_eq(a.name, "nbd://host/export");
	ck_assert_str_eq(a.format, "raw");
	expect_data_in("other.raw");

	a.file_flags = QCOWFMT_FILE_READ_ONLY;
	API_OK(open_with(&a, 0));
	ck_assert_int_eq(a.seen.writable, 0);
	api_expect(image, 4096, 512, 'd');
	api_close(image);
	API_FAILS(open_with(&a, API_RW), EACCES, QCOWFMT_ERR_READ_ONLY);
}

END_TEST

START_TEST(what_a_callback_may_not_answer)
{
	struct answers a = { .file = "other.raw", .ret = -EPERM };

	make_directories();
	make_image_naming("x", "d.raw");
	make_raw("other.raw", 0);
	API_FAILS_KEEP(open_with(&a, API_RW), EPERM, QCOWFMT_ERR_REFUSED);
	API_ERROR_NAMES("data file 'd.raw' was refused");
	api_error_reset();
	a.ret = 0;
	a.no_storage = true;
	API_FAILS(open_with(&a, API_RW), EINVAL, QCOWFMT_ERR_USAGE);
	a.no_storage = false;
	a.use_format = QCOWFMT_FORMAT_QCOW2;
	API_FAILS_KEEP(open_with(&a, API_RW), EINVAL, QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("can only be raw");
	api_error_reset();
	a.use_format = 0;
	a.file = "x";
	a.file_flags = QCOWFMT_FILE_NO_LOCK;
	API_FAILS_KEEP(open_with(&a, API_RW), ELOOP, QCOWFMT_ERR_CORRUPT);
	api_error_reset();
}

END_TEST

/* ------------------------------------------------- chosen by the caller */

static int open_over(const char *name, struct qcowfmt_storage *data)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.data_storage = data,
	};

	image = NULL;
	return qcowfmt_open_file(name, &options, &image, &api_error);
}

START_TEST(the_caller_can_choose_the_data_file)
{
	struct qcowfmt_storage *data = NULL;
	uint8_t byte = 0;

	make_directories();
	make_image_naming("x", "nowhere.raw");
	API_OK(qcowfmt_storage_new_memory(0, &data, &api_error));
	API_OK(open_over("x", data));
	api_write(image, 0, 512, 'm');
	api_expect(image, 0, 512, 'm');
	ck_assert_int_eq(qcowfmt_storage_pread(data, &byte, 1, 0, &api_error),
	                 1);
	ck_assert_uint_eq(byte, 'm');
	api_close(image);
}

END_TEST

START_TEST(what_was_not_opened_stays_the_callers)
{
	struct qcowfmt_storage *data = NULL;
	uint64_t size = 1;

	make_directories();
	API_OK(qcowfmt_storage_new_memory(0, &data, &api_error));
	API_FAILS(open_over("gone", data), ENOENT, QCOWFMT_ERR_SYSTEM);
	api_create("plain", SIZE, 0);
	API_FAILS_KEEP(open_over("plain", data), EINVAL, QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("data file");
	api_error_reset();
	API_OK(qcowfmt_storage_get_size(data, &size, &api_error));
	ck_assert_uint_eq(size, 0);
	qcowfmt_storage_free(data);
}

END_TEST

/* The extension is turned into one of a type nobody knows. */
START_TEST(an_image_need_not_name_its_data_file)
{
	struct qcowfmt_storage *data = NULL;

	make_directories();
	make_image_naming("x", "d.raw");
	make_raw("d.raw", 0);
	api_put("x", 112, 4, 0x12345678);
	API_FAILS_KEEP(open_as("x", QCOWFMT_REFERENCES_LOCAL, 0), EINVAL,
	               QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("does not name it");
	api_error_reset();
	API_OK(qcowfmt_storage_new_memory(0, &data, &api_error));
	API_OK(open_over("x", data));
	api_write(image, 0, 512, 'm');
	api_close(image);
}

END_TEST

/* ------------------------------------------------------------ hostile names */

/* Store other bytes of the same length as the name. */
static void rename_to(const char *bytes, size_t len)
{
	char name[64];

	ck_assert_uint_lt(len, sizeof(name));
	memset(name, 'n', len);
	name[len] = '\0';
	make_image_naming("x", name);
	ck_assert_uint_eq(api_get("x", AT_NAME_LEN, 4), len);
	for (size_t i = 0; i < len; i++)
		api_put("x", AT_NAME + i, 1, (uint8_t)bytes[i]);
}

static void expect_fails(const char *name, int err, int code)
{
	rename_to(name, strlen(name));
	API_FAILS_KEEP(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW), err,
	               code);
	for (const char *c = qcowfmt_error_message(api_error); *c != '\0'; c++)
		ck_assert_msg((unsigned char)*c >= ' ' && *c != 0x7f,
		              "control character");
	api_error_reset();
}

START_TEST(hostile_names)
{
	make_directories();
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	expect_fails("x", ELOOP, QCOWFMT_ERR_CORRUPT);
	expect_fails("./d/../x", ELOOP, QCOWFMT_ERR_CORRUPT);
	expect_fails("d", EINVAL, QCOWFMT_ERR_USAGE);
	expect_fails("fifo", EINVAL, QCOWFMT_ERR_USAGE);
	expect_fails("/dev/zero", EINVAL, QCOWFMT_ERR_USAGE);
	expect_fails("json:{\"driver\":\"null-co\"}", ENOTSUP,
	             QCOWFMT_ERR_UNSUPPORTED);
	expect_fails("nbd:unix:/run/x", ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	expect_fails("gone\n\033[31m\xff.raw", ENOENT, QCOWFMT_ERR_SYSTEM);
	expect_fails("d/sub/../../d/gone", ENOENT, QCOWFMT_ERR_SYSTEM);
}

END_TEST

/* Another name of the image is the image. */
START_TEST(links_to_the_image)
{
	make_directories();
	rename_to("hard", 4);
	ck_assert_int_eq(link("x", "hard"), 0);
	API_FAILS(open_as("x", QCOWFMT_REFERENCES_LOCAL,
	                  API_RW | QCOWFMT_OPEN_NO_LOCK),
	          ELOOP, QCOWFMT_ERR_CORRUPT);
	ck_assert_int_eq(unlink("hard"), 0);
	ck_assert_int_eq(symlink("x", "hard"), 0);
	API_FAILS(open_as("x", QCOWFMT_REFERENCES_LOCAL,
	                  API_RW | QCOWFMT_OPEN_NO_LOCK),
	          ELOOP, QCOWFMT_ERR_CORRUPT);
	ck_assert_int_eq(unlink("hard"), 0);
}

END_TEST

START_TEST(a_name_ends_at_a_nul)
{
	make_directories();
	make_raw("d.raw", 0);
	rename_to("d.raw\0/etc/passwd", 17);
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	expect_data_in("d.raw");
	rename_to("\0d.raw", 6);
	API_FAILS(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW), EINVAL,
	          QCOWFMT_ERR_USAGE);
}

END_TEST

/* ------------------------------------------------------------------- content */

START_TEST(a_short_data_file_goes_on_as_zeros)
{
	make_directories();
	make_image_naming("x", "d.raw");
	make_raw("d.raw", 0);
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_write(image, 0, SIZE, 'f');
	api_close(image);
	ck_assert_int_eq(truncate("d.raw", 1000), 0);
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, 0));
	api_expect(image, 0, 1000, 'f');
	api_expect(image, 1000, SIZE - 1000, 0);
	api_close(image);
}

END_TEST

START_TEST(holes_are_looked_for_in_the_data_file)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.data_filename = "d.raw",
		.preallocation = QCOWFMT_PREALLOCATION_METADATA,
	};
	struct qcowfmt_extent extents[3];

	make_directories();
	API_OK(qcowfmt_create_file("x", &options, &api_error));
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_write(image, 65536, 65536, 'w');
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert_int_eq(qcowfmt_map(image, 0, SIZE, QCOWFMT_MAP_HOLES, extents,
	                             3, &api_error),
	                 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(extents[i].kind, QCOWFMT_EXTENT_DATA);
		ck_assert_uint_eq(extents[i].host_offset,
		                  extents[i].guest_offset);
		ck_assert_uint_eq(extents[i].flags & QCOWFMT_EXTENT_HOLE,
		                  i == 1 ? 0 : QCOWFMT_EXTENT_HOLE);
	}
	ck_assert_uint_eq(extents[1].length, 65536);
	api_close(image);
	API_OK(open_as("x", QCOWFMT_REFERENCES_IGNORE, 0));
	ck_assert_int_eq(qcowfmt_map(image, 0, SIZE, QCOWFMT_MAP_HOLES, extents,
	                             3, &api_error),
	                 1);
	ck_assert_uint_eq(extents[0].flags & QCOWFMT_EXTENT_HOLE, 0);
	api_close(image);
}

END_TEST

START_TEST(one_writer_at_a_time)
{
	struct qcowfmt_image *first;

	make_directories();
	make_image_naming("x", "d.raw");
	make_image_naming("y", "d.raw");
	make_raw("d.raw", 0);
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	first = image;
	API_FAILS(open_as("y", QCOWFMT_REFERENCES_LOCAL, API_RW), EAGAIN,
	          QCOWFMT_ERR_LOCKED);
	api_close(first);
	API_OK(open_as("y", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_close(image);
}

END_TEST

START_TEST(backing_files_have_data_files_too)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	make_directories();
	make_image_naming("base.qcow2", "b.raw");
	make_raw("b.raw", 0);
	API_OK(open_as("base.qcow2", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_write(image, 0, 65536, 'b');
	api_close(image);
	api_create_overlay("o.qcow2", SIZE, "base.qcow2", "qcow2");
	API_OK(open_as("o.qcow2", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_expect(image, 0, 65536, 'b');
	api_write(image, 512, 512, 'o');
	api_expect(image, 1024, 1024, 'b');
	API_OK(qcowfmt_get_info(image, 1, &info, &api_error));
	ck_assert_str_eq(info.data_filename, "b.raw");
	api_close(image);
	ck_assert_uint_eq(api_get("b.raw", 512, 1), 'b');
	API_FAILS(open_as("o.qcow2", QCOWFMT_REFERENCES_REFUSE, 0), EACCES,
	          QCOWFMT_ERR_REFUSED);
}

END_TEST

static void shared_with_qemu(const char *name, uint32_t flags)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.data_filename = name,
		.flags = flags,
	};
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_create_file("x", &options, &api_error));
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, API_RW));
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_int_eq((info.flags & QCOWFMT_INFO_DATA_FILE_RAW) != 0,
	                 (flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0);
	api_write(image, 70000, 1000, 'w');
	api_write(image, 131072, 65536, 'w');
	API_OK(qcowfmt_write_zeroes(image, 131072, 65536, 0, &api_error));
	api_write(image, 0, 65536, 'v');
	API_OK(qcowfmt_discard(image, 0, 65536, &api_error));
	api_close(image);
	api_qemu_check("x");
	ck_assert_int_eq(api_run(api_qemu_io, "-c", "read -P 119 70000 1000",
	                         "-c", "read -P 0 131072 65536", "-c",
	                         "write -P 81 65536 512", "-c",
	                         "write -P 82 300000 70000", "x", NULL),
	                 0);
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, 0));
	api_expect(image, 65536, 512, 81);
	api_expect(image, 70000, 1000, 'w');
	api_expect(image, 300000, 70000, 82);
	api_expect(image, 131072, 65536, 0);
	api_close(image);
}

START_TEST(qemu_sees_the_same)
{
	make_directories();
	shared_with_qemu("d.raw", 0);
	shared_with_qemu("d.raw", QCOWFMT_CREATE_EXTENDED_L2);
}

END_TEST

START_TEST(a_raw_data_file_is_what_the_guest_sees)
{
	static uint8_t guest[SIZE];
	struct api_bytes raw;

	make_directories();
	shared_with_qemu("r.raw", QCOWFMT_CREATE_DATA_FILE_RAW);
	API_OK(open_as("x", QCOWFMT_REFERENCES_LOCAL, 0));
	API_OK(qcowfmt_pread(image, guest, SIZE, 0, &api_error));
	api_close(image);
	raw = api_read_file("r.raw");
	ck_assert_uint_eq(raw.len, SIZE);
	ck_assert(memcmp(raw.bytes, guest, SIZE) == 0);
	api_bytes_free(&raw);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, refused_by_default);
	tcase_add_test(tcase, local_names_start_at_the_working_directory);
	tcase_add_test(tcase, beneath_means_the_directory_of_the_image);
	tcase_add_test(tcase, nothing_above_is_opened);
	tcase_add_test(tcase, ignoring_leaves_the_metadata);
	tcase_add_test(tcase, a_callback_decides);
	tcase_add_test(tcase, what_a_callback_may_not_answer);
	tcase_add_test(tcase, the_caller_can_choose_the_data_file);
	tcase_add_test(tcase, what_was_not_opened_stays_the_callers);
	tcase_add_test(tcase, an_image_need_not_name_its_data_file);
	tcase_add_test(tcase, hostile_names);
	tcase_add_test(tcase, links_to_the_image);
	tcase_add_test(tcase, a_name_ends_at_a_nul);
	tcase_add_test(tcase, a_short_data_file_goes_on_as_zeros);
	tcase_add_test(tcase, holes_are_looked_for_in_the_data_file);
	tcase_add_test(tcase, one_writer_at_a_time);
	tcase_add_test(tcase, backing_files_have_data_files_too);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, qemu_sees_the_same);
	tcase_add_test(tcase, a_raw_data_file_is_what_the_guest_sees);
}

int main(int argc, char **argv)
{
	return api_main("data_files_and_policy", add_tests, argc, argv);
}
