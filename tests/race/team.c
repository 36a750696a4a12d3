/* SPDX-License-Identifier: MIT */
/* team.c - threads that work on one thing together */
#include "team.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define SLOW_BUILD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOW_BUILD 1
#endif
#endif

struct qcf_team {
	qcf_team_work lead;
	qcf_team_work follow;
	int leader_count;
	pthread_barrier_t start;
	atomic_int leaders_left;
	atomic_bool stop;
	struct qcf_member members[QCF_TEAM_MAX];
};

static void *member_main(void *argument)
{
	struct qcf_member *member = argument;
	struct qcf_team *team = member->team;
	bool leads = member->number < team->leader_count;

	pthread_barrier_wait(&team->start);
	if (!(leads ? team->lead : team->follow)(member))
		atomic_store(&team->stop, true);
	if (leads)
		atomic_fetch_sub(&team->leaders_left, 1);
	return NULL;
}

static void run_threads(struct qcf_team *team, int count)
{
	pthread_t threads[QCF_TEAM_MAX];
	int i;

	pthread_barrier_init(&team->start, NULL, (unsigned int)count);
	for (i = 0; i < count; i++) {
		if (pthread_create(&threads[i], NULL, member_main,
		                   &team->members[i]) != 0)
			abort();
	}
	for (i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&team->start);
}

bool qcf_team_run(int leaders, qcf_team_work lead, int followers,
                  qcf_team_work follow, void *job, uint64_t seed,
                  struct qcf_finding *finding)
{
	struct qcf_team *team = calloc(1, sizeof(*team));
	int count = leaders + followers;
	bool good = true;
	int i;

	if (!team || count > QCF_TEAM_MAX)
		abort();
	team->lead = lead;
	team->follow = follow;
	team->leader_count = leaders;
	atomic_init(&team->leaders_left, leaders);
	atomic_init(&team->stop, false);
	for (i = 0; i < count; i++) {
		team->members[i].team = team;
		team->members[i].number = i;
		team->members[i].job = job;
		team->members[i].rng = qcf_rng_new(seed, (uint64_t)i);
	}
	run_threads(team, count);
	for (i = 0; i < count && good; i++) {
		good = team->members[i].finding.kind == QCF_FOUND_NOTHING;
		if (!good)
			*finding = team->members[i].finding;
	}
	free(team);
	return good;
}

bool qcf_team_goes_on(const struct qcf_member *member)
{
	return !atomic_load(&member->team->stop);
}

bool qcf_team_leaders_work(const struct qcf_member *member)
{
	return qcf_team_goes_on(member) &&
	       atomic_load(&member->team->leaders_left) > 0;
}

unsigned int qcf_team_rounds(unsigned int rounds)
{
#ifdef SLOW_BUILD
	rounds = (rounds + 3) / 4;
#endif
	return rounds * qcf_long_factor();
}
