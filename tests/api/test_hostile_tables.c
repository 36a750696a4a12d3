/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever L1, L2 and refcount table entries say, metadata is never
 * overwritten through them: the request fails as corruption, and a version 3
 * image is marked corrupt.
 */
#include "api_test.h"
#include "check_id.h"
#include "l2_entry.h"

#define SIZE    ((uint64_t)4 << 20)
#define CLUSTER ((uint64_t)65536)
#define CORRUPT 2u

static struct qcowfmt_image *image;

/* Where a forged offset may point. */
enum target {
	AT_HEADER,
	AT_REFTABLE,
	AT_BLOCK,
	AT_L1,
	AT_L2,
	UNALIGNED,
	BEYOND_LIMIT,
	TARGET_COUNT,
};

/* Host offset 0 in an entry means "none": the header can be reached only by an
 * unaligned offset into it. */
static uint64_t target_offset(const char *path, enum target target)
{
	switch (target) {
	case AT_HEADER:
		return 512;
	case AT_REFTABLE:
		return api_reftable_at(path);
	case AT_BLOCK:
		return api_block_at(path);
	case AT_L1:
		return api_l1_entry_at(path);
	case AT_L2:
		return api_l2_entry_at(path);
	case UNALIGNED:
		return 8 * CLUSTER + 512;
	case BEYOND_LIMIT:
	default:
		return UINT64_C(0x00ffffffffff0000);
	}
}

/* 1 MiB of data at 0; the second L2 entry of the test is that of cluster 40,
 * which is not allocated. */
static void make_image(const char *path, uint32_t version)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.version = version,
	};

	API_OK(qcowfmt_create_file(path, &options, &api_error));
	image = api_open(path, API_RW);
	api_write(image, 0, 1 << 20, 'a');
	api_close(image);
}

/* Everything but the corrupt bit is as it was. */
static void expect_unchanged(const char *path, struct api_bytes *before)
{
	struct api_bytes after = api_read_file(path);

	before->bytes[API_AT_INCOMPATIBLE + 7] = 0;
	after.bytes[API_AT_INCOMPATIBLE + 7] = 0;
	ck_assert(api_bytes_equal(before, &after));
	api_bytes_free(&after);
}

static void expect_marked(const char *path, uint32_t version)
{
	if (version >= 3)
		ck_assert_uint_eq(api_get(path, API_AT_INCOMPATIBLE, 8) &
		                          CORRUPT,
		                  CORRUPT);
}

static int write_64k(uint64_t guest_offset)
{
	static uint8_t bytes[65536];

	memset(bytes, 'x', sizeof(bytes));
	return qcowfmt_pwrite(image, bytes, sizeof(bytes), guest_offset,
	                      &api_error);
}

