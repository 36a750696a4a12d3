/* SPDX-License-Identifier: MIT */
/*
 * Promise: version 1 tables that point into the header, into each other, behind
 * the end or between sectors are refused when that matters, and never followed
 * by a write; a file that ends early gives what it has, zeros or an error, and
 * never other bytes; tables too large for memory are refused.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"
#include "bytes.h"
#include "check_id.h"
#include "compressed_data.h"
#include "v1_model.h"

/* Header, name, L1 table, an L2 table, a cluster; each has its own 4 KiB. */
#define NAME_AT 1024u
#define L1_AT   4096u
#define L2_AT   8192u
#define DATA_AT 12288u
#define FAR     (UINT64_C(1) << 40)

static void make(void)
{
	struct forged_v1 spec = {
		.cluster_bits = 12,
		.l2_bits = 9,
		.virtual_size = V1_WINDOW,
		.l1_offset = L1_AT,
	};

	v1_start("h.qcow", 12);
	v1_make(v1.path, &spec);
	ck_assert_int_eq(truncate(v1.path, DATA_AT), 0);
	api_put(v1.path, 8, 8, NAME_AT);
	api_put(v1.path, 16, 4, 4);
	api_put(v1.path, NAME_AT, 4, 0x62617365); /* base */
	api_put(v1.path, L1_AT, 8, L2_AT);
	api_put(v1.path, L2_AT, 8, DATA_AT);
	for (uint64_t at = 0; at < 4096; at += 8)
		api_put(v1.path, DATA_AT + at, 8, UINT64_C(0x6464646464646464));
	api_write_file(scratch_path("base"), "b", 1);
}

static struct api_bytes before;

static void remember(void)
{
	before = api_read_file(v1.path);
}

/* Nothing that was in the file has changed. */
static void expect_untouched(void)
{
	struct api_bytes after = api_read_file(v1.path);

	ck_assert_uint_ge(after.len, before.len);
	ck_assert_mem_eq(after.bytes, before.bytes, before.len);
	api_bytes_free(&after);
	api_bytes_free(&before);
}

/* A write to the first cluster fails with an id; no byte of the file changes. */
static void expect_write_refused(uint32_t id, const char *what)
{
	uint8_t bytes[4096] = { 1 };
	int ret;

	remember();
	v1_open_model(API_RW);
	ret = qcowfmt_pwrite(v1.image, bytes, 4096, 0, &api_error);
	ck_assert_msg(ret == -EIO, "%s: %d, %s", what, ret,
	              qcowfmt_error_message(api_error));
	ck_assert_int_eq(qcowfmt_error_code(api_error), QCOWFMT_ERR_CORRUPT);
	ck_assert_msg(qcowfmt_error_corruption_id(api_error) == id,
	              "%s: id %u, want %u", what,
	              qcowfmt_error_corruption_id(api_error), id);
	api_error_reset();
	(void)qcowfmt_close(v1.image, NULL);
	expect_untouched();
}

static void expect_read_refused(uint32_t id, const char *what)
{
	uint8_t bytes[512];
	int ret;

	v1_open_model(0);
	ret = qcowfmt_pread(v1.image, bytes, 512, 0, &api_error);
	ck_assert_msg(ret == -EIO, "%s: %d", what, ret);
	ck_assert_int_eq(qcowfmt_error_code(api_error), QCOWFMT_ERR_CORRUPT);
	ck_assert_msg(qcowfmt_error_corruption_id(api_error) == id,
	              "%s: id %u, want %u", what,
	              qcowfmt_error_corruption_id(api_error), id);
	api_error_reset();
	api_close(v1.image);
}

