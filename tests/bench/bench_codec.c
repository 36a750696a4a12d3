/* SPDX-License-Identifier: MIT */
/*
 * bench_codec.c - time compressing and decompressing clusters on one core
 *
 *   bench_codec FILE [CLUSTER_SIZE [STEP]]
 *
 * The file's content is cut into clusters, and every STEP-th is used.  For each
 * level prints megabytes per second of processor time, the size in relation to
 * the input, and the speed in relation to zlib by itself at level 6 with a
 * window of 4 KiB, which is what qemu-img does.  Every cluster is compared after
 * decompressing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zlib.h>

#include "compress.h"

struct bench {
	uint8_t *clusters;
	uint8_t *packed; /* count pieces of cluster_size */
	size_t *packed_len;
	uint8_t *out;
	size_t cluster_size;
	size_t count;
	double reference; /* seconds of zlib for the same */
};

struct method {
	const char *name;
	/* The length, or 0 if it does not fit. */
	size_t (*pack)(void *opaque, const uint8_t *in, size_t len,
	               uint8_t *out);
	int (*unpack)(void *opaque, const uint8_t *in, size_t in_len,
	              uint8_t *out, size_t len);
	void *opaque;
};

static void die(const char *what)
{
	fprintf(stderr, "bench_codec: %s\n", what);
	exit(1);
}

static void *need(size_t len)
{
	void *memory = malloc(len);

	if (memory == NULL)
		die("no memory");
	return memory;
}

static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -------------------------------------------------------------- zlib by itself */

static size_t zlib_pack(void *opaque, const uint8_t *in, size_t len,
                        uint8_t *out)
{
	z_stream stream = { 0 };
	int ret;

	(void)opaque;
	if (deflateInit2(&stream, 6, Z_DEFLATED, -12, 9, 0) != Z_OK)
		die("deflateInit2 failed");
	stream.next_in = (Bytef *)(uintptr_t)in;
	stream.avail_in = (uInt)len;
	stream.next_out = out;
	stream.avail_out = (uInt)(len - 1);
	ret = deflate(&stream, Z_FINISH);
	deflateEnd(&stream);
	return ret == Z_STREAM_END ? stream.total_out : 0;
}

static int zlib_unpack(void *opaque, const uint8_t *in, size_t in_len,
                       uint8_t *out, size_t len)
{
	z_stream stream = { 0 };
	int ret;

	(void)opaque;
	if (inflateInit2(&stream, -12) != Z_OK)
		die("inflateInit2 failed");
	stream.next_in = (Bytef *)(uintptr_t)in;
	stream.avail_in = (uInt)in_len;
	stream.next_out = out;
	stream.avail_out = (uInt)len;
	ret = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	return ret == Z_STREAM_END && stream.total_out == len ? 0 : -1;
}

/* ------------------------------------------------------------------ the library */

struct lib {
	struct qcf_compressor compressor;
	uint32_t type;
};

static size_t lib_pack(void *opaque, const uint8_t *in, size_t len,
                       uint8_t *out)
{
	struct lib *lib = opaque;
	int64_t ret = qcf_compress(&lib->compressor, lib->type, in, len, out,
	                           len - 1, NULL);

	if (ret < 0)
		die("qcf_compress failed");
	return (size_t)ret;
}

static int lib_unpack(void *opaque, const uint8_t *in, size_t in_len,
                      uint8_t *out, size_t len)
{
	struct lib *lib = opaque;

	return qcf_decompress(&lib->compressor, lib->type, in, in_len, out, len,
	                      NULL);
}

/* ---------------------------------------------------------------------- timing */

static size_t pack_all(struct bench *b, const struct method *m)
{
	size_t total = 0;

	for (size_t i = 0; i < b->count; i++) {
		b->packed_len[i] = m->pack(
			m->opaque, b->clusters + i * b->cluster_size,
			b->cluster_size, b->packed + i * b->cluster_size);
		total += b->packed_len[i] != 0 ? b->packed_len[i]
		                               : b->cluster_size;
	}
	return total;
}

