/* SPDX-License-Identifier: MIT */
/*
 * Promise: the extension, the directory entries and the table entries of dirty
 * bitmaps decode as the format says, encode back to the same bytes, and are
 * refused, each for its own reason, when they make no sense.
 */
#include <errno.h>
#include <string.h>

#include "bitmap_entry.h"
#include "check_id.h"
#include "unit.h"

#define MAX_LEN 4096u

static struct qcf_geometry geometry(uint32_t cluster_bits)
{
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, 3, cluster_bits, 4, false, NULL),
	                 0);
	return g;
}

/* ---------------------------------------------------------------- extension */

/* As QEMU writes it: one bitmap, a directory of 32 bytes at 0x1800. */
static const uint8_t known_ext[QCF_BITMAP_EXT_LEN] = { 0, 0, 0, 1,    0,    0,
	                                               0, 0, 0, 0,    0,    0,
	                                               0, 0, 0, 0x20, 0,    0,
	                                               0, 0, 0, 0,    0x18, 0 };

static int decode_ext(const uint8_t *bytes, uint32_t len,
                      struct qcf_bitmap_ext *ext)
{
	struct qcf_geometry g = geometry(9);
	struct qcf_extension raw = {
		.len = len,
		.data = (uint8_t *)(uintptr_t)bytes,
	};
	struct qcowfmt_error *error = NULL;
	int ret = qcf_bitmap_ext_decode(ext, &raw, &g, &error);

	ck_assert(ret == 0 || qcowfmt_error_corruption_id(error) ==
	                              QCF_CHECK_BITMAP_EXTENSION);
	qcowfmt_error_free(error);
	return ret;
}

START_TEST(a_known_extension)
{
	uint8_t bytes[QCF_BITMAP_EXT_LEN];
	struct qcf_bitmap_ext ext;
	char text[128];

	ck_assert_int_eq(decode_ext(known_ext, sizeof(known_ext), &ext), 0);
	ck_assert_uint_eq(ext.count, 1);
	ck_assert_uint_eq(ext.directory_size, 32);
	ck_assert_uint_eq(ext.directory_offset, 0x1800);
	qcf_bitmap_ext_encode(&ext, bytes);
	ck_assert_mem_eq(bytes, known_ext, sizeof(bytes));
	qcf_bitmap_ext_dump(&ext, text, sizeof(text));
	ck_assert_str_eq(text, "1 bitmaps, directory of 32 bytes at 0x1800");
}

END_TEST

static const struct ext_row {
	size_t at;
	uint8_t value;
} bad_exts[] = {
	{ 3, 0 },   /* no bitmap */
	{ 3, 2 },   /* two in 32 bytes */
	{ 1, 1 },   /* 65537 */
	{ 7, 1 },   /* reserved */
	{ 15, 31 }, /* too short for one */
	{ 11, 1 },  /* 4 GiB */
	{ 22, 0 },  /* at 0 */
	{ 23, 1 },  /* unaligned */
	{ 16, 1 },  /* at 2^56 */
};

START_TEST(bad_extensions)
{
	uint8_t bytes[QCF_BITMAP_EXT_LEN];
	struct qcf_bitmap_ext ext;

	memcpy(bytes, known_ext, sizeof(bytes));
	bytes[bad_exts[_i].at] = bad_exts[_i].value;
	ck_assert_int_eq(decode_ext(bytes, sizeof(bytes), &ext), -EIO);
}

END_TEST

START_TEST(extension_of_another_length)
{
	uint8_t bytes[QCF_BITMAP_EXT_LEN + 8] = { 0 };
	struct qcf_bitmap_ext ext;

	memcpy(bytes, known_ext, sizeof(known_ext));
	for (uint32_t len = 0; len <= sizeof(bytes); len++)
		ck_assert_int_eq(decode_ext(bytes, len, &ext),
		                 len == QCF_BITMAP_EXT_LEN ? 0 : -EIO);
}

END_TEST

/* ------------------------------------------------------------------- entries */

/* As QEMU writes it, for a disk that needs one table entry. */
static const uint8_t known_entry[32] = {
	0, 0, 0, 0, 0, 0, 0x16, 0, 0,   0,   0,   1, 0, 0, 0, 2,
	1, 9, 0, 3, 0, 0, 0,    0, 'b', 'm', '0', 0, 0, 0, 0, 0,
};

