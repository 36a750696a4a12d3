/* SPDX-License-Identifier: MIT */
/* delay_storage.h - storage whose calls take a while, to widen races */
#ifndef QCF_DELAY_STORAGE_H
#define QCF_DELAY_STORAGE_H

#include <stdatomic.h>

#include "wrap_storage.h"

struct delay_plan {
	uint32_t verbs;             /* VERB_BIT() of those that are slow */
	unsigned int microseconds;  /* at most */
	bool random;                /* anything from 0 to that */
	atomic_uint_fast64_t state; /* of the random numbers: the seed */
};

/* The plan is the caller's and outlives the storage, which owns inner. */
struct qcowfmt_storage *delay_storage_new(struct qcowfmt_storage *inner,
                                          struct delay_plan *plan);

#endif
