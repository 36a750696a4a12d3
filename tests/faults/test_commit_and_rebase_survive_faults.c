/* SPDX-License-Identifier: MIT */
/*
 * Promise: when a call of any storage fails, once or from then on, or the caller
 * cancels, commit and rebase say so, the disk stays what it was, and both images
 * are sound.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "chain_world.h"
#include "fail_storage.h"
#include "figure.h"
#include "image_storage.h"
#include "thin.h"
#include "unit.h"

#define QCOW2 QCOWFMT_FORMAT_QCOW2

enum { TOP, BASE, NEW, SIDES };

static const struct fault_case {
	const char *name;
	struct chain_image top;
	struct chain_image base;
} cases[] = {
	{ "version 3",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOW2, 3, 0, 512, 150 * 512, false } },
	{ "version 2",
	  { QCOW2, 2, 0, 512, 96 * 512, false },
	  { QCOW2, 2, 0, 4096, 96 * 512, false } },
	{ "lazy counts",
	  { QCOW2, 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 512, 96 * 512, false },
	  { QCOW2, 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 4096, 60 * 512, false } },
	{ "raw base",
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  { QCOWFMT_FORMAT_RAW, 0, 0, 0, 60 * 512, false } },
	{ "version 1",
	  { QCOWFMT_FORMAT_QCOW, 0, 0, 0, 96 * 512, false },
	  { QCOWFMT_FORMAT_QCOW, 0, 0, 0, 96 * 512, false } },
};

/* Of the cases. */
#define VERSION_1 4

static const struct manner {
	uint32_t verbs;
	int error;
	bool sticky;
	enum fail_manner manner;
} manners[] = {
	{ VERB_CHANGES, EIO, false, FAIL_CLEAN },
	{ VERB_CHANGES, EIO, true, FAIL_PARTLY },
	{ VERB_CHANGES, ENOSPC, false, FAIL_CLEAN },
	{ VERB_CHANGES, ENOSPC, true, FAIL_PARTLY },
	{ VERB_BIT(VERB_READ), EIO, false, FAIL_CLEAN },
	{ VERB_BIT(VERB_READ), EIO, true, FAIL_CLEAN },
	{ VERB_BIT(VERB_FLUSH), EIO, false, FAIL_CLEAN },
	{ VERB_BIT(VERB_FLUSH), EIO, true, FAIL_CLEAN },
};

/* The images, and one attempt on copies of them. */
struct world {
	const struct fault_case *row;
	struct byte_image *made[SIDES];
	struct byte_image *now[SIDES];
	uint64_t size;
	uint8_t disk[CHAIN_MAX_DISK];
	uint64_t cancel_at; /* call of the progress callback; 0 = never */
	uint64_t asked;
};

/* ------------------------------------------------------------------- the images */

static const char *backing_format(const struct world *w)
{
	return w->row->top.format == QCOWFMT_FORMAT_QCOW
	               ? NULL
	               : qcowfmt_format_name(w->row->base.format);
}

