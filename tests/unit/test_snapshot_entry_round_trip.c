/* SPDX-License-Identifier: MIT */
/*
 * Promise: snapshot table entries decode with whatever extra data they have,
 * encode back with unknown extra data unchanged, and are refused when malformed.
 */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "check_id.h"
#include "snapshot_entry.h"
#include "unit.h"

#define MAX_LEN 4096u

struct entry_bytes {
	uint8_t bytes[MAX_LEN];
	size_t len;
};

static struct qcf_geometry geometry(void)
{
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, 3, 16, 4, false, NULL), 0);
	return g;
}

/* An entry with extra bytes 00 01 02 ..., id "7" and name "snap-1". */
static struct entry_bytes build(uint32_t extra_len)
{
	struct entry_bytes out = { .len = 0 };
	struct qcf_writer w = qcf_writer_init(out.bytes, MAX_LEN);

	qcf_write_u64(&w, 0x70000);
	qcf_write_u32(&w, 5);
	qcf_write_u16(&w, 1);
	qcf_write_u16(&w, 6);
	qcf_write_u32(&w, 1700000000);
	qcf_write_u32(&w, 999999999);
	qcf_write_u64(&w, 1234567890123);
	qcf_write_u32(&w, 0x1000);
	qcf_write_u32(&w, extra_len);
	for (uint32_t i = 0; i < extra_len; i++)
		qcf_write_u8(&w, (uint8_t)i);
	qcf_write_bytes(&w, "7snap-1", 7);
	out.len = w.pos;
	return out;
}

static int decode(struct entry_bytes *in, struct qcf_snapshot_entry *entry,
                  size_t *end)
{
	struct qcf_geometry g = geometry();
	struct qcf_reader reader = qcf_reader_init(in->bytes, in->len);
	struct qcowfmt_error *error = NULL;
	int ret = qcf_snapshot_entry_decode(entry, &g, &reader, &error);

	if (ret < 0) {
		ck_assert_int_eq(ret, -EIO);
		ck_assert_uint_eq(qcowfmt_error_corruption_id(error),
		                  QCF_CHECK_SNAPSHOT_ENTRY);
	}
	ck_assert(ret < 0 || !reader.overrun);
	*end = reader.pos;
	qcowfmt_error_free(error);
	return ret;
}

START_TEST(every_field_is_read)
{
	struct entry_bytes in = build(24);
	struct qcf_snapshot_entry entry;
	size_t end = 0;

	ck_assert_int_eq(decode(&in, &entry, &end), 0);
	ck_assert_uint_eq(end, in.len);
	ck_assert_uint_eq(entry.l1_table_offset, 0x70000);
	ck_assert_uint_eq(entry.l1_size, 5);
	ck_assert_uint_eq(entry.date_sec, 1700000000);
	ck_assert_uint_eq(entry.date_nsec, 999999999);
	ck_assert_uint_eq(entry.vm_clock_nsec, 1234567890123);
	ck_assert_uint_eq(entry.vm_state_size, UINT64_C(0x0001020304050607));
	ck_assert_uint_eq(entry.disk_size, UINT64_C(0x08090a0b0c0d0e0f));
	ck_assert_uint_eq(entry.icount, UINT64_C(0x1011121314151617));
	ck_assert_uint_eq(entry.extra_len, 24);
	ck_assert_uint_eq(entry.unknown_extra_len, 0);
	ck_assert_str_eq(entry.id, "7");
	ck_assert_str_eq(entry.name, "snap-1");
	qcf_snapshot_entry_fini(&entry);
}

END_TEST

START_TEST(fields_of_short_extra_data_have_defaults)
{
	for (uint32_t len = 0; len <= 24; len++) {
		struct entry_bytes in = build(len);
		struct qcf_snapshot_entry entry;
		size_t end = 0;

		ck_assert_int_eq(decode(&in, &entry, &end), 0);
		ck_assert_uint_eq(entry.vm_state_size,
		                  len < 8 ? 0x1000
		                          : UINT64_C(0x0001020304050607));
		ck_assert_uint_eq(entry.disk_size,
		                  len < 16 ? 0 : UINT64_C(0x08090a0b0c0d0e0f));
		ck_assert_uint_eq(entry.icount,
		                  len < 24 ? UINT64_MAX
		                           : UINT64_C(0x1011121314151617));
		ck_assert_uint_eq(entry.extra_len, len);
		ck_assert_str_eq(entry.name, "snap-1");
		qcf_snapshot_entry_fini(&entry);
	}
}

END_TEST

static struct entry_bytes encode(const struct qcf_snapshot_entry *entry)
{
	struct entry_bytes out = { .len = 0 };
	struct qcf_writer writer = qcf_writer_init(out.bytes, MAX_LEN);

	qcf_snapshot_entry_encode(entry, &writer);
	ck_assert(!writer.overrun);
	out.len = writer.pos;
	ck_assert_uint_eq(qcf_snapshot_entry_len(entry), out.len);
	return out;
}

START_TEST(encoding_keeps_unknown_extra_data)
{
	for (uint32_t len = 24; len <= 1024; len++) {
		struct entry_bytes in = build(len);
		struct qcf_snapshot_entry entry;
		size_t end = 0;

		ck_assert_int_eq(decode(&in, &entry, &end), 0);

		/* What was too large for 32 bits is 0 there. */
		memset(in.bytes + 32, 0, 4);

		struct entry_bytes out = encode(&entry);

		ck_assert_uint_eq(out.len, (in.len + 7) / 8 * 8);
		ck_assert_mem_eq(out.bytes, in.bytes, out.len);
		qcf_snapshot_entry_fini(&entry);
	}
}

