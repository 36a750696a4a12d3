/* SPDX-License-Identifier: MIT */
/*
 * Promise: with chain_limit only so many images of a chain are opened; what is
 * left to the ones below cannot be read and maps as unallocated, but zeros behind
 * the end of a short image are zeros.
 */
#include "api_test.h"

#define MIB ((uint64_t)1 << 20)

static void make_chain(void)
{
	struct qcowfmt_image *image;

	api_create(scratch_path("base"), 4 * MIB, 0);
	image = api_open(scratch_path("base"), API_RW);
	api_write(image, 0, 4 * MIB, 1);
	api_close(image);
	api_create_overlay(scratch_path("mid"), 2 * MIB, "base", "qcow2");
	api_create_overlay(scratch_path("top"), 4 * MIB, "mid", "qcow2");
}

static struct qcowfmt_image *open_limited(const char *name, uint32_t limit)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.chain_limit = limit,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error));
	return image;
}

static uint32_t chain_depth(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	return info.chain_depth;
}

static int read_at(struct qcowfmt_image *image, uint64_t offset)
{
	uint8_t byte;

	return qcowfmt_pread(image, &byte, 1, offset, &api_error);
}

START_TEST(so_many_are_opened)
{
	struct qcowfmt_image *image;

	make_chain();
	for (uint32_t limit = 0; limit < 6; limit++) {
		image = open_limited("top", limit);
		ck_assert_uint_eq(chain_depth(image),
		                  limit == 0 || limit > 3 ? 3 : limit);
		api_close(image);
	}
}

END_TEST

START_TEST(the_rest_is_not_needed)
{
	struct qcowfmt_image *image;

	make_chain();
	ck_assert_int_eq(remove(scratch_path("base")), 0);
	image = open_limited("top", 2);
	ck_assert_uint_eq(chain_depth(image), 2);
	api_close(image);
}

END_TEST

START_TEST(what_is_left_out_cannot_be_read)
{
	struct qcowfmt_image *image;

	make_chain();
	image = open_limited("top", 2);
	API_FAILS(read_at(image, 0), ENOTSUP, QCOWFMT_ERR_REFUSED);
	API_FAILS(read_at(image, 2 * MIB - 1), ENOTSUP, QCOWFMT_ERR_REFUSED);
	/* The image in the middle ends here. */
	api_expect(image, 2 * MIB, 2 * MIB, 0);
	/* Whole clusters need nothing from below. */
	api_write(image, 0, 65536, 7);
	api_expect(image, 0, 65536, 7);
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 65536, &api_error), ENOTSUP,
	          QCOWFMT_ERR_REFUSED);
	api_close(image);
	image = open_limited("top", 1);
	API_FAILS(read_at(image, 2 * MIB), ENOTSUP, QCOWFMT_ERR_REFUSED);
	api_close(image);
	image = open_limited("top", 3);
	api_expect(image, 65536, 2 * MIB - 65536, 1);
	api_close(image);
}

END_TEST

START_TEST(it_maps_as_unallocated)
{
	struct qcowfmt_image *image;
	struct qcowfmt_extent extent;

	make_chain();
	image = open_limited("top", 2);
	ck_assert_int_eq(qcowfmt_map(image, 0, 2 * MIB, 0, &extent, 1, NULL),
	                 1);
	ck_assert_int_eq(extent.kind, QCOWFMT_EXTENT_UNALLOCATED);
	ck_assert_uint_eq(extent.depth, 1);
	ck_assert_uint_eq(extent.length, 2 * MIB);
	api_close(image);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, so_many_are_opened);
	tcase_add_test(tcase, the_rest_is_not_needed);
	tcase_add_test(tcase, what_is_left_out_cannot_be_read);
	tcase_add_test(tcase, it_maps_as_unallocated);
}

int main(int argc, char **argv)
{
	return api_main("chain_limit_leaves_out_the_rest", add, argc, argv);
}
