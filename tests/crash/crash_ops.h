/* SPDX-License-Identifier: MIT */
/* crash_ops.h - the operations that crash tests put in sequence */
#ifndef QCF_CRASH_OPS_H
#define QCF_CRASH_OPS_H

#include "crash_world.h"

struct crash_op {
	const char *name;
	void (*run)(struct world *w);
};

extern const struct crash_op crash_ops[];
extern const size_t crash_op_count;

#endif