END_TEST

START_TEST(small_vm_states_are_also_in_the_old_field)
{
	struct qcf_snapshot_entry entry = { .vm_state_size = UINT32_MAX,
		                            .id = (char[]){ "1" },
		                            .name = (char[]){ "" } };
	struct entry_bytes out = encode(&entry);

	ck_assert_mem_eq(out.bytes + 32, "\xff\xff\xff\xff\0\0\0\x18", 8);
	entry.vm_state_size = (uint64_t)UINT32_MAX + 1;
	out = encode(&entry);
	ck_assert_mem_eq(out.bytes + 32, "\0\0\0\0\0\0\0\x18", 8);
}

END_TEST

START_TEST(entries_follow_each_other_on_multiples_of_8)
{
	struct entry_bytes one = build(24);
	struct entry_bytes table = { .len = 0 };
	struct qcf_geometry g = geometry();
	size_t padded = (one.len + 7) / 8 * 8;

	memcpy(table.bytes, one.bytes, one.len);
	memcpy(table.bytes + padded, one.bytes, one.len);
	table.len = padded + one.len;

	struct qcf_reader reader = qcf_reader_init(table.bytes, table.len);

	for (int i = 0; i < 2; i++) {
		struct qcf_snapshot_entry entry;

		ck_assert_int_eq(
			qcf_snapshot_entry_decode(&entry, &g, &reader, NULL),
			0);
		ck_assert_str_eq(entry.name, "snap-1");
		qcf_snapshot_entry_fini(&entry);
	}
	ck_assert_uint_eq(qcf_reader_left(&reader), 0);
}

END_TEST

START_TEST(id_and_name_may_be_empty)
{
	struct entry_bytes in = build(24);
	struct qcf_snapshot_entry entry;
	size_t end = 0;

	memset(in.bytes + 12, 0, 4);
	in.len -= 7;
	ck_assert_int_eq(decode(&in, &entry, &end), 0);
	ck_assert_str_eq(entry.id, "");
	ck_assert_str_eq(entry.name, "");
	qcf_snapshot_entry_fini(&entry);
}

END_TEST

START_TEST(every_truncation_is_malformed)
{
	struct entry_bytes whole = build(40);

	for (size_t len = 0; len < whole.len; len++) {
		struct entry_bytes in = whole;
		struct qcf_snapshot_entry entry;
		size_t end = 0;

		in.len = len;
		ck_assert_int_lt(decode(&in, &entry, &end), 0);
	}
}

END_TEST

START_TEST(bad_fields_are_malformed)
{
	static const struct {
		size_t at;
		size_t width;
		uint64_t value;
		bool good;
	} rows[] = {
		{ 0, 8, 0x70008, false },
		{ 0, 8, 0x70200, false },
		{ 0, 8, UINT64_C(0xffffffffffff0000), false },
		{ 0, 8, UINT64_C(0x7fffffffffff0000), true },
		{ 8, 4, 4194304, true },
		{ 8, 4, 4194305, false },
		{ 8, 4, UINT32_MAX, false },
		{ 12, 2, UINT16_MAX, false },
		{ 14, 2, UINT16_MAX, false },
		{ 36, 4, 1025, false },
		{ 36, 4, UINT32_MAX, false },
		/* NUL in the id, in the name */
		{ 64, 1, 0, false },
		{ 70, 1, 0, false },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct entry_bytes in = build(24);
		struct qcf_writer writer =
			qcf_writer_init(in.bytes + rows[i].at, 8);
		struct qcf_snapshot_entry entry;
		size_t end = 0;

		qcf_write_be(&writer, rows[i].value, rows[i].width);
		ck_assert_int_eq(decode(&in, &entry, &end) == 0, rows[i].good);
		if (rows[i].good)
			qcf_snapshot_entry_fini(&entry);
	}
}

END_TEST

START_TEST(the_disk_has_a_possible_size)
{
	struct qcf_geometry g = geometry();

	const struct {
		uint64_t size;
		bool possible;
	} rows[] = {
		{ 0, true },
		{ 512, true },
		{ 511, false },
		{ g.max_virtual_size, true },
		{ g.max_virtual_size + 512, false },
		{ UINT64_MAX - 511, false },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcf_snapshot_entry entry = { .disk_size = rows[i].size };
		int ret = qcf_snapshot_check_size(&g, &entry, NULL);

		ck_assert_int_eq(ret == 0, rows[i].possible);
	}
	for (uint32_t len = 0; len <= 24; len += 8) {
		struct qcf_snapshot_entry entry = { .extra_len = len };

		ck_assert_int_eq(qcf_snapshot_entry_has_disk_size(&entry),
		                 len >= 16);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, every_field_is_read);
	tcase_add_test(tcase, fields_of_short_extra_data_have_defaults);
	tcase_add_test(tcase, encoding_keeps_unknown_extra_data);
	tcase_add_test(tcase, small_vm_states_are_also_in_the_old_field);
	tcase_add_test(tcase, entries_follow_each_other_on_multiples_of_8);
	tcase_add_test(tcase, id_and_name_may_be_empty);
	tcase_add_test(tcase, every_truncation_is_malformed);
	tcase_add_test(tcase, bad_fields_are_malformed);
	tcase_add_test(tcase, the_disk_has_a_possible_size);
}

int main(void)
{
	return unit_run("snapshot_entry_round_trip", add_tests);
}
