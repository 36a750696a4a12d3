/* SPDX-License-Identifier: MIT */
/*
 * queue_lanes.h - how requests without a thread are inside the gate
 *
 * Many of them share a slot.  Under steady load one slot would never become free,
 * and clusters in quarantine would wait for it for ever; so there are two lanes,
 * and once the epoch of one has ended new requests take the other, as soon as
 * that is empty.
 */
#ifndef QCF_QUEUE_LANES_H
#define QCF_QUEUE_LANES_H

#include "gate.h"

struct qcf_queue_lane {
	struct qcf_gate_slot *slot; /* reserved */
	uint32_t count;             /* requests in it */
};

struct qcf_queue_lanes {
	struct qcf_gate *gate;
	struct qcf_mutex lock; /* guards what follows */
	struct qcf_queue_lane lane[2];
	uint32_t current;
};

/* False if the gate has no slots left. */
bool qcf_queue_lanes_init(struct qcf_queue_lanes *lanes, struct qcf_gate *gate);
void qcf_queue_lanes_fini(struct qcf_queue_lanes *lanes);

/* Let a request in without waiting: the number of its lane, or 0 if the gate is
 * closed. */
uint32_t qcf_queue_lanes_join(struct qcf_queue_lanes *lanes);

/* The caller holds the lock. */
void qcf_queue_lanes_leave_locked(struct qcf_queue_lanes *lanes,
                                  uint32_t number);
void qcf_queue_lanes_leave(struct qcf_queue_lanes *lanes, uint32_t number);

#endif
