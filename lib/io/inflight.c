/* SPDX-License-Identifier: MIT */
/* inflight.c - guest clusters whose mapping is being changed */
#include <stddef.h>

#include "inflight.h"

void qcf_inflight_init(struct qcf_inflight *inflight)
{
	*inflight = (struct qcf_inflight){ 0 };
	qcf_mutex_init(&inflight->lock, QCF_RANK_INFLIGHT);
	qcf_cond_init(&inflight->released);
}

void qcf_inflight_fini(struct qcf_inflight *inflight)
{
	qcf_cond_fini(&inflight->released);
	qcf_mutex_fini(&inflight->lock);
}

static bool is_claimed(const struct qcf_inflight *inflight, uint64_t start,
                       uint64_t end)
{
	for (const struct qcf_claim *c = inflight->claims; c != NULL;
	     c = c->next) {
		if (start < c->end && end > c->start)
			return true;
	}
	return false;
}

void qcf_inflight_claim(struct qcf_inflight *inflight, struct qcf_claim *claim,
                        uint64_t start, uint64_t end)
{
	QCF_GUARD(&inflight->lock);

	while (is_claimed(inflight, start, end)) {
		inflight->waiters++;
		qcf_cond_wait(&inflight->released, &inflight->lock);
		inflight->waiters--;
	}
	*claim = (struct qcf_claim){
		.next = inflight->claims,
		.start = start,
		.end = end,
	};
	inflight->claims = claim;
}

void qcf_inflight_release(struct qcf_inflight *inflight,
                          struct qcf_claim *claim)
{
	QCF_GUARD(&inflight->lock);
	struct qcf_claim **at = &inflight->claims;

	while (*at != claim)
		at = &(*at)->next;
	*at = claim->next;
	if (inflight->waiters > 0)
		qcf_cond_broadcast(&inflight->released);
}
