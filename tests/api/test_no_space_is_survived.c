/* SPDX-License-Identifier: MIT */
/*
 * Promise: a write that finds no space fails with ENOSPC, leaves a consistent
 * image with all earlier data, and succeeds when tried again with more space.
 */
#include "api_disk.h"
#include "api_test.h"

#define SIZE  ((uint64_t)16 << 20)
#define CHUNK ((size_t)100000)

static struct qcowfmt_image *image;

static void create_on(struct qcowfmt_storage *storage, uint64_t cluster_size)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.cluster_size = cluster_size,
	};

	API_OK(qcowfmt_create(storage, &options, &api_error));
}

static void create_on_disk(struct api_disk *disk, uint64_t cluster_size)
{
	struct qcowfmt_storage *storage = api_disk_storage(disk);

	create_on(storage, cluster_size);
	qcowfmt_storage_free(storage);
}

static void open_on(struct qcowfmt_storage *storage)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};

	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
}

static int write_chunk(uint64_t index)
{
	static uint8_t bytes[CHUNK];

	memset(bytes, (int)('a' + index % 26), CHUNK);
	return qcowfmt_pwrite(image, bytes, CHUNK, index * CHUNK, &api_error);
}

/* Write until it fails; returns how many chunks were written. */
static uint64_t fill(void)
{
	uint64_t count = 0;

	for (;;) {
		int ret = write_chunk(count);

		if (ret < 0) {
			ck_assert_int_eq(ret, -ENOSPC);
			ck_assert_int_eq(qcowfmt_error_code(api_error),
			                 QCOWFMT_ERR_NO_SPACE);
			api_error_reset();
			return count;
		}
		count++;
		ck_assert_uint_lt(count, SIZE / CHUNK);
	}
}

static void expect_chunks(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		api_expect(image, i * CHUNK, CHUNK, (uint8_t)('a' + i % 26));
}

static void check_retry(uint64_t cluster_size)
{
	struct api_disk disk = { .limit = 3 << 20 };
	uint64_t count;

	create_on_disk(&disk, cluster_size);
	open_on(api_disk_storage(&disk));
	count = fill();
	ck_assert_uint_gt(count, 10);
	expect_chunks(count);
	API_OK(qcowfmt_flush(image, &api_error));
	expect_chunks(count);
	disk.limit = 0;
	for (uint64_t i = count; i < count + 20; i++)
		API_OK(write_chunk(i));
	expect_chunks(count + 20);
	api_check_clean(image);
	api_close(image);
	open_on(api_disk_storage(&disk));
	expect_chunks(count + 20);
	api_check_clean(image);
	api_close(image);
	api_disk_fini(&disk);
}

START_TEST(the_write_succeeds_when_there_is_space_again)
{
	check_retry(65536);
	check_retry(512);
	check_retry(4096);
}

END_TEST

START_TEST(closing_a_full_image_leaves_it_consistent)
{
	struct api_disk disk = { .limit = 2 << 20 };
	uint64_t count;

	create_on_disk(&disk, 65536);
	open_on(api_disk_storage(&disk));
	count = fill();
	API_OK(qcowfmt_close(image, &api_error));
	open_on(api_disk_storage(&disk));
	expect_chunks(count);
	api_check_clean(image);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

/* Memory storage with a ceiling: space comes back by discarding. */
START_TEST(discarded_space_is_used_again)
{
	struct qcowfmt_storage *storage = NULL;
	uint64_t count;

	API_OK(qcowfmt_storage_new_memory(2 << 20, &storage, &api_error));
	create_on(storage, 65536);
	open_on(storage);
	count = fill();
	ck_assert_uint_gt(count, 10);
	API_OK(qcowfmt_discard(image, 0, 1 << 20, &api_error));
	API_OK(qcowfmt_flush(image, &api_error));
	for (uint64_t i = 0; i < 5; i++)
		API_OK(write_chunk(i));
	expect_chunks(5);
	api_check_clean(image);
	api_close(image);
}

END_TEST

START_TEST(overwriting_needs_no_space)
{
	struct api_disk disk = { .limit = 2 << 20 };
	uint64_t count;

	create_on_disk(&disk, 65536);
	open_on(api_disk_storage(&disk));
	count = fill();
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < count; i++)
			API_OK(write_chunk(i));
		API_OK(qcowfmt_flush(image, &api_error));
	}
	expect_chunks(count);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(a_full_storage_cannot_be_created_on)
{
	struct api_disk disk = { .limit = 100000 };
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&disk);

	API_FAILS(qcowfmt_create(storage, &options, &api_error), ENOSPC,
	          QCOWFMT_ERR_NO_SPACE);
	ck_assert_uint_eq(disk.closed, 0);
	qcowfmt_storage_free(storage);
	ck_assert_uint_eq(disk.closed, 1);
	api_disk_fini(&disk);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, the_write_succeeds_when_there_is_space_again);
	tcase_add_test(tcase, closing_a_full_image_leaves_it_consistent);
	tcase_add_test(tcase, discarded_space_is_used_again);
	tcase_add_test(tcase, overwriting_needs_no_space);
	tcase_add_test(tcase, a_full_storage_cannot_be_created_on);
}

int main(int argc, char **argv)
{
	return api_main("no_space_is_survived", add_tests, argc, argv);
}
