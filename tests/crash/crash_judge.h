/* SPDX-License-Identifier: MIT */
/* crash_judge.h - whether an image survived a power cut */
#ifndef QCF_CRASH_JUDGE_H
#define QCF_CRASH_JUDGE_H

#include "crash_world.h"

struct judge {
	struct world *world;
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

	/* Of the states that need repair one in so many is repaired on recording
	 * storage, and each state of that is judged as well; 0: none. */
	uint64_t second_every;
	uint64_t since_second;
	uint64_t repairs;
	struct crash_totals second;
	size_t first_position;     /* of the state that is being repaired */
	struct rec_log *repairing; /* NULL at first */
};

/* Give back what judging took. */
void judge_fini(struct judge *judge);

/* A crash_visitor; opaque is a struct judge.  Prints what is wrong. */
bool judge_state(void *opaque, const struct crash_state *state);

#endif
