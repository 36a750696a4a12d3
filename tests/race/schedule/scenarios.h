/* SPDX-License-Identifier: MIT */
/* scenarios.h - small things that threads do to one image at the same time */
#ifndef QCF_SCENARIOS_H
#define QCF_SCENARIOS_H

#include "stage.h"

struct qcf_scenario_group {
	const char *name;
	const struct qcf_scenario *scenarios;
	int count;
};

extern const struct qcf_scenario_group qcf_scenario_groups[];
extern const int qcf_scenario_group_count;

const struct qcf_scenario_group *qcf_scenario_group_find(const char *name);
const struct qcf_scenario *qcf_scenario_find(const char *name);

#endif
