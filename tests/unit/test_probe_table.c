/* SPDX-License-Identifier: MIT */
/*
 * Promise: probing classifies by magic and version alone, treats a short file
 * as filled up with zeros, and takes unknown versions for qcow2, never for raw.
 */
#include "auto.h"
#include "bytes.h"
#include "probe.h"
#include "qcowfmt.h"
#include "unit.h"

static int probe_version(uint32_t version, size_t len)
{
	uint8_t bytes[QCOWFMT_PROBE_SIZE] = { 'Q', 'F', 'I', 0xfb };
	struct qcf_writer writer = qcf_writer_init(bytes + 4, 4);

	qcf_write_u32(&writer, version);
	return qcf_probe(bytes, len);
}

START_TEST(versions)
{
	ck_assert_int_eq(probe_version(0, 512), QCOWFMT_FORMAT_RAW);
	ck_assert_int_eq(probe_version(1, 512), QCOWFMT_FORMAT_QCOW);
	ck_assert_int_eq(probe_version(2, 512), QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(probe_version(3, 512), QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(probe_version(4, 512), QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(probe_version(UINT32_MAX, 512), QCOWFMT_FORMAT_QCOW2);
}

END_TEST

START_TEST(short_files_count_as_zero_padded)
{
	ck_assert_int_eq(probe_version(2, 72), QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(probe_version(2, 8), QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(probe_version(2, 7), QCOWFMT_FORMAT_RAW);
	ck_assert_int_eq(probe_version(0x0200, 7), QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(probe_version(1, 48), QCOWFMT_FORMAT_QCOW);
	ck_assert_int_eq(probe_version(3, 4), QCOWFMT_FORMAT_RAW);
}

END_TEST

START_TEST(everything_else_is_raw)
{
	const uint8_t luks[] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };
	const uint8_t lower[] = { 'q', 'f', 'i', 0xfb, 0, 0, 0, 2 };
	const uint8_t near[] = { 'Q', 'F', 'I', 0xfa, 0, 0, 0, 2 };

	ck_assert_int_eq(qcf_probe(NULL, 0), QCOWFMT_FORMAT_RAW);
	ck_assert_int_eq(qcf_probe(luks, sizeof(luks)), QCOWFMT_FORMAT_RAW);
	ck_assert_int_eq(qcf_probe(lower, sizeof(lower)), QCOWFMT_FORMAT_RAW);
	ck_assert_int_eq(qcf_probe(near, sizeof(near)), QCOWFMT_FORMAT_RAW);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, versions);
	tcase_add_test(tcase, short_files_count_as_zero_padded);
	tcase_add_test(tcase, everything_else_is_raw);
}

int main(void)
{
	return unit_run("probe_table", add_tests);
}
