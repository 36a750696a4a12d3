/* SPDX-License-Identifier: MIT */
/* compress.c - the table of compression methods */
#include <errno.h>
#include <inttypes.h>

#include "auto.h"
#include "compress_method.h"

static const char *const names[] = {
	[QCF_COMPRESSION_ZLIB] = "zlib",
	[QCF_COMPRESSION_ZSTD] = "zstd",
};

static const struct qcf_compress_method *const methods[] = {
	[QCF_COMPRESSION_ZLIB] = &qcf_method_zlib,
#ifdef QCF_HAVE_ZSTD
	[QCF_COMPRESSION_ZSTD] = &qcf_method_zstd,
#else
	[QCF_COMPRESSION_ZSTD] = NULL,
#endif
};

void qcf_compressor_init(struct qcf_compressor *c, int level)
{
	c->level = level;
	qcf_contexts_init(&c->deflate_writers);
	qcf_contexts_init(&c->zstd_writers);
	qcf_contexts_init(&c->zstd_readers);
}

void qcf_compressor_fini(struct qcf_compressor *c)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(methods); i++)
		if (methods[i] != NULL && methods[i]->forget != NULL)
			methods[i]->forget(c);
}

const char *qcf_compression_name(uint32_t type)
{
	return type < QCF_ARRAY_LEN(names) ? names[type] : NULL;
}

bool qcf_compression_is_built_in(uint32_t type)
{
	return type < QCF_ARRAY_LEN(methods) && methods[type] != NULL;
}

static int find_method(uint32_t type, const struct qcf_compress_method **method,
                       struct qcowfmt_error **errp)
{
	if (!qcf_compression_is_built_in(type))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "compression type %" PRIu32
		                " (%s) is not built in",
		                type,
		                qcf_compression_name(type) == NULL
		                        ? "unknown"
		                        : qcf_compression_name(type));
	*method = methods[type];
	return 0;
}

int qcf_decompress(struct qcf_compressor *c, uint32_t type, const void *in,
                   size_t in_len, void *out, size_t out_len,
                   struct qcowfmt_error **errp)
{
	const struct qcf_compress_method *method = NULL;
	int ret = find_method(type, &method, errp);

	if (ret == 0)
		ret = method->decompress(c, in, in_len, out, out_len);
	if (ret == -ENOMEM)
		return qcf_fail_oom(errp);
	if (ret == -EIO)
		return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
		                "%zu bytes of %s data do not decompress to %zu "
		                "bytes",
		                in_len, method->name, out_len);
	return ret;
}

int64_t qcf_compress(struct qcf_compressor *c, uint32_t type, const void *in,
                     size_t in_len, void *out, size_t out_room,
                     struct qcowfmt_error **errp)
{
	const struct qcf_compress_method *method = NULL;
	int64_t ret = find_method(type, &method, errp);

	if (ret < 0)
		return ret;
	if (c->level != 0 && (c->level < method->lowest_level ||
	                      c->level > method->highest_level))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "compression level %d is out of range: %s has "
		                "%d to %d",
		                c->level, method->name, method->lowest_level,
		                method->highest_level);
	ret = method->compress(c, in, in_len, out, out_room);
	if (ret == -ENOMEM)
		return qcf_fail_oom(errp);
	return ret;
}

void qcf_compression_levels(uint32_t type, int *lowest, int *highest)
{
	bool known = qcf_compression_is_built_in(type);

	*lowest = known ? methods[type]->lowest_level : 0;
	*highest = known ? methods[type]->highest_level : 0;
}
