/* SPDX-License-Identifier: MIT */
/* delay_storage.c - storage whose calls take a while, to widen races */
#include <unistd.h>

#include "delay_storage.h"

static uint64_t next_random(struct delay_plan *plan)
{
	uint64_t z =
		atomic_fetch_add(&plan->state, UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int delay_hook(void *opaque, struct storage_call *call)
{
	struct delay_plan *plan = opaque;
	unsigned int time = plan->microseconds;

	if ((plan->verbs & VERB_BIT(call->verb)) == 0)
		return 0;
	if (plan->random)
		time = (unsigned int)(next_random(plan) % (time + 1u));
	if (time > 0)
		usleep(time);
	return 0;
}

struct qcowfmt_storage *delay_storage_new(struct qcowfmt_storage *inner,
                                          struct delay_plan *plan)
{
	return wrap_storage_new(inner, delay_hook, plan);
}
