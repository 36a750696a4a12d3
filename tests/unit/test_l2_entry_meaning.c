/* SPDX-License-Identifier: MIT */
/*
 * Promise: L1 and L2 entries decode to the documented meaning, encode back to
 * the same bits, and unusable offsets are told apart by their corruption id.
 */
#include <string.h>

#include "check_id.h"
#include "l2_entry.h"
#include "unit.h"

static struct qcf_geometry geometry(uint32_t version, uint32_t cluster_bits)
{
	struct qcf_geometry g;

	ck_assert_int_eq(
		qcf_geometry_init(&g, version, cluster_bits, 4, false, NULL),
		0);
	return g;
}

static struct qcf_l2_raw raw(uint64_t word)
{
	return (struct qcf_l2_raw){ .word = qcf_be64_encode(word) };
}

static struct qcf_mapping decode(uint32_t cluster_bits, uint64_t word)
{
	struct qcf_geometry g = geometry(3, cluster_bits);

	return qcf_l2_entry_decode(&g, raw(word));
}

START_TEST(standard_entries)
{
	static const struct {
		uint64_t word;
		enum qcf_kind kind;
		uint64_t host_offset;
		bool copied;
		uint64_t reserved;
	} rows[] = {
		{ 0, QCF_UNALLOCATED, 0, false, 0 },
		{ UINT64_C(0x8000000000000000), QCF_UNALLOCATED, 0, false, 0 },
		{ 1, QCF_ZERO_PLAIN, 0, false, 0 },
		{ UINT64_C(0x8000000000000001), QCF_ZERO_PLAIN, 0, false, 0 },
		{ 0x50000, QCF_DATA, 0x50000, false, 0 },
		{ UINT64_C(0x8000000000050000), QCF_DATA, 0x50000, true, 0 },
		{ UINT64_C(0x8000000000050001), QCF_ZERO_ALLOCATED, 0x50000,
		  true, 0 },
		{ 0x50001, QCF_ZERO_ALLOCATED, 0x50000, false, 0 },
		{ UINT64_C(0x80ffffffffff0000), QCF_DATA,
		  UINT64_C(0xffffffffff0000), true, 0 },
		{ UINT64_C(0x3f000000000501fe), QCF_DATA, 0x50000, false,
		  UINT64_C(0x3f000000000001fe) },
		{ UINT64_C(0x0100000000000002), QCF_UNALLOCATED, 0, false,
		  UINT64_C(0x0100000000000002) },
		{ 0x50200, QCF_DATA, 0x50200, false, 0 },
	};

	struct qcf_geometry g = geometry(3, 16);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qcf_mapping m = decode(16, rows[i].word);
		uint64_t again =
			qcf_be64_decode(qcf_l2_entry_encode(&g, m).word);

		ck_assert_int_eq(m.kind, rows[i].kind);
		ck_assert_uint_eq(m.host_offset, rows[i].host_offset);
		ck_assert_uint_eq(m.compressed_len, 0);
		ck_assert_int_eq(m.copied, rows[i].copied);
		ck_assert_uint_eq(m.reserved, rows[i].reserved);
		/* COPIED means nothing without a cluster. */
		if (rows[i].host_offset == 0)
			ck_assert_uint_eq(again,
			                  rows[i].word & ~QCF_ENTRY_COPIED);
		else
			ck_assert_uint_eq(again, rows[i].word);
	}
}

END_TEST

START_TEST(compressed_entries)
{
	static const struct {
		uint32_t cluster_bits;
		uint64_t word;
		uint64_t host_offset;
		uint64_t len;
	} rows[] = {
		{ 16, UINT64_C(0x4000000000050000), 0x50000, 512 },
		{ 16, UINT64_C(0x4cc000000005004f), 0x5004f,
		  0x34 * 512 - 0x4f },
		{ 16, UINT64_C(0x5d000000000567a6), 0x567a6,
		  0x75 * 512 - 0x1a6 },
		{ 9, UINT64_C(0x6000000000000000), 0, 1024 },
		{ 9, UINT64_C(0x5fffffffffffffff), UINT64_C(0x1fffffffffffffff),
		  1 },
		{ 21, UINT64_C(0x7ffe000000000000), 0, 8192 * 512 },
		{ 21, UINT64_C(0x4001ffffffffffff), UINT64_C(0x1ffffffffffff),
		  1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qcf_mapping m =
			decode(rows[i].cluster_bits, rows[i].word);

		ck_assert_int_eq(m.kind, QCF_COMPRESSED);
		ck_assert_uint_eq(m.host_offset, rows[i].host_offset);
		ck_assert_uint_eq(m.compressed_len, rows[i].len);
		ck_assert(!m.copied);
		ck_assert_uint_eq(m.reserved, 0);
	}
	ck_assert(decode(16, UINT64_C(0xc000000000050000)).copied);
}

END_TEST

/*
 * Every legal entry survives: what is lost is COPIED without a cluster, and
 * COPIED on a compressed cluster.
 */
START_TEST(entries_round_trip)
{
	struct unit_random random = unit_random_init();

	for (int i = 0; i < 50000; i++) {
		uint32_t bits = 9 + (uint32_t)unit_random_below(&random, 13);
		struct qcf_geometry g = geometry(3, bits);
		uint64_t word = unit_random_u64(&random);
		uint64_t want = word;

		if ((word & QCF_ENTRY_COMPRESSED) != 0 ||
		    (word & QCF_ENTRY_OFFSET) == 0)
			want &= ~QCF_ENTRY_COPIED;

		struct qcf_mapping m = qcf_l2_entry_decode(&g, raw(word));

		ck_assert_uint_eq(
			qcf_be64_decode(qcf_l2_entry_encode(&g, m).word), want);
	}
}

END_TEST

/* A stream of known length gets the sectors it touches. */
START_TEST(compressed_length_covers_whole_sectors)
{
	struct unit_random random = unit_random_init();
	struct qcf_geometry g = geometry(3, 16);

	for (int i = 0; i < 10000; i++) {
		struct qcf_mapping m = {
			.kind = QCF_COMPRESSED,
			.host_offset = unit_random_below(&random, 1 << 30),
			.compressed_len = 1 + unit_random_below(&random, 65535),
		};
		uint64_t end = m.host_offset + m.compressed_len;
		struct qcf_mapping back =
			qcf_l2_entry_decode(&g, qcf_l2_entry_encode(&g, m));

		ck_assert_uint_eq(back.host_offset, m.host_offset);
		ck_assert_uint_eq(back.host_offset + back.compressed_len,
		                  (end + 511) / 512 * 512);
	}
}

END_TEST

START_TEST(l1_entries)
{
	static const struct {
		uint64_t word;
		uint64_t l2_offset;
		bool copied;
		uint64_t reserved;
	} rows[] = {
		{ 0, 0, false, 0 },
		{ UINT64_C(1) << 63, 0, false, 0 },
		{ 0x40000, 0x40000, false, 0 },
		{ UINT64_C(0x8000000000040000), 0x40000, true, 0 },
		{ UINT64_C(0xff000000000401ff), 0x40000, true,
		  UINT64_C(0x7f000000000001ff) },
	};

	struct qcf_geometry g = geometry(3, 16);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qcf_l1_entry e =
			qcf_l1_entry_decode(&g, qcf_be64_encode(rows[i].word));

		ck_assert_uint_eq(e.l2_offset, rows[i].l2_offset);
		ck_assert_int_eq(e.copied, rows[i].copied);
		ck_assert_uint_eq(e.reserved, rows[i].reserved);
		if (rows[i].l2_offset != 0)
			ck_assert_uint_eq(
				qcf_be64_decode(qcf_l1_entry_encode(&g, e)),
				rows[i].word);
	}
}

