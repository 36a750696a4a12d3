/* SPDX-License-Identifier: MIT */
/*
 * Promise: every stream that the format's readers accept gives its cluster, and
 * every other one is an error, never a partial cluster or a crash.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <zlib.h>

#include "compress.h"
#include "unit.h"

#define CLUSTER 512

static struct qcf_compressor compressor;

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
	{ "gzip header", ZLIB, "1f8b080000000000000373741c0523190000", 0, 0, "",
	  false },
	{ "not ended, input at its end", ZLIB, "000002fffd", 'A', 512, "",
	  true },
	{ "not ended, garbage behind it", ZLIB, "000002fffd", 'A', 512, "07",
	  false },
	{ "ended by an empty block", ZLIB, "000002fffd", 'A', 512, "010000ffff",
	  true },
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
	ret = qcf_decompress(&compressor, row->type, in, len, out, sizeof(out),
	                     NULL);
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

	ck_assert_int_eq(
		qcf_decompress(&compressor, 7, "", 0, out, sizeof(out), &error),
		-ENOTSUP);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_UNSUPPORTED);
	qcowfmt_error_free(error);
}

END_TEST

/* The rule of the format's first implementation, by zlib itself. */
static bool reference(const uint8_t *in, size_t len, uint8_t *out)
{
	z_stream stream = { 0 };
	int ret;

	stream.next_in = (Bytef *)(uintptr_t)in;
	stream.avail_in = (uInt)len;
	stream.next_out = out;
	stream.avail_out = CLUSTER;
	if (inflateInit2(&stream, -12) != Z_OK)
		abort();
	ret = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) &&
	       stream.avail_out == 0;
}

static size_t deflate_some(struct unit_random *random, uint8_t *stored)
{
	uint8_t plain[3 * CLUSTER];
	size_t len = unit_random_below(random, 4) == 0
	                     ? unit_random_below(random, sizeof(plain))
	                     : CLUSTER;
	uint64_t letters = 1 + unit_random_below(random, 60);
	z_stream stream = { 0 };

	for (size_t i = 0; i < len; i++)
		plain[i] = (uint8_t)unit_random_below(random, letters);
	if (deflateInit2(&stream, (int)unit_random_below(random, 10), 8, -15, 9,
	                 unit_random_below(random, 3) == 0
	                         ? Z_FIXED
	                         : Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	stream.next_in = plain;
	stream.avail_in = (uInt)len;
	stream.next_out = stored;
	stream.avail_out = 4 * CLUSTER;
	deflate(&stream,
	        unit_random_below(random, 4) == 0 ? Z_SYNC_FLUSH : Z_FINISH);
	len = 4 * CLUSTER - stream.avail_out;
	deflateEnd(&stream);
	return len;
}

/*
 * Streams of all kinds of ends, lengths and damage: whatever the rule accepts is
 * accepted, with the same bytes.
 */
START_TEST(test_nothing_readable_is_refused)
{
	struct unit_random random = unit_random_init();
	uint32_t accepted = 0;

	for (int i = 0; i < 10000; i++) {
		uint8_t in[4 * CLUSTER + 512] = { 0 };
		uint8_t want[CLUSTER];
		uint8_t out[CLUSTER];
		size_t len = deflate_some(&random, in);
		uint64_t tail = unit_random_below(&random, 3) * 100;

		for (uint64_t k = 0; k < tail; k++)
			in[len++] = (uint8_t)unit_random_u64(&random);
		if (unit_random_below(&random, 2) == 0)
			in[unit_random_below(&random, len)] ^=
				(uint8_t)(1u << unit_random_below(&random, 8));
		if (!reference(in, len, want))
			continue;
		accepted++;
		if (qcf_decompress(&compressor, ZLIB, in, len, out, sizeof(out),
		                   NULL) < 0 ||
		    memcmp(out, want, sizeof(out)) != 0)
			ck_abort_msg("stream %d of %zu bytes", i, len);
	}
	ck_assert_uint_gt(accepted, 3000);
}

END_TEST

/* Other writers look back 32 KiB. */
START_TEST(test_long_distances)
{
	static uint8_t plain[65536];
	static uint8_t in[65536];
	static uint8_t out[65536];
	struct unit_random random = unit_random_init();
	z_stream stream = { 0 };

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = i < 32000 ? (uint8_t)unit_random_u64(&random)
		                     : plain[i - 32000];
	ck_assert_int_eq(deflateInit2(&stream, 9, 8, -15, 9, 0), Z_OK);
	stream.next_in = plain;
	stream.avail_in = sizeof(plain);
	stream.next_out = in;
	stream.avail_out = sizeof(in);
	ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	ck_assert_uint_lt(stream.total_out, 40000);
	ck_assert_int_eq(qcf_decompress(&compressor, ZLIB, in, stream.total_out,
	                                out, sizeof(out), NULL),
	                 0);
	ck_assert(memcmp(plain, out, sizeof(out)) == 0);
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
		int ret = qcf_decompress(&compressor, row->type, in, len, out,
		                         sizeof(out), NULL);
		if (ret != 0 && ret != -EIO)
			ck_abort_msg("returned %d", ret);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, test_row, 0,
	                    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, test_unknown_type_is_named);
	tcase_add_test(tcase, test_nothing_readable_is_refused);
	tcase_add_test(tcase, test_long_distances);
	tcase_add_test(tcase, test_damage);
}

int main(void)
{
	qcf_compressor_init(&compressor, 0);
	int status = unit_run("clusters decompress exactly", add);

	qcf_compressor_fini(&compressor);
	return status;
}
