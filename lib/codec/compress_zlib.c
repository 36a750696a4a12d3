/* SPDX-License-Identifier: MIT */
/*
 * compress_zlib.c - raw deflate by zlib, and by faster libraries where they are
 * built in
 *
 * zlib writes with a window of 4 KiB, as QEMU does.  Reading takes any window:
 * the whole output is at hand anyway.
 *
 * libdeflate is asked first when reading; what it does not take is for zlib to
 * judge, so streams with a loose end are read in every build.  The other way
 * round it takes a few descriptions of codes that are incomplete in a way no
 * compressor makes them, and that zlib calls damaged.
 *
 * It also does the low levels, with a window of 32 KiB.  Readers that inflate a
 * cluster at once, as QEMU always has, do not mind; one that does it in pieces with
 * a window of 4 KiB would.  On libraries of a Linux system, in clusters of 64 KiB,
 * level 2, the default, is five to six times as fast as QEMU's zlib, and its output
 * 3 % smaller.  From level 4 on the window is short, and level 6 gives QEMU's very
 * bytes.
 *
 * ISA-L is twice as fast again, but its output was a few per cent larger, and not
 * always the same for the same cluster: copies have to be.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "compress_method.h"

#define WRITE_WINDOW_BITS (-12)
#define READ_WINDOW_BITS  (-15)
#define MEM_LEVEL         9

#define FAST_HIGHEST_LEVEL 3
#define FAST_DEFAULT_LEVEL 2

/* The stream must end, or at least fill the output: whatever it would go on to
 * say lies behind the end of the cluster. */
static int inflate_cluster(const void *in, size_t in_len, void *out,
                           size_t out_len)
{
	z_stream stream;
	int ret;

	if (in_len > UINT_MAX || out_len > UINT_MAX)
		return -EIO;
	memset(&stream, 0, sizeof(stream));
	/* zlib has no const input pointer; it only reads from it. */
	stream.next_in = (Bytef *)(uintptr_t)in;
	stream.avail_in = (uInt)in_len;
	stream.next_out = out;
	stream.avail_out = (uInt)out_len;
	ret = inflateInit2(&stream, READ_WINDOW_BITS);
	if (ret != Z_OK)
		return -ENOMEM;
	ret = inflate(&stream, Z_FINISH);
	(void)inflateEnd(&stream);
	if (ret == Z_MEM_ERROR)
		return -ENOMEM;
	if ((ret == Z_STREAM_END || ret == Z_BUF_ERROR) &&
	    stream.avail_out == 0)
		return 0;
	return -EIO;
}

static int decompress(struct qcf_compressor *c, const void *in, size_t in_len,
                      void *out, size_t out_len)
{
	(void)c;
#ifdef QCF_HAVE_LIBDEFLATE
	if (qcf_libdeflate_inflate(in, in_len, out, out_len))
		return 0;
#endif
	return inflate_cluster(in, in_len, out, out_len);
}

static int64_t deflate_cluster(int level, const void *in, size_t in_len,
                               void *out, size_t out_room)
{
	z_stream stream;
	int ret;

	if (in_len > UINT_MAX || out_room > UINT_MAX)
		return -EINVAL;
	memset(&stream, 0, sizeof(stream));
	ret = deflateInit2(&stream, level, Z_DEFLATED, WRITE_WINDOW_BITS,
	                   MEM_LEVEL, Z_DEFAULT_STRATEGY);
	if (ret != Z_OK)
		return -ENOMEM;
	stream.next_in = (Bytef *)(uintptr_t)in;
	stream.avail_in = (uInt)in_len;
	stream.next_out = out;
	stream.avail_out = (uInt)out_room;
	ret = deflate(&stream, Z_FINISH);
	(void)deflateEnd(&stream);
	return ret == Z_STREAM_END ? (int64_t)(out_room - stream.avail_out) : 0;
}

static int64_t compress_cluster(struct qcf_compressor *c, const void *in,
                                size_t in_len, void *out, size_t out_room)
{
#ifdef QCF_HAVE_LIBDEFLATE
	int fast = c->level == 0 ? FAST_DEFAULT_LEVEL : c->level;

	if (fast <= FAST_HIGHEST_LEVEL)
		return qcf_libdeflate_deflate(c, fast, in, in_len, out,
		                              out_room);
#endif
	return deflate_cluster(c->level == 0 ? Z_DEFAULT_COMPRESSION : c->level,
	                       in, in_len, out, out_room);
}

const struct qcf_compress_method qcf_method_zlib = {
	.name = "zlib",
	.lowest_level = 1,
	.highest_level = 9,
	.decompress = decompress,
	.compress = compress_cluster,
#ifdef QCF_HAVE_LIBDEFLATE
	.forget = qcf_libdeflate_forget,
#endif
};
