/* SPDX-License-Identifier: MIT */
/*
 * Promise: every state that a subcluster can be in decodes to what the format
 * says, illegal ones have an id, and the same holds for entries of version 1 and
 * of images with a data file; encoding gives back the same bits.
 */
#include "check_id.h"
#include "extended.h"

#define BAD QCF_CHECK_SUBCLUSTER_BITMAP

struct row {
	uint64_t word;
	uint64_t bitmap;
	uint32_t id;
	enum qcf_kind kind;
	uint32_t allocated, zero;
	bool copied;
};

/* Each combination of first word and bits of one subcluster, and a few more. */
static const struct row rows[] = {
	{ 0, 0, 0, QCF_UNALLOCATED, 0, 0, false },
	{ 0, BITS(0, 1), 0, QCF_UNALLOCATED, 0, 1, false },
	{ 0, BITS(0, ALL), 0, QCF_UNALLOCATED, 0, ALL, false },
	{ 0, BITS(1, 0), BAD, QCF_UNALLOCATED, 1, 0, false },
	{ 0, BITS(1, 1), BAD, QCF_UNALLOCATED, 1, 1, false },
	{ COPIED, BITS(0, 2), 0, QCF_UNALLOCATED, 0, 2, false },
	{ COPIED, BITS(2, 0), BAD, QCF_UNALLOCATED, 2, 0, false },
	{ 5 * CLUSTER, 0, 0, QCF_DATA, 0, 0, false },
	{ 5 * CLUSTER, BITS(1, 0), 0, QCF_DATA, 1, 0, false },
	{ 5 * CLUSTER, BITS(0, 1), 0, QCF_DATA, 0, 1, false },
	{ 5 * CLUSTER, BITS(1, 1), BAD, QCF_DATA, 1, 1, false },
	{ COPIED | 5 * CLUSTER, BITS(ALL, 0), 0, QCF_DATA, ALL, 0, true },
	{ COPIED | 5 * CLUSTER, BITS(0, ALL), 0, QCF_DATA, 0, ALL, true },
	{ COPIED | 5 * CLUSTER, BITS(0xffff, 0xffff0000), 0, QCF_DATA, 0xffff,
	  0xffff0000, true },
	{ COPIED | 5 * CLUSTER, BITS(0x1ffff, 0xffff0000), BAD, QCF_DATA,
	  0x1ffff, 0xffff0000, true },
	{ COPIED | 5 * CLUSTER, BITS(UINT32_C(1) << 31, 1), 0, QCF_DATA,
	  UINT32_C(1) << 31, 1, true },
	{ COMPRESSED | 5 * CLUSTER, 0, 0, QCF_COMPRESSED, 0, 0, false },
	{ COMPRESSED | 5 * CLUSTER, BITS(1, 0), BAD, QCF_COMPRESSED, 1, 0,
	  false },
	{ COMPRESSED | 5 * CLUSTER, BITS(0, 1), BAD, QCF_COMPRESSED, 0, 1,
	  false },
	{ COMPRESSED | 5 * CLUSTER, BITS(1, 1), BAD, QCF_COMPRESSED, 1, 1,
	  false },
	/* The zero flag of other entries means nothing here. */
	{ 1, 0, 0, QCF_UNALLOCATED, 0, 0, false },
	{ COPIED | 5 * CLUSTER | 1, BITS(1, 0), 0, QCF_DATA, 1, 0, true },
	{ COPIED | (5 * CLUSTER + 512), BITS(1, 0), QCF_CHECK_DATA_OFFSET,
	  QCF_DATA, 1, 0, true },
};

START_TEST(subcluster_states)
{
	const struct row *row = &rows[_i];
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw raw = extended(row->word, row->bitmap);
	struct qcf_mapping m = qcf_l2_entry_decode(&g, raw);

	ck_assert_int_eq(m.kind, row->kind);
	ck_assert_uint_eq(m.allocated, row->allocated);
	ck_assert_uint_eq(m.zero, row->zero);
	ck_assert_int_eq(m.copied, row->copied);
	ck_assert_uint_eq(qcf_mapping_check(&g, raw), row->id);
}

END_TEST

