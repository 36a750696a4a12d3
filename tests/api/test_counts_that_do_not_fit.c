/* SPDX-License-Identifier: MIT */
/*
 * Promise: where clusters have more references than their counts have bits for, a
 * repair says so, leaves the disk and its snapshots as they were and no cluster
 * COPIED that is shared, and nothing is written to the image any more, by this
 * library or another.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_test.h"

#define DISK     (UINT64_C(100) << 10)
#define CLUSTER  512u
#define AT_ORDER 96u
#define CORRUPT  2u
#define COPIED   (UINT64_C(1) << 63)
#define OFFSET   UINT64_C(0x00fffffffffffe00)

static const char path[] = "image";

static void make(uint32_t version, uint32_t snapshots)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK,
		.cluster_size = CLUSTER,
		.version = version,
	};
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create_file(path, &options, &api_error));
	image = api_open(path, API_RW);
	api_write(image, 0, 20 << 10, 'a');
	for (uint32_t i = 0; i < snapshots; i++)
		api_take_snapshot(image, "taken");
	api_write(image, 1024, 512, 'b');
	api_write(image, 80 << 10, 512, 'c');
	api_close(image);
}

static struct qcowfmt_image *open_as(uint32_t flags, const char *snapshot)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.snapshot_id = snapshot,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	return image;
}

static void expect_disk(struct qcowfmt_image *image)
{
	api_expect(image, 0, 1024, 'a');
	api_expect(image, 1024, 512, 'b');
	api_expect(image, 1536, (20 << 10) - 1536, 'a');
	api_expect(image, 80 << 10, 512, 'c');
}

static void expect_content(uint32_t snapshots)
{
	struct qcowfmt_image *image = open_as(0, NULL);

	expect_disk(image);
	api_close(image);
	for (uint32_t i = 1; i <= snapshots; i++) {
		char id[12];

		(void)snprintf(id, sizeof(id), "%" PRIu32, i);
		image = open_as(0, id);
		api_expect(image, 0, 20 << 10, 'a');
		api_expect(image, 80 << 10, 512, 0);
		api_close(image);
	}
}

/* The flag of the cluster of a guest offset. */
static bool is_copied(uint64_t guest_offset)
{
	uint64_t per_table = CLUSTER / 8;
	uint64_t index = guest_offset / CLUSTER;
	uint64_t l1_at = api_get(path, API_AT_L1, 8) + index / per_table * 8;
	uint64_t l2 = api_get(path, l1_at, 8) & OFFSET;

	return (api_get(path, l2 + index % per_table * 8, 8) & COPIED) != 0;
}

static uint64_t misfits;

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	(void)opaque;
	(void)id;
	(void)host_offset;
	misfits += strstr(message, "does not fit in") != NULL;
}

/* What is left after a repair. */
static uint64_t repair(struct qcowfmt_image *image)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	misfits = 0;
	API_OK(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, note, NULL,
	                     &result, &api_error));
	ck_assert_uint_eq(result.check_errors, 0);
	return result.corruptions;
}

static void expect_no_writing(struct qcowfmt_image *image)
{
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 0, &api_error), EIO,
	          QCOWFMT_ERR_CORRUPT);
}

static void expect_refused(void)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct qcowfmt_image *image = NULL;

	API_FAILS(qcowfmt_open_file(path, &options, &image, &api_error), EINVAL,
	          QCOWFMT_ERR_CORRUPT);
	if (api_has_qemu())
		ck_assert_int_ne(
			api_run(api_qemu_io, "-c", "write 0 512", path, NULL),
			0);
}

/* Shared by the active disk and so many snapshots, and counted in few bits. */
static const struct {
	uint32_t snapshots;
	uint32_t order;
} narrow[] = { { 1, 0 }, { 4, 0 }, { 3, 1 }, { 7, 1 } };