/* The write fails as corruption and everything after it as poisoned. */
static void expect_refused(uint64_t guest_offset)
{
	API_FAILS_KEEP(write_64k(guest_offset), EIO, QCOWFMT_ERR_CORRUPT);
	ck_assert_uint_ne(qcowfmt_error_corruption_id(api_error), 0);
	api_error_reset();
	API_FAILS(write_64k(3 << 20), EIO, QCOWFMT_ERR_POISONED);
	API_FAILS(qcowfmt_flush(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	/* Closing says that not everything is well; the handle is gone. */
	ck_assert_int_lt(qcowfmt_close(image, &api_error), 0);
	api_error_reset();
}

/*
 * What lies behind the end of the file cannot be overwritten, so it is enough
 * that the request fails and changes nothing.
 */
static void expect_failed(uint64_t guest_offset)
{
	API_FAILS(write_64k(guest_offset), EIO, QCOWFMT_ERR_CORRUPT);
	(void)qcowfmt_close(image, NULL);
}

static void expect_forgery_found(uint32_t version, enum target target,
                                 uint64_t guest_offset)
{
	const char *path = scratch_path("x.qcow2");
	struct api_bytes before = api_read_file(path);

	image = api_open(path, API_RW);
	if (target == BEYOND_LIMIT) {
		expect_failed(guest_offset);
	} else {
		expect_refused(guest_offset);
		expect_marked(path, version);
	}
	expect_unchanged(path, &before);
	api_bytes_free(&before);
}

static void forge_l2_entry(uint32_t version, enum target target)
{
	const char *path = scratch_path("x.qcow2");

	make_image(path, version);
	api_put(path, api_l2_entry_at(path), 8,
	        QCF_ENTRY_COPIED | target_offset(path, target));
	expect_forgery_found(version, target, 0);
}

START_TEST(data_entries_that_point_at_metadata)
{
	for (int target = 0; target < TARGET_COUNT; target++) {
		forge_l2_entry(3, (enum target)target);
		forge_l2_entry(2, (enum target)target);
	}
}

END_TEST

/* Zeros that keep a cluster: writing fills it. */
START_TEST(zero_entries_that_keep_metadata)
{
	const char *path = scratch_path("x.qcow2");

	for (int target = AT_REFTABLE; target <= AT_L2; target++) {
		make_image(path, 3);
		api_put(path, api_l2_entry_at(path), 8,
		        QCF_ENTRY_COPIED | QCF_ENTRY_ZERO |
		                target_offset(path, (enum target)target));
		expect_forgery_found(3, (enum target)target, 0);
	}
}

END_TEST

static void forge_l1_entry(uint32_t version, enum target target)
{
	const char *path = scratch_path("x.qcow2");

	make_image(path, version);
	api_put(path, api_l1_entry_at(path), 8,
	        QCF_ENTRY_COPIED | target_offset(path, target));
	expect_forgery_found(version, target, 0);
}

START_TEST(l2_tables_in_the_header)
{
	forge_l1_entry(3, AT_HEADER);
	forge_l1_entry(2, AT_HEADER);
}

END_TEST

START_TEST(l2_tables_in_the_refcount_table)
{
	forge_l1_entry(3, AT_REFTABLE);
	forge_l1_entry(2, AT_REFTABLE);
}

END_TEST

START_TEST(l2_tables_in_a_refcount_block)
{
	forge_l1_entry(3, AT_BLOCK);
	forge_l1_entry(2, AT_BLOCK);
}

END_TEST

START_TEST(l2_tables_in_the_l1_table)
{
	forge_l1_entry(3, AT_L1);
	forge_l1_entry(2, AT_L1);
}

END_TEST

START_TEST(l2_tables_elsewhere)
{
	forge_l1_entry(3, UNALIGNED);
	forge_l1_entry(2, UNALIGNED);
	forge_l1_entry(3, BEYOND_LIMIT);
}

END_TEST

/* The block that counts everything: an allocation needs it. */
static void forge_reftable_entry(uint32_t version, enum target target)
{
	const char *path = scratch_path("x.qcow2");
	uint64_t offset;

	make_image(path, version);
	offset = target_offset(path, target);
	api_put(path, api_reftable_at(path), 8, offset);
	expect_forgery_found(version, target, 2 << 20);
}

START_TEST(refcount_blocks_that_are_other_metadata)
{
	for (int target = 0; target <= UNALIGNED; target++) {
		if (target == AT_BLOCK)
			continue; /* where it should point */
		forge_reftable_entry(3, (enum target)target);
		forge_reftable_entry(2, (enum target)target);
	}
}

END_TEST

START_TEST(refcount_blocks_beyond_the_end)
{
	forge_reftable_entry(3, BEYOND_LIMIT);
}

END_TEST

/*
 * An image with a snapshot and with private active tables; returns where the
 * snapshot table is, or the L1 table of the snapshot.
 */
static uint64_t make_snapshot(bool l1)
{
	const char *path = scratch_path("x.qcow2");
	uint64_t table;

	make_image(path, 3);
	ck_assert_int_eq(
		api_run(api_qemu_img, "snapshot", "-c", "one", path, NULL), 0);
	image = api_open(path, API_RW);
	ck_assert_int_eq(write_64k(0), 0);
	api_close(image);
	table = api_get(path, API_AT_SNAPSHOTS, 8);
	/* The first field of the first entry */
	return l1 ? api_get(path, table, 8) : table;
}

START_TEST(data_entries_that_point_at_snapshots)
{
	const char *path = scratch_path("x.qcow2");

	for (int l1 = 0; l1 <= 1; l1++) {
		uint64_t offset = make_snapshot(l1);

		api_put(path, api_l2_entry_at(path), 8,
		        QCF_ENTRY_COPIED | offset);
		expect_forgery_found(3, AT_L1, 0);
	}
}

END_TEST

START_TEST(l2_tables_in_snapshots)
{
	const char *path = scratch_path("x.qcow2");

	for (int l1 = 0; l1 <= 1; l1++) {
		uint64_t offset = make_snapshot(l1);

		api_put(path, api_l1_entry_at(path), 8,
		        QCF_ENTRY_COPIED | offset);
		expect_forgery_found(3, AT_L1, 0);
	}
}

END_TEST

START_TEST(refcount_blocks_in_snapshots)
{
	const char *path = scratch_path("x.qcow2");

	for (int l1 = 0; l1 <= 1; l1++) {
		uint64_t offset = make_snapshot(l1);

		api_put(path, api_reftable_at(path), 8, offset);
		expect_forgery_found(3, AT_L1, 2 << 20);
	}
}

END_TEST

/*
 * An L2 table in a refcount block whose counts make sense as entries: to share or
 * unshare what they map would change counts.
 */
START_TEST(shared_l2_tables_in_a_refcount_block)
{
	const char *path = scratch_path("x.qcow2");
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.refcount_bits = 64,
	};
	uint64_t block;
	uint64_t data;

	API_OK(qcowfmt_create_file(path, &options, &api_error));
	image = api_open(path, API_RW);
	api_write(image, 0, 1 << 20, 'a');
	api_close(image);
	block = api_block_at(path);
	data = api_get(path, api_l2_entry_at(path), 8);
	api_put(path, block + 4096, 8, data);
	api_put(path, api_l1_entry_at(path), 8, QCF_ENTRY_COPIED | block);

	image = api_open(path, API_RW);
	API_FAILS(qcowfmt_snapshot_create(image, NULL, &api_error), EIO,
	          QCOWFMT_ERR_CORRUPT);
	(void)qcowfmt_close(image, NULL);
}

END_TEST

/* The counts claim that metadata is free; it is not handed out for all that. */
START_TEST(metadata_counted_as_free_is_not_allocated)
{
	const char *path = scratch_path("x.qcow2");
	uint64_t used[5];

	make_image(path, 3);
	for (int target = AT_REFTABLE; target <= AT_L2; target++)
		used[target] = target_offset(path, (enum target)target);
	used[AT_HEADER] = 0;
	for (size_t i = 0; i < QCF_ARRAY_LEN(used); i++)
		api_put(path, api_block_at(path) + used[i] / CLUSTER * 2, 2, 0);

	struct api_bytes before = api_read_file(path);

	image = api_open(path, API_RW);

	int ret = write_64k(2 << 20);

	api_error_reset();
	if (ret == 0)
		ret = qcowfmt_flush(image, &api_error);
	api_error_reset();
	(void)qcowfmt_close(image, NULL);

	/* Whether it went on or gave up: none of them was used for data. */
	struct api_bytes after = api_read_file(path);

	for (size_t i = 0; i < QCF_ARRAY_LEN(used); i++) {
		uint64_t at = used[i];

		for (uint64_t j = at; j < at + 4096; j += 512)
			ck_assert_uint_ne(after.bytes[j], 'x');
	}
	ck_assert_mem_eq(after.bytes, before.bytes, 24);
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

START_TEST(giving_back_what_is_not_counted)
{
	const char *path = scratch_path("x.qcow2");
	uint64_t data;

	make_image(path, 3);
	data = api_get(path, api_l2_entry_at(path), 8) & QCF_ENTRY_OFFSET;
	api_put(path, api_block_at(path) + data / CLUSTER * 2, 2, 0);
	image = api_open(path, API_RW);

	/* The free is only carried out when it is stable: by then at latest it
	 * must have been noticed. */
	int ret = qcowfmt_discard(image, 0, CLUSTER, &api_error);

	if (ret == 0)
		ret = qcowfmt_flush(image, &api_error);
	if (ret == 0) {
		ret = qcowfmt_close(image, &api_error);
	} else {
		(void)qcowfmt_close(image, NULL);
	}
	ck_assert_int_eq(ret, -EIO);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error),
	                  QCF_CHECK_REFCOUNT_UNDERFLOW);
	api_error_reset();
	expect_marked(path, 3);
}

