/* SPDX-License-Identifier: MIT */
/*
 * Promise: a cursor stays inside its buffer; the first access past the end sets
 * overrun, which sticks, and reads give zeros from then on.
 */
#include "auto.h"
#include "bytes.h"
#include "unit.h"

START_TEST(words_are_big_endian)
{
	uint8_t bytes[15] = { 0 };
	struct qcf_writer writer = qcf_writer_init(bytes, sizeof(bytes));

	qcf_write_u8(&writer, 0x01);
	qcf_write_u16(&writer, 0x0203);
	qcf_write_u32(&writer, 0x04050607);
	qcf_write_u64(&writer, UINT64_C(0x08090a0b0c0d0e0f));
	ck_assert(!writer.overrun);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		ck_assert_uint_eq(bytes[i], i + 1u);

	struct qcf_reader reader = qcf_reader_init(bytes, sizeof(bytes));

	ck_assert_uint_eq(qcf_read_u8(&reader), 0x01);
	ck_assert_uint_eq(qcf_read_u16(&reader), 0x0203);
	ck_assert_uint_eq(qcf_read_u32(&reader), 0x04050607);
	ck_assert_uint_eq(qcf_read_u64(&reader), UINT64_C(0x08090a0b0c0d0e0f));
	ck_assert(!reader.overrun);
	ck_assert_uint_eq(qcf_reader_left(&reader), 0);
}

END_TEST

START_TEST(be64_words_round_trip)
{
	struct qcf_be64 word = qcf_be64_encode(UINT64_C(0x0102030405060708));
	uint8_t bytes[8];

	memcpy(bytes, &word, sizeof(bytes));
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		ck_assert_uint_eq(bytes[i], i + 1u);
	ck_assert_uint_eq(qcf_be64_decode(word), UINT64_C(0x0102030405060708));
}

END_TEST

START_TEST(reading_past_the_end_sticks)
{
	const uint8_t bytes[3] = { 1, 2, 3 };
	struct qcf_reader reader = qcf_reader_init(bytes, sizeof(bytes));
	uint8_t copy[2] = { 9, 9 };

	ck_assert_uint_eq(qcf_read_u32(&reader), 0);
	ck_assert(reader.overrun);
	ck_assert_uint_eq(qcf_read_u8(&reader), 0);
	qcf_read_bytes(&reader, copy, sizeof(copy));
	ck_assert_uint_eq(copy[0] | copy[1], 0);
	ck_assert_ptr_null(qcf_read_span(&reader, 0));
	ck_assert_uint_eq(reader.pos, 0);
}

END_TEST

START_TEST(span_length_cannot_wrap)
{
	const uint8_t bytes[3] = { 1, 2, 3 };
	struct qcf_reader reader = qcf_reader_init(bytes, sizeof(bytes));
	uint8_t target[3] = { 7, 7, 7 };
	struct qcf_writer writer = qcf_writer_init(target, sizeof(target));

	qcf_read_u8(&reader);
	ck_assert_ptr_null(qcf_read_span(&reader, SIZE_MAX));
	ck_assert(reader.overrun);
	qcf_write_u8(&writer, 1);
	ck_assert_ptr_null(qcf_write_span(&writer, SIZE_MAX));
	ck_assert(writer.overrun);
}

END_TEST

START_TEST(writing_past_the_end_changes_nothing)
{
	uint8_t bytes[5] = { 7, 7, 7, 7, 7 };
	struct qcf_writer writer = qcf_writer_init(bytes, 4);

	qcf_write_u8(&writer, 1);
	qcf_write_u32(&writer, UINT32_MAX);
	ck_assert(writer.overrun);
	qcf_write_u8(&writer, 2);
	qcf_write_bytes(&writer, "xy", 2);
	ck_assert_uint_eq(bytes[0], 1);
	for (size_t i = 1; i < sizeof(bytes); i++)
		ck_assert_uint_eq(bytes[i], 7);
}

END_TEST

START_TEST(padding_reaches_the_next_multiple)
{
	uint8_t bytes[16];

	for (size_t start = 0; start <= 8; start++) {
		struct qcf_writer writer =
			qcf_writer_init(bytes, sizeof(bytes));

		memset(bytes, 7, sizeof(bytes));
		qcf_write_span(&writer, start);
		qcf_write_pad(&writer, 8);
		ck_assert_uint_eq(writer.pos, start == 0 ? 0 : 8);
		for (size_t i = start; i < writer.pos; i++)
			ck_assert_uint_eq(bytes[i], 0);
		ck_assert_uint_eq(bytes[8], 7);
	}
}

END_TEST

START_TEST(an_empty_buffer_has_nothing)
{
	struct qcf_reader reader = qcf_reader_init(NULL, 0);

	ck_assert_uint_eq(qcf_reader_left(&reader), 0);
	ck_assert_uint_eq(qcf_read_u8(&reader), 0);
	ck_assert(reader.overrun);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, words_are_big_endian);
	tcase_add_test(tcase, be64_words_round_trip);
	tcase_add_test(tcase, reading_past_the_end_sticks);
	tcase_add_test(tcase, span_length_cannot_wrap);
	tcase_add_test(tcase, writing_past_the_end_changes_nothing);
	tcase_add_test(tcase, padding_reaches_the_next_multiple);
	tcase_add_test(tcase, an_empty_buffer_has_nothing);
}

int main(void)
{
	return unit_run("cursor_never_overruns", add_tests);
}
