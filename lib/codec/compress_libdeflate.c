/* SPDX-License-Identifier: MIT */
/*
 * compress_libdeflate.c - raw deflate by libdeflate, both ways several times as
 * fast as zlib
 *
 * It reads complete streams of the exact length only, which nearly all are.
 */
#include <errno.h>
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

int64_t qcf_libdeflate_deflate(struct qcf_compressor *c, int level,
                               const void *in, size_t in_len, void *out,
                               size_t out_room)
{
	struct libdeflate_compressor *writer =
		qcf_contexts_take(&c->deflate_writers);
	size_t len;

	if (writer == NULL)
		writer = libdeflate_alloc_compressor(level);
	if (writer == NULL)
		return -ENOMEM;
	len = libdeflate_deflate_compress(writer, in, in_len, out, out_room);
	/* At these levels it never grows large. */
	if (!qcf_contexts_keep(&c->deflate_writers, writer, 0))
		libdeflate_free_compressor(writer);
	return (int64_t)len;
}

void qcf_libdeflate_forget(struct qcf_compressor *c)
{
	void *writer;

	while ((writer = qcf_contexts_take(&c->deflate_writers)) != NULL)
		libdeflate_free_compressor(writer);
}
