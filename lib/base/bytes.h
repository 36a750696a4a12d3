/* SPDX-License-Identifier: MIT */
/*
 * bytes.h - big-endian words and bounds-checked cursors
 *
 * All on-disk structures go through a cursor.  Reading or writing past the end
 * sets overrun, which sticks; reads then give zero.  A decoder reads all fields
 * and checks overrun once.
 */
#ifndef QCF_BYTES_H
#define QCF_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A 64-bit word as it is on disk: not a number until decoded. */
struct qcf_be64 {
	uint64_t raw;
};

static inline uint64_t qcf_be64_decode(struct qcf_be64 word)
{
	return be64toh(word.raw);
}

static inline struct qcf_be64 qcf_be64_encode(uint64_t value)
{
	return (struct qcf_be64){ htobe64(value) };
}

struct qcf_reader {
	const uint8_t *bytes;
	size_t len;
	size_t pos;
	bool overrun;
};

struct qcf_writer {
	uint8_t *bytes;
	size_t len;
	size_t pos;
	bool overrun;
};

static inline struct qcf_reader qcf_reader_init(const void *bytes, size_t len)
{
	return (struct qcf_reader){ .bytes = bytes, .len = len };
}

static inline struct qcf_writer qcf_writer_init(void *bytes, size_t len)
{
	return (struct qcf_writer){ .bytes = bytes, .len = len };
}

static inline size_t qcf_reader_left(const struct qcf_reader *r)
{
	return r->len - r->pos;
}

/* The next len bytes in place, or NULL if there are fewer. */
static inline const uint8_t *qcf_read_span(struct qcf_reader *r, size_t len)
{
	const uint8_t *span = r->bytes + r->pos;

	if (r->overrun || len > r->len - r->pos) {
		r->overrun = true;
		return NULL;
	}
	r->pos += len;
	return span;
}

static inline uint64_t qcf_read_be(struct qcf_reader *r, size_t len)
{
	const uint8_t *span = qcf_read_span(r, len);
	uint64_t value = 0;

	for (size_t i = 0; span != NULL && i < len; i++)
		value = value << 8 | span[i];
	return value;
}

static inline uint8_t qcf_read_u8(struct qcf_reader *r)
{
	return (uint8_t)qcf_read_be(r, 1);
}

static inline uint16_t qcf_read_u16(struct qcf_reader *r)
{
	return (uint16_t)qcf_read_be(r, 2);
}

static inline uint32_t qcf_read_u32(struct qcf_reader *r)
{
	return (uint32_t)qcf_read_be(r, 4);
}

static inline uint64_t qcf_read_u64(struct qcf_reader *r)
{
	return qcf_read_be(r, 8);
}

static inline void qcf_read_bytes(struct qcf_reader *r, void *to, size_t len)
{
	const uint8_t *span = qcf_read_span(r, len);

	if (span != NULL)
		memcpy(to, span, len);
	else
		memset(to, 0, len);
}

static inline uint8_t *qcf_write_span(struct qcf_writer *w, size_t len)
{
	uint8_t *span = w->bytes + w->pos;

	if (w->overrun || len > w->len - w->pos) {
		w->overrun = true;
		return NULL;
	}
	w->pos += len;
	return span;
}

static inline void qcf_write_bytes(struct qcf_writer *w, const void *from,
                                   size_t len)
{
	uint8_t *span = qcf_write_span(w, len);

	if (span != NULL && len > 0)
		memcpy(span, from, len);
}

static inline void qcf_write_be(struct qcf_writer *w, uint64_t value,
                                size_t len)
{
	struct qcf_be64 raw = qcf_be64_encode(value);

	/* The low bytes are the last ones. */
	qcf_write_bytes(w, (const uint8_t *)&raw + sizeof(raw) - len, len);
}

static inline void qcf_write_u8(struct qcf_writer *w, uint8_t value)
{
	qcf_write_be(w, value, 1);
}

static inline void qcf_write_u16(struct qcf_writer *w, uint16_t value)
{
	qcf_write_be(w, value, 2);
}

static inline void qcf_write_u32(struct qcf_writer *w, uint32_t value)
{
	qcf_write_be(w, value, 4);
}

static inline void qcf_write_u64(struct qcf_writer *w, uint64_t value)
{
	qcf_write_be(w, value, 8);
}

/* Zeros up to the next multiple of a power of two. */
static inline void qcf_write_pad(struct qcf_writer *w, size_t alignment)
{
	size_t len = (alignment - w->pos % alignment) % alignment;
	uint8_t *span = qcf_write_span(w, len);

	if (span != NULL)
		memset(span, 0, len);
}

#endif
