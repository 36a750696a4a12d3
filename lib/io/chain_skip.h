/* SPDX-License-Identifier: MIT */
/*
 * chain_skip.h - where in a long backing chain to go on looking
 *
 * A read that the first image has nothing for asks its backing files one by one.
 * What it finds out is remembered for the unit of the disk that it is in: that
 * layers 1 to depth - 1 have nothing there.  The next one goes from the first
 * image straight to that depth.  Such a memory is never wrong later on, because
 * backing files do not change while they are open.
 *
 * A unit is as large as the smallest piece that any of the backing files maps, so
 * that each of them has all of it or nothing, unless it ends inside.
 *
 * One word for a unit, in a table in which units that are far from each other
 * share places.  It is read and written without a lock; words that get lost are
 * found out again.
 */
#ifndef QCF_CHAIN_SKIP_H
#define QCF_CHAIN_SKIP_H

#include <stdatomic.h>

#include "block_cache.h"
#include "layer.h"

struct qcf_chain_skip {
	_Atomic uint64_t *words; /* 0, or (unit + 1) << 16 | depth; NULL: the
				  * chain is too short for it to pay */
	uint64_t mask;           /* their number - 1 */
	uint32_t word_bits;      /* and its logarithm */
	uint32_t unit_bits;
	struct qcf_budget *budget;
};

/* For a chain whose layers are all there.  On failure it does nothing. */
int qcf_chain_skip_init(struct qcf_chain_skip *skip,
                        struct qcf_layer *const *layers, uint32_t count,
                        struct qcf_budget *budget, struct qcowfmt_error **errp);
void qcf_chain_skip_fini(struct qcf_chain_skip *skip);

static inline bool qcf_chain_skip_is_used(const struct qcf_chain_skip *skip)
{
	return skip->words != NULL;
}

/* The first layer below the top that may have something in a guest range. */
uint32_t qcf_chain_skip_first(const struct qcf_chain_skip *skip,
                              uint64_t guest_offset, uint64_t len);

/* Remember that layers 1 to depth - 1, all of which were asked or are known,
 * have nothing in a guest range. */
void qcf_chain_skip_note(struct qcf_chain_skip *skip,
                         struct qcf_layer *const *layers, uint64_t guest_offset,
                         uint64_t len, uint32_t depth);

#endif
