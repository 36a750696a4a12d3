/* SPDX-License-Identifier: MIT */
/*
 * judge.h - is an image what its writer promised?
 */
#ifndef QCF_TEST_JUDGE_H
#define QCF_TEST_JUDGE_H

#include "promises.h"

#define MAX_KEPT 16u

/* What the judge has seen, for the next time. */
struct seen {
	stamp sectors[SECTORS];
	uint32_t kept; /* snapshots */

	struct {
		char name[NAME_ROOM];
		uint64_t hash;
	} snapshots[MAX_KEPT];
};

/* Ends the program if a promise was broken; otherwise *seen is what there is. */
void judge_image(const char *path, const struct history *h, uint32_t first,
                 const struct promises *p, struct seen *seen);

#endif
