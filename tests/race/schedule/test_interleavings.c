/* SPDX-License-Identifier: MIT */
/*
 * test_interleavings.c - whatever order threads take turns in, nothing is lost
 *
 *   test_interleavings GROUP            all scenarios of a group
 *   test_interleavings --scenario NAME [--seed N] [--episodes N]
 *
 * A finding is printed with the arguments that repeat it.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"
#include "rng.h"
#include "thin.h"

/* Of one scenario. */
#define EPISODES 700

static uint64_t episode_count(void)
{
	return EPISODES * qcf_long_factor() / thin_factor();
}

static int explore_group(const struct qcf_scenario_group *group)
{
	struct qcf_exploration total = { 0 };
	uint64_t seed = qcf_seed();

	for (int i = 0; i < group->count; i++) {
		struct qcf_exploration before = total;

		if (!qcf_explore(&group->scenarios[i], seed, episode_count(),
		                 &total))
			return 1;
		printf("%-34s %6" PRIu64 " different, %5" PRIu64
		       " points each\n",
		       group->scenarios[i].name,
		       total.different - before.different,
		       (total.points - before.points) /
		               (total.episodes - before.episodes));
	}
	printf("%" PRIu64 " episodes, %" PRIu64 " sequences, %" PRIu64
	       " points, %" PRIu64 " switches, %" PRIu64 " power cuts, %" PRIu64
	       " failures\n",
	       total.episodes, total.sequences, total.points, total.switches,
	       total.cuts, total.faults);
	printf("figure: interleavings_of_%s %" PRIu64 " different\n",
	       group->name, total.different);
	return 0;
}

static int explore_one(int argc, char **argv)
{
	const struct qcf_scenario *scenario = NULL;
	struct qcf_exploration total = { 0 };
	uint64_t episodes = 0;
	uint64_t seed = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--scenario") == 0)
			scenario = qcf_scenario_find(argv[i + 1]);
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--episodes") == 0)
			episodes = strtoull(argv[i + 1], NULL, 0);
	}
	if (scenario == NULL) {
		fprintf(stderr, "no such scenario\n");
		return 2;
	}
	if (episodes == 0)
		episodes = seed != 0 ? 1 : episode_count();
	if (!qcf_explore(scenario, seed != 0 ? seed : qcf_seed(), episodes,
	                 &total))
		return 1;
	printf("%" PRIu64 " episodes, %" PRIu64 " different\n", total.episodes,
	       total.different);
	return 0;
}

int main(int argc, char **argv)
{
	const struct qcf_scenario_group *group;

	setvbuf(stdout, NULL, _IOLBF, 0);
#ifdef M_MMAP_THRESHOLD
	/* Tables that are large and empty need not be cleared each time. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
	qcf_explore_watch_signals();
	if (argc > 2)
		return explore_one(argc, argv);
	group = qcf_scenario_group_find(argc > 1 ? argv[1] : "requests");
	if (group == NULL) {
		fprintf(stderr, "no such group\n");
		return 2;
	}
	return explore_group(group);
}
