/* SPDX-License-Identifier: MIT */
/* queue_lanes.c - how requests without a thread are inside the gate */
#include "queue_lanes.h"

bool qcf_queue_lanes_init(struct qcf_queue_lanes *lanes, struct qcf_gate *gate)
{
	struct qcf_gate_slot *first = qcf_gate_reserve(gate);
	struct qcf_gate_slot *second = qcf_gate_reserve(gate);

	if (second == NULL) {
		if (first != NULL)
			qcf_gate_unreserve(gate, first);
		return false;
	}
	*lanes = (struct qcf_queue_lanes){ .gate = gate };
	lanes->lane[0].slot = first;
	lanes->lane[1].slot = second;
	qcf_mutex_init(&lanes->lock, QCF_RANK_LANES);
	return true;
}

void qcf_queue_lanes_fini(struct qcf_queue_lanes *lanes)
{
	for (int i = 0; i < 2; i++)
		qcf_gate_unreserve(lanes->gate, lanes->lane[i].slot);
	qcf_mutex_fini(&lanes->lock);
}

uint32_t qcf_queue_lanes_join(struct qcf_queue_lanes *lanes)
{
	QCF_GUARD(&lanes->lock);
	struct qcf_queue_lane *lane = &lanes->lane[lanes->current];

	if (qcf_gate_is_closed(lanes->gate))
		return 0;
	if (lane->count > 0 && qcf_gate_is_stale(lanes->gate, lane->slot) &&
	    lanes->lane[!lanes->current].count == 0) {
		lanes->current = !lanes->current;
		lane = &lanes->lane[lanes->current];
	}
	if (lane->count == 0 && !qcf_gate_try_enter(lanes->gate, lane->slot))
		return 0;
	lane->count++;
	return lanes->current + 1;
}

void qcf_queue_lanes_leave_locked(struct qcf_queue_lanes *lanes,
                                  uint32_t number)
{
	struct qcf_queue_lane *lane = &lanes->lane[number - 1];

	if (--lane->count == 0)
		qcf_gate_leave(lanes->gate, lane->slot);
}

void qcf_queue_lanes_leave(struct qcf_queue_lanes *lanes, uint32_t number)
{
	QCF_GUARD(&lanes->lock);

	qcf_queue_lanes_leave_locked(lanes, number);
}
