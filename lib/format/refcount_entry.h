/* SPDX-License-Identifier: MIT */
/*
 * refcount_entry.h - refcount table entries and the counts in a block
 *
 * Refcount table entry: bits 9-63 host offset of a block, cluster aligned; 0 =
 * no block; bits 0-8 reserved.
 *
 * A block is cluster_size bytes of counts, 1 << refcount_order bits each.  Of
 * 16 bits and more they are big-endian; 8-bit ones are bytes; narrower ones are
 * packed with the lowest slot in the least significant bits of a byte.
 */
#ifndef QCF_REFCOUNT_ENTRY_H
#define QCF_REFCOUNT_ENTRY_H

#include "bytes.h"
#include "geometry.h"

#define QCF_REFTABLE_RESERVED UINT64_C(0x1ff)

static inline uint64_t qcf_reftable_entry_decode(struct qcf_be64 raw)
{
	return qcf_be64_decode(raw) & ~QCF_REFTABLE_RESERVED;
}

static inline struct qcf_be64 qcf_reftable_entry_encode(uint64_t block_offset)
{
	return qcf_be64_encode(block_offset);
}

/* The count at a slot of an array of counts. */
uint64_t qcf_refcount_get(const void *counts, uint64_t slot,
                          uint32_t refcount_order);
void qcf_refcount_set(void *counts, uint64_t slot, uint32_t refcount_order,
                      uint64_t value);

/* The counts at n slots from one on, from or to plain values, which fit. */
void qcf_refcount_get_run(const void *counts, uint64_t slot, size_t n,
                          uint32_t refcount_order, uint64_t *values);
void qcf_refcount_set_run(void *counts, uint64_t slot, size_t n,
                          uint32_t refcount_order, const uint64_t *values);

/* The first slot in [from, count) whose count is zero; count if none is. */
uint64_t qcf_refcount_find_zero(const void *counts, uint64_t from,
                                uint64_t count, uint32_t refcount_order);

/* How many slots from a slot on, at most max, have a count of zero. */
uint64_t qcf_refcount_zero_run(const void *counts, uint64_t from, uint64_t max,
                               uint32_t refcount_order);

#endif