END_TEST

START_TEST(unusable_entries_have_an_id)
{
	static const struct {
		uint32_t version;
		uint32_t cluster_bits;
		uint64_t word;
		uint32_t id;
	} rows[] = {
		{ 3, 16, 0, QCF_CHECK_NONE },
		{ 3, 16, 1, QCF_CHECK_NONE },
		{ 3, 16, UINT64_C(0x8000000000050000), QCF_CHECK_NONE },
		{ 3, 16, UINT64_C(0x80ffffffffff0001), QCF_CHECK_NONE },
		{ 3, 16, UINT64_C(0x8000000000050200), QCF_CHECK_DATA_OFFSET },
		{ 3, 16, UINT64_C(0x8000000000058001), QCF_CHECK_DATA_OFFSET },
		{ 3, 9, UINT64_C(0x8000000000000200), QCF_CHECK_NONE },
		{ 2, 16, 0x50000, QCF_CHECK_NONE },
		{ 2, 16, 1, QCF_CHECK_ZERO_FLAG_V2 },
		{ 2, 16, 0x50001, QCF_CHECK_ZERO_FLAG_V2 },
		{ 2, 16, UINT64_C(0x4000000000050001), QCF_CHECK_NONE },
		{ 3, 16, UINT64_C(0x4cc000000005004f), QCF_CHECK_NONE },
		{ 3, 9, UINT64_C(0x40ffffffffffffff), QCF_CHECK_NONE },
		{ 3, 9, UINT64_C(0x4100000000000000), QCF_CHECK_DATA_OFFSET },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qcf_geometry g =
			geometry(rows[i].version, rows[i].cluster_bits);

		ck_assert_uint_eq(qcf_mapping_check(&g, raw(rows[i].word)),
		                  rows[i].id);
	}
}

END_TEST

START_TEST(extended_entries_have_no_zero_flag)
{
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, 3, 16, 4, true, NULL), 0);
	ck_assert_int_eq(qcf_l2_entry_decode(&g, raw(1)).kind, QCF_UNALLOCATED);
}

END_TEST

static const char *dump(uint64_t word, char *text, size_t len)
{
	qcf_mapping_dump(decode(16, word), text, len);
	return text;
}

START_TEST(dump_says_kind_and_place)
{
	char text[100];

	ck_assert_str_eq(dump(0, text, sizeof(text)), "unallocated");
	ck_assert_str_eq(dump(1, text, sizeof(text)), "zero");
	ck_assert_str_eq(dump(0x50000, text, sizeof(text)), "data at 0x50000");
	ck_assert_str_eq(dump(UINT64_C(0x8000000000050000), text, sizeof(text)),
	                 "data at 0x50000, copied");
	ck_assert_str_eq(dump(UINT64_C(0x8000000000050001), text, sizeof(text)),
	                 "zero, space at 0x50000, copied");
	ck_assert_str_eq(dump(UINT64_C(0x4000000000050000), text, sizeof(text)),
	                 "compressed at 0x50000, at most 512 bytes");
	qcf_mapping_dump(decode(16, 0x50000), text, 5);
	ck_assert_str_eq(text, "data");
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, standard_entries);
	tcase_add_test(tcase, compressed_entries);
	tcase_add_test(tcase, entries_round_trip);
	tcase_add_test(tcase, compressed_length_covers_whole_sectors);
	tcase_add_test(tcase, l1_entries);
	tcase_add_test(tcase, unusable_entries_have_an_id);
	tcase_add_test(tcase, extended_entries_have_no_zero_flag);
	tcase_add_test(tcase, dump_says_kind_and_place);
}

int main(void)
{
	return unit_run("l2_entry_meaning", add_tests);
}
