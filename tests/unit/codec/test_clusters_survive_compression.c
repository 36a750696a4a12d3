/* SPDX-License-Identifier: MIT */
/*
 * Promise: what is compressed decompresses to the same bytes, at every level and
 * cluster size, also as QEMU reads it; levels from 4 on also need no window of
 * more than 4 KiB; what does not get smaller is said not to fit, and nothing is written behind the room given.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <zlib.h>

#include "compress.h"
#include "unit.h"

#define MAX_CLUSTER (2u << 20)
#define TYPES       2

static struct qcf_compressor compressor;
static uint8_t in[MAX_CLUSTER];
static uint8_t packed[MAX_CLUSTER];
static uint8_t out[MAX_CLUSTER];

static void fill(struct unit_random *random, size_t len, bool text)
{
	for (size_t i = 0; i < len; i++)
		in[i] = (uint8_t)(text ? 'a' + unit_random_below(random, 4)
		                       : unit_random_u64(random));
}

/* Words, and from 6000 bytes back what was there: more than a window of 4 KiB
 * can see, and for a longer one hard to resist. */
static void fill_with_echoes(struct unit_random *random, size_t len)
{
	size_t at = 0;

	while (at < len) {
		uint64_t run = 20 + unit_random_below(random, 300);
		bool echo = at >= 6000 && unit_random_below(random, 2) == 0;

		for (; run > 0 && at < len; run--, at++)
			in[at] = echo ? in[at - 6000]
			              : (uint8_t)(' ' + unit_random_below(
								random, 40));
	}
}

static size_t pack(uint32_t type, size_t len)
{
	int64_t ret =
		qcf_compress(&compressor, type, in, len, packed, len - 1, NULL);

	ck_assert_int_gt(ret, 0);
	ck_assert_int_lt(ret, (int64_t)len);
	return (size_t)ret;
}

static size_t round_trip(uint32_t type, int level, size_t len)
{
	size_t packed_len;

	compressor.level = level;
	packed_len = pack(type, len);
	memset(out, 0xee, len);
	ck_assert_int_eq(qcf_decompress(&compressor, type, packed, packed_len,
	                                out, len, NULL),
	                 0);
	ck_assert(memcmp(in, out, len) == 0);
	return packed_len;
}

START_TEST(test_every_size)
{
	struct unit_random random = unit_random_init();
	uint32_t type = (uint32_t)_i;

	if (!qcf_compression_is_built_in(type))
		return;
	for (size_t len = 512; len <= MAX_CLUSTER; len *= 2) {
		fill(&random, len, true);
		round_trip(type, 0, len);
	}
}

END_TEST

/* Numbered records, with what a file system has most of: text and tables. */
static void fill_with_records(struct unit_random *random, size_t len)
{
	static const char *const kinds[] = { "directory", "regular", "link",
		                             "socket", "device" };
	size_t at = 0;

	for (unsigned int i = 0; at < len; i++) {
		char text[80];
		int n = snprintf(text, sizeof(text),
		                 "%u: %s of %x, mode 0%o, %s\n", i,
		                 kinds[unit_random_below(random, 5)],
		                 (unsigned)unit_random_below(random, 5000),
		                 (unsigned)unit_random_below(random, 512),
		                 kinds[unit_random_below(random, 5)]);

		for (int k = 0; k < n && at < len; k++)
			in[at++] = (uint8_t)text[k];
	}
}

/* A higher level is worth its time, and most differ from the next. */
START_TEST(test_levels_act)
{
	struct unit_random random = unit_random_init();
	uint32_t type = (uint32_t)_i;
	size_t sizes[20];
	int different = 0;
	int lowest;
	int highest;

	if (!qcf_compression_is_built_in(type))
		return;
	qcf_compression_levels(type, &lowest, &highest);
	fill_with_records(&random, 65536);
	for (int level = lowest; level <= highest; level++) {
		sizes[level] = round_trip(type, level, 65536);
		if (level > lowest)
			different += sizes[level] != sizes[level - 1];
		printf("type %u level %d: %zu bytes\n", type, level,
		       sizes[level]);
	}
	ck_assert_uint_lt(sizes[highest], sizes[lowest]);
	ck_assert_int_ge(different, (highest - lowest) / 2);
	compressor.level = highest + 1;
	ck_assert_int_eq(
		qcf_compress(&compressor, type, in, 4096, packed, 4095, NULL),
		-EINVAL);
	compressor.level = -1;
	ck_assert_int_eq(
		qcf_compress(&compressor, type, in, 4096, packed, 4095, NULL),
		-EINVAL);
}

END_TEST

START_TEST(test_noise_does_not_fit)
{
	struct unit_random random = unit_random_init();
	uint32_t type = (uint32_t)_i;
	int lowest;
	int highest;

	if (!qcf_compression_is_built_in(type))
		return;
	qcf_compression_levels(type, &lowest, &highest);
	fill(&random, 65536, false);
	for (int level = 0; level <= highest; level++) {
		compressor.level = level;
		ck_assert_int_eq(qcf_compress(&compressor, type, in, 65536,
		                              packed, 65535, NULL),
		                 0);
	}
}

END_TEST

/* ------------------------------------------------------------ window of 4 KiB */

/*
 * Inflate one byte at a time: zlib then has only its own window of 4 KiB to copy
 * from, and refuses longer distances.
 */
static bool inflates_in_4k(const uint8_t *bytes, size_t len, size_t want)
{
	z_stream stream = { 0 };
	uint8_t byte;
	int ret = Z_OK;
	size_t done = 0;

	ck_assert_int_eq(inflateInit2(&stream, -12), Z_OK);
	stream.next_in = (Bytef *)(uintptr_t)bytes;
	stream.avail_in = (uInt)len;
	while (ret == Z_OK && done <= want) {
		stream.next_out = &byte;
		stream.avail_out = 1;
		ret = inflate(&stream, Z_NO_FLUSH);
		if (stream.avail_out != 0)
			continue;
		if (done < want && byte != in[done])
			ret = Z_DATA_ERROR;
		done++;
	}
	inflateEnd(&stream);
	return ret == Z_STREAM_END && done == want;
}