/* What is legal comes back bit for bit, but for flags without meaning. */
START_TEST(legal_entries_round_trip)
{
	const struct row *row = &rows[_i];
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw raw = extended(row->word, row->bitmap);
	struct qcf_l2_raw again;
	uint64_t want = row->word;

	if (row->id != 0)
		return;
	again = qcf_l2_entry_encode(&g, qcf_l2_entry_decode(&g, raw));
	if ((want & QCF_ENTRY_COMPRESSED) == 0)
		want &= ~QCF_ENTRY_ZERO;
	if ((want & QCF_ENTRY_OFFSET) == 0)
		want &= ~COPIED;
	ck_assert_uint_eq(qcf_be64_decode(again.word), want);
	ck_assert_uint_eq(qcf_be64_decode(again.bitmap), row->bitmap);
}

END_TEST

/* Each of the 32 in each state that it can have, among others of any state. */
START_TEST(subclusters_are_told_apart)
{
	struct unit_random random = unit_random_init();
	struct qcf_geometry g = extended_geometry();

	for (int i = 0; i < 5000; i++) {
		uint32_t data = (uint32_t)unit_random_u64(&random);
		uint32_t zeros = (uint32_t)unit_random_u64(&random);
		bool illegal = (data & zeros) != 0;
		struct qcf_l2_raw raw =
			extended(COPIED | 7 * CLUSTER, BITS(data, zeros));
		struct qcf_mapping m = qcf_l2_entry_decode(&g, raw);

		ck_assert_uint_eq(m.allocated, data);
		ck_assert_uint_eq(m.zero, zeros);
		ck_assert_uint_eq(qcf_mapping_check(&g, raw),
		                  illegal ? BAD : 0);
		raw = extended(COPIED | 7 * CLUSTER, BITS(data, zeros & ~data));
		ck_assert_uint_eq(qcf_mapping_check(&g, raw), 0);
	}
}

END_TEST

/* In a data file offset 0 is a cluster like any other. */
START_TEST(data_file_entries)
{
	static const struct {
		uint64_t word;
		enum qcf_kind kind;
		uint64_t host_offset;
		uint32_t id;
	} entries[] = {
		{ 0, QCF_UNALLOCATED, 0, 0 },
		{ 1, QCF_ZERO_PLAIN, 0, 0 },
		{ COPIED, QCF_DATA, 0, 0 },
		{ COPIED | 1, QCF_ZERO_ALLOCATED, 0, 0 },
		{ COPIED | 3 * CLUSTER, QCF_DATA, 3 * CLUSTER, 0 },
		{ COPIED | 3 * CLUSTER | 1, QCF_ZERO_ALLOCATED, 3 * CLUSTER,
		  0 },
		{ COMPRESSED | 3 * CLUSTER, QCF_COMPRESSED, 3 * CLUSTER,
		  QCF_CHECK_DATA_FILE_COMPRESSED },
		{ COPIED | 512, QCF_DATA, 512, QCF_CHECK_DATA_OFFSET },
	};

	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, 3, 16, 4, false, NULL), 0);
	g.data_file = true;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct qcf_l2_raw raw = extended(entries[i].word, 0);
		struct qcf_mapping m = qcf_l2_entry_decode(&g, raw);

		ck_assert_int_eq(m.kind, entries[i].kind);
		ck_assert_uint_eq(m.host_offset, entries[i].host_offset);
		ck_assert_uint_eq(qcf_mapping_check(&g, raw), entries[i].id);
		raw = qcf_l2_entry_encode(&g, m);
		ck_assert_uint_eq(qcf_be64_decode(raw.word), entries[i].word);
	}
}

END_TEST

START_TEST(data_file_subclusters)
{
	struct qcf_geometry g = extended_geometry();
	struct qcf_l2_raw first = extended(COPIED, BITS(1, 2));
	struct qcf_mapping m;

	g.data_file = true;
	m = qcf_l2_entry_decode(&g, first);
	ck_assert_int_eq(m.kind, QCF_DATA);
	ck_assert_uint_eq(m.allocated, 1);
	ck_assert(m.copied);
	ck_assert_uint_eq(qcf_mapping_check(&g, first), 0);
	ck_assert_uint_eq(qcf_mapping_check(&g, extended(0, BITS(1, 0))), BAD);
}

END_TEST

struct v1_row {
	uint32_t cluster_bits;
	uint64_t word;
	enum qcf_kind kind;
	uint64_t host_offset;
	uint64_t compressed_len;
	uint32_t id;
};

