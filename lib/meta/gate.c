/* SPDX-License-Identifier: MIT */
/*
 * gate.c - which requests are running
 *
 * All accesses to slots, epoch and closed are sequentially consistent, which
 * gives the two hand-shakes their meaning:
 *
 *   request:   slot = epoch;         reclaimer:  unlink mapping;
 *              look up mapping                   read slots
 *
 * Either the reclaimer sees the slot taken, or the request no longer finds the
 * mapping.  The same holds for taking a slot and reading closed, against
 * setting closed and reading the slots.
 */
#include <pthread.h>

#include "gate.h"

/* How often whoever closes the gate looks after requests without a thread. */
#define SETTLE_MSEC 1u

void qcf_gate_init(struct qcf_gate *gate)
{
	for (int i = 0; i < QCF_GATE_SLOTS + QCF_GATE_RESERVED; i++)
		atomic_init(&gate->slots[i].epoch, 0);
	atomic_init(&gate->epoch, 1);
	atomic_init(&gate->slot_count, QCF_GATE_SLOTS);
	atomic_init(&gate->closed, false);
	atomic_init(&gate->empty, false);
	atomic_init(&gate->waiters, 0);
	qcf_mutex_init(&gate->lock, QCF_RANK_GATE);
	qcf_cond_init(&gate->cond);
	gate->settle = NULL;
	for (int i = 0; i < QCF_GATE_RESERVED; i++)
		gate->reserved[i] = false;
}

void qcf_gate_fini(struct qcf_gate *gate)
{
	qcf_cond_fini(&gate->cond);
	qcf_mutex_fini(&gate->lock);
}

/* Threads start their search at different slots, to stay off each other's
 * cache lines. */
static unsigned int home_slot(void)
{
	uint64_t self = (uint64_t)pthread_self();

	return (unsigned int)((self * UINT64_C(0x9e3779b97f4a7c15)) >> 58) %
	       QCF_GATE_SLOTS;
}

static struct qcf_gate_slot *try_take(struct qcf_gate *gate)
{
	unsigned int home = home_slot();

	for (unsigned int i = 0; i < QCF_GATE_SLOTS; i++) {
		struct qcf_gate_slot *slot =
			&gate->slots[(home + i) % QCF_GATE_SLOTS];
		uint64_t expected = 0;

		if (atomic_load_explicit(&slot->epoch, memory_order_relaxed) ==
		            0 &&
		    atomic_compare_exchange_strong(&slot->epoch, &expected,
		                                   atomic_load(&gate->epoch)))
			return slot;
	}
	return NULL;
}

static void give_back(struct qcf_gate *gate, struct qcf_gate_slot *slot)
{
	atomic_store(&slot->epoch, 0);
	if (atomic_load(&gate->waiters) == 0)
		return;
	QCF_GUARD(&gate->lock);
	qcf_cond_broadcast(&gate->cond);
}

static struct qcf_gate_slot *try_enter(struct qcf_gate *gate)
{
	struct qcf_gate_slot *slot;

	if (atomic_load(&gate->closed))
		return NULL;
	slot = try_take(gate);
	if (slot != NULL && atomic_load(&gate->closed)) {
		atomic_store(&slot->epoch, 0);
		return NULL;
	}
	return slot;
}

struct qcf_gate_slot *qcf_gate_enter(struct qcf_gate *gate)
{
	struct qcf_gate_slot *slot = try_enter(gate);

	if (slot != NULL)
		return slot;
	QCF_GUARD(&gate->lock);
	atomic_fetch_add(&gate->waiters, 1);
	/* The slot that try_enter() took and gave back without a word may be
	 * what the closer is waiting for. */
	qcf_cond_broadcast(&gate->cond);
	while ((slot = try_enter(gate)) == NULL)
		qcf_cond_wait(&gate->cond, &gate->lock);
	atomic_fetch_sub(&gate->waiters, 1);
	return slot;
}

void qcf_gate_leave(struct qcf_gate *gate, struct qcf_gate_slot *slot)
{
	give_back(gate, slot);
}

void qcf_gate_renew(struct qcf_gate *gate, struct qcf_gate_slot *slot)
{
	atomic_store(&slot->epoch, atomic_load(&gate->epoch));
}

