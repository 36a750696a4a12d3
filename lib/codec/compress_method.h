/* SPDX-License-Identifier: MIT */
/* compress_method.h - what a compression method supplies; see compress.h */
#ifndef QCF_COMPRESS_METHOD_H
#define QCF_COMPRESS_METHOD_H

#include "compress.h"

struct qcf_compress_method {
	const char *name;
	int lowest_level;
	int highest_level;
	/* 0, -EIO for damaged input, -ENOMEM */
	int (*decompress)(struct qcf_compressor *c, const void *in,
	                  size_t in_len, void *out, size_t out_len);
	/* the length, 0 if it does not fit, -ENOMEM, -EINVAL */
	int64_t (*compress)(struct qcf_compressor *c, const void *in,
	                    size_t in_len, void *out, size_t out_room);
	/* free the contexts kept; may be NULL */
	void (*forget)(struct qcf_compressor *c);
};

extern const struct qcf_compress_method qcf_method_zlib;
#ifdef QCF_HAVE_ZSTD
extern const struct qcf_compress_method qcf_method_zstd;
#endif

#ifdef QCF_HAVE_LIBDEFLATE
/* Whether the input is a complete stream of exactly out_len bytes, which are in
 * out then.  Otherwise it may still be one that readers accept. */
bool qcf_libdeflate_inflate(const void *in, size_t in_len, void *out,
                            size_t out_len);

/* Compress by a level of libdeflate, the same one for each compressor.  As
 * compress and forget above. */
int64_t qcf_libdeflate_deflate(struct qcf_compressor *c, int level,
                               const void *in, size_t in_len, void *out,
                               size_t out_room);
void qcf_libdeflate_forget(struct qcf_compressor *c);
#endif

#endif
