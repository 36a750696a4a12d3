/* SPDX-License-Identifier: MIT */
/*
 * compress_zstd.c - zstd frames by libzstd
 *
 * A cluster may be several frames, with skippable ones between; the last call
 * must end a frame exactly when the cluster is full.  The window a frame may ask
 * for is bounded, so that a few bytes cannot make us allocate much.
 */
#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "compress_method.h"

/* 8 MiB: more than any cluster needs, little enough to allocate. */
#define MAX_WINDOW_LOG 23
#define DEFAULT_LEVEL  3

/* A full output can still leave a checksum to be read and compared. */
static int run(ZSTD_DCtx *context, ZSTD_inBuffer *input, ZSTD_outBuffer *output)
{
	for (;;) {
		size_t in_before = input->pos;
		size_t out_before = output->pos;
		size_t left = ZSTD_decompressStream(context, output, input);

		if (ZSTD_isError(left))
			return ZSTD_getErrorCode(left) ==
			                       ZSTD_error_memory_allocation
			               ? -ENOMEM
			               : -EIO;
		if (output->pos == output->size && left == 0)
			return 0;
		if (input->pos == in_before && output->pos == out_before)
			return -EIO;
	}
}

static ZSTD_DCtx *take_reader(struct qcf_compressor *c)
{
	ZSTD_DCtx *context = qcf_contexts_take(&c->zstd_readers);

	if (context != NULL) {
		(void)ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
		return context;
	}
	context = ZSTD_createDCtx();
	if (context != NULL &&
	    ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax,
	                                        MAX_WINDOW_LOG))) {
		ZSTD_freeDCtx(context);
		return NULL;
	}
	return context;
}

static int decompress(struct qcf_compressor *c, const void *in, size_t in_len,
                      void *out, size_t out_len)
{
	ZSTD_DCtx *context = take_reader(c);
	ZSTD_inBuffer input = { in, in_len, 0 };
	ZSTD_outBuffer output = { out, out_len, 0 };
	int ret;

	if (context == NULL)
		return -ENOMEM;
	ret = run(context, &input, &output);
	if (!qcf_contexts_keep(&c->zstd_readers, context,
	                       ZSTD_sizeof_DCtx(context)))
		ZSTD_freeDCtx(context);
	return ret;
}

static int64_t compress_cluster(struct qcf_compressor *c, const void *in,
                                size_t in_len, void *out, size_t out_room)
{
	ZSTD_CCtx *context = qcf_contexts_take(&c->zstd_writers);
	int level = c->level == 0 ? DEFAULT_LEVEL : c->level;
	size_t ret;

	if (context == NULL)
		context = ZSTD_createCCtx();
	if (context == NULL)
		return -ENOMEM;
	ret = ZSTD_compressCCtx(context, out, out_room, in, in_len, level);
	if (!qcf_contexts_keep(&c->zstd_writers, context,
	                       ZSTD_sizeof_CCtx(context)))
		ZSTD_freeCCtx(context);
	if (ZSTD_isError(ret))
		return ZSTD_getErrorCode(ret) == ZSTD_error_memory_allocation
		               ? -ENOMEM
		               : 0;
	return (int64_t)ret;
}

static void forget(struct qcf_compressor *c)
{
	void *context;

	while ((context = qcf_contexts_take(&c->zstd_writers)) != NULL)
		ZSTD_freeCCtx(context);
	while ((context = qcf_contexts_take(&c->zstd_readers)) != NULL)
		ZSTD_freeDCtx(context);
}

const struct qcf_compress_method qcf_method_zstd = {
	.name = "zstd",
	.lowest_level = 1,
	.highest_level = 19,
	.decompress = decompress,
	.compress = compress_cluster,
	.forget = forget,
};
