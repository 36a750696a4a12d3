/* SPDX-License-Identifier: MIT */
/* crash_judge.h - whether an image survived a power cut */
#ifndef QCF_CRASH_JUDGE_H
#define QCF_CRASH_JUDGE_H

#include "crash_world.h"

struct judge {
	const struct world *world;
	/* One state in so many is also judged by qemu-img; 0: none. */
	uint64_t qemu_every;
	const char *qemu_img;
	uint64_t since_qemu; /* states */
	uint64_t qemu_checked;
	uint64_t dirty;      /* states with the dirty bit set */
	uint64_t flags;      /* states with wrong COPIED flags */
	uint64_t leaks;      /* states with leaked clusters */
	uint64_t compressed; /* states with compressed clusters */
	bool quiet;          /* say nothing: a violation is what is wanted */
};

/* A crash_visitor; opaque is a struct judge.  Prints what is wrong. */
bool judge_state(void *opaque, const struct crash_state *state);

#endif