static const struct {
	const char *what;
	uint64_t at; /* L1_AT or L2_AT: the entry of guest offset 0 */
	uint64_t entry;
	uint32_t read_id; /* 0: may be read */
	uint32_t write_id;
} entries[] = {
	{ "table between sectors", L1_AT, 8193, QCF_CHECK_L2_OFFSET,
	  QCF_CHECK_L2_OFFSET },
	{ "table beyond 2^56", L1_AT, UINT64_C(1) << 56, QCF_CHECK_L2_OFFSET,
	  QCF_CHECK_L2_OFFSET },
	{ "table at 2^63", L1_AT, UINT64_C(1) << 63, QCF_CHECK_L2_OFFSET,
	  QCF_CHECK_L2_OFFSET },
	{ "table at 2^64 - 512", L1_AT, UINT64_MAX - 511, QCF_CHECK_L2_OFFSET,
	  QCF_CHECK_L2_OFFSET },
	{ "table far behind the end", L1_AT, FAR, QCF_CHECK_BEYOND_END,
	  QCF_CHECK_BEYOND_END },
	{ "table over the header", L1_AT, 512, 0, QCF_CHECK_OVERLAP },
	{ "table over the name", L1_AT, NAME_AT, 0, QCF_CHECK_OVERLAP },
	{ "table over the L1 table", L1_AT, L1_AT, 0, QCF_CHECK_OVERLAP },
	{ "table ending in the L1 table", L1_AT, L1_AT - 3584, 0,
	  QCF_CHECK_OVERLAP },
	{ "table of other things", L1_AT, DATA_AT, QCF_CHECK_DATA_OFFSET,
	  QCF_CHECK_DATA_OFFSET },
	{ "cluster between sectors", L2_AT, DATA_AT + 1, QCF_CHECK_DATA_OFFSET,
	  QCF_CHECK_DATA_OFFSET },
	{ "cluster beyond 2^56", L2_AT, UINT64_C(1) << 56,
	  QCF_CHECK_DATA_OFFSET, QCF_CHECK_DATA_OFFSET },
	{ "cluster at 2^63 - 512", L2_AT, (UINT64_C(1) << 63) - 512,
	  QCF_CHECK_DATA_OFFSET, QCF_CHECK_DATA_OFFSET },
	{ "cluster far behind the end", L2_AT, FAR, QCF_CHECK_BEYOND_END,
	  QCF_CHECK_BEYOND_END },
	{ "cluster over the header", L2_AT, 512, 0, QCF_CHECK_OVERLAP },
	{ "cluster over the name", L2_AT, NAME_AT, 0, QCF_CHECK_OVERLAP },
	{ "cluster over the L1 table", L2_AT, L1_AT, 0, QCF_CHECK_OVERLAP },
	{ "cluster ending in the L1 table", L2_AT, L1_AT - 3584, 0,
	  QCF_CHECK_OVERLAP },
	{ "cluster over its own table", L2_AT, L2_AT, 0, QCF_CHECK_OVERLAP },
	{ "cluster beginning in its own table", L2_AT, L2_AT + 3584, 0,
	  QCF_CHECK_OVERLAP },
	{ "compressed without a length", L2_AT, V1_COMPRESSED | DATA_AT,
	  QCF_CHECK_COMPRESSED_LEN, QCF_CHECK_COMPRESSED_LEN },
};

START_TEST(entries_that_point_to_the_wrong_place)
{
	make();
	api_put(v1.path, entries[_i].at, 8, entries[_i].entry);
	expect_write_refused(entries[_i].write_id, entries[_i].what);
	if (entries[_i].read_id != QCF_CHECK_NONE)
		expect_read_refused(entries[_i].read_id, entries[_i].what);
}

END_TEST

/* The same without the damage: the test above means something. */
START_TEST(entries_that_are_right)
{
	make();
	v1_open_model(API_RW);
	api_expect(v1.image, 0, 4096, 0x64);
	api_write(v1.image, 0, 4096, 0x65);
	api_expect(v1.image, 0, 4096, 0x65);
	api_close(v1.image);
	ck_assert_uint_eq(api_get(v1.path, DATA_AT, 1), 0x65);
}

END_TEST

static const uint64_t compressed_entries[] = {
	/* Nothing is there; no compressed data; data that ends early. */
	V1_COMPRESSED | UINT64_C(99) << 51 | FAR,
	V1_COMPRESSED | UINT64_C(4095) << 51 | DATA_AT,
	V1_COMPRESSED | UINT64_C(1) << 51 | DATA_AT,
	V1_COMPRESSED | UINT64_C(4095) << 51,
};

START_TEST(compressed_entries_that_lead_nowhere)
{
	uint8_t bytes[4096];

	make();
	api_put(v1.path, L2_AT, 8, compressed_entries[_i]);
	v1_open_model(API_RW);
	ck_assert_int_lt(qcowfmt_pread(v1.image, bytes, 10, 0, &api_error), 0);
	api_error_reset();
	/* Replacing part of it needs what cannot be read. */
	ck_assert_int_lt(qcowfmt_pwrite(v1.image, bytes, 10, 0, &api_error), 0);
	api_error_reset();
	/* All of it does not. */
	api_write(v1.image, 0, 4096, 7);
	api_expect(v1.image, 0, 4096, 7);
	api_close(v1.image);
}

