/* SPDX-License-Identifier: MIT */
/*
 * Promise: what was decompressed from a place in the file is forgotten when that
 * place is given up: data that comes there later is what is read.
 */
#include "api_test.h"

#define CLUSTER ((uint64_t)65536)
#define SIZE    (16 * CLUSTER)

static struct qcowfmt_image *image;

static void write_compressed(uint64_t guest_offset, uint8_t value)
{
	static uint8_t bytes[CLUSTER];

	memset(bytes, value, sizeof(bytes));
	API_OK(qcowfmt_pwrite_compressed(image, bytes, sizeof(bytes),
	                                 guest_offset, &api_error));
}

static uint64_t place_of(uint64_t guest_offset)
{
	struct qcowfmt_extent extent;

	API_OK(qcowfmt_map(image, guest_offset, CLUSTER, 0, &extent, 1,
	                   &api_error));
	return extent.host_offset;
}

START_TEST(compressed_bytes)
{
	uint64_t place;

	api_create(scratch_path("reused.qcow2"), SIZE, CLUSTER);
	image = api_open(scratch_path("reused.qcow2"), API_RW);
	write_compressed(0, 'a');
	place = place_of(0);
	api_expect(image, 0, CLUSTER, 'a');
	API_OK(qcowfmt_discard(image, 0, CLUSTER, &api_error));
	API_OK(qcowfmt_flush(image, &api_error));
	write_compressed(5 * CLUSTER, 'b');
	/* Or nothing was tried. */
	ck_assert_uint_eq(place_of(5 * CLUSTER), place);
	api_expect(image, 5 * CLUSTER, CLUSTER, 'b');
	api_check_clean(image);
	api_close(image);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, compressed_bytes);
}

int main(int argc, char **argv)
{
	return api_main("reused_space_shows_new_data", add, argc, argv);
}
