/* SPDX-License-Identifier: MIT */
/*
 * compress.h - one cluster to and from its compressed form
 *
 * zlib stands for one raw deflate stream (no zlib header); zstd for one frame.
 * Which libraries do the work is decided when building; what can be read does
 * not depend on it.
 *
 * A reader knows the compressed length only to the sector, so what follows the
 * stream in the input is not looked at.  The output is exactly one cluster.
 */
#ifndef QCF_COMPRESS_H
#define QCF_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compress_contexts.h"
#include "error.h"

/* As the header field compression_type. */
enum qcf_compression {
	QCF_COMPRESSION_ZLIB = 0,
	QCF_COMPRESSION_ZSTD = 1,
};

/* What the calls for one image share; any number of them at once. */
struct qcf_compressor {
	int level; /* of compressing; 0 = the default of each type */
	struct qcf_contexts deflate_writers; /* struct libdeflate_compressor */
	struct qcf_contexts zstd_writers;    /* ZSTD_CCtx */
	struct qcf_contexts zstd_readers;    /* ZSTD_DCtx */
};

void qcf_compressor_init(struct qcf_compressor *c, int level);
void qcf_compressor_fini(struct qcf_compressor *c);

/* "zlib" or "zstd"; NULL for any other value. */
const char *qcf_compression_name(uint32_t type);

/* Whether this build can handle a type. */
bool qcf_compression_is_built_in(uint32_t type);

/*
 * Decompress exactly out_len bytes.  -EIO if the input is damaged, too short or
 * gives less; -ENOTSUP if the type is not built in.
 */
int qcf_decompress(struct qcf_compressor *c, uint32_t type, const void *in,
                   size_t in_len, void *out, size_t out_len,
                   struct qcowfmt_error **errp);

/*
 * Compress in_len bytes into at most out_room.  Returns the compressed length,
 * 0 if it does not fit, or a negative errno value.
 */
int64_t qcf_compress(struct qcf_compressor *c, uint32_t type, const void *in,
                     size_t in_len, void *out, size_t out_room,
                     struct qcowfmt_error **errp);

/* The levels a type takes besides 0; 0 and 0 for one that is not built in. */
void qcf_compression_levels(uint32_t type, int *lowest, int *highest);

#endif
