/* SPDX-License-Identifier: MIT */
/*
 * compress_isal.c - raw deflate by ISA-L, many times faster than zlib
 *
 * Its levels 1 to 3 are near zlib's 1 to 3 in size.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <isa-l/igzip_lib.h>

#include "auto.h"
#include "compress_method.h"

/* See compress_zlib.c for why not 12. */
#define WINDOW_BITS 15

/* Working memory; larger sizes make blocks longer, and no better. */
static size_t level_buffer_size(int level)
{
	switch (level) {
	case 1:
		return ISAL_DEF_LVL1_SMALL;
	case 2:
		return ISAL_DEF_LVL2_SMALL;
	default:
		return ISAL_DEF_LVL3_SMALL;
	}
}

int64_t qcf_isal_deflate(int level, const void *in, size_t in_len, void *out,
                         size_t out_room)
{
	size_t buffer_size = level_buffer_size(level);
	QCF_AUTO_FREE struct isal_zstream *stream =
		malloc(sizeof(*stream) + buffer_size);

	if (stream == NULL)
		return -ENOMEM;
	if (in_len > UINT32_MAX || out_room > UINT32_MAX)
		return -EINVAL;
	isal_deflate_stateless_init(stream);
	stream->level = (uint32_t)level;
	stream->level_buf = (uint8_t *)(stream + 1);
	stream->level_buf_size = (uint32_t)buffer_size;
	stream->hist_bits = WINDOW_BITS;
	stream->end_of_stream = 1;
	stream->flush = NO_FLUSH;
	/* The interface has no const input pointer; it only reads from it. */
	stream->next_in = (uint8_t *)(uintptr_t)in;
	stream->avail_in = (uint32_t)in_len;
	stream->next_out = out;
	stream->avail_out = (uint32_t)out_room;
	return isal_deflate_stateless(stream) == COMP_OK
	               ? (int64_t)stream->total_out
	               : 0;
}
