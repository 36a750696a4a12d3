/* SPDX-License-Identifier: MIT */
/*
 * test_same_seed_same_interleaving.c - a seed names one interleaving, and
 * different seeds name many
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "episode.h"
#include "rng.h"
#include "scenarios.h"

#define SEEDS 24

struct trace {
	uint64_t sequence;
	uint64_t points;
};

static bool play_all(const struct qcf_scenario *scenario, uint64_t seed,
                     struct trace *traces)
{
	struct qcf_theatre *theatre = qcf_theatre_new(scenario);
	struct qcf_finding finding;
	struct qcf_episode episode;

	for (uint64_t i = 0; i < QCF_FIRST_SEEDS + SEEDS; i++) {
		uint64_t number = i < QCF_FIRST_SEEDS ? i + 1 : seed + i;

		if (!qcf_episode_play(theatre, number, &episode, &finding)) {
			printf("%s, seed %" PRIu64 ": %s\n", scenario->name,
			       number, finding.text);
			return false;
		}
		traces[i] = (struct trace){ episode.schedule.sequence,
			                    episode.schedule.points };
	}
	qcf_theatre_free(theatre);
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct trace *x = a;
	const struct trace *y = b;

	return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static uint64_t count_different(struct trace *traces, uint64_t count)
{
	uint64_t different = 1;

	qsort(traces, count, sizeof(traces[0]), compare);
	for (uint64_t i = 1; i < count; i++)
		different += traces[i].sequence != traces[i - 1].sequence;
	return different;
}

static bool judge(const struct qcf_scenario *scenario, uint64_t seed,
                  uint64_t *different)
{
	struct trace first[QCF_FIRST_SEEDS + SEEDS];
	struct trace again[QCF_FIRST_SEEDS + SEEDS];
	uint64_t count = QCF_FIRST_SEEDS + SEEDS;
	uint64_t found;

	if (!play_all(scenario, seed, first) ||
	    !play_all(scenario, seed, again))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		if (first[i].sequence != again[i].sequence ||
		    first[i].points != again[i].points) {
			printf("%s: number %" PRIu64 " of seed %" PRIu64
			       " is not the same twice\n",
			       scenario->name, i, seed);
			return false;
		}
	}
	found = count_different(first, count);
	*different += found;
	if (found > count / 2)
		return true;
	printf("%s: only %" PRIu64 " of %" PRIu64 " are different\n",
	       scenario->name, found, count);
	return false;
}

int main(void)
{
	uint64_t seed = qcf_seed() + QCF_FIRST_SEEDS;
	uint64_t different = 0;
	uint64_t total = 0;

	for (int g = 0; g < qcf_scenario_group_count; g++) {
		const struct qcf_scenario_group *group =
			&qcf_scenario_groups[g];

		for (int i = 0; i < group->count; i++) {
			if (!judge(&group->scenarios[i], seed, &different))
				return 1;
			total += QCF_FIRST_SEEDS + SEEDS;
		}
	}
	printf("figure: interleavings_replayed %" PRIu64 " of which %" PRIu64
	       " different\n",
	       total, different);
	return 0;
}
