/* SPDX-License-Identifier: MIT */
/* crash_ops.h - the operations that crash tests put in sequence */
#ifndef QCF_CRASH_OPS_H
#define QCF_CRASH_OPS_H

#include "crash_world.h"

struct crash_op {
	const char *name;
	void (*run)(struct world *w);
	/* Whether a kind of image has it; NULL: all have. */
	bool (*applies)(const struct geometry *geometry);
	/* More than guest I/O: see crash_snapshots.c and crash_changes.c. */
	bool whole;
	/* Stands for others where all sequences are tried. */
	bool core;
};

extern const struct crash_op crash_ops[];
extern const size_t crash_op_count;

bool crash_op_applies(const struct crash_op *op,
                      const struct geometry *geometry);

/* NULL if there is none of that name. */
const struct crash_op *crash_op_find(const char *name);

#endif
