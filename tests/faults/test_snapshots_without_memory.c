/* SPDX-License-Identifier: MIT */
/*
 * Promise: whichever allocation fails while a snapshot is taken, applied or
 * deleted, the operation says so, the image is as before or as after, and can be
 * used on without corruptions or leaks.
 */
#include <errno.h>
#include <stdio.h>

#include "alloc_faults.h"
#include "auto.h"
#include "figure.h"
#include "image_storage.h"
#include "scratch.h"
#include "snapshot_trial.h"
#include "thin.h"

/* The actions on the first two kinds of images. */
#define TRIALS 12

struct tour {
	struct byte_image *start;
	struct byte_image *bytes;
	uint64_t failures;
};

/* Returns false if nothing was left to refuse. */
static bool refuse_nth(struct tour *tour, uint64_t n)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image;
	uint64_t refused;
	int ret;

	byte_image_copy(tour->bytes, tour->start);
	image = trial_open(image_storage_new(tour->bytes, true),
	                   QCOWFMT_OPEN_READ_WRITE);
	alloc_faults_set(n, false);
	alloc_faults_inside(true);
	ret = trial_act(image, &error);
	alloc_faults_inside(false);
	refused = alloc_faults_refused();
	alloc_faults_set(0, false);
	ck_assert(ret == 0 || ret == -ENOMEM);
	ck_assert(ret == 0 || refused > 0);
	qcowfmt_error_free(error);
	tour->failures += ret < 0;
	ck_assert_int_eq(qcowfmt_flush(image, NULL), 0);
	trial_expect_active(image, trial_has_happened(image));
	trial_expect_sound(image, true);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	trial_judge(tour->bytes);
	return refused > 0;
}

START_TEST(memory_is_refused)
{
	struct rec_log *log = rec_log_new(TRIAL_CAPACITY);
	struct tour tour = {
		.start = byte_image_new(TRIAL_CAPACITY),
		.bytes = byte_image_new(TRIAL_CAPACITY),
	};
	uint64_t n = 1;

	trial_begin(_i, log);
	byte_image_copy(tour.start, log->now[REC_IMAGE]);
	while (refuse_nth(&tour, n))
		n += thin_factor();
	printf("%s, %s: %" PRIu64 " runs, %" PRIu64 " failed\n",
	       trial.kind->name, trial.action->name, n, tour.failures);
	ck_assert_uint_gt(tour.failures, 10 / thin_factor());
	figure_add("allocation-faults", "points", n);
	byte_image_free(tour.start);
	byte_image_free(tour.bytes);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, memory_is_refused, 0, TRIALS);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();
	figure_init();

	int status = unit_run("snapshots_without_memory", add);

	scratch_fini();
	figure_print();
	return status;
}
