/* SPDX-License-Identifier: MIT */
/*
 * Promise: a power cut while the library repairs an image after a power cut
 * leaves an image that it can repair.
 *
 * States with the dirty bit set are opened for writing on recording storage;
 * every crash state of that must be sound as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_judge.h"
#include "crash_ops.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

/* Dirty states to repair, one in so many of each sequence. */
#define REPAIR_EVERY 2

static const char *const kinds[] = { "v3_512_lazy", "v3_4096_lazy",
	                             "v3_4096_compressing_lazy" };

struct nested {
	struct judge judge;
	struct rec_log *log; /* of a repair */
	size_t position;     /* in the log of the first crash */
	uint64_t dirty_seen;
	uint64_t repairs;
	struct crash_totals totals;
};

static bool is_dirty(const struct byte_image *image)
{
	/* The last byte of the incompatible features. */
	return (byte_image_bytes(image)[79] & 1) != 0;
}

static bool judge_second_crash(void *opaque, const struct crash_state *state)
{
	struct nested *n = opaque;
	struct crash_state seen = *state;

	seen.position = n->position;
	return judge_state(&n->judge, &seen);
}

static bool repair(struct nested *n, const struct byte_image *image)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct crash_options crash = {
		.seed = n->repairs,
		.exhaustive = 10,
		.samples = 64,
	};
	struct qcowfmt_image *repaired = NULL;

	byte_image_copy(n->log->now[REC_IMAGE], image);
	rec_log_restart(n->log);
	ck_assert_int_eq(qcowfmt_open(rec_storage_new(n->log), &options,
	                              &repaired, NULL),
	                 0);
	ck_assert_int_eq(qcowfmt_close(repaired, NULL), 0);
	n->repairs++;
	return crash_states_visit(n->log, &crash, judge_second_crash, n,
	                          &n->totals);
}

static bool repair_if_dirty(void *opaque, const struct crash_state *state)
{
	struct nested *n = opaque;

	if (!is_dirty(state->image) || n->dirty_seen++ % REPAIR_EVERY != 0)
		return true;
	n->position = state->position;
	return repair(n, state->image);
}

static void try_op(struct world *w, const struct crash_op *op, struct nested *n)
{
	struct crash_options options = {
		.seed = 1,
		.exhaustive = 8,
		.samples = 32,
		.torn_stride = 4,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };

	world_restart(w);
	w->sequence = op->name;
	op->run(w);
	world_flush(w);
	op->run(w);
	world_close(w);
	ck_assert_msg(crash_states_visit(w->log, &options, repair_if_dirty, n,
	                                 &totals),
	              "%s: %s", w->geometry->name, op->name);
}

START_TEST(repairs)
{
	struct world *w = world_new(crash_geometry_find(kinds[_i]), NULL);
	struct nested n = {
		.judge = { .world = w },
		.log = rec_log_new(byte_image_capacity(w->start[REC_IMAGE])),
	};

	for (size_t op = 0; op < crash_op_count; op++) {
		if (crash_op_applies(&crash_ops[op], w->geometry))
			try_op(w, &crash_ops[op], &n);
	}
	printf("%s: %" PRIu64 " repairs, %" PRIu64 " states\n", kinds[_i],
	       n.repairs, n.totals.states);
	ck_assert_uint_ge(n.repairs, 40);
	rec_log_free(n.log);
	world_free(w);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, repairs, 0, QCF_ARRAY_LEN(kinds));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();

	int status = unit_run("repair_survives_a_crash", add);

	scratch_fini();
	return status;
}
