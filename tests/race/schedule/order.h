/* SPDX-License-Identifier: MIT */
/*
 * order.h - one number for all interleavings that cannot be told apart
 *
 * Two steps of different threads depend on each other if they concern the same
 * object and at least one changes it.  Interleavings that have all such pairs in
 * the same order differ only in how independent steps are mixed (they are one
 * Mazurkiewicz trace).  The hash of a step is made from those of the steps it
 * depends on; that of a run is the sum over its steps, whatever their order, so
 * it counts what was really different.
 */
#ifndef QCF_ORDER_H
#define QCF_ORDER_H

#include <stdbool.h>
#include <stdint.h>

void qcf_order_begin(void);
void qcf_order_add(int fiber, unsigned int kind, const volatile void *object,
                   bool changes);
uint64_t qcf_order_hash(void);

/* A good 64-bit mix of two numbers. */
static inline uint64_t qcf_mix(uint64_t a, uint64_t b)
{
	uint64_t x = a ^ (b * UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ (x >> 29)) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ (x >> 32);
}

#endif
