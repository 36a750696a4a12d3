/* SPDX-License-Identifier: MIT */
/* sample_header.h - small valid headers to start from, as bytes */
#ifndef QCF_TEST_SAMPLE_HEADER_H
#define QCF_TEST_SAMPLE_HEADER_H

#include <stdint.h>
#include <stdlib.h>

#include "bytes.h"
#include "header.h"

#define SAMPLE_VIRTUAL_SIZE (UINT64_C(1) << 20)

struct sample {
	uint8_t *bytes; /* one cluster, exactly: overruns are noticed */
	size_t len;
};

static inline void sample_put(struct sample *sample, size_t at, size_t width,
                              uint64_t value)
{
	struct qcf_writer writer =
		qcf_writer_init(sample->bytes + at, sample->len - at);

	qcf_write_be(&writer, value, width);
}

static inline void sample_put_text(struct sample *sample, size_t at,
                                   const char *text)
{
	struct qcf_writer writer =
		qcf_writer_init(sample->bytes + at, sample->len - at);

	qcf_write_bytes(&writer, text, strlen(text));
}

/* Header, refcount table, refcount block, L1 table: one cluster each. */
static inline struct sample sample_new(uint32_t version, uint32_t cluster_bits)
{
	struct sample sample = { .len = (size_t)1 << cluster_bits };
	uint64_t size = sample.len;
	uint64_t span = size * (size / 8);

	sample.bytes = calloc(1, sample.len);
	if (sample.bytes == NULL)
		abort();
	sample_put(&sample, 0, 4, QCF_MAGIC);
	sample_put(&sample, 4, 4, version);
	sample_put(&sample, 20, 4, cluster_bits);
	sample_put(&sample, 24, 8, SAMPLE_VIRTUAL_SIZE);
	sample_put(&sample, 36, 4, (SAMPLE_VIRTUAL_SIZE + span - 1) / span);
	sample_put(&sample, 40, 8, 3 * size);
	sample_put(&sample, 48, 8, size);
	sample_put(&sample, 56, 4, 1);
	if (version < 3)
		return sample;
	sample_put(&sample, 96, 4, 4);
	sample_put(&sample, 100, 4, 112);
	return sample;
}

/* Put an extension at an offset; returns the offset behind it. */
static inline size_t sample_put_extension(struct sample *sample, size_t at,
                                          uint32_t type, const void *data,
                                          size_t len)
{
	struct qcf_writer writer =
		qcf_writer_init(sample->bytes + at, sample->len - at);

	qcf_write_u32(&writer, type);
	qcf_write_u32(&writer, (uint32_t)len);
	qcf_write_bytes(&writer, data, len);
	qcf_write_pad(&writer, 8);
	return at + writer.pos;
}

static inline void sample_free(struct sample *sample)
{
	free(sample->bytes);
	sample->bytes = NULL;
}

#endif