END_TEST

/* ---------------------------------------------------------------- header */

static void expect_open_refused(uint32_t flags, int err, int code,
                                const char *words)
{
	struct qcowfmt_open_options options = v1_options(flags);

	API_FAILS_KEEP(
		qcowfmt_open_file(v1.path, &options, &v1.image, &api_error),
		err, code);
	API_ERROR_NAMES(words);
	api_error_reset();
}

START_TEST(headers)
{
	static const struct {
		uint64_t at;
		size_t width;
		uint64_t value;
		const char *words;
	} rows[] = {
		{ 32, 1, 8, "cluster_bits" },
		{ 33, 1, 14, "l2_bits" },
		{ 36, 4, 2, "encryption method" },
		{ 24, 8, 1, "virtual size" },
		{ 24, 8, UINT64_C(1) << 56, "L1 table" },
		{ 40, 8, 40, "L1 table" },
		{ 40, 8, NAME_AT, "backing file name" },
		{ 40, 8, FAR, "table" },
		{ 8, 8, 8, "backing file name" },
		{ 8, 8, 65533, "backing file name" },
		{ 16, 4, 1024, "backing file name" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		make();
		api_put(v1.path, rows[i].at, rows[i].width, rows[i].value);
		expect_open_refused(0, EINVAL, QCOWFMT_ERR_CORRUPT,
		                    rows[i].words);
	}
}

END_TEST

START_TEST(old_xen_images)
{
	make();
	api_put(v1.path, 48, 4, 0x58454efb);
	api_put(v1.path, 60, 4, 1);
	expect_open_refused(0, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "Xen");
	api_put(v1.path, 60, 4, 3);
	v1_open_model(API_RW);
	api_expect(v1.image, 0, 4096, 0x64);
	api_close(v1.image);
	ck_assert_uint_eq(api_get(v1.path, 48, 4), 0x58454efb);
}

END_TEST

START_TEST(tables_that_cannot_be_written_safely)
{
	make();
	/* Entries that lie in two sectors */
	api_put(v1.path, 40, 8, L1_AT + 1);
	api_put(v1.path, L1_AT, 8, 0);
	api_put(v1.path, L1_AT + 1, 8, L2_AT);
	v1_open_model(0);
	api_expect(v1.image, 0, 4096, 0x64);
	api_close(v1.image);
	expect_open_refused(API_RW, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                    "aligned");
}

END_TEST

START_TEST(there_is_nothing_to_repair)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	make();
	v1_open_model(0);
	API_OK(qcowfmt_check(v1.image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions + result.check_errors, 0);
	API_FAILS(qcowfmt_check(v1.image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                        &result, &api_error),
	          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	api_close(v1.image);
}

END_TEST

/* ----------------------------------------------------------------- truncated */

/* What was there, with zeros from where the file ends. */
static void expect_sector(uint64_t at, const uint8_t *bytes, const char *when)
{
	size_t i = 0;

	while (i < 512 && (bytes[i] == v1.bytes[at + i] || bytes[i] == 0))
		i++;
	ck_assert_msg(i == 512, "%s: a foreign byte at guest offset %" PRIu64,
	              when, v1.start + at + i);
}

static void look_at_sectors(const char *when)
{
	for (uint64_t at = 0; at < V1_WINDOW; at += 512) {
		uint8_t bytes[512];

		if (qcowfmt_pread(v1.image, bytes, 512, v1.start + at, NULL) <
		    0)
			continue;
		expect_sector(at, bytes, when);
	}
}

/* After a failure each sector is old or new. */
static void write_sectors(uint64_t at, size_t len, const uint8_t *bytes)
{
	bool written =
		qcowfmt_pwrite(v1.image, bytes, len, v1.start + at, NULL) == 0;

	for (size_t done = 0; done < len; done += 512) {
		uint8_t now[512];

		if (written ||
		    (qcowfmt_pread(v1.image, now, 512, v1.start + at + done,
		                   NULL) == 0 &&
		     memcmp(now, bytes + done, 512) == 0))
			memcpy(v1.bytes + at + done, bytes + done, 512);
	}
}

static void write_somewhere(void)
{
	for (int i = 0; i < 5; i++) {
		uint64_t at = v1_below(V1_WINDOW / 512) * 512;
		size_t len = QCF_MIN((size_t)2048, (size_t)(V1_WINDOW - at));
		uint8_t bytes[2048];

		memset(bytes, (int)(1 + v1_below(255)), sizeof(bytes));
		write_sectors(at, len, bytes);
	}
}

/* Look, write if asked to, and look again. */
static bool look_at_cut_image(const struct api_bytes *whole, size_t len,
                              bool writing)
{
	struct qcowfmt_open_options options = v1_options(API_RW);

	api_write_file(v1.path, whole->bytes, len);
	if (qcowfmt_open_file(v1.path, &options, &v1.image, NULL) < 0)
		return false;
	look_at_sectors("after the cut");
	if (writing)
		write_somewhere();
	look_at_sectors("after writing");
	(void)qcowfmt_close(v1.image, NULL);
	options.flags = 0;
	API_OK(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error));
	look_at_sectors("after opening again");
	api_close(v1.image);
	return true;
}

/*
 * Compressed data that has lost its end is noticed only as long as the file ends
 * there: it has no checksum.  So files with such data are not written to.
 */
START_TEST(truncated_files)
{
	struct forged_v1 spec = { .cluster_bits = 12, .l2_bits = 6 };
	static uint8_t content[V1_WINDOW];
	struct api_bytes whole;
	unsigned int opened = 0;
	bool compressed = _i == 1;

	v1.random = unit_random_init();
	v1_make_window("c.qcow", &spec);
	v1_open_model(API_RW);
	v1_random_steps(60, compressed);
	api_close(v1.image);
	memcpy(content, v1.bytes, V1_WINDOW);
	whole = api_read_file(v1.path);
	for (size_t len = 0; len < whole.len; len += 1 + v1_below(7000)) {
		memcpy(v1.bytes, content, V1_WINDOW);
		opened += look_at_cut_image(&whole, len, !compressed);
	}
	ck_assert_uint_gt(opened, 10);
	api_bytes_free(&whole);
}

END_TEST

/* --------------------------------------------------------------------- huge */

START_TEST(huge_tables)
{
	struct forged_v1 spec = { .cluster_bits = 12,
		                  .l2_bits = 9,
		                  .virtual_size = 512 };
	struct qcowfmt_open_options options = v1_options(0);

	v1_start("b.qcow", 12);
	v1_make(v1.path, &spec);
	/* 2 GiB of table: in the file or not, it is too much. */
	api_put(v1.path, 24, 8, ((UINT64_C(1) << 28) - 1) << 21);
	expect_open_refused(0, E2BIG, QCOWFMT_ERR_LIMIT, "max_metadata_size");
	ck_assert_int_eq(truncate(v1.path, (off_t)1 << 31), 0);
	expect_open_refused(0, E2BIG, QCOWFMT_ERR_LIMIT, "max_metadata_size");
	/* 16 MiB that are not there */
	ck_assert_int_eq(truncate(v1.path, 4096), 0);
	api_put(v1.path, 24, 8, UINT64_C(1) << 42);
	expect_open_refused(0, EINVAL, QCOWFMT_ERR_CORRUPT, "table");
	options.max_metadata_size = UINT64_C(16) << 20;
	ck_assert_int_eq(truncate(v1.path, (off_t)17 << 20), 0);
	API_OK(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error));
	api_close(v1.image);
	options.max_metadata_size--;
	API_FAILS(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error),
	          E2BIG, QCOWFMT_ERR_LIMIT);
}

