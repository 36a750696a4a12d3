/* SPDX-License-Identifier: MIT */
/*
 * array_ops.h - an application's storage for tests: an array of bytes
 *
 * Deliberately unhelpful where the interface allows it: bytes between the end
 * and a write beyond it are not cleared, and discarded bytes read as 0xdd.
 */
#ifndef QCF_TEST_ARRAY_OPS_H
#define QCF_TEST_ARRAY_OPS_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qcowfmt.h"

struct byte_array {
	uint8_t *bytes;
	uint64_t room;
	uint64_t size;
};

static inline bool all_bytes_are(const uint8_t *bytes, uint8_t value,
                                 size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

static inline struct byte_array *byte_array_new(uint64_t room)
{
	struct byte_array *a = calloc(1, sizeof(*a));

	if (a != NULL)
		a->bytes = calloc(1, room);
	if (a == NULL || a->bytes == NULL)
		abort();
	a->room = room;
	return a;
}

static inline int64_t byte_array_pread(void *opaque, void *buffer, size_t len,
                                       uint64_t offset)
{
	struct byte_array *a = opaque;
	uint64_t have = offset < a->size ? a->size - offset : 0;

	if (len > have)
		len = (size_t)have;
	memcpy(buffer, a->bytes + offset, len);
	return (int64_t)len;
}

static inline int byte_array_pwrite(void *opaque, const void *buffer,
                                    size_t len, uint64_t offset)
{
	struct byte_array *a = opaque;

	if (offset > a->room || len > a->room - offset)
		return -ENOSPC;
	memcpy(a->bytes + offset, buffer, len);
	if (offset + len > a->size)
		a->size = offset + len;
	return 0;
}

static inline int byte_array_flush(void *opaque)
{
	(void)opaque;
	return 0;
}

static inline int byte_array_get_size(void *opaque, uint64_t *size)
{
	*size = ((struct byte_array *)opaque)->size;
	return 0;
}

static inline int byte_array_truncate(void *opaque, uint64_t size)
{
	struct byte_array *a = opaque;

	if (size > a->room)
		return -ENOSPC;
	if (size > a->size)
		memset(a->bytes + a->size, 0, size - a->size);
	else
		memset(a->bytes + size, 0xee, a->size - size);
	a->size = size;
	return 0;
}

static inline int byte_array_zero(void *opaque, uint64_t offset, uint64_t len)
{
	struct byte_array *a = opaque;

	if (offset > a->size || len > a->size - offset)
		return -EINVAL;
	memset(a->bytes + offset, 0, len);
	return 0;
}

static inline int byte_array_discard(void *opaque, uint64_t offset,
                                     uint64_t len)
{
	struct byte_array *a = opaque;

	for (uint64_t i = offset; i < offset + len && i < a->size; i++)
		a->bytes[i] = 0xdd;
	return 0;
}

static inline int byte_array_allocate(void *opaque, uint64_t offset,
                                      uint64_t len)
{
	struct byte_array *a = opaque;
	uint64_t end = offset + len;

	return end <= a->size ? 0 : byte_array_truncate(opaque, end);
}

static inline int byte_array_extent(void *opaque, uint64_t offset, uint64_t len,
                                    uint64_t *run)
{
	struct byte_array *a = opaque;
	uint64_t n = 0;

	while (n < len && offset + n < a->size && a->bytes[offset + n] == 0)
		n++;
	*run = n > 0 ? n : 1;
	return n > 0 ? QCOWFMT_STORAGE_HOLE : QCOWFMT_STORAGE_DATA;
}

static inline void byte_array_close(void *opaque)
{
	struct byte_array *a = opaque;

	free(a->bytes);
	free(a);
}

static const struct qcowfmt_storage_ops byte_array_ops
	__attribute__((unused)) = {
		.struct_size = sizeof(struct qcowfmt_storage_ops),
		.pread = byte_array_pread,
		.pwrite = byte_array_pwrite,
		.flush = byte_array_flush,
		.get_size = byte_array_get_size,
		.truncate = byte_array_truncate,
		.zero = byte_array_zero,
		.discard = byte_array_discard,
		.extent = byte_array_extent,
		.close = byte_array_close,
		.allocate = byte_array_allocate,
	};

#endif
