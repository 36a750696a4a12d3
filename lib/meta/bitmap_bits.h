/* SPDX-License-Identifier: MIT */
/*
 * bitmap_bits.h - a large array of bits that threads set without a lock
 *
 * Bits are kept in leaves of 4 KiB, which are made when the first bit in them is
 * set; nodes point to leaves, and a root points to nodes.  What was made stays
 * until the end, so nobody ever looks at memory that is gone.
 *
 * What several arrays take together is bounded.
 */
#ifndef QCF_BITMAP_BITS_H
#define QCF_BITMAP_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/* Memory that several arrays share. */
struct qcf_bits_memory {
	_Atomic uint64_t used; /* bytes */
	uint64_t limit;
};

#define QCF_BITS_LEAF_WORDS 512u
#define QCF_BITS_FANOUT     512u
/* log2 of the bits in a leaf, and in all leaves of a node. */
#define QCF_BITS_LEAF_SHIFT 15u
#define QCF_BITS_NODE_SHIFT 24u
/* Bits that an array can hold: as many as the largest bitmap has. */
#define QCF_BITS_MAX (UINT64_C(1) << 33)

struct qcf_bits_leaf {
	_Atomic uint64_t words[QCF_BITS_LEAF_WORDS]; /* lowest bit first */
};

struct qcf_bits_node {
	_Atomic(struct qcf_bits_leaf *) leaves[QCF_BITS_FANOUT];
};

struct qcf_bits_root {
	_Atomic(struct qcf_bits_node *) nodes[QCF_BITS_FANOUT];
};

/* All zero, it is an empty array once memory is set. */
struct qcf_bits {
	_Atomic(struct qcf_bits_root *) root;
	struct qcf_bits_memory *memory; /* not owned */
};

void qcf_bits_init(struct qcf_bits *bits, struct qcf_bits_memory *memory);
void qcf_bits_fini(struct qcf_bits *bits);

/* Set count bits from first on, which end at QCF_BITS_MAX at most.  After a
 * failure (no memory, or the limit) some of them may be set. */
int qcf_bits_set(struct qcf_bits *bits, uint64_t first, uint64_t count,
                 struct qcowfmt_error **errp);

/* The first bit in [from, end) that is set, or is not; end if there is none. */
uint64_t qcf_bits_next(const struct qcf_bits *bits, uint64_t from,
                       uint64_t end);
uint64_t qcf_bits_next_clear(const struct qcf_bits *bits, uint64_t from,
                             uint64_t end);

/* Or count bits from first on, both multiples of 8, into bytes. */
void qcf_bits_or_into(const struct qcf_bits *bits, uint64_t first,
                      uint64_t count, uint8_t *bytes);

bool qcf_bits_is_empty(const struct qcf_bits *bits);

#endif
