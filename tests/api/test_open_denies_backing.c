/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image that names a backing file is not opened, and the backing
 * file not touched, unless the caller asks for it.
 */
#include <sys/stat.h>

#include "api_test.h"

#define SIZE ((size_t)1 << 20)

static struct qcowfmt_image *image;

/* An overlay over a raw file full of 'b', named relative to it. */
static void make_overlay(const char *name)
{
	uint8_t *bytes = malloc(SIZE);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'b', SIZE);
	api_write_file(scratch_path("base.raw"), bytes, SIZE);
	free(bytes);
	api_create_overlay(scratch_path(name), SIZE, "base.raw", "raw");
}

static int open_with(const char *name, int32_t policy, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = policy,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error);
}

START_TEST(default_policy_refuses)
{
	make_overlay("o.qcow2");
	image = NULL;
	API_FAILS_KEEP(qcowfmt_open_file(scratch_path("o.qcow2"), NULL, &image,
	                                 &api_error),
	               EACCES, QCOWFMT_ERR_REFUSED);
	ck_assert_ptr_null(image);
	API_ERROR_NAMES("base.raw");
	API_ERROR_NAMES("o.qcow2");
	API_ERROR_NAMES("reference_policy");
	api_error_reset();
	API_FAILS(open_with("o.qcow2", QCOWFMT_REFERENCES_REFUSE, API_RW),
	          EACCES, QCOWFMT_ERR_REFUSED);
	ck_assert_ptr_null(image);
}

END_TEST

/* Opening a FIFO for reading would wait for a writer that never comes. */
START_TEST(the_file_is_not_even_opened)
{
	ck_assert_int_eq(mkfifo(scratch_path("fifo"), 0600), 0);
	api_create_overlay(scratch_path("f.qcow2"), SIZE, "fifo", "raw");
	API_FAILS(open_with("f.qcow2", QCOWFMT_REFERENCES_REFUSE, 0), EACCES,
	          QCOWFMT_ERR_REFUSED);
	API_FAILS_KEEP(open_with("f.qcow2", QCOWFMT_REFERENCES_LOCAL, 0),
	               EINVAL, QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("fifo");
	api_error_reset();
}

END_TEST

START_TEST(asking_for_it_opens_the_chain)
{
	make_overlay("o.qcow2");
	API_OK(open_with("o.qcow2", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_expect(image, 0, SIZE, 'b');
	api_write(image, 100, 5000, 'o');
	api_expect(image, 0, 100, 'b');
	api_expect(image, 100, 5000, 'o');
	api_expect(image, 5100, SIZE - 5100, 'b');
	api_close(image);
}

END_TEST

START_TEST(ignoring_it_opens_the_image_alone)
{
	uint8_t byte = 0;

	make_overlay("o.qcow2");
	API_OK(open_with("o.qcow2", QCOWFMT_REFERENCES_LOCAL, API_RW));
	api_write(image, 0, 65536, 'o');
	api_close(image);
	API_OK(open_with("o.qcow2", QCOWFMT_REFERENCES_IGNORE, 0));
	api_expect(image, 0, 65536, 'o');
	ck_assert_int_lt(qcowfmt_pread(image, &byte, 1, 65536, &api_error), 0);
	ck_assert_ptr_nonnull(api_error);
	api_error_reset();
	api_close(image);
}

END_TEST

/* A write in part of an unallocated cluster needs the rest of it. */
START_TEST(ignoring_it_never_loses_what_lies_below)
{
	uint8_t byte = 'x';

	make_overlay("o.qcow2");
	API_OK(open_with("o.qcow2", QCOWFMT_REFERENCES_IGNORE, API_RW));
	ck_assert_int_lt(qcowfmt_pwrite(image, &byte, 1, 0, &api_error), 0);
	api_error_reset();
	api_close(image);
	API_OK(open_with("o.qcow2", QCOWFMT_REFERENCES_LOCAL, 0));
	api_expect(image, 0, SIZE, 'b');
	api_close(image);
}

END_TEST

START_TEST(protocols_and_descriptions_are_refused_by_name)
{
	static const char *const names[] = {
		"nbd://127.0.0.1:1/x",
		"json:{\"driver\":\"raw\",\"file.filename\":\"base.raw\"}",
		"http://127.0.0.1/x",
		"rbd:pool/image",
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(names); i++) {
		api_create_overlay(scratch_path("p.qcow2"), SIZE, names[i],
		                   "raw");
		API_FAILS(open_with("p.qcow2", QCOWFMT_REFERENCES_REFUSE, 0),
		          EACCES, QCOWFMT_ERR_REFUSED);
		API_FAILS_KEEP(
			open_with("p.qcow2", QCOWFMT_REFERENCES_LOCAL, 0),
			ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
		API_ERROR_NAMES(names[i]);
		api_error_reset();
	}
}

END_TEST

START_TEST(a_missing_file_is_named)
{
	api_create_overlay(scratch_path("m.qcow2"), SIZE, "gone.raw", "raw");
	API_FAILS_KEEP(open_with("m.qcow2", QCOWFMT_REFERENCES_LOCAL, 0),
	               ENOENT, QCOWFMT_ERR_SYSTEM);
	API_ERROR_NAMES("gone.raw");
	api_error_reset();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, default_policy_refuses);
	tcase_add_test(tcase, the_file_is_not_even_opened);
	tcase_add_test(tcase, asking_for_it_opens_the_chain);
	tcase_add_test(tcase, ignoring_it_opens_the_image_alone);
	tcase_add_test(tcase, ignoring_it_never_loses_what_lies_below);
	tcase_add_test(tcase, protocols_and_descriptions_are_refused_by_name);
	tcase_add_test(tcase, a_missing_file_is_named);
}

int main(int argc, char **argv)
{
	return api_main("open_denies_backing", add_tests, argc, argv);
}