static int decode(const uint8_t *bytes, size_t len,
                  struct qcf_bitmap_entry *entry, size_t *end)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	struct qcowfmt_error *error = NULL;
	int ret = qcf_bitmap_entry_decode(entry, &reader, &error);

	ck_assert(ret == 0 || qcowfmt_error_corruption_id(error) ==
	                              QCF_CHECK_BITMAP_DIRECTORY);
	qcowfmt_error_free(error);
	*end = reader.pos;
	return ret;
}

static uint32_t check(const struct qcf_bitmap_entry *entry,
                      uint64_t virtual_size)
{
	struct qcf_geometry g = geometry(9);
	struct qcowfmt_error *error = NULL;
	int ret = qcf_bitmap_entry_check(entry, &g, virtual_size, &error);
	uint32_t id = qcowfmt_error_corruption_id(error);

	ck_assert(ret == (id == 0 ? 0 : -EIO));
	qcowfmt_error_free(error);
	return id;
}

START_TEST(a_known_entry)
{
	struct qcf_bitmap_entry entry;
	uint8_t bytes[sizeof(known_entry)];
	struct qcf_writer writer = qcf_writer_init(bytes, sizeof(bytes));
	char text[256];
	size_t end = 0;

	ck_assert_int_eq(decode(known_entry, sizeof(known_entry), &entry, &end),
	                 0);
	ck_assert_uint_eq(end, sizeof(known_entry));
	ck_assert_uint_eq(entry.table_offset, 0x1600);
	ck_assert_uint_eq(entry.table_entries, 1);
	ck_assert_uint_eq(entry.flags, QCF_BITMAP_AUTO);
	ck_assert_uint_eq(entry.type, QCF_BITMAP_TYPE_DIRTY);
	ck_assert_uint_eq(entry.granularity_bits, 9);
	ck_assert_str_eq(entry.name, "bm0");
	ck_assert_uint_eq(qcf_bitmap_entry_size(&entry), sizeof(known_entry));
	ck_assert_uint_eq(check(&entry, 64 << 10), 0);
	qcf_bitmap_entry_encode(&entry, &writer);
	ck_assert(!writer.overrun);
	ck_assert_uint_eq(writer.pos, sizeof(bytes));
	ck_assert_mem_eq(bytes, known_entry, sizeof(bytes));
	qcf_bitmap_entry_dump(&entry, text, sizeof(text));
	ck_assert_str_eq(text, "\"bm0\", type 1, granularity 2^9, flags 0x2, "
	                       "table of 1 entries at 0x1600, 0 bytes of extra "
	                       "data");
	qcf_bitmap_entry_fini(&entry);
}

END_TEST

/* Names and extra data of all lengths around the padding. */
START_TEST(entries_of_any_length)
{
	static uint8_t in[MAX_LEN];
	static uint8_t out[MAX_LEN];

	for (uint32_t extra = 0; extra < 20; extra++) {
		for (uint32_t name = 0; name < 20; name++) {
			size_t len = (24 + extra + name + 7) / 8 * 8;
			struct qcf_bitmap_entry entry;
			struct qcf_writer w = qcf_writer_init(out, len);
			size_t end = 0;

			memset(in, 0, len);
			memcpy(in, known_entry, 24);
			in[19] = (uint8_t)name;
			in[23] = (uint8_t)extra;
			memset(in + 24, 'e', extra);
			memset(in + 24 + extra, 'n', name);
			ck_assert_int_eq(decode(in, len, &entry, &end), 0);
			ck_assert_uint_eq(end, len);
			ck_assert_uint_eq(strlen(entry.name), name);
			ck_assert_uint_eq(qcf_bitmap_entry_size(&entry), len);
			qcf_bitmap_entry_encode(&entry, &w);
			ck_assert_mem_eq(in, out, len);
			qcf_bitmap_entry_fini(&entry);
			for (size_t cut = 0; cut < len; cut++)
				ck_assert_int_eq(decode(in, cut, &entry, &end),
				                 -EIO);
		}
	}
}

END_TEST

