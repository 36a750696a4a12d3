/* SPDX-License-Identifier: MIT */
/*
 * Promise: where tables of an image name its own metadata as if it were guest data
 * or an L2 table, no change of the whole image writes there.  It fails and says why,
 * and what is there stays as it was.
 */
#include "api_test.h"

#define CLUSTER ((uint64_t)65536)

/* Two L1 entries. */
#define SIZE ((uint64_t)1 << 30)

#define OVERLAP 60u /* see checks.def */
#define COPIED  (UINT64_C(1) << 63)
#define ZEROS   UINT64_C(1)

static const char *path(void)
{
	return scratch_path("image");
}

/* The first cluster has data, the second is zeros. */
static void make_image(void)
{
	struct qcowfmt_image *image;

	api_create(path(), SIZE, CLUSTER);
	image = api_open(path(), API_RW);
	api_write(image, 0, CLUSTER, 7);
	API_OK(qcowfmt_write_zeroes(image, CLUSTER, CLUSTER, 0, &api_error));
	api_close(image);
}

/* A cluster of metadata, and what it is to hold. */
struct place {
	uint64_t host_offset;
	struct api_bytes before;
};

static struct place look_at(uint64_t host_offset)
{
	return (struct place){ host_offset, api_read_file(path()) };
}

static void expect_untouched(struct place *place)
{
	struct api_bytes now = api_read_file(path());

	ck_assert_uint_ge(place->before.len, place->host_offset + CLUSTER);
	ck_assert_uint_ge(now.len, place->host_offset + CLUSTER);
	ck_assert(memcmp(now.bytes + place->host_offset,
	                 place->before.bytes + place->host_offset,
	                 CLUSTER) == 0);
	api_bytes_free(&place->before);
	api_bytes_free(&now);
}

static void expect_overlap(int ret)
{
	ck_assert_int_eq(ret, -EIO);
	ck_assert_int_eq(qcowfmt_error_code(api_error), QCOWFMT_ERR_CORRUPT);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error), OVERLAP);
	api_error_reset();
}

static int to_version_2(void)
{
	struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
		.version = 2,
	};
	struct qcowfmt_image *image = api_open(path(), API_RW);
	int ret = qcowfmt_amend(image, &options, &api_error);

	(void)qcowfmt_close(image, NULL);
	return ret;
}

/* Its count is 1, as if the entry were all that refers to it. */
START_TEST(zeros_are_not_written_out)
{
	struct place place;

	make_image();
	place = look_at(api_get(path(), API_AT_REFTABLE, 8));
	api_put(path(), api_l2_entry_at(path()) + 8, 8,
	        place.host_offset | COPIED | ZEROS);
	expect_overlap(to_version_2());
	expect_untouched(&place);
}

END_TEST

START_TEST(other_tables_are_not_changed)
{
	struct place place;

	make_image();
	place = look_at(api_get(path(), API_AT_REFTABLE, 8));
	api_put(path(), api_l1_entry_at(path()) + 8, 8,
	        place.host_offset | COPIED);
	expect_overlap(to_version_2());
	expect_untouched(&place);
}

END_TEST

static int copy_into_it(void)
{
	static uint8_t data[CLUSTER];
	const char *source = scratch_path("source");
	struct qcowfmt_open_options raw = {
		.struct_size = sizeof(raw),
		.format = QCOWFMT_FORMAT_RAW,
	};
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_CONVERT_COPY_RANGE,
	};
	struct qcowfmt_image *from = NULL;
	struct qcowfmt_image *to = api_open(path(), API_RW);
	int ret;

	memset(data, 9, sizeof(data));
	api_write_file(source, data, sizeof(data));
	API_OK(qcowfmt_open_file(source, &raw, &from, &api_error));
	ret = qcowfmt_convert(&from, 1, to, &options, &api_error);
	(void)qcowfmt_close(to, NULL);
	ck_assert_int_eq(qcowfmt_close(from, NULL), 0);
	return ret;
}

START_TEST(storage_does_not_copy_there)
{
	struct place place;

	make_image();
	place = look_at(api_get(path(), API_AT_REFTABLE, 8));
	api_put(path(), api_l2_entry_at(path()), 8, place.host_offset | COPIED);
	expect_overlap(copy_into_it());
	expect_untouched(&place);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, zeros_are_not_written_out);
	tcase_add_test(tcase, other_tables_are_not_changed);
	tcase_add_test(tcase, storage_does_not_copy_there);
}

int main(int argc, char **argv)
{
	return api_main("whole_image_changes_keep_off_metadata", add, argc,
	                argv);
}