END_TEST

START_TEST(huge_disks)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = UINT64_C(1) << 44,
	};
	uint64_t last = options.virtual_size - 1000;

	v1_start("t.qcow", 12);
	API_OK(qcowfmt_create_file(v1.path, &options, &api_error));
	v1_open_model(API_RW);
	api_write(v1.image, last, 1000, 9);
	api_write(v1.image, last / 2, 1000, 8);
	API_FAILS(qcowfmt_pwrite(v1.image, "x", 1, last + 1000, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	api_close(v1.image);
	v1_open_model(0);
	api_expect(v1.image, last, 1000, 9);
	api_expect(v1.image, last / 2, 1000, 8);
	api_expect(v1.image, last / 3, 1000, 0);
	api_close(v1.image);
}

END_TEST

/* 2^20 entries of the L1 table that all mean one table of 64 KiB, which has no
 * entry of its own: looking for the last byte in use must not take 64 GiB. */
START_TEST(a_table_is_looked_at_once)
{
	struct forged_v1 spec = { .cluster_bits = 9,
		                  .l2_bits = 13,
		                  .virtual_size = UINT64_C(1) << 42,
		                  .l1_offset = 65536 };
	struct qcf_be64 entry = qcf_be64_encode(24 << 20);
	FILE *file;

	v1_start("m.qcow", 9);
	v1_make(v1.path, &spec);
	file = fopen(v1.path, "r+b");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseeko(file, 65536, SEEK_SET), 0);
	for (uint64_t i = 0; i < UINT64_C(1) << 20; i++)
		ck_assert_uint_eq(fwrite(&entry, 8, 1, file), 1);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(truncate(v1.path, (off_t)25 << 20), 0);
	v1_open_model(API_RW);
	api_write(v1.image, 0, 512, 1);
	api_expect(v1.image, 0, 512, 1);
	api_close(v1.image);
	ck_assert_uint_ge(api_get(v1.path, 24 << 20, 8), 25 << 20);
}

