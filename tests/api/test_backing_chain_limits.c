/* SPDX-License-Identifier: MIT */
/*
 * Promise: a backing chain that contains itself is found, and one that is
 * longer than allowed is refused, before it costs more than its links.
 */
#include <unistd.h>

#include "api_test.h"

#define SIZE ((uint64_t)65536)

static struct qcowfmt_image *image;

static int open_depth(const char *name, uint32_t max_depth)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.max_chain_depth = max_depth,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error);
}

static void overlay(const char *name, const char *backing)
{
	api_create_overlay(scratch_path(name), SIZE, backing, "qcow2");
}

START_TEST(an_image_that_names_itself)
{
	overlay("self.qcow2", "self.qcow2");
	API_FAILS_KEEP(open_depth("self.qcow2", 0), ELOOP, QCOWFMT_ERR_CORRUPT);
	API_ERROR_NAMES("self.qcow2");
	api_error_reset();
	ck_assert_ptr_null(image);
}

END_TEST

START_TEST(a_loop_of_three)
{
	overlay("a.qcow2", "b.qcow2");
	overlay("b.qcow2", "c.qcow2");
	overlay("c.qcow2", "a.qcow2");
	API_FAILS(open_depth("a.qcow2", 0), ELOOP, QCOWFMT_ERR_CORRUPT);
}

END_TEST

START_TEST(a_loop_behind_the_first_image)
{
	overlay("in.qcow2", "l1.qcow2");
	overlay("l1.qcow2", "l2.qcow2");
	overlay("l2.qcow2", "l1.qcow2");
	API_FAILS(open_depth("in.qcow2", 0), ELOOP, QCOWFMT_ERR_CORRUPT);
}

END_TEST

START_TEST(other_names_of_the_same_file)
{
	overlay("n.qcow2", "symlink.qcow2");
	ck_assert_int_eq(symlink("n.qcow2", scratch_path("symlink.qcow2")), 0);
	API_FAILS(open_depth("n.qcow2", 0), ELOOP, QCOWFMT_ERR_CORRUPT);
	overlay("n.qcow2", "hardlink.qcow2");
	ck_assert_int_eq(
		link(scratch_path("n.qcow2"), scratch_path("hardlink.qcow2")),
		0);
	API_FAILS(open_depth("n.qcow2", 0), ELOOP, QCOWFMT_ERR_CORRUPT);
	overlay("n.qcow2", "./././n.qcow2");
	API_FAILS(open_depth("n.qcow2", 0), ELOOP, QCOWFMT_ERR_CORRUPT);
}

END_TEST

/* 0.qcow2 is the deepest and holds data; each other one lies on the one before
 * it. */
static void make_chain(int count)
{
	char name[32];
	char below[32];

	api_create(scratch_path("0.qcow2"), SIZE, 0);
	image = api_open(scratch_path("0.qcow2"), API_RW);
	api_write(image, 0, SIZE, 'd');
	api_close(image);
	for (int i = 1; i < count; i++) {
		snprintf(name, sizeof(name), "%d.qcow2", i);
		snprintf(below, sizeof(below), "%d.qcow2", i - 1);
		overlay(name, below);
	}
}

static uint32_t chain_depth(void)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	return info.chain_depth;
}

START_TEST(the_limit_counts_all_images)
{
	make_chain(5);
	API_OK(open_depth("4.qcow2", 5));
	ck_assert_uint_eq(chain_depth(), 5);
	api_expect(image, 0, SIZE, 'd');
	api_close(image);
	API_FAILS_KEEP(open_depth("4.qcow2", 4), E2BIG, QCOWFMT_ERR_LIMIT);
	API_ERROR_NAMES("max_chain_depth");
	api_error_reset();
	API_FAILS(open_depth("1.qcow2", 1), E2BIG, QCOWFMT_ERR_LIMIT);
	API_OK(open_depth("0.qcow2", 1));
	api_close(image);
}

END_TEST

START_TEST(the_default_limit_is_256)
{
	make_chain(257);
	API_FAILS(open_depth("256.qcow2", 0), E2BIG, QCOWFMT_ERR_LIMIT);
	API_OK(open_depth("255.qcow2", 0));
	ck_assert_uint_eq(chain_depth(), 256);
	api_expect(image, 0, SIZE, 'd');
	api_close(image);
	API_OK(open_depth("256.qcow2", 257));
	api_expect(image, 0, SIZE, 'd');
	api_close(image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, an_image_that_names_itself);
	tcase_add_test(tcase, a_loop_of_three);
	tcase_add_test(tcase, a_loop_behind_the_first_image);
	tcase_add_test(tcase, other_names_of_the_same_file);
	tcase_add_test(tcase, the_limit_counts_all_images);
	tcase_add_test(tcase, the_default_limit_is_256);
}

int main(int argc, char **argv)
{
	return api_main("backing_chain_limits", add_tests, argc, argv);
}