static const struct entry_row {
	const char *what;
	size_t at;
	uint8_t value;
	bool fine;
} entries[] = {
	{ "table at 0", 6, 0, false },
	{ "table unaligned", 7, 1, false },
	{ "table at 2^56", 0, 1, false },
	{ "no table entries", 11, 0, false },
	{ "2^28 table entries", 8, 0x10, false },
	{ "a bitmap of 2 GiB", 9, 0x40, false },
	{ "more table entries than needed", 11, 9, false },
	{ "no flags", 15, 0, true },
	{ "in use", 15, 1, true },
	{ "compatible extra data", 15, 4, true },
	{ "an unknown flag", 15, 8, false },
	{ "another unknown flag", 12, 0x80, false },
	{ "no type", 16, 0, false },
	{ "another type", 16, 2, false },
	{ "granularity 256", 17, 8, false },
	{ "granularity 2^31", 17, 31, true },
	{ "granularity 2^32", 17, 32, false },
	{ "granularity 2^255", 17, 255, false },
	{ "a NUL in the name", 25, 0, false },
};

START_TEST(entries_are_judged)
{
	const struct entry_row *row = &entries[_i];
	struct qcf_bitmap_entry entry;
	uint8_t bytes[sizeof(known_entry)];
	size_t end = 0;

	memcpy(bytes, known_entry, sizeof(bytes));
	bytes[row->at] = row->value;
	ck_assert_int_eq(decode(bytes, sizeof(bytes), &entry, &end), 0);
	ck_assert_msg(check(&entry, 64 << 10) ==
	                      (row->fine ? 0 : QCF_CHECK_BITMAP_ENTRY),
	              "%s", row->what);
	qcf_bitmap_entry_fini(&entry);
}

END_TEST

/* A name of 0 and of 1024 bytes, extra data that is not compatible, and a table
 * of the wrong length unless the bitmap is in use. */
START_TEST(entries_are_judged_by_lengths)
{
	static char name[1025];
	struct qcf_bitmap_entry entry = {
		.table_offset = 0x1600,
		.table_entries = 1,
		.type = QCF_BITMAP_TYPE_DIRTY,
		.granularity_bits = 9,
		.name = name,
	};

	memset(name, 'n', 1024);
	ck_assert_uint_eq(check(&entry, 512), QCF_CHECK_BITMAP_ENTRY);
	entry.name_len = 1024;
	ck_assert_uint_eq(check(&entry, 512), QCF_CHECK_BITMAP_ENTRY);
	entry.name_len = 1023;
	ck_assert_uint_eq(check(&entry, 512), 0);
	ck_assert_uint_eq(check(&entry, 4096 * 512), 0);
	ck_assert_uint_eq(check(&entry, 4097 * 512), QCF_CHECK_BITMAP_ENTRY);
	entry.flags = QCF_BITMAP_IN_USE;
	ck_assert_uint_eq(check(&entry, 4097 * 512), 0);
	entry.extra_len = 8;
	ck_assert_uint_eq(check(&entry, 512), QCF_CHECK_BITMAP_ENTRY);
	entry.flags = QCF_BITMAP_EXTRA_COMPATIBLE;
	ck_assert_uint_eq(check(&entry, 512), 0);
}

END_TEST

START_TEST(sizes)
{
	struct qcf_geometry g = geometry(16);
	uint32_t n = 7;

	ck_assert_uint_eq(qcf_bitmap_bits_for(0, 16), 0);
	ck_assert_uint_eq(qcf_bitmap_bits_for(1, 16), 1);
	ck_assert_uint_eq(qcf_bitmap_bits_for(65537, 16), 2);
	ck_assert(qcf_bitmap_table_entries_for(&g, 0, 16, &n) && n == 0);
	ck_assert(qcf_bitmap_table_entries_for(&g, 1, 16, &n) && n == 1);
	/* One cluster of bits stands for 32 GiB. */
	ck_assert(qcf_bitmap_table_entries_for(&g, UINT64_C(1) << 35, 16, &n) &&
	          n == 1);
	ck_assert(qcf_bitmap_table_entries_for(&g, (UINT64_C(1) << 35) + 1, 16,
	                                       &n) &&
	          n == 2);
	/* 512 MiB of bits. */
	ck_assert(qcf_bitmap_table_entries_for(&g, UINT64_C(1) << 41, 9, &n) &&
	          n == 8192);
	ck_assert(!qcf_bitmap_table_entries_for(&g, (UINT64_C(1) << 41) + 1, 9,
	                                        &n));
	ck_assert(!qcf_bitmap_table_entries_for(&g, INT64_MAX, 9, &n));
}

