/* SPDX-License-Identifier: MIT */
/*
 * Promise: whichever call to storage fails, once or from then on, cleanly or
 * half done, the operation says so and nothing worse happens: no other data is
 * touched, the image stays sound, also after a power cut on top; a failed write
 * can be tried again; after a failed flush nothing is written any more and
 * everything can still be read.
 *
 * The argument names a kind of image.  Each call of a script's run fails in
 * turn until there is none left to fail.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_content.h"
#include "crash_judge.h"
#include "crash_main.h"
#include "crash_ops.h"
#include "figure.h"
#include "image_storage.h"
#include "thin.h"

static const char *const script[] = {
	"write_part",
	"flush",
	"overwrite_part",
	"compress_over",
	"write_subclusters",
	"discard_one",
	"write_many",
	"flush",
	"zero_unmap",
	"zero_subclusters",
	"compress_and_write",
	"reopen",
	"reuse_at_once",
	"flush",
	"write_cross_l2",
	"flush",
	"compress_and_discard",
	"discard_filled",
	"write_new",
};

static const struct fault {
	enum storage_verb verb;
	int error;
	enum fail_manner manner;
} faults[] = {
	{ VERB_READ, EIO, FAIL_CLEAN },
	{ VERB_READ, 0, FAIL_SHORT },
	{ VERB_WRITE, EIO, FAIL_CLEAN },
	{ VERB_WRITE, EIO, FAIL_PARTLY },
	{ VERB_WRITE, ENOSPC, FAIL_CLEAN },
	{ VERB_WRITE, ENOSPC, FAIL_PARTLY },
	{ VERB_FLUSH, EIO, FAIL_CLEAN },
	{ VERB_FLUSH, ENOSPC, FAIL_CLEAN },
	{ VERB_SIZE, EIO, FAIL_CLEAN },
	{ VERB_TRUNCATE, EIO, FAIL_CLEAN },
	{ VERB_TRUNCATE, ENOSPC, FAIL_CLEAN },
	{ VERB_ZERO, EIO, FAIL_PARTLY },
	{ VERB_ZERO, ENOSPC, FAIL_CLEAN },
	{ VERB_DISCARD, EIO, FAIL_CLEAN },
	{ VERB_ALLOCATE, EIO, FAIL_CLEAN },
	{ VERB_ALLOCATE, ENOSPC, FAIL_CLEAN },
};

struct tour {
	struct world *world;
	struct fail_plan plan;
	const struct fault *fault;
	struct judge judge;
	struct crash_totals totals;
	char name[128];
	bool poisoned;
	uint64_t runs;
	uint64_t failed_operations;
	uint64_t retries;
};

/* After a failed flush every write and flush is refused, and says why. */
static void assert_poisoned(struct tour *t)
{
	struct world *w = t->world;

	world_write(w, 0, 1);
	ck_assert_msg(w->result < 0 && w->code == QCOWFMT_ERR_POISONED,
	              "%s: write after a failed flush gives %d, code %d",
	              t->name, w->result, w->code);
	world_flush(w);
	ck_assert_msg(w->result < 0 && w->code == QCOWFMT_ERR_POISONED,
	              "%s: flush after a failed flush gives %d, code %d",
	              t->name, w->result, w->code);
}

/* What failed for a passing reason works when tried again. */
static void retry(struct tour *t, const struct crash_op *op)
{
	struct world *w = t->world;
	uint64_t failures = w->failures;

	op->run(w);
	ck_assert_msg(w->failures == failures,
	              "%s: %s fails again with %d, code %d", t->name, op->name,
	              w->result, w->code);
	t->retries++;
}

