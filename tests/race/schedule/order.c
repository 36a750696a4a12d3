/* SPDX-License-Identifier: MIT */
/* order.c - one number for all interleavings that cannot be told apart */
#include "order.h"

#include <stdlib.h>
#include <string.h>

#include "schedule.h"

#define SLOTS (1u << 15) /* a power of two, above the objects of a run */

struct object {
	const volatile void *address;
	uint64_t run;     /* the entry is of this run */
	uint64_t changed; /* hash of the last step that changed it */
	uint64_t read;    /* sum of those that have read it since */
};

static struct object objects[SLOTS];
static uint64_t run;
static uint64_t last[QCF_MAX_FIBERS]; /* step of each thread */
static uint64_t sum;

void qcf_order_begin(void)
{
	run++;
	sum = 0;
	for (unsigned int i = 0; i < QCF_MAX_FIBERS; i++)
		last[i] = qcf_mix(1, i);
}

static struct object *find(const volatile void *address)
{
	unsigned int at =
		(unsigned int)(qcf_mix((uintptr_t)address, 0) & (SLOTS - 1));
	unsigned int steps = 0;

	while (objects[at].run == run && objects[at].address != address) {
		at = (at + 1) & (SLOTS - 1);
		if (++steps == SLOTS)
			abort();
	}
	if (objects[at].run != run)
		objects[at] = (struct object){ address, run, 0, 0 };
	return &objects[at];
}

void qcf_order_add(int fiber, unsigned int kind, const volatile void *object,
                   bool changes)
{
	uint64_t step = qcf_mix(last[fiber], kind);

	if (object != NULL) {
		struct object *o = find(object);

		step = qcf_mix(step, o->changed);
		if (changes) {
			step = qcf_mix(step, o->read);
			o->changed = step;
			o->read = 0;
		} else {
			o->read += step;
		}
	}
	last[fiber] = step;
	sum += qcf_mix(step, 2);
}

uint64_t qcf_order_hash(void)
{
	return sum;
}