uint64_t qcf_gate_oldest(struct qcf_gate *gate)
{
	unsigned int count = atomic_load(&gate->slot_count);
	uint64_t oldest = UINT64_MAX;

	/* A slot may be taken all the same, by somebody who is about to find the
	 * gate closed. */
	if (atomic_load(&gate->empty))
		return UINT64_MAX;
	for (unsigned int i = 0; i < count; i++) {
		uint64_t epoch = atomic_load(&gate->slots[i].epoch);

		if (epoch != 0 && epoch < oldest)
			oldest = epoch;
	}
	return oldest;
}

struct qcf_gate_slot *qcf_gate_reserve(struct qcf_gate *gate)
{
	QCF_GUARD(&gate->lock);

	for (unsigned int i = 0; i < QCF_GATE_RESERVED; i++) {
		if (gate->reserved[i])
			continue;
		gate->reserved[i] = true;
		if (atomic_load(&gate->slot_count) <= QCF_GATE_SLOTS + i)
			atomic_store(&gate->slot_count, QCF_GATE_SLOTS + i + 1);
		return &gate->slots[QCF_GATE_SLOTS + i];
	}
	return NULL;
}

void qcf_gate_unreserve(struct qcf_gate *gate, struct qcf_gate_slot *slot)
{
	QCF_GUARD(&gate->lock);

	gate->reserved[slot - gate->slots - QCF_GATE_SLOTS] = false;
}

bool qcf_gate_try_enter(struct qcf_gate *gate, struct qcf_gate_slot *slot)
{
	atomic_store(&slot->epoch, atomic_load(&gate->epoch));
	if (!atomic_load(&gate->closed))
		return true;
	/* The closer may have seen it taken. */
	give_back(gate, slot);
	return false;
}

bool qcf_gate_is_stale(struct qcf_gate *gate, const struct qcf_gate_slot *slot)
{
	return atomic_load(&slot->epoch) != atomic_load(&gate->epoch);
}

void qcf_gate_set_settle(struct qcf_gate *gate, qcf_gate_settle settle,
                         void *opaque)
{
	QCF_GUARD(&gate->lock);

	gate->settle = settle;
	gate->settle_opaque = opaque;
}

/* Leave for requests that are over; false if none without a thread runs. */
static bool settle(struct qcf_gate *gate)
{
	qcf_gate_settle call = gate->settle;
	void *opaque = gate->settle_opaque;
	bool some;

	if (call == NULL)
		return false;
	qcf_mutex_unlock(&gate->lock);
	some = call(opaque);
	qcf_mutex_lock(&gate->lock);
	return some;
}

/*
 * Wait for the requests that are running.  Those with a thread say when they
 * leave.  Those without end without a word, and nobody but the caller may look:
 * while there are any, it looks at short intervals.  The gate is closed, so there
 * are no new ones.
 */
static void wait_for_requests(struct qcf_gate *gate)
{
	while (qcf_gate_oldest(gate) != UINT64_MAX) {
		bool some = settle(gate);

		if (qcf_gate_oldest(gate) == UINT64_MAX)
			return;
		if (some)
			qcf_cond_wait_for(&gate->cond, &gate->lock,
			                  SETTLE_MSEC);
		else
			qcf_cond_wait(&gate->cond, &gate->lock);
	}
}

void qcf_gate_close(struct qcf_gate *gate)
{
	QCF_GUARD(&gate->lock);
	atomic_fetch_add(&gate->waiters, 1);
	while (atomic_load(&gate->closed))
		qcf_cond_wait(&gate->cond, &gate->lock);
	atomic_store(&gate->closed, true);
	wait_for_requests(gate);
	atomic_store(&gate->empty, true);
	atomic_fetch_sub(&gate->waiters, 1);
}

void qcf_gate_open(struct qcf_gate *gate)
{
	QCF_GUARD(&gate->lock);
	atomic_store(&gate->empty, false);
	atomic_store(&gate->closed, false);
	qcf_cond_broadcast(&gate->cond);
}

uint64_t qcf_gate_advance(struct qcf_gate *gate)
{
	return atomic_fetch_add(&gate->epoch, 1);
}