static void run_op(struct tour *t, const struct crash_op *op)
{
	struct world *w = t->world;
	uint64_t failures = w->failures;
	uint64_t faults_before = t->plan.failures;

	op->run(w);
	t->failed_operations += w->failures - failures;
	if (w->image == NULL)
		return;

	/* Closing ends a poisoned image; the new one is fine. */
	bool reopened = strcmp(op->name, "reopen") == 0;

	if (reopened)
		t->poisoned = false;
	if (t->plan.failures > faults_before && t->fault->verb == VERB_FLUSH) {
		ck_assert_msg(w->failures > failures,
		              "%s: %s succeeds although a flush failed",
		              t->name, op->name);
		t->poisoned = !reopened;
	}
	if (t->poisoned)
		assert_poisoned(t);
	else if (w->failures > failures && !t->plan.sticky)
		retry(t, op);
}

/* Without faults now: an image that failed to open opens. */
static void recover(struct tour *t)
{
	struct world *w = t->world;

	t->plan.nth = 0;
	if (w->image != NULL)
		return;
	t->poisoned = false;
	world_reopen(w);
	ck_assert_msg(w->image != NULL, "%s: does not open again: %d", t->name,
	              w->result);
}

static void run_script(struct tour *t)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(script); i++) {
		const struct crash_op *op = crash_op_find(script[i]);

		ck_assert_msg(op != NULL, "no operation '%s'", script[i]);
		if (crash_op_applies(op, t->world->geometry))
			run_op(t, op);
		if (t->world->image == NULL)
			recover(t);
	}
}

/* Closing works unless the image is poisoned: then it must not say so. */
static void finish(struct tour *t)
{
	struct world *w = t->world;

	recover(t);
	ck_assert_msg(world_content_is_newest(w), "%s: wrong content", t->name);
	world_close(w);
	ck_assert_msg((w->result < 0) == t->poisoned, "%s: close gives %d",
	              t->name, w->result);
}

/* One run in so many is followed by power cuts: they take time where clusters
 * are large, and most of it where opening is slow. */
static uint64_t judge_every(const struct geometry *g)
{
	if (g->encryption == QCOWFMT_ENCRYPTION_LUKS)
		return 31;
	if (g->cluster_size >= 16384)
		return 11;
	return g->compresses ? 5 : 1;
}

static void judge_what_is_left(struct tour *t)
{
	struct crash_options options = {
		.seed = t->runs,
		.exhaustive = 3,
		.samples = 6,
		.torn_stride = 61,
		.thin = thin_factor(),
	};

	ck_assert_msg(crash_states_visit(t->world->log, &options, judge_state,
	                                 &t->judge, &t->totals),
	              "%s", t->name);
}

/* Returns whether there was a call to fail. */
static bool run_once(struct tour *t, uint64_t nth, bool sticky)
{
	struct world *w = t->world;
	const struct fault *f = t->fault;

	t->plan.nth = 0;
	world_restart(w);
	snprintf(t->name, sizeof(t->name), "%s %" PRIu64 "%s, error %d%s",
	         storage_verb_name(f->verb), nth, sticky ? " and later" : "",
	         f->error, f->manner == FAIL_CLEAN ? "" : ", half done");
	w->sequence = t->name;
	t->poisoned = false;
	t->plan.verbs = VERB_BIT(f->verb);
	t->plan.error = f->error;
	t->plan.sticky = sticky;
	t->plan.manner = f->manner;
	t->plan.calls = 0;
	t->plan.failures = 0;
	t->plan.nth = nth;
	run_script(t);
	finish(t);
	if (t->runs % judge_every(w->geometry) == 0)
		judge_what_is_left(t);
	t->runs++;
	w->sequence = NULL;
	return t->plan.failures > 0;
}

START_TEST(each_call)
{
	bool sticky = _i % 2 != 0;
	struct tour t = {
		.world = world_new(crash_arguments.geometry,
		                   crash_arguments.qemu_img),
		.fault = &faults[_i / 2],
	};
	uint64_t nth = 1;

	t.judge.world = t.world;
	t.world->plan = &t.plan;
	while (run_once(&t, nth, sticky))
		nth += thin_factor();
	printf("%s, %s%s: %" PRIu64 " runs, %" PRIu64
	       " operations failed, %" PRIu64 " tried again, %" PRIu64
	       " states\n",
	       crash_arguments.geometry->name, storage_verb_name(t.fault->verb),
	       sticky ? ", sticky" : "", t.runs, t.failed_operations, t.retries,
	       t.totals.states);
	figure_add("storage-faults", "points", t.runs);
	world_free(t.world);
}