static void make_below(struct world *w, int side, uint8_t seed)
{
	const struct chain_image *how = &w->row->base;
	struct qcowfmt_storage *storage =
		image_storage_new(w->made[side], true);
	struct qcowfmt_image *image;

	chain_create(storage, how, NULL, NULL);
	image = chain_open(storage, how->format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   NULL);
	chain_fill(image, 9, 6);
	chain_fill(image, seed, 3);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void make_world(struct world *w)
{
	struct chain_files files;
	struct qcowfmt_storage *storage;
	struct qcowfmt_image *image;

	for (int i = 0; i < SIDES; i++) {
		w->made[i] = byte_image_new(CHAIN_CAPACITY);
		w->now[i] = byte_image_new(CHAIN_CAPACITY);
	}
	make_below(w, BASE, 20);
	make_below(w, NEW, 30);
	files = (struct chain_files){ { { "base", w->made[BASE] } } };
	storage = image_storage_new(w->made[TOP], true);
	chain_create(storage, &w->row->top, "base", backing_format(w));
	image = chain_open(storage, w->row->top.format, QCOWFMT_OPEN_READ_WRITE,
	                   0, &files);
	chain_fill(image, 100, 3);
	w->size = chain_read(image, w->disk);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void free_world(struct world *w)
{
	for (int i = 0; i < SIDES; i++) {
		byte_image_free(w->made[i]);
		byte_image_free(w->now[i]);
	}
}

static void judge(struct world *w)
{
	struct chain_files files = { { { "base", w->now[BASE] },
		                       { "new", w->now[NEW] } } };
	struct qcowfmt_image *image = chain_open(
		image_storage_new(w->now[BASE], true), w->row->base.format,
		QCOWFMT_OPEN_READ_WRITE, 0, NULL);

	chain_expect_sound(image, w->row->name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	image = chain_open(image_storage_new(w->now[TOP], true),
	                   w->row->top.format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   &files);
	chain_expect_sound(image, w->row->name);
	chain_expect(image, w->disk, w->size, w->row->name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* ----------------------------------------------------------------- the operations */

static int on_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct world *w = opaque;

	ck_assert_uint_le(done, total);
	return ++w->asked == w->cancel_at;
}

/* Storages of which one fails as planned. */
static struct qcowfmt_storage *storage_of(struct world *w, int side,
                                          int failing, struct fail_plan *plan)
{
	struct qcowfmt_storage *storage = image_storage_new(w->now[side], true);

	return side == failing ? fail_storage_new(storage, plan) : storage;
}

static int try_commit(struct world *w, int failing, struct fail_plan *plan,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_commit_options how = {
		.struct_size = sizeof(how),
		.progress = on_progress,
		.progress_opaque = w,
	};
	struct chain_files none = { { { NULL, NULL } } };
	uint64_t nth = plan->nth;
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;
	int ret;

	plan->nth = 0;
	base = chain_open(storage_of(w, BASE, failing, plan),
	                  w->row->base.format, QCOWFMT_OPEN_READ_WRITE, 0,
	                  NULL);
	top = chain_open(storage_of(w, TOP, failing, plan), w->row->top.format,
	                 QCOWFMT_OPEN_READ_WRITE, 1, &none);
	plan->calls = 0;
	plan->nth = nth;
	ret = qcowfmt_commit(top, base, &how, errp);
	(void)qcowfmt_close(base, NULL);
	(void)qcowfmt_close(top, NULL);
	return ret;
}

static int try_rebase(struct world *w, int failing, struct fail_plan *plan,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_rebase_options how = {
		.struct_size = sizeof(how),
		.backing_filename = "new",
		.backing_format = qcowfmt_format_name(w->row->base.format),
		.progress = on_progress,
		.progress_opaque = w,
	};
	struct chain_files files = { { { "base", w->now[BASE] } } };
	uint64_t nth = plan->nth;
	struct qcowfmt_image *new_base;
	struct qcowfmt_image *top;
	int ret;

	plan->nth = 0;
	new_base = chain_open(storage_of(w, NEW, failing, plan),
	                      w->row->base.format, 0, 0, NULL);
	top = chain_open(storage_of(w, TOP, failing, plan), w->row->top.format,
	                 QCOWFMT_OPEN_READ_WRITE, 0, &files);
	plan->calls = 0;
	plan->nth = nth;
	ret = qcowfmt_rebase(top, new_base, &how, errp);
	(void)qcowfmt_close(new_base, NULL);
	(void)qcowfmt_close(top, NULL);
	return ret;
}

typedef int (*attempt)(struct world *w, int failing, struct fail_plan *plan,
                       struct qcowfmt_error **errp);

/* One attempt on fresh copies; false if it got to its end without a failure. */
static bool attempt_once(struct world *w, attempt try_it, int failing,
                         struct fail_plan *plan)
{
	struct qcowfmt_error *error = NULL;
	bool failed;
	int ret;

	for (int i = 0; i < SIDES; i++)
		byte_image_copy(w->now[i], w->made[i]);
	w->asked = 0;
	ret = try_it(w, failing, plan, &error);
	failed = plan->failures > 0;
	ck_assert_msg(ret == 0 || failed || w->cancel_at > 0, "%s: %s",
	              w->row->name, qcowfmt_error_message(error));
	ck_assert((ret < 0) == (error != NULL));
	if (w->cancel_at > 0 && w->asked >= w->cancel_at) {
		ck_assert_int_eq(ret, -ECANCELED);
		ck_assert_int_eq(qcowfmt_error_code(error),
		                 QCOWFMT_ERR_CANCELLED);
		failed = true;
	}
	qcowfmt_error_free(error);
	judge(w);
	return failed;
}

static uint64_t fail_every_call(struct world *w, attempt try_it, int failing,
                                const struct manner *manner)
{
	uint64_t nth = 1;

	for (;; nth += thin_factor()) {
		struct fail_plan plan = {
			.verbs = manner->verbs,
			.nth = nth,
			.error = manner->error,
			.sticky = manner->sticky,
			.manner = manner->manner,
		};

		if (!attempt_once(w, try_it, failing, &plan))
			return nth - 1;
	}
}

static uint64_t cancel_every_time(struct world *w, attempt try_it)
{
	struct fail_plan nothing = { .nth = 0 };

	w->cancel_at = 1;
	while (attempt_once(w, try_it, TOP, &nothing))
		w->cancel_at++;
	ck_assert_uint_gt(w->cancel_at, 3);
	return w->cancel_at - 1;
}

static void run(attempt try_it, int other, int index)
{
	static struct world w;
	uint64_t points = 0;

	w = (struct world){ .row = &cases[index] };
	make_world(&w);
	for (size_t i = 0; i < QCF_ARRAY_LEN(manners); i++) {
		points += fail_every_call(&w, try_it, TOP, &manners[i]);
		points += fail_every_call(&w, try_it, other, &manners[i]);
	}
	printf("%s: %" PRIu64 " faults, ", w.row->name, points);
	figure_add("storage-faults", "points", points);
	ck_assert_uint_gt(points, 10);
	printf("%" PRIu64 " times cancelled\n", cancel_every_time(&w, try_it));
	free_world(&w);
}

START_TEST(commit)
{
	run(try_commit, BASE, _i);
}

END_TEST

START_TEST(rebase)
{
	run(try_rebase, NEW, _i);
}

END_TEST

/* ------------------------------------------------------- an L1 table that is lost */

/* Of the L1 table of the top image, where it is emptied in place. */
static bool arrives;

/* Clearing it fails, and has arrived all the same. */
static int lose_table(void *opaque, struct storage_call *call)
{
	const struct byte_image *top = opaque;
	const uint8_t *header = byte_image_bytes(top);
	uint64_t l1 = 0;

	if (!arrives || (VERB_BIT(call->verb) & VERB_CHANGES) == 0)
		return 0;
	for (size_t i = 0; i < 8; i++)
		l1 = l1 << 8 | header[40 + i];
	if (call->offset > l1 || l1 >= call->offset + call->len)
		return 0;
	call->done_len--;
	return -EIO;
}

/* Nothing may be acknowledged that goes to clusters which only memory knows. */
START_TEST(version_1_is_not_written_to_without_its_table)
{
	static struct world w;
	static uint8_t bytes[16384];
	struct qcowfmt_commit_options how = { .struct_size = sizeof(how) };
	struct chain_files none = { { { NULL, NULL } } };
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	w = (struct world){ .row = &cases[VERSION_1] };
	make_world(&w);
	for (int i = 0; i < SIDES; i++)
		byte_image_copy(w.now[i], w.made[i]);
	base = chain_open(image_storage_new(w.now[BASE], true),
	                  w.row->base.format, QCOWFMT_OPEN_READ_WRITE, 0, NULL);
	top = chain_open(wrap_storage_new(image_storage_new(w.now[TOP], true),
	                                  lose_table, w.now[TOP]),
	                 w.row->top.format, QCOWFMT_OPEN_READ_WRITE, 1, &none);
	arrives = true;
	ck_assert_int_eq(qcowfmt_commit(top, base, &how, NULL), -EIO);
	arrives = false;
	ck_assert_int_lt(qcowfmt_pwrite(top, bytes, sizeof(bytes), 0, &error),
	                 0);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_POISONED);
	qcowfmt_error_free(error);
	ck_assert_int_lt(qcowfmt_close(top, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(base, NULL), 0);
	judge(&w);
	free_world(&w);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, commit, 0, (int)QCF_ARRAY_LEN(cases));
	tcase_add_loop_test(tcase, rebase, 0, (int)QCF_ARRAY_LEN(cases));
	tcase_add_test(tcase, version_1_is_not_written_to_without_its_table);
}

int main(void)
{
	int status;

	figure_init();
	status = unit_run("commit_and_rebase_survive_faults", add);
	figure_print();
	return status;
}
