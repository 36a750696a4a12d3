/* SPDX-License-Identifier: MIT */
/*
 * Promise: whichever call to storage fails while a snapshot is taken, applied or
 * deleted, once or from then on, the image is as before or as after.  If only one
 * call fails, and no flush, the image can be used on and has neither corruptions
 * nor leaks.
 */
#include <errno.h>
#include <stdio.h>

#include "auto.h"
#include "fail_storage.h"
#include "figure.h"
#include "image_storage.h"
#include "scratch.h"
#include "snapshot_trial.h"
#include "thin.h"

static const struct storage_fault faults[] = {
	{ VERB_READ, EIO, FAIL_CLEAN, false },
	{ VERB_READ, EIO, FAIL_CLEAN, true },
	{ VERB_WRITE, EIO, FAIL_CLEAN, false },
	{ VERB_WRITE, ENOSPC, FAIL_PARTLY, false },
	{ VERB_WRITE, ENOSPC, FAIL_CLEAN, true },
	{ VERB_FLUSH, EIO, FAIL_CLEAN, false },
	{ VERB_SIZE, EIO, FAIL_CLEAN, false },
	{ VERB_ZERO, ENOSPC, FAIL_CLEAN, true },
	{ VERB_DISCARD, EIO, FAIL_CLEAN, true },
};

struct tour {
	struct byte_image *start;
	struct byte_image *bytes;
	struct fail_plan plan;
	uint64_t runs;
	uint64_t failures;
	uint64_t usable;
};

/* The image after the failure, with storage in order again. */
static void use_on(struct tour *tour, struct qcowfmt_image *image)
{
	char byte;
	bool after;

	if (qcowfmt_flush(image, NULL) < 0)
		return;
	tour->usable++;
	after = trial_has_happened(image);
	trial_expect_active(image, after);
	trial_expect_sound(image, true);
	/* What the disk has there anyway is not changed by this. */
	ck_assert_int_eq(qcowfmt_pread(image, &byte, 1, 0, NULL), 0);
	ck_assert_int_eq(qcowfmt_pwrite(image, &byte, 1, 0, NULL), 0);
	ck_assert_int_eq(qcowfmt_flush(image, NULL), 0);
}

/* Returns false if nothing was left to fail. */
static bool fail_nth(struct tour *tour, const struct storage_fault *fault,
                     uint64_t n)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image;
	int ret;

	byte_image_copy(tour->bytes, tour->start);
	tour->plan = fail_plan_for(fault);
	image = trial_open(
		fail_storage_new(image_storage_new(tour->bytes, true),
	                         &tour->plan),
		QCOWFMT_OPEN_READ_WRITE);
	tour->plan.calls = 0;
	tour->plan.nth = n;
	ret = trial_act(image, &error);
	tour->plan.nth = 0;
	ck_assert(ret == 0 || error != NULL);
	ck_assert(ret == 0 || tour->plan.failures > 0);
	qcowfmt_error_free(error);
	tour->runs++;
	tour->failures += ret < 0;
	/* Where nothing could be put in order the image is poisoned. */
	if (fault->verb != VERB_FLUSH)
		use_on(tour, image);
	(void)qcowfmt_close(image, NULL);
	trial_judge(tour->bytes);
	return tour->plan.failures > 0;
}

START_TEST(operations_fail)
{
	struct rec_log *log = rec_log_new(TRIAL_CAPACITY);
	struct tour tour = {
		.start = byte_image_new(TRIAL_CAPACITY),
		.bytes = byte_image_new(TRIAL_CAPACITY),
	};

	trial_begin(_i, log);
	byte_image_copy(tour.start, log->now[REC_IMAGE]);
	for (size_t i = 0; i < QCF_ARRAY_LEN(faults); i++) {
		uint64_t n = 1;

		while (fail_nth(&tour, &faults[i], n))
			n += thin_factor();
	}
	printf("%s, %s: %" PRIu64 " runs, %" PRIu64 " failed, %" PRIu64
	       " could be used on\n",
	       trial.kind->name, trial.action->name, tour.runs, tour.failures,
	       tour.usable);
	ck_assert_uint_gt(tour.failures, 10 / thin_factor());
	figure_add("storage-faults", "points", tour.runs);
	ck_assert_uint_gt(tour.usable, 10 / thin_factor());
	byte_image_free(tour.start);
	byte_image_free(tour.bytes);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, operations_fail, 0, trial_count);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();
	figure_init();

	int status = unit_run("snapshot_faults_are_survived", add);

	scratch_fini();
	figure_print();
	return status;
}
