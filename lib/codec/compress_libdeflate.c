/* SPDX-License-Identifier: MIT */
/*
 * compress_libdeflate.c - inflating by libdeflate, more than twice as fast as
 * zlib
 *
 * It takes complete streams of the exact length only, which nearly all are.
 */
#include <libdeflate.h>

#include "compress_method.h"

bool qcf_libdeflate_inflate(const void *in, size_t in_len, void *out,
                            size_t out_len)
{
	/* 11 KiB: too cheap to be kept. */
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	size_t used;
	bool done;

	if (d == NULL)
		return false;
	done = libdeflate_deflate_decompress_ex(d, in, in_len, out, out_len,
	                                        &used,
	                                        NULL) == LIBDEFLATE_SUCCESS;
	libdeflate_free_decompressor(d);
	return done;
}
