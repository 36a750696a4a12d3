/* SPDX-License-Identifier: MIT */
/*
 * inflight.h - guest clusters whose mapping is being changed
 *
 * Whoever is about to change mappings claims the guest clusters first, decides,
 * does, publishes and releases.  A second one that wants any of the same
 * clusters waits; all others go on.  Writes in place claim nothing.
 */
#ifndef QCF_INFLIGHT_H
#define QCF_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "lock.h"

/* Lives on the stack of the claiming function. */
struct qcf_claim {
	struct qcf_claim *next;
	uint64_t start; /* guest bytes [start, end), whole clusters */
	uint64_t end;
};

struct qcf_inflight {
	/* guarded by lock */
	struct qcf_mutex lock;
	struct qcf_cond released;
	struct qcf_claim *claims;
	unsigned int waiters;
};

void qcf_inflight_init(struct qcf_inflight *inflight);
void qcf_inflight_fini(struct qcf_inflight *inflight);

/* Wait until no claim overlaps, then claim. */
void qcf_inflight_claim(struct qcf_inflight *inflight, struct qcf_claim *claim,
                        uint64_t start, uint64_t end);
void qcf_inflight_release(struct qcf_inflight *inflight,
                          struct qcf_claim *claim);

#endif
