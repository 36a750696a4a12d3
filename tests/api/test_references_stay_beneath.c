/* SPDX-License-Identifier: MIT */
/*
 * Promise: with the policy "beneath" nothing outside the directory of the first
 * image is opened, whether by "..", an absolute name or a symbolic link.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"

#define SIZE ((size_t)65536)

static struct qcowfmt_image *image;

static void make_raw(const char *name, uint8_t value)
{
	uint8_t bytes[SIZE];

	memset(bytes, value, SIZE);
	api_write_file(scratch_path(name), bytes, SIZE);
}

/*
 * outside.raw, d/base.raw, d/sub/deep.raw, and links:
 * d/out.raw -> ../outside.raw, d/up -> .., d/in.raw -> base.raw
 */
static void make_files(void)
{
	ck_assert_int_eq(mkdir(scratch_path("d"), 0700), 0);
	ck_assert_int_eq(mkdir(scratch_path("d/sub"), 0700), 0);
	make_raw("outside.raw", 'x');
	make_raw("d/base.raw", 'b');
	make_raw("d/sub/deep.raw", 'd');
	ck_assert_int_eq(symlink("../outside.raw", scratch_path("d/out.raw")),
	                 0);
	ck_assert_int_eq(symlink("..", scratch_path("d/up")), 0);
	ck_assert_int_eq(symlink("base.raw", scratch_path("d/in.raw")), 0);
}

static void remove_files(void)
{
	ck_assert_int_eq(api_run("rm", "-rf", scratch_path("d"), NULL), 0);
}

static int open_beneath(const char *name)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error);
}

static void expect_opens(const char *backing, uint8_t value)
{
	api_create_overlay(scratch_path("d/o.qcow2"), SIZE, backing, "raw");
	API_OK(open_beneath("d/o.qcow2"));
	api_expect(image, 0, SIZE, value);
	api_close(image);
}

static void expect_refused(const char *backing)
{
	api_create_overlay(scratch_path("d/o.qcow2"), SIZE, backing, "raw");
	API_FAILS_KEEP(open_beneath("d/o.qcow2"), EACCES, QCOWFMT_ERR_REFUSED);
	API_ERROR_NAMES(backing);
	api_error_reset();
	ck_assert_ptr_null(image);
}

START_TEST(names_inside_are_opened)
{
	make_files();
	expect_opens("base.raw", 'b');
	expect_opens("./base.raw", 'b');
	expect_opens("sub/deep.raw", 'd');
	expect_opens("sub/../base.raw", 'b');
	expect_opens("in.raw", 'b');
	remove_files();
}

END_TEST

START_TEST(names_outside_are_refused)
{
	make_files();
	expect_refused("../outside.raw");
	expect_refused("sub/../../outside.raw");
	expect_refused("out.raw");
	expect_refused("up/outside.raw");
	expect_refused("up/d/base.raw");
	expect_refused("/etc/hostname");
	expect_refused("file:base.raw");
	/* Also if it lies inside: absolute names are not looked into. */
	expect_refused(scratch_path("d/base.raw"));
	remove_files();
}

END_TEST

/* Names in a backing file count from that file, the limit from the first. */
START_TEST(the_directory_of_the_first_image_counts)
{
	make_files();
	api_create_overlay(scratch_path("d/sub/mid.qcow2"), SIZE, "deep.raw",
	                   "raw");
	api_create_overlay(scratch_path("d/o.qcow2"), SIZE, "sub/mid.qcow2",
	                   "qcow2");
	API_OK(open_beneath("d/o.qcow2"));
	api_expect(image, 0, SIZE, 'd');
	api_close(image);
	api_create_overlay(scratch_path("d/sub/mid.qcow2"), SIZE, "../base.raw",
	                   "raw");
	API_OK(open_beneath("d/o.qcow2"));
	api_expect(image, 0, SIZE, 'b');
	api_close(image);
	api_create_overlay(scratch_path("d/sub/mid.qcow2"), SIZE,
	                   "../../outside.raw", "raw");
	API_FAILS(open_beneath("d/o.qcow2"), EACCES, QCOWFMT_ERR_REFUSED);
	remove_files();
}

END_TEST

START_TEST(the_working_directory_does_not_matter)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
	};

	make_files();
	api_create_overlay(scratch_path("d/o.qcow2"), SIZE, "base.raw", "raw");
	ck_assert_int_eq(chdir(scratch_path("d")), 0);
	API_OK(qcowfmt_open_file("o.qcow2", &options, &image, &api_error));
	api_expect(image, 0, SIZE, 'b');
	api_close(image);
	ck_assert_int_eq(chdir("sub"), 0);
	API_OK(qcowfmt_open_file("../o.qcow2", &options, &image, &api_error));
	api_expect(image, 0, SIZE, 'b');
	api_close(image);
	remove_files();
}

END_TEST

START_TEST(an_image_without_a_path_has_nothing_beneath_it)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
	};
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.backing_filename = "base.raw",
		.backing_format = "raw",
	};
	struct qcowfmt_storage *storage = NULL;

	API_OK(qcowfmt_storage_new_memory(0, &storage, &api_error));
	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_FAILS(qcowfmt_open(storage, &options, &image, &api_error), EACCES,
	          QCOWFMT_ERR_REFUSED);
	qcowfmt_storage_free(storage);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, names_inside_are_opened);
	tcase_add_test(tcase, names_outside_are_refused);
	tcase_add_test(tcase, the_directory_of_the_first_image_counts);
	tcase_add_test(tcase, the_working_directory_does_not_matter);
	tcase_add_test(tcase, an_image_without_a_path_has_nothing_beneath_it);
}

int main(int argc, char **argv)
{
	return api_main("references_stay_beneath", add_tests, argc, argv);
}
