/* SPDX-License-Identifier: MIT */
/* fail_storage.c - storage whose n-th call of some kind fails */
#include "fail_storage.h"

#define SECTOR 512u

/* Half of the whole sectors, as seen from the start of the storage. */
static uint64_t half(const struct storage_call *call)
{
	uint64_t middle = call->offset + call->len / 2;

	middle -= middle % SECTOR;
	return middle > call->offset ? middle - call->offset : 0;
}

static int fail_hook(void *opaque, struct storage_call *call)
{
	struct fail_plan *plan = opaque;

	if ((plan->verbs & VERB_BIT(call->verb)) == 0)
		return 0;

	uint64_t number = atomic_fetch_add(&plan->calls, 1) + 1;
	bool due = plan->sticky ? number >= plan->nth : number == plan->nth;

	if (plan->nth == 0 || !due)
		return 0;
	atomic_fetch_add(&plan->failures, 1);
	if (plan->manner != FAIL_CLEAN)
		call->done_len = half(call);
	return plan->manner == FAIL_SHORT ? 0 : -plan->error;
}

struct qcowfmt_storage *fail_storage_new(struct qcowfmt_storage *inner,
                                         struct fail_plan *plan)
{
	return wrap_storage_new(inner, fail_hook, plan);
}
