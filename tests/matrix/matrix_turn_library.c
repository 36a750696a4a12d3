/* SPDX-License-Identifier: MIT */
/* matrix_turn_library.c - a turn as calls of the library */
#include <stdlib.h>
#include <string.h>

#include "matrix_turn.h"

#define SMALL_CACHE (UINT64_C(64) << 10)

/* Bytes for a write, at an address that is not always even. */
struct payload {
	uint8_t *memory;
	uint8_t *bytes;
};

static struct payload payload_new(const struct qcf_turn *turn,
                                  const struct qcf_turn_op *op)
{
	struct payload p = { .memory = malloc(op->range.len + 8) };
	uint64_t i;

	if (!p.memory)
		abort();
	p.bytes = p.memory + op->byte % 8;
	if (op->kind == QCF_TURN_WRITE_BYTE ||
	    op->kind == QCF_TURN_COMPRESS_BYTE) {
		memset(p.bytes, op->byte, op->range.len);
		return p;
	}
	for (i = 0; i < op->range.len; i++)
		p.bytes[i] = turn->pattern[i % QCF_PATTERN_LEN];
	return p;
}

static int write_vector(struct qcowfmt_image *opened, uint8_t *bytes,
                        size_t len, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	struct iovec iov[2] = {
		{ .iov_base = bytes, .iov_len = len / 3 },
		{ .iov_base = bytes + len / 3, .iov_len = len - len / 3 },
	};

	return qcowfmt_pwritev(opened, iov, 2, offset, errp);
}

static int write_data(struct qcowfmt_image *opened, const struct qcf_turn *turn,
                      const struct qcf_turn_op *op, struct qcowfmt_error **errp)
{
	struct payload p = payload_new(turn, op);
	uint64_t len = op->range.len;
	uint64_t offset = op->range.offset;
	int ret;

	if (op->kind == QCF_TURN_COMPRESS_BYTE ||
	    op->kind == QCF_TURN_COMPRESS_PATTERN)
		ret = qcowfmt_pwrite_compressed(opened, p.bytes, len, offset,
		                                errp);
	else if (op->byte % 3 == 0)
		ret = write_vector(opened, p.bytes, len, offset, errp);
	else
		ret = qcowfmt_pwrite(opened, p.bytes, len, offset, errp);
	free(p.memory);
	return ret;
}

static bool do_op(struct qcowfmt_image *opened, const struct qcf_turn *turn,
                  const struct qcf_turn_op *op, struct qcf_finding *finding)
{
	uint64_t offset = op->range.offset;
	uint64_t len = op->range.len;
	struct qcowfmt_error *error = NULL;
	const char *what = "write";
	int ret;

	switch (op->kind) {
	case QCF_TURN_ZERO:
	case QCF_TURN_ZERO_UNMAP:
		what = "zero";
		ret = qcowfmt_write_zeroes(
			opened, offset, len,
			op->kind == QCF_TURN_ZERO ? 0 : QCOWFMT_ZERO_MAY_UNMAP,
			&error);
		break;
	case QCF_TURN_DISCARD:
		what = "discard";
		ret = qcowfmt_discard(opened, offset, len, &error);
		break;
	case QCF_TURN_FLUSH:
		what = "flush";
		ret = qcowfmt_flush(opened, &error);
		break;
	default:
		ret = write_data(opened, turn, op, &error);
		break;
	}
	return ret < 0 ? qcf_found_error(finding, what, ret, error) : true;
}

bool qcf_turn_by_library(const struct qcf_turn *turn,
                         const struct qcf_matrix_image *image,
                         struct qcf_finding *finding)
{
	uint64_t cache_size = turn->seed % 2 ? SMALL_CACHE : 0;
	struct qcowfmt_image *opened = NULL;
	struct qcowfmt_error *error = NULL;
	bool good = true;
	int ret;
	int i;

	if (!qcf_library_open(image, QCOWFMT_OPEN_READ_WRITE, cache_size,
	                      &opened, finding))
		return false;
	for (i = 0; good && i < turn->count; i++)
		good = do_op(opened, turn, &turn->ops[i], finding);
	ret = qcowfmt_close(opened, &error);
	if (ret < 0 && good)
		return qcf_found_error(finding, "close", ret, error);
	qcowfmt_error_free(error);
	return good;
}