END_TEST

/* ------------------------------------------------------------------- create */

#define CREATE_CAPACITY (24u << 20)

struct create_tour {
	struct creation creation;
	struct byte_image *bytes, *data; /* data may be NULL */
	struct fail_plan plan;
	uint64_t runs;
};

static int create_once(struct create_tour *t)
{
	struct qcowfmt_storage *s =
		fail_storage_new(image_storage_new(t->bytes, true), &t->plan);
	struct qcowfmt_storage *data =
		t->data == NULL
			? NULL
			: fail_storage_new(image_storage_new(t->data, true),
	                                   &t->plan);
	struct qcowfmt_error *error = NULL;

	t->creation.options.data_storage = data;
	t->plan.calls = 0;
	t->plan.failures = 0;

	int ret = qcowfmt_create(s, &t->creation.options, &error);

	ck_assert_int_eq(qcowfmt_error_errno(error), ret < 0 ? -ret : 0);
	qcowfmt_error_free(error);
	qcowfmt_storage_free(s);
	qcowfmt_storage_free(data);
	t->runs++;
	return ret;
}

/* A fault is never passed over, and what it left does not matter later. */
static void fail_each_call(struct create_tour *t, const struct fault *f,
                           bool sticky)
{
	t->plan.verbs = VERB_BIT(f->verb);
	t->plan.error = f->error;
	t->plan.manner = f->manner;
	t->plan.sticky = sticky;
	t->plan.nth = 0;
	do {
		t->plan.nth += thin_factor();

		int ret = create_once(t);
		bool failed = t->plan.failures > 0;

		ck_assert_msg((ret < 0) == failed, "%s %" PRIu64 ": %d",
		              storage_verb_name(f->verb), (uint64_t)t->plan.nth,
		              ret);
	} while (t->plan.failures > 0);
}

/* Whether a fault of this kind has to be told. */
static bool is_serious(const struct fault *f)
{
	return f->manner != FAIL_SHORT && f->verb != VERB_DISCARD;
}

START_TEST(each_call_of_create)
{
	const struct geometry *g = crash_arguments.geometry;
	struct create_tour t = {
		.bytes = byte_image_new(CREATE_CAPACITY),
		.data = g->data_file ? byte_image_new(CREATE_CAPACITY) : NULL,
	};

	crash_creation_init(&t.creation, g);
	if (g->version > 1)
		t.creation.options.preallocation = _i;
	for (size_t i = 0; i < QCF_ARRAY_LEN(faults); i++) {
		if (!is_serious(&faults[i]))
			continue;
		fail_each_call(&t, &faults[i], false);
		fail_each_call(&t, &faults[i], true);
	}
	printf("%s, preallocation %d: created %" PRIu64 " times\n", g->name, _i,
	       t.runs);
	figure_add("storage-faults", "points", t.runs);
	byte_image_free(t.bytes);
	byte_image_free(t.data);
}

END_TEST

static void add(TCase *tcase)
{
	const struct geometry *g = crash_arguments.geometry;
	/* Keys take long to make; version 1 is not preallocated, and without
	 * subclusters that would hide a backing file. */
	bool once = g->version == 1 || g->encryption != 0 ||
	            (g->backing && !g->extended_l2);

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, each_call, 0, 2 * QCF_ARRAY_LEN(faults));
	if (g->l2_bits == 0)
		tcase_add_loop_test(tcase, each_call_of_create, 0,
		                    once ? 1 : 4);
}

int main(int argc, char **argv)
{
	int status;

	figure_init();
	status = crash_main("storage_faults_are_survived", add, argc, argv);
	figure_print();
	return status;
}
