/* SPDX-License-Identifier: MIT */
/*
 * Promise: after a power cut at any moment of any short sequence of operations
 * the image opens, checks without corruption, has all that was acknowledged,
 * and in each sector old or new content and nothing else.
 *
 * The argument names a kind of image.  All single operations are tried, then
 * sequences of two, three and a few of six at random until enough states were
 * seen.  What is possible before the second operation was seen with the first one
 * alone, so it is not looked at again.
 *
 * QCF_LONG=1 tries all pairs, and of the operations that stand for the others all
 * triples, on the kinds that say so, and sees fifty times as many states at random
 * of the others.  QCF_SEQUENCE="write_new flush overwrite" tries only that, and
 * QCF_SHOW_LOG=1 shows what storage was told before a state that is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_judge.h"
#include "crash_main.h"
#include "crash_ops.h"
#include "thin.h"

#define MAX_OPS 6

/* Of all pairs and triples one state in so many is looked at, and those in which
 * nothing is lost. */
#define PAIRS_THIN   2
#define TRIPLES_THIN 8

/* States to be repaired with a second power cut, one in so many. */
#define SECOND_EVERY      25
#define SECOND_EVERY_SLOW 20

/* One sequence in so many is that long; the others have two or three. */
#define LONG_EVERY 20

/* So many states of a kind of image are also shown to qemu-img. */
#define QEMU_STATES 8

/* Of a slow kind there are more states than its budget says: all those of single
 * operations. */
#define SLOW_STATES UINT64_C(2000)

struct tour {
	struct world *world;
	struct judge judge;
	struct crash_totals totals;
	struct unit_random random;
	uint64_t sequences;
};

static void name_sequence(char *text, size_t size, const size_t *ops, int count)
{
	text[0] = '\0';
	for (int i = 0; i < count; i++)
		snprintf(text + strlen(text), size - strlen(text), "%s%s",
		         i > 0 ? " " : "", crash_ops[ops[i]].name);
}

/* So many clusters take as long as many other states. */
static bool has_long_file(void)
{
	return crash_arguments.geometry->file_clusters > 1000;
}

/* Opening such an image, or checking it, takes as long as looking at many
 * others. */
static bool is_slow(const struct geometry *g)
{
	return g->encryption == QCOWFMT_ENCRYPTION_LUKS || has_long_file();
}

/* One state in so many of a sequence that nobody asked for by name. */
static unsigned int usual_thin(void)
{
	return has_long_file() ? 10 : 1;
}

/* Operations before new_from are the beginning of a sequence that was tried
 * before. */
static void try_sequence(struct tour *t, const size_t *ops, int count,
                         int new_from, unsigned int thin)
{
	bool slow = is_slow(crash_arguments.geometry);
	struct crash_options options = {
		.seed = unit_random_u64(&t->random),
		.exhaustive = slow ? 6 : 10,
		.samples = slow ? 16 : 64,
		.torn_stride = slow ? 16 : 3,
		.thin = thin * thin_factor(),
	};
	char text[160];

	world_restart(t->world);
	name_sequence(text, sizeof(text), ops, count);
	t->world->sequence = text;
	for (int i = 0; i < count; i++) {
		if (i == new_from)
			options.from = t->world->log->count;
		crash_ops[ops[i]].run(t->world);
	}
	world_close(t->world);
	ck_assert_msg(crash_states_visit(t->world->log, &options, judge_state,
	                                 &t->judge, &t->totals),
	              "%s: %s", crash_arguments.geometry->name, text);
	t->sequences++;
	t->world->sequence = NULL;
}

static bool applies(size_t op)
{
	return crash_op_applies(&crash_ops[op], crash_arguments.geometry);
}

static size_t any_op(struct tour *t)
{
	size_t op;

	do {
		op = unit_random_below(&t->random, crash_op_count);
	} while (!applies(op));
	return op;
}

static void try_random(struct tour *t, uint64_t budget)
{
	while (t->totals.states + t->totals.left_out < budget) {
		size_t ops[MAX_OPS];
		int count = 2 + (int)unit_random_below(&t->random, 2);

		if (unit_random_below(&t->random, LONG_EVERY) == 0)
			count = MAX_OPS;
		for (int i = 0; i < count; i++)
			ops[i] = any_op(t);
		try_sequence(t, ops, count, 1, usual_thin());
	}
}

static bool stands_for_others(size_t op)
{
	return applies(op) && crash_ops[op].core;
}

static void try_triples(struct tour *t, size_t first, size_t second)
{
	if (!stands_for_others(first) || !stands_for_others(second))
		return;
	for (size_t third = 0; third < crash_op_count; third++) {
		if (stands_for_others(third))
			try_sequence(t, (size_t[]){ first, second, third }, 3,
			             2, TRIPLES_THIN);
	}
}