END_TEST

/* Reading through a bad entry is an error there, and only there. */
START_TEST(reading_is_refused_only_where_it_is_broken)
{
	static const struct {
		uint64_t entry;
		uint32_t id;
	} rows[] = {
		{ UINT64_C(0x8000000000080200), QCF_CHECK_DATA_OFFSET },
		{ UINT64_C(0x80ffffffffff0000), QCF_CHECK_BEYOND_END },
		{ UINT64_C(0x8000000080000000), QCF_CHECK_BEYOND_END },
	};

	const char *path = scratch_path("x.qcow2");
	uint8_t byte = 0;

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		make_image(path, 3);
		api_put(path, api_l2_entry_at(path), 8, rows[i].entry);

		struct api_bytes before = api_read_file(path);

		image = api_open(path, 0);
		API_FAILS_KEEP(qcowfmt_pread(image, &byte, 1, 0, &api_error),
		               EIO, QCOWFMT_ERR_CORRUPT);
		ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error),
		                  rows[i].id);
		api_error_reset();
		api_expect(image, CLUSTER, (1 << 20) - CLUSTER, 'a');
		api_close(image);

		struct api_bytes after = api_read_file(path);

		ck_assert(api_bytes_equal(&before, &after));
		api_bytes_free(&before);
		api_bytes_free(&after);
	}
}