END_TEST

static long most_memory(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_maxrss;
}

/* 2^18 entries of the L1 table, and tables of 128 sectors each that do not even
 * exist: an L1 table of 2 MiB must not take a gigabyte. */
START_TEST(tables_take_memory_by_their_number)
{
	struct forged_v1 spec = { .cluster_bits = 9,
		                  .l2_bits = 13,
		                  .virtual_size = UINT64_C(1) << 40,
		                  .l1_offset = 65536 };
	long before_open;
	FILE *file;

	v1_start("n.qcow", 9);
	v1_make(v1.path, &spec);
	file = fopen(v1.path, "r+b");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseeko(file, 65536, SEEK_SET), 0);
	for (uint64_t i = 0; i < UINT64_C(1) << 18; i++) {
		struct qcf_be64 entry =
			qcf_be64_encode((UINT64_C(1) << 40) + i * 65536);

		ck_assert_uint_eq(fwrite(&entry, sizeof(entry), 1, file), 1);
	}
	ck_assert_int_eq(fclose(file), 0);
	before_open = most_memory();
	v1_open_model(API_RW);
	ck_assert_int_lt(most_memory() - before_open, 100 << 10);
	api_close(v1.image);
}

END_TEST

/* Sizes that are not whole sectors are cut. */
START_TEST(tiny_disks)
{
	static const uint64_t sizes[] = { 2, 511, 512, 513, 1023, 4097 };

	for (size_t i = 0; i < QCF_ARRAY_LEN(sizes); i++) {
		struct forged_v1 spec = {
			.cluster_bits = 12,
			.l2_bits = 9,
			.virtual_size = sizes[i],
		};
		size_t len = (size_t)(sizes[i] / 512 * 512);

		v1_start("t.qcow", 12);
		v1_make(v1.path, &spec);
		v1_open_model(API_RW);
		ck_assert_uint_eq(qcowfmt_get_size(v1.image), len);
		if (len > 0)
			api_write(v1.image, 0, len, 3);
		API_FAILS(qcowfmt_pwrite(v1.image, "x", 1, len, &api_error),
		          EINVAL, QCOWFMT_ERR_USAGE);
		api_close(v1.image);
		v1_open_model(0);
		if (len > 0)
			api_expect(v1.image, 0, len, 3);
		api_close(v1.image);
		ck_assert_uint_eq(api_get(v1.path, 24, 8), sizes[i]);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, entries_that_point_to_the_wrong_place, 0,
	                    QCF_ARRAY_LEN(entries));
	tcase_add_test(tcase, entries_that_are_right);
	tcase_add_loop_test(tcase, compressed_entries_that_lead_nowhere, 0,
	                    QCF_ARRAY_LEN(compressed_entries));
	tcase_add_test(tcase, headers);
	tcase_add_test(tcase, old_xen_images);
	tcase_add_test(tcase, tables_that_cannot_be_written_safely);
	tcase_add_test(tcase, there_is_nothing_to_repair);
	tcase_add_loop_test(tcase, truncated_files, 0, 2);
	tcase_add_test(tcase, huge_tables);
	tcase_add_test(tcase, huge_disks);
	tcase_add_test(tcase, a_table_is_looked_at_once);
	tcase_add_test(tcase, tables_take_memory_by_their_number);
	tcase_add_test(tcase, tiny_disks);
}

int main(int argc, char **argv)
{
	return api_main("version_1_hostile_images", add_tests, argc, argv);
}
