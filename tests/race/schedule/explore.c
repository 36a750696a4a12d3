/* SPDX-License-Identifier: MIT */
/* explore.c - many episodes of a scenario, and how many of them were different */
#include "explore.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "episode.h"

/* Numbers that were met; 0 is an empty slot. */
struct set {
	uint64_t *slots;
	uint64_t room; /* a power of two */
	uint64_t count;
};

static struct {
	const char *scenario;
	uint64_t seed;
} playing;

static bool put(struct set *set, uint64_t number)
{
	uint64_t at = number & (set->room - 1);

	while (set->slots[at] != 0 && set->slots[at] != number)
		at = (at + 1) & (set->room - 1);
	if (set->slots[at] == number)
		return false;
	set->slots[at] = number;
	set->count++;
	return true;
}

static void make_room(struct set *set)
{
	struct set larger = { .room = set->room > 0 ? set->room * 2 : 4096 };

	if (set->count * 2 < set->room)
		return;
	larger.slots = calloc(larger.room, sizeof(larger.slots[0]));
	if (larger.slots == NULL)
		abort();
	for (uint64_t i = 0; i < set->room; i++) {
		if (set->slots[i] != 0)
			(void)put(&larger, set->slots[i]);
	}
	free(set->slots);
	*set = larger;
}

static uint64_t add(struct set *set, uint64_t number)
{
	make_room(set);
	return put(set, number != 0 ? number : 1) ? 1 : 0;
}

static void report(const struct qcf_scenario *scenario,
                   const struct qcf_episode *episode,
                   const struct qcf_finding *finding)
{
	printf("%s, seed %" PRIu64 ": %s\n", scenario->name, episode->seed,
	       finding->text);
	if (episode->threads[0] != '\0')
		printf("threads: %s\n", episode->threads);
	printf("repeat with: test_interleavings --scenario %s --seed %" PRIu64
	       "\n",
	       scenario->name, episode->seed);
	fflush(stdout);
}

static void count_episode(struct qcf_exploration *total,
                          const struct qcf_episode *episode, struct set *orders,
                          struct set *sequences)
{
	total->episodes++;
	total->points += episode->schedule.points;
	total->switches += episode->schedule.switches;
	total->cuts += episode->was_cut;
	total->faults += episode->had_fault;
	total->different += add(orders, episode->schedule.order);
	total->sequences += add(sequences, episode->schedule.sequence);
}

static bool play(struct qcf_theatre *theatre,
                 const struct qcf_scenario *scenario, uint64_t seed,
                 struct qcf_exploration *total, struct set *seen)
{
	struct qcf_finding finding;
	struct qcf_episode episode;

	playing.scenario = scenario->name;
	playing.seed = seed;
	if (!qcf_episode_play(theatre, seed, &episode, &finding)) {
		report(scenario, &episode, &finding);
		return false;
	}
	count_episode(total, &episode, &seen[0], &seen[1]);
	return true;
}

bool qcf_explore(const struct qcf_scenario *scenario, uint64_t first,
                 uint64_t episodes, struct qcf_exploration *total)
{
	struct qcf_theatre *theatre = qcf_theatre_new(scenario);
	struct set seen[2] = { { 0 } }; /* orders and sequences */
	bool good = true;

	for (uint64_t i = 1; i <= QCF_FIRST_SEEDS && good; i++)
		good = play(theatre, scenario, i, total, seen);
	for (uint64_t i = 0; i < episodes && good; i++)
		good = play(theatre, scenario, first + i, total, seen);
	if (!good)
		return false;
	free(seen[0].slots);
	free(seen[1].slots);
	qcf_theatre_free(theatre);
	return true;
}

/* In a handler only what is allowed there. */
static void tell(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(3);
}

static void tell_number(uint64_t number)
{
	char digits[24];
	int at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	tell(digits + at);
}

static void died(int number)
{
	tell(playing.scenario != NULL ? playing.scenario : "?");
	tell(", seed ");
	tell_number(playing.seed);
	tell(": ended by signal ");
	tell_number((uint64_t)number);
	tell("\n");
	_exit(3);
}

/* A stack of its own: a thread's may be used up. */
void qcf_explore_watch_signals(void)
{
	static uint8_t room[64 << 10];
	const stack_t stack = { .ss_sp = room, .ss_size = sizeof(room) };
	struct sigaction action = { .sa_flags = SA_ONSTACK };

	action.sa_handler = died;
	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
}