/* As QEMU does it: the whole cluster at once, the window said to be 4 KiB. */
static bool inflates_at_once(const uint8_t *bytes, size_t len, size_t want)
{
	z_stream stream = { 0 };
	int ret;

	ck_assert_int_eq(inflateInit2(&stream, -12), Z_OK);
	stream.next_in = (Bytef *)(uintptr_t)bytes;
	stream.avail_in = (uInt)len;
	stream.next_out = out;
	stream.avail_out = (uInt)want;
	ret = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	return ret == Z_STREAM_END && stream.avail_out == 0 &&
	       memcmp(in, out, want) == 0;
}

START_TEST(test_qemu_can_read_it)
{
	struct unit_random random = unit_random_init();

	random.state += (uint64_t)_i;
	compressor.level = _i;
	for (size_t len = 512; len <= MAX_CLUSTER; len *= 8) {
		fill_with_echoes(&random, len);
		ck_assert(inflates_at_once(
			packed, pack(QCF_COMPRESSION_ZLIB, len), len));
		memset(in, 'z', len);
		ck_assert(inflates_at_once(
			packed, pack(QCF_COMPRESSION_ZLIB, len), len));
	}
}

END_TEST

START_TEST(test_long_window_is_noticed)
{
	struct unit_random random = unit_random_init();
	z_stream stream = { 0 };

	fill_with_echoes(&random, 65536);
	ck_assert_int_eq(deflateInit2(&stream, 6, 8, -15, 9, 0), Z_OK);
	stream.next_in = in;
	stream.avail_in = 65536;
	stream.next_out = packed;
	stream.avail_out = sizeof(packed);
	ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	ck_assert(!inflates_in_4k(packed, stream.total_out, 65536));
}

END_TEST

START_TEST(test_window_is_4k)
{
	struct unit_random random = unit_random_init();

	random.state += (uint64_t)_i;
	compressor.level = _i;
	for (size_t len = 512; len <= (256u << 10); len *= 8) {
		fill_with_echoes(&random, len);
		ck_assert(inflates_in_4k(packed,
		                         pack(QCF_COMPRESSION_ZLIB, len), len));
		memset(in, 'z', len);
		ck_assert(inflates_in_4k(packed,
		                         pack(QCF_COMPRESSION_ZLIB, len), len));
	}
}

END_TEST

/* --------------------------------------------------------------------- room */

static bool untouched(const uint8_t *bytes, size_t len)
{
	size_t i = 0;

	while (i < len && bytes[i] == 0xee)
		i++;
	return i == len;
}

START_TEST(test_room_is_respected)
{
	struct unit_random random = unit_random_init();
	uint32_t type = (uint32_t)_i;
	size_t fits;
	int lowest;
	int highest;

	if (!qcf_compression_is_built_in(type))
		return;
	qcf_compression_levels(type, &lowest, &highest);
	fill(&random, 2048, true);
	for (int level = 0; level <= highest; level++) {
		fits = round_trip(type, level, 2048);
		for (size_t room = 0; room < fits + 20; room++) {
			int64_t ret;

			memset(packed, 0xee, 4096);
			ret = qcf_compress(&compressor, type, in, 2048, packed,
			                   room, NULL);
			ck_assert_int_ge(ret, 0);
			ck_assert_int_le(ret, (int64_t)room);
			ck_assert(untouched(packed + room, 4096 - room));
		}
	}
}

END_TEST

/* ------------------------------------------------------------------- threads */

static void *use_contexts(void *opaque)
{
	uint32_t type = *(const uint32_t *)opaque;
	uint8_t bytes[4096];
	uint8_t back[4096];

	for (int i = 0; i < 300; i++) {
		int64_t len = qcf_compress(&compressor, type, in, 4096, bytes,
		                           4095, NULL);

		if (len <= 0 ||
		    qcf_decompress(&compressor, type, bytes, (size_t)len, back,
		                   4096, NULL) < 0 ||
		    memcmp(in, back, 4096) != 0)
			return opaque;
	}
	return NULL;
}

/* More threads than contexts are kept. */
START_TEST(test_threads_share_contexts)
{
	struct unit_random random = unit_random_init();
	pthread_t threads[QCF_CONTEXTS_KEPT + 4];
	uint32_t type = (uint32_t)_i;

	if (!qcf_compression_is_built_in(type))
		return;
	fill(&random, 4096, true);
	compressor.level = 0;
	for (size_t i = 0; i < QCF_ARRAY_LEN(threads); i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, use_contexts, &type),
			0);
	for (size_t i = 0; i < QCF_ARRAY_LEN(threads); i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, test_every_size, 0, TYPES);
	tcase_add_loop_test(tcase, test_levels_act, 0, TYPES);
	tcase_add_loop_test(tcase, test_noise_does_not_fit, 0, TYPES);
	tcase_add_test(tcase, test_long_window_is_noticed);
	tcase_add_loop_test(tcase, test_qemu_can_read_it, 0, 10);
	tcase_add_loop_test(tcase, test_window_is_4k, 4, 10);
	tcase_add_loop_test(tcase, test_room_is_respected, 0, TYPES);
	tcase_add_loop_test(tcase, test_threads_share_contexts, 0, TYPES);
}

int main(void)
{
	int status;

	qcf_compressor_init(&compressor, 0);
	status = unit_run("clusters survive compression", add);
	qcf_compressor_fini(&compressor);
	return status;
}