END_TEST

START_TEST(an_l1_entry_with_only_the_copied_flag_is_empty)
{
	const char *path = scratch_path("x.qcow2");

	api_create(path, SIZE, 0);
	api_put(path, api_l1_entry_at(path), 8, QCF_ENTRY_COPIED);
	image = api_open(path, API_RW);
	api_expect(image, 0, (size_t)SIZE, 0);
	api_write(image, 0, 1000, 'x');
	api_expect(image, 0, 1000, 'x');
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path);
}

END_TEST

START_TEST(a_zero_flag_in_version_2_is_corruption)
{
	const char *path = scratch_path("x.qcow2");
	uint8_t byte = 0;

	make_image(path, 2);
	api_put(path, api_l2_entry_at(path), 8, 1);
	image = api_open(path, 0);
	API_FAILS_KEEP(qcowfmt_pread(image, &byte, 1, 0, &api_error), EIO,
	               QCOWFMT_ERR_CORRUPT);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error),
	                  QCF_CHECK_ZERO_FLAG_V2);
	api_error_reset();
	api_close(image);
}

END_TEST

START_TEST(tables_behind_the_end_of_the_file)
{
	static const uint32_t fields[] = { API_AT_L1, API_AT_REFTABLE };
	const char *path = scratch_path("x.qcow2");

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++) {
		struct qcowfmt_open_options options = {
			.struct_size = sizeof(options),
		};

		make_image(path, 3);
		api_put(path, fields[i], 8, (uint64_t)1 << 40);
		API_FAILS_KEEP(
			qcowfmt_open_file(path, &options, &image, &api_error),
			EINVAL, QCOWFMT_ERR_CORRUPT);
		ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error),
		                  QCF_CHECK_TABLE_TRUNCATED);
		api_error_reset();
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, data_entries_that_point_at_metadata);
	tcase_add_test(tcase, zero_entries_that_keep_metadata);
	tcase_add_test(tcase, l2_tables_in_the_header);
	tcase_add_test(tcase, l2_tables_in_the_refcount_table);
	tcase_add_test(tcase, l2_tables_in_a_refcount_block);
	tcase_add_test(tcase, l2_tables_in_the_l1_table);
	tcase_add_test(tcase, l2_tables_elsewhere);
	tcase_add_test(tcase, shared_l2_tables_in_a_refcount_block);
	tcase_add_test(tcase, refcount_blocks_that_are_other_metadata);
	tcase_add_test(tcase, refcount_blocks_beyond_the_end);
	tcase_add_test(tcase, metadata_counted_as_free_is_not_allocated);
	tcase_add_test(tcase, giving_back_what_is_not_counted);
	tcase_add_test(tcase, reading_is_refused_only_where_it_is_broken);
	tcase_add_test(tcase, an_l1_entry_with_only_the_copied_flag_is_empty);
	tcase_add_test(tcase, a_zero_flag_in_version_2_is_corruption);
	tcase_add_test(tcase, tables_behind_the_end_of_the_file);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, data_entries_that_point_at_snapshots);
	tcase_add_test(tcase, l2_tables_in_snapshots);
	tcase_add_test(tcase, refcount_blocks_in_snapshots);
}

int main(int argc, char **argv)
{
	return api_main("hostile_tables", add_tests, argc, argv);
}
