/* SPDX-License-Identifier: MIT */
/* explore.h - many episodes of a scenario, and how many of them were different */
#ifndef QCF_EXPLORE_H
#define QCF_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

#include "scenarios.h"

struct qcf_exploration {
	uint64_t episodes;
	uint64_t different; /* interleavings: see order.h */
	uint64_t sequences; /* with another order of any two points */
	uint64_t points;
	uint64_t switches;
	uint64_t cuts;
	uint64_t faults;
};

/*
 * Play the episodes of the first few seeds, and some with the seeds from first on.
 * False after the first finding,
 * which is printed with what repeats it.
 */
bool qcf_explore(const struct qcf_scenario *scenario, uint64_t first,
                 uint64_t episodes, struct qcf_exploration *total);

/* Print what a process that dies was doing. */
void qcf_explore_watch_signals(void);

#endif