static void unpack_all(struct bench *b, const struct method *m)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->packed_len[i] != 0 &&
		    m->unpack(m->opaque, b->packed + i * b->cluster_size,
		              b->packed_len[i], b->out, b->cluster_size) != 0)
			die("a cluster does not decompress");
}

/* Outside of what is timed. */
static void compare_all(struct bench *b, const struct method *m)
{
	for (size_t i = 0; i < b->count; i++) {
		if (b->packed_len[i] == 0)
			continue;
		m->unpack(m->opaque, b->packed + i * b->cluster_size,
		          b->packed_len[i], b->out, b->cluster_size);
		if (memcmp(b->out, b->clusters + i * b->cluster_size,
		           b->cluster_size) != 0)
			die("a cluster decompresses to something else");
	}
}

static void measure(struct bench *b, const struct method *m)
{
	double bytes = (double)(b->count * b->cluster_size);
	double start = cpu_now();
	size_t total = pack_all(b, m);
	double packed = cpu_now();
	double unpacked;

	unpack_all(b, m);
	unpacked = cpu_now();
	compare_all(b, m);
	if (b->reference == 0)
		b->reference = packed - start;
	printf("%-10s %8.1f MB/s %7.4f of the size %6.2f x zlib   "
	       "decompressing %8.1f MB/s\n",
	       m->name, bytes / 1e6 / (packed - start), (double)total / bytes,
	       b->reference / (packed - start),
	       bytes / 1e6 / (unpacked - packed));
	fflush(stdout);
}

static void measure_level(struct bench *b, uint32_t type, int level)
{
	struct lib lib = { .type = type };
	struct method m = { .pack = lib_pack,
		            .unpack = lib_unpack,
		            .opaque = &lib };
	char name[32];

	qcf_compressor_init(&lib.compressor, level);
	if (level == 0)
		snprintf(name, sizeof(name), "%s", qcf_compression_name(type));
	else
		snprintf(name, sizeof(name), "%s %d",
		         qcf_compression_name(type), level);
	m.name = name;
	measure(b, &m);
	qcf_compressor_fini(&lib.compressor);
}

static void load(struct bench *b, const char *path, size_t step)
{
	FILE *file = fopen(path, "rb");
	long size;
	size_t i;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		die("the file cannot be read");
	size = ftell(file);
	b->count = (size_t)size / b->cluster_size / step;
	if (b->count == 0)
		die("the file is shorter than a cluster");
	b->clusters = need(b->count * b->cluster_size);
	b->packed = need(b->count * b->cluster_size);
	b->packed_len = need(b->count * sizeof(*b->packed_len));
	b->out = need(b->cluster_size);
	for (i = 0; i < b->count; i++) {
		long at = (long)(i * step * b->cluster_size);

		if (fseek(file, at, SEEK_SET) != 0 ||
		    fread(b->clusters + i * b->cluster_size, b->cluster_size, 1,
		          file) != 1)
			die("the file cannot be read");
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	static const struct method zlib = { "zlib alone", zlib_pack,
		                            zlib_unpack, NULL };
	struct bench b = { .cluster_size = 65536 };

	if (argc < 2 || argc > 4)
		die("usage: bench_codec FILE [CLUSTER_SIZE [STEP]]");
	if (argc > 2)
		b.cluster_size = strtoul(argv[2], NULL, 0);
	if (b.cluster_size < 512 || b.cluster_size > (2u << 20))
		die("want a cluster size of 512 bytes to 2 MiB");
	load(&b, argv[1], argc > 3 ? strtoul(argv[3], NULL, 0) : 1);
	measure(&b, &zlib);
	for (uint32_t type = 0; qcf_compression_is_built_in(type); type++) {
		int lowest;
		int highest;

		qcf_compression_levels(type, &lowest, &highest);
		measure_level(&b, type, 0);
		for (int level = lowest; level <= highest; level++)
			measure_level(&b, type, level);
	}
	free(b.clusters);
	free(b.packed);
	free(b.packed_len);
	free(b.out);
	return 0;
}