static void try_all(struct tour *t)
{
	for (size_t first = 0; first < crash_op_count; first++) {
		if (!applies(first))
			continue;
		printf("%s: %" PRIu64 " sequences, %" PRIu64
		       " states; now those that begin with %s\n",
		       crash_arguments.geometry->name, t->sequences,
		       t->totals.states + t->judge.second.states,
		       crash_ops[first].name);
		for (size_t second = 0; second < crash_op_count; second++) {
			if (!applies(second))
				continue;
			try_sequence(t, (size_t[]){ first, second }, 2, 1,
			             PAIRS_THIN * usual_thin());
			try_triples(t, first, second);
		}
	}
}

static void try_named(struct tour *t, const char *names)
{
	size_t ops[MAX_OPS];
	int count = 0;
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", names);
	for (char *name = strtok(copy, " "); name != NULL && count < MAX_OPS;
	     name = strtok(NULL, " ")) {
		const struct crash_op *op = crash_op_find(name);

		ck_assert_msg(op != NULL && applies((size_t)(op - crash_ops)),
		              "no operation '%s'", name);
		ops[count++] = (size_t)(op - crash_ops);
	}
	try_sequence(t, ops, count, 0, 1);
}

static void print_totals(const struct tour *t)
{
	printf("%s: %" PRIu64 " sequences, %" PRIu64 " states (%" PRIu64
	       " torn, %" PRIu64 " more were alike), %" PRIu64
	       " windows (%" PRIu64 " sampled), %" PRIu64 " dirty, %" PRIu64
	       " with leaks, %" PRIu64 " compressed, %" PRIu64
	       " shown to qemu-img\n",
	       crash_arguments.geometry->name, t->sequences, t->totals.states,
	       t->totals.torn, t->totals.duplicates, t->totals.windows,
	       t->totals.sampled, t->judge.dirty, t->judge.leaks,
	       t->judge.compressed, t->judge.qemu_checked);
	printf("figure: crash_sequences %" PRIu64 " sequences\n", t->sequences);
	printf("figure: crash_states %" PRIu64 " states\n", t->totals.states);
	printf("figure: crash_states_torn %" PRIu64 " states\n",
	       t->totals.torn);
	printf("figure: repairs_cut_short %" PRIu64 " repairs\n",
	       t->judge.repairs);
	printf("figure: crash_states_of_repairs %" PRIu64 " states\n",
	       t->judge.second.states);
	printf("figure: crash_states_shown_to_qemu %" PRIu64 " states\n",
	       t->judge.qemu_checked);
}

/* Data that was to be compressed was, or nothing was tested. */
static void assert_kind_was_met(const struct tour *t)
{
	const struct geometry *g = crash_arguments.geometry;

	if (g->version > 1 && (g->compresses || g->compressed))
		ck_assert_uint_gt(t->judge.compressed, 0);
}

/* How many states at random, besides those of all single operations. */
static uint64_t budget_of(const struct geometry *g, bool long_run)
{
	return long_run && !g->triples ? g->budget * 50 : g->budget;
}

static void try_everything(struct tour *t, bool long_run, uint64_t budget)
{
	for (size_t op = 0; op < crash_op_count; op++) {
		if (applies(op))
			try_sequence(t, &op, 1, 0, usual_thin());
	}
	if (long_run && crash_arguments.geometry->triples)
		try_all(t);
	try_random(t, budget);
	ck_assert_uint_ge(t->totals.states + t->totals.left_out, budget);
	assert_kind_was_met(t);
}

static uint64_t qemu_stride(const struct geometry *g, uint64_t budget)
{
	uint64_t states = QCF_MAX(budget, is_slow(g) ? SLOW_STATES : 0);

	return QCF_MAX(states / thin_factor() / QEMU_STATES, 1u);
}

START_TEST(sequences)
{
	const struct geometry *g = crash_arguments.geometry;
	const char *long_run = getenv("QCF_LONG");
	bool is_long = long_run != NULL && strcmp(long_run, "1") == 0;
	const char *named = getenv("QCF_SEQUENCE");
	uint64_t budget = budget_of(g, is_long);
	struct tour t = {
		.world = world_new(g, crash_arguments.qemu_img),
		.random = unit_random_init(),
	};

	t.judge = (struct judge){
		.world = t.world,
		.qemu_img = crash_arguments.qemu_img,
		.qemu_every = crash_arguments.qemu_img == NULL
		                      ? 0
		                      : qemu_stride(g, budget),
		.second_every = is_slow(g) && !has_long_file()
		                        ? SECOND_EVERY_SLOW
		                        : SECOND_EVERY,
	};
	if (named != NULL)
		try_named(&t, named);
	else
		try_everything(&t, is_long, budget);
	print_totals(&t);
	judge_fini(&t.judge);
	world_free(t.world);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, sequences);
}

int main(int argc, char **argv)
{
	return crash_main("every_crash_state_is_sound", add, argc, argv);
}
