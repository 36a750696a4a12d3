/* SPDX-License-Identifier: MIT */
/*
 * Promise: a power cut while a snapshot is taken, applied or deleted leaves the
 * image as it was before or as it is after.  Disk, VM state and every snapshot
 * read as they should, what is written then changes no snapshot, and the check
 * finds no corruption.  Once the call has returned the image is as it is after, and
 * not even space is lost.
 *
 * In version 2 it may find COPIED flags that are clear where they could be set.
 */
#include <stdio.h>

#include "crash_states.h"
#include "scratch.h"
#include "snapshot_trial.h"
#include "thin.h"

static bool judge(void *opaque, const struct crash_state *state)
{
	const size_t *promised = opaque;
	bool has_returned = state->position >= *promised;

	if (has_returned)
		trial_expect_settled(state->image);
	ck_assert_msg(trial_judge(state->image) || !has_returned,
	              "%s, %s: it has returned and is undone", trial.kind->name,
	              trial.action->name);
	return true;
}

START_TEST(changes)
{
	struct crash_options options = {
		.seed = 1,
		.exhaustive = 6,
		.samples = 25,
		.torn_stride = 5,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };
	struct rec_log *log = rec_log_new(TRIAL_CAPACITY);
	struct qcowfmt_image *image;
	size_t promised;

	trial_begin(_i, log);
	image = trial_open(rec_storage_new(log), QCOWFMT_OPEN_READ_WRITE);
	ck_assert_int_eq(trial_act(image, NULL), 0);
	rec_log_mark(log);
	promised = log->count;
	ck_assert(trial_has_happened(image));
	trial_expect_active(image, true);
	trial_expect_sound(image, true);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	ck_assert(crash_states_visit(log, &options, judge, &promised, &totals));
	printf("%s, %s: %" PRIu64 " states, %" PRIu64 " before, %" PRIu64
	       " after, %" PRIu64 " shown to QEMU\n",
	       trial.kind->name, trial.action->name, totals.states,
	       trial.before, trial.after, trial.seen_by_qemu);
	ck_assert_uint_gt(trial.before, 0);
	ck_assert_uint_gt(trial.after, 0);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, changes, 0, trial_count);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();

	int status = unit_run("snapshots_survive_a_crash", add);

	scratch_fini();
	return status;
}
