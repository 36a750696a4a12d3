/* SPDX-License-Identifier: MIT */
/*
 * gate.h - which requests are running
 *
 * Every guest request enters the gate and leaves it.  Entering is one atomic
 * exchange on a cache line that other threads rarely touch.  The gate serves
 * two purposes:
 *
 *   - an operation on the whole image closes the gate: it waits until all
 *     requests have left and keeps new ones out;
 *   - a request notes the epoch in which it entered.  What was unlinked before
 *     the epoch was advanced cannot be in use by a request that entered later,
 *     so it is free for reuse once qcf_gate_oldest() is above that epoch.
 */
#ifndef QCF_GATE_H
#define QCF_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lock.h"

#define QCF_GATE_SLOTS 64 /* requests running at once; more wait */

struct qcf_gate_slot {
	_Alignas(64) _Atomic uint64_t epoch; /* 0 = free */
};

struct qcf_gate {
	struct qcf_gate_slot slots[QCF_GATE_SLOTS];
	_Alignas(64) _Atomic uint64_t epoch; /* starts at 1 */
	atomic_bool closed;
	atomic_bool empty;   /* closed, and all who were inside have left */
	atomic_uint waiters; /* threads in wait for a slot to become free */

	/* guards no data: pairs with cond */
	struct qcf_mutex lock;
	struct qcf_cond cond;
};

void qcf_gate_init(struct qcf_gate *gate);
void qcf_gate_fini(struct qcf_gate *gate);

/* Enter as a guest request; returns the slot to leave by. */
struct qcf_gate_slot *qcf_gate_enter(struct qcf_gate *gate);
void qcf_gate_leave(struct qcf_gate *gate, struct qcf_gate_slot *slot);

/* Be as if just entered.  The caller must not hold on to any mapping it looked
 * up before. */
void qcf_gate_renew(struct qcf_gate *gate, struct qcf_gate_slot *slot);

/* Wait until no request is running, and keep new ones out until opened.  One
 * closer at a time; a second one waits. */
void qcf_gate_close(struct qcf_gate *gate);
void qcf_gate_open(struct qcf_gate *gate);

/* Start a new epoch; returns the one that ended. */
uint64_t qcf_gate_advance(struct qcf_gate *gate);

/* The epoch of the oldest running request; UINT64_MAX if none runs. */
uint64_t qcf_gate_oldest(struct qcf_gate *gate);

#endif