END_TEST

/* ------------------------------------------------------------- table entries */

static const struct cluster_row {
	uint64_t word;
	uint64_t host_offset;
	bool ones;
	uint32_t id;
	const char *text;
} clusters[] = {
	{ 0, 0, false, 0, "all 0" },
	{ 1, 0, true, 0, "all 1" },
	{ 0x20000, 0x20000, false, 0, "bits at 0x20000" },
	{ UINT64_C(0x00ffffffffff0000), UINT64_C(0x00ffffffffff0000), false, 0,
	  "bits at 0xffffffffff0000" },
	{ 0x20001, 0x20000, false, QCF_CHECK_BITMAP_TABLE_RESERVED,
	  "bits at 0x20000" },
	{ 0x20002, 0x20000, false, QCF_CHECK_BITMAP_TABLE_RESERVED,
	  "bits at 0x20000" },
	{ 0x100, 0, false, QCF_CHECK_BITMAP_TABLE_RESERVED, "all 0" },
	{ UINT64_C(1) << 56, 0, false, QCF_CHECK_BITMAP_TABLE_RESERVED,
	  "all 0" },
	{ UINT64_C(1) << 63, 0, false, QCF_CHECK_BITMAP_TABLE_RESERVED,
	  "all 0" },
	{ 0x20200, 0x20200, false, QCF_CHECK_BITMAP_CLUSTER_OFFSET,
	  "bits at 0x20200" },
};

START_TEST(table_entries)
{
	const struct cluster_row *row = &clusters[_i];
	struct qcf_geometry g = geometry(16);
	struct qcf_be64 raw = qcf_be64_encode(row->word);
	struct qcf_bitmap_cluster cluster = qcf_bitmap_cluster_decode(raw);
	char text[64];

	ck_assert_uint_eq(cluster.host_offset, row->host_offset);
	ck_assert_int_eq(cluster.ones, row->ones);
	ck_assert_uint_eq(qcf_bitmap_cluster_check(&g, raw), row->id);
	if (row->id == 0)
		ck_assert_uint_eq(
			qcf_be64_decode(qcf_bitmap_cluster_encode(cluster)),
			row->word);
	qcf_bitmap_cluster_dump(cluster, text, sizeof(text));
	ck_assert_str_eq(text, row->text);
}

END_TEST

/* Random bytes never make decoding or judging do harm. */
START_TEST(random_bytes_are_survived)
{
	struct unit_random random = unit_random_init();
	uint8_t bytes[256];

	for (int round = 0; round < 20000; round++) {
		size_t len = unit_random_u64(&random) % sizeof(bytes);
		struct qcf_bitmap_entry entry;
		struct qcf_bitmap_ext ext;
		size_t end = 0;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)unit_random_u64(&random);
		/* Lengths that are likely to fit. */
		if (len > 23) {
			bytes[18] = bytes[20] = bytes[21] = bytes[22] = 0;
			bytes[19] %= 64;
			bytes[23] %= 64;
		}
		(void)decode_ext(bytes, (uint32_t)len, &ext);
		if (decode(bytes, len, &entry, &end) < 0)
			continue;
		ck_assert_uint_eq(end, qcf_bitmap_entry_size(&entry));
		(void)check(&entry, unit_random_u64(&random) >> 8);
		qcf_bitmap_entry_fini(&entry);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, a_known_extension);
	tcase_add_loop_test(tcase, bad_extensions, 0,
	                    (int)(sizeof(bad_exts) / sizeof(bad_exts[0])));
	tcase_add_test(tcase, extension_of_another_length);
	tcase_add_test(tcase, a_known_entry);
	tcase_add_test(tcase, entries_of_any_length);
	tcase_add_loop_test(tcase, entries_are_judged, 0,
	                    (int)(sizeof(entries) / sizeof(entries[0])));
	tcase_add_test(tcase, entries_are_judged_by_lengths);
	tcase_add_test(tcase, sizes);
	tcase_add_loop_test(tcase, table_entries, 0,
	                    (int)(sizeof(clusters) / sizeof(clusters[0])));
	tcase_add_test(tcase, random_bytes_are_survived);
}

int main(void)
{
	return unit_run("bitmap_entry_round_trip", add);
}
