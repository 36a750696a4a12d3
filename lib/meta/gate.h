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

#define QCF_GATE_SLOTS    64  /* requests running at once; more wait */
#define QCF_GATE_RESERVED 128 /* slots that have an owner */

struct qcf_gate_slot {
	_Alignas(64) _Atomic uint64_t epoch; /* 0 = free */
};

/* Leave by the slots of requests that are over without their owner having looked.
 * Returns whether there are some that are not over. */
typedef bool (*qcf_gate_settle)(void *opaque);

struct qcf_gate {
	/* those with an owner follow those for everybody */
	struct qcf_gate_slot slots[QCF_GATE_SLOTS + QCF_GATE_RESERVED];
	_Alignas(64) _Atomic uint64_t epoch; /* starts at 1 */
	atomic_uint slot_count; /* those behind have never been used */
	atomic_bool closed;
	atomic_bool empty;   /* closed, and all who were inside have left */
	atomic_uint waiters; /* threads in wait for a slot to become free */

	struct qcf_mutex lock; /* pairs with cond and guards what follows */
	struct qcf_cond cond;
	bool reserved[QCF_GATE_RESERVED];
	qcf_gate_settle settle; /* NULL: there is nothing to settle */
	void *settle_opaque;
};

void qcf_gate_init(struct qcf_gate *gate);
void qcf_gate_fini(struct qcf_gate *gate);

/* Enter as a guest request; returns the slot to leave by. */
struct qcf_gate_slot *qcf_gate_enter(struct qcf_gate *gate);
void qcf_gate_leave(struct qcf_gate *gate, struct qcf_gate_slot *slot);

/* Be as if just entered.  The caller must not hold on to any mapping it looked
 * up before. */
void qcf_gate_renew(struct qcf_gate *gate, struct qcf_gate_slot *slot);

/*
 * Requests that run without a thread (queue.h) come and go by slots that their
 * owner keeps.  NULL if none is left.
 */
struct qcf_gate_slot *qcf_gate_reserve(struct qcf_gate *gate);
void qcf_gate_unreserve(struct qcf_gate *gate, struct qcf_gate_slot *slot);

/* Enter by a slot of one's own, without waiting; false if the gate is closed. */
bool qcf_gate_try_enter(struct qcf_gate *gate, struct qcf_gate_slot *slot);

/* Whether a slot that is taken was taken in an epoch that has ended. */
bool qcf_gate_is_stale(struct qcf_gate *gate, const struct qcf_gate_slot *slot);

static inline bool qcf_gate_is_closed(struct qcf_gate *gate)
{
	return atomic_load(&gate->closed);
}

/*
 * Whoever closes the gate calls settle again and again while requests without a
 * thread run: their owner may be the thread that waits.  It is called without
 * locks, and only leaves by slots.
 */
void qcf_gate_set_settle(struct qcf_gate *gate, qcf_gate_settle settle,
                         void *opaque);

/* Wait until no request is running, and keep new ones out until opened.  One
 * closer at a time; a second one waits. */
void qcf_gate_close(struct qcf_gate *gate);
void qcf_gate_open(struct qcf_gate *gate);

/* Start a new epoch; returns the one that ended. */
uint64_t qcf_gate_advance(struct qcf_gate *gate);

/* The epoch of the oldest running request; UINT64_MAX if none runs. */
uint64_t qcf_gate_oldest(struct qcf_gate *gate);

#endif
