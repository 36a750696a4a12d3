/* SPDX-License-Identifier: MIT */
/*
 * team.h - threads that work on one thing together
 *
 * All members start at once.  The first one with a finding makes the others
 * stop at their next look at qcf_team_goes_on().
 */
#ifndef QCF_TEAM_H
#define QCF_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "finding.h"
#include "rng.h"

#define QCF_TEAM_MAX 16

struct qcf_team;

struct qcf_member {
	struct qcf_team *team;
	int number; /* from 0 */
	void *job;  /* what the team shares */
	struct qcf_rng rng;
	struct qcf_finding finding;
};

typedef bool (*qcf_team_work)(struct qcf_member *member);

/*
 * Run two kinds of members to their end.  Leaders have the numbers from 0 on;
 * followers come after and are to go on as long as qcf_team_leaders_work().
 * follow may be NULL.  True if no member found anything; otherwise the first
 * finding.
 */
bool qcf_team_run(int leaders, qcf_team_work lead, int followers,
                  qcf_team_work follow, void *job, uint64_t seed,
                  struct qcf_finding *finding);

/* False as soon as somebody has a finding. */
bool qcf_team_goes_on(const struct qcf_member *member);

/* False as soon as all leaders are done or somebody has a finding. */
bool qcf_team_leaders_work(const struct qcf_member *member);

/* A number of repetitions for this build: fewer under ThreadSanitizer. */
unsigned int qcf_team_rounds(unsigned int rounds);

#endif