static const struct v1_row v1_rows[] = {
	{ 12, 0, QCF_UNALLOCATED, 0, 0, 0 },
	{ 12, 0x2000, QCF_DATA, 0x2000, 0, 0 },
	/* Any sector will do. */
	{ 12, 0x2200, QCF_DATA, 0x2200, 0, 0 },
	{ 16, 0x600, QCF_DATA, 0x600, 0, 0 },
	{ 12, 0x2201, QCF_DATA, 0x2201, 0, QCF_CHECK_DATA_OFFSET },
	{ 12, UINT64_C(0x7ffffffffffffe00), QCF_DATA,
	  UINT64_C(0x7ffffffffffffe00), 0, QCF_CHECK_DATA_OFFSET },
	{ 12, UINT64_C(0x8118000000002000), QCF_COMPRESSED, 0x2000, 35, 0 },
	{ 12, UINT64_C(0x8118000000002001), QCF_COMPRESSED, 0x2001, 35, 0 },
	{ 12, UINT64_C(0xfff8000000000000), QCF_COMPRESSED, 0, 4095, 0 },
	{ 9, UINT64_C(0xffc0000000000200), QCF_COMPRESSED, 0x200, 511, 0 },
	{ 16, UINT64_C(0x8000800000012345), QCF_COMPRESSED, 0x12345, 1, 0 },
	{ 12, UINT64_C(0x8000000000002000), QCF_COMPRESSED, 0x2000, 0,
	  QCF_CHECK_COMPRESSED_LEN },
};

START_TEST(version_1_entries)
{
	const struct v1_row *row = &v1_rows[_i];
	struct qcf_l2_raw raw = extended(row->word, 0);
	struct qcf_geometry g;
	struct qcf_mapping m;

	ck_assert_int_eq(qcf_geometry_init_v1(&g, row->cluster_bits, 9, NULL),
	                 0);
	m = qcf_l2_entry_decode(&g, raw);
	ck_assert_int_eq(m.kind, row->kind);
	ck_assert_uint_eq(m.host_offset, row->host_offset);
	ck_assert_uint_eq(m.compressed_len, row->compressed_len);
	/* Nothing is ever shared. */
	ck_assert_int_eq(m.copied, row->kind == QCF_DATA);
	ck_assert_uint_eq(m.reserved, 0);
	ck_assert_uint_eq(qcf_mapping_check(&g, raw), row->id);
	raw = qcf_l2_entry_encode(&g, m);
	ck_assert_uint_eq(qcf_be64_decode(raw.word), row->word);
	ck_assert_uint_eq(qcf_be64_decode(raw.bitmap), 0);
}

END_TEST

START_TEST(version_1_l1_entries)
{
	static const uint64_t offsets[] = { 0, 0x30, 0x200, 0x12345678,
		                            UINT64_C(0x8000000000000200) };
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init_v1(&g, 12, 9, NULL), 0);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct qcf_be64 raw = qcf_be64_encode(offsets[i]);
		struct qcf_l1_entry e = qcf_l1_entry_decode(&g, raw);

		ck_assert_uint_eq(e.l2_offset, offsets[i]);
		ck_assert_int_eq(e.copied, offsets[i] != 0);
		ck_assert_uint_eq(qcf_be64_decode(qcf_l1_entry_encode(&g, e)),
		                  offsets[i]);
	}
}

END_TEST

START_TEST(dump_names_subclusters)
{
	struct qcf_geometry g = extended_geometry();
	char text[120];

	qcf_mapping_dump(qcf_l2_entry_decode(&g, extended(COPIED | 5 * CLUSTER,
	                                                  BITS(0xf, 0xf0))),
	                 text, sizeof(text));
	ck_assert_str_eq(text, "data at 0x50000, copied, subclusters allocated "
	                       "0x0000000f zero 0x000000f0");
}

END_TEST

static void add(TCase *tcase)
{
	int count = (int)(sizeof(rows) / sizeof(rows[0]));
	int v1_count = (int)(sizeof(v1_rows) / sizeof(v1_rows[0]));

	tcase_add_loop_test(tcase, subcluster_states, 0, count);
	tcase_add_loop_test(tcase, legal_entries_round_trip, 0, count);
	tcase_add_test(tcase, subclusters_are_told_apart);
	tcase_add_test(tcase, data_file_entries);
	tcase_add_test(tcase, data_file_subclusters);
	tcase_add_loop_test(tcase, version_1_entries, 0, v1_count);
	tcase_add_test(tcase, version_1_l1_entries);
	tcase_add_test(tcase, dump_names_subclusters);
}

int main(void)
{
	return unit_run("every kind of entry has a meaning", add);
}