START_TEST(narrow_counts)
{
	uint32_t snapshots = narrow[_i].snapshots;
	struct qcowfmt_image *image;
	struct api_bytes once;
	struct api_bytes twice;

	make(3, snapshots);
	api_put(path, AT_ORDER, 4, narrow[_i].order);
	image = open_as(API_RW | QCOWFMT_OPEN_REPAIR, NULL);
	ck_assert_uint_gt(repair(image), 0);
	ck_assert_uint_gt(misfits, 0);
	expect_disk(image);
	expect_no_writing(image);
	api_close(image);
	ck_assert(!is_copied(0));
	ck_assert(!is_copied(19 << 10));
	ck_assert(is_copied(1024));
	ck_assert(is_copied(80 << 10));
	ck_assert_uint_eq(api_get(path, API_AT_INCOMPATIBLE, 8), CORRUPT);
	expect_refused();
	expect_content(snapshots);

	once = api_read_file(path);
	image = open_as(API_RW | QCOWFMT_OPEN_REPAIR, NULL);
	ck_assert_uint_gt(repair(image), 0);
	api_close(image);
	twice = api_read_file(path);
	ck_assert(api_bytes_equal(&once, &twice));
	api_bytes_free(&once);
	api_bytes_free(&twice);
}

END_TEST

/* As many as fit are no reason for anything. */
START_TEST(wide_enough)
{
	struct qcowfmt_image *image;

	make(3, 2);
	api_put(path, AT_ORDER, 4, 1);
	image = open_as(API_RW | QCOWFMT_OPEN_REPAIR, NULL);
	ck_assert_uint_eq(repair(image), 0);
	ck_assert_uint_eq(misfits, 0);
	api_close(image);
	api_qemu_check(path);
	image = api_open(path, API_RW);
	api_write(image, 0, 512, 'a');
	api_close(image);
	ck_assert_uint_eq(api_get(path, API_AT_INCOMPATIBLE, 8), 0);
	expect_content(2);
}

END_TEST

/* 65536 entries of the L1 table name one L2 table: one more than 16 bits say. */
START_TEST(one_table_too_often)
{
	uint64_t count = 65536;
	uint32_t version = (uint32_t)_i;
	uint8_t *entries = malloc(count * 8);
	struct qcowfmt_image *image;
	struct api_bytes file;
	uint64_t l2;
	uint8_t *bytes;

	make(version, 0);
	file = api_read_file(path);
	l2 = api_get(path, api_get(path, API_AT_L1, 8), 8) & OFFSET;
	bytes = calloc(1, file.len + count * 8);
	ck_assert(entries != NULL && bytes != NULL);
	memcpy(bytes, file.bytes, file.len);
	for (uint64_t i = 0; i < count * 8; i++)
		entries[i] = (uint8_t)(l2 >> 8 * (7 - i % 8));
	memcpy(bytes + file.len, entries, count * 8);
	api_write_file(path, bytes, file.len + count * 8);
	api_put(path, API_AT_L1, 8, file.len);
	api_put(path, API_AT_L1_SIZE, 4, count);
	api_put(path, API_AT_VIRTUAL_SIZE, 8, count * CLUSTER * CLUSTER / 8);

	image = open_as(API_RW | QCOWFMT_OPEN_REPAIR, NULL);
	ck_assert_uint_gt(repair(image), 0);
	ck_assert_uint_gt(misfits, 0);
	expect_no_writing(image);
	api_close(image);
	ck_assert(!is_copied(0));
	if (version == 3)
		expect_refused();
	image = open_as(0, NULL);
	api_expect(image, 0, 1024, 'a');
	api_expect(image, (count - 1) * CLUSTER * CLUSTER / 8, 1024, 'a');
	api_close(image);
	api_bytes_free(&file);
	free(bytes);
	free(entries);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, narrow_counts, 0, QCF_ARRAY_LEN(narrow));
	tcase_add_test(tcase, wide_enough);
	tcase_add_loop_test(tcase, one_table_too_often, 2, 4);
}

int main(int argc, char **argv)
{
	return api_main("counts_that_do_not_fit", add_tests, argc, argv);
}
