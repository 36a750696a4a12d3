/* SPDX-License-Identifier: MIT */
/*
 * Promise: after a power cut at any moment of any short sequence of operations
 * the image opens, checks without corruption, has all that was acknowledged,
 * and in each sector old or new content and nothing else.
 *
 * The argument names a kind of image.  All single operations are tried, then
 * pairs, triples and a few longer sequences at random until enough states were
 * seen; QCF_LONG=1 sees fifty times as many.  QCF_SEQUENCE="write_new flush overwrite" tries
 * only that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_judge.h"
#include "crash_main.h"
#include "crash_ops.h"
#include "thin.h"

#define MAX_OPS 6

/* One sequence in so many is that long; the others have two or three. */
#define LONG_EVERY 20

/* So many states of a kind of image are also shown to qemu-img. */
#define QEMU_STATES 8

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

static void try_sequence(struct tour *t, const size_t *ops, int count)
{
	/* Opening such an image takes as long as looking at many others. */
	bool slow =
		crash_arguments.geometry->encryption == QCOWFMT_ENCRYPTION_LUKS;
	struct crash_options options = {
		.seed = unit_random_u64(&t->random),
		.exhaustive = slow ? 6 : 10,
		.samples = slow ? 16 : 64,
		.torn_stride = slow ? 16 : 3,
		.thin = thin_factor(),
	};
	char text[128];

	world_restart(t->world);
	name_sequence(text, sizeof(text), ops, count);
	t->world->sequence = text;
	for (int i = 0; i < count; i++)
		crash_ops[ops[i]].run(t->world);
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
		try_sequence(t, ops, count);
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
	try_sequence(t, ops, count);
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
}

/* Data that was to be compressed was, or nothing was tested. */
static void assert_kind_was_met(const struct tour *t)
{
	const struct geometry *g = crash_arguments.geometry;

	if (g->version > 1 && (g->compresses || g->compressed))
		ck_assert_uint_gt(t->judge.compressed, 0);
}

START_TEST(sequences)
{
	const char *long_run = getenv("QCF_LONG");
	const char *named = getenv("QCF_SEQUENCE");
	uint64_t budget = crash_arguments.geometry->budget;
	struct tour t = {
		.world = world_new(crash_arguments.geometry,
		                   crash_arguments.qemu_img),
		.random = unit_random_init(),
	};

	if (long_run != NULL && strcmp(long_run, "1") == 0)
		budget *= 50;
	t.judge = (struct judge){
		.world = t.world,
		.qemu_img = crash_arguments.qemu_img,
		.qemu_every = crash_arguments.qemu_img == NULL
		                      ? 0
		                      : budget / thin_factor() / QEMU_STATES,
	};
	if (named != NULL) {
		try_named(&t, named);
	} else {
		for (size_t op = 0; op < crash_op_count; op++) {
			if (applies(op))
				try_sequence(&t, &op, 1);
		}
		try_random(&t, budget);
		ck_assert_uint_ge(t.totals.states + t.totals.left_out, budget);
		assert_kind_was_met(&t);
	}
	print_totals(&t);
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
