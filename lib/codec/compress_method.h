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
	int (*decompress)(const void *in, size_t in_len, void *out,
	                  size_t out_len);
	/* the length, 0 if it does not fit, -ENOMEM, -EINVAL */
	int64_t (*compress)(int level, const void *in, size_t in_len, void *out,
	                    size_t out_room);
};

extern const struct qcf_compress_method qcf_method_zlib;
#ifdef QCF_HAVE_ZSTD
extern const struct qcf_compress_method qcf_method_zstd;
#endif

#endif
