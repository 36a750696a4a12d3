/* SPDX-License-Identifier: MIT */
/*
 * Promise: every stream that the format's readers accept gives its cluster, and
 * every other one is an error, never a partial cluster or a crash.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "compress.h"
#include "unit.h"

#define CLUSTER 512

/* A stream: a head in hexadecimal, then count times a byte, then a tail. */
struct row {
	const char *what;
	uint32_t type;
	const char *head;
	int byte;
	size_t count;
	const char *tail;
	bool good; /* gives 512 times 'A' */
};

#define ZLIB QCF_COMPRESSION_ZLIB
#define ZSTD QCF_COMPRESSION_ZSTD

static const struct row rows[] = {
	{ "fixed codes", ZLIB, "73741c0523190000", 0, 0, "", true },
	{ "garbage behind it", ZLIB, "73741c0523190000ffff", 0, 0, "", true },
	{ "stored", ZLIB, "010002fffd", 'A', 512, "", true },
	{ "stored, longer than a cluster", ZLIB, "010003fffc", 'A', 768, "",
	  true },
	{ "stored, too short", ZLIB, "010001fffe", 'A', 256, "", false },
	{ "cut off", ZLIB, "73741c05", 0, 0, "", false },
	{ "zlib header", ZLIB, "789c73741c0523190000", 0, 0, "", false },
	{ "nothing", ZLIB, "", 0, 0, "", false },
	{ "invalid block type", ZLIB, "07", 0, 64, "", false },
	{ "RLE block", ZSTD, "28b52ffd60000103100041", 0, 0, "", true },
	{ "raw block", ZSTD, "28b52ffd60000101100000", 0, 0, "", false },
	{ "raw block, whole", ZSTD, "28b52ffd600001011000", 'A', 512, "",
	  true },
	{ "raw and RLE", ZSTD, "28b52ffd600001200300", 'A', 100, "e30c0041",
	  true },
	{ "window, no size", ZSTD, "28b52ffd000003100041", 0, 0, "", true },
	{ "size of 8 bytes", ZSTD, "28b52ffde0000200000000000003100041", 0, 0,
	  "", true },
	{ "two frames", ZSTD, "28b52ffd20c84306004128b52ffd603800c3090041", 0,
	  0, "", true },
	{ "right checksum", ZSTD, "28b52ffd64000103100041691f09f2", 0, 0, "",
	  true },
	{ "wrong checksum", ZSTD, "28b52ffd6400010310004100000000", 0, 0, "",
	  false },
	{ "garbage behind it", ZSTD, "28b52ffd60000103100041ffffffff", 0, 0, "",
	  true },
	{ "skippable frame first", ZSTD,
	  "502a4d1804000000deadbeef28b52ffd60000103100041", 0, 0, "", true },
	{ "frame too short", ZSTD, "28b52ffd206423030041", 0, 0, "", false },
	{ "cut off", ZSTD, "28b52ffd6000", 0, 0, "", false },
	{ "window of 2 GiB", ZSTD, "28b52ffd00a803100041", 0, 0, "", false },
	{ "nothing", ZSTD, "", 0, 0, "", false },
};

static size_t unhex(const char *text, uint8_t *bytes)
{
	size_t len = 0;
	unsigned int byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2) {
		bytes[len++] = (uint8_t)byte;
		if (text[1] == '\0')
			break;
	}
	return len;
}

START_TEST(test_row)
{
	const struct row *row = &rows[_i];
	uint8_t in[2048];
	uint8_t out[CLUSTER];
	uint8_t want[CLUSTER];
	size_t len = unhex(row->head, in);
	int ret;

	memset(in + len, row->byte, row->count);
	len += row->count;
	len += unhex(row->tail, in + len);
	memset(want, 'A', sizeof(want));
	if (!qcf_compression_is_built_in(row->type))
		return;
	ret = qcf_decompress(row->type, in, len, out, sizeof(out), NULL);
	ck_assert_msg(ret == (row->good ? 0 : -EIO), "%s: returned %d",
	              row->what, ret);
	ck_assert_msg(!row->good || memcmp(out, want, sizeof(out)) == 0,
	              "%s: other bytes", row->what);
}

END_TEST

START_TEST(test_unknown_type_is_named)
{
	struct qcowfmt_error *error = NULL;
	uint8_t out[CLUSTER];

	ck_assert_int_eq(qcf_decompress(7, "", 0, out, sizeof(out), &error),
	                 -ENOTSUP);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_UNSUPPORTED);
	qcowfmt_error_free(error);
}

END_TEST

/* Flip bytes of good streams: an error or some cluster, nothing else. */
START_TEST(test_damage)
{
	struct unit_random random = unit_random_init();

	for (int i = 0; i < 20000; i++) {
		const struct row *row = &rows[unit_random_below(
			&random, sizeof(rows) / sizeof(rows[0]))];
		uint8_t in[2048] = { 0 };
		uint8_t out[CLUSTER];
		size_t len = unhex(row->head, in) + row->count;

		if (len == 0 || !qcf_compression_is_built_in(row->type))
			continue;
		in[unit_random_below(&random, len)] =
			(uint8_t)unit_random_u64(&random);
		int ret = qcf_decompress(row->type, in, len, out, sizeof(out),
		                         NULL);
		ck_assert(ret == 0 || ret == -EIO);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, test_row, 0,
	                    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, test_unknown_type_is_named);
	tcase_add_test(tcase, test_damage);
}

int main(void)
{
	return unit_run("clusters decompress exactly", add);
}
