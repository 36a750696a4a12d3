/* SPDX-License-Identifier: MIT */
/*
 * checked.h - arithmetic on values that an image or a caller supplied
 *
 * The functions return false on overflow and leave the result untouched.
 */
#ifndef QCF_CHECKED_H
#define QCF_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auto.h"

QCF_MUST_CHECK static inline bool qcf_add_u64(uint64_t a, uint64_t b,
                                              uint64_t *sum)
{
	uint64_t result;

	if (__builtin_add_overflow(a, b, &result))
		return false;
	*sum = result;
	return true;
}

QCF_MUST_CHECK static inline bool qcf_mul_u64(uint64_t a, uint64_t b,
                                              uint64_t *product)
{
	uint64_t result;

	if (__builtin_mul_overflow(a, b, &result))
		return false;
	*product = result;
	return true;
}

/* Whether [offset, offset + len) lies in [0, limit). */
static inline bool qcf_range_within(uint64_t offset, uint64_t len,
                                    uint64_t limit)
{
	return offset <= limit && len <= limit - offset;
}

/* Rounding to a power of two.  Up wraps to 0 only above 2^64 - alignment. */
static inline uint64_t qcf_align_down(uint64_t value, uint64_t alignment)
{
	return value & ~(alignment - 1);
}

static inline uint64_t qcf_align_up(uint64_t value, uint64_t alignment)
{
	return qcf_align_down(value + (alignment - 1), alignment);
}

static inline bool qcf_is_aligned(uint64_t value, uint64_t alignment)
{
	return (value & (alignment - 1)) == 0;
}

static inline bool qcf_is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* ceil(a / b) without overflow; b is not 0. */
static inline uint64_t qcf_div_ceil(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* log2 of a power of two. */
static inline uint32_t qcf_log2(uint64_t value)
{
	return 63u - (uint32_t)__builtin_clzll(value);
}

#endif
