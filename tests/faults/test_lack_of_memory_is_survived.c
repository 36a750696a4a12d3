/* SPDX-License-Identifier: MIT */
/*
 * Promise: whichever allocation fails, once or from then on, the call says that
 * memory is lacking and nothing else happens: no crash, no leak, no success
 * that is none, no damage to the image or to other data; tried again with
 * memory, it works.
 *
 * The argument names a kind of image.  Each allocation of a script's run fails
 * in turn until there is none left to fail.  Leaks are found where the program
 * is built with AddressSanitizer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_faults.h"
#include "crash_content.h"
#include "crash_judge.h"
#include "crash_main.h"
#include "crash_ops.h"
#include "figure.h"
#include "image_storage.h"
#include "thin.h"

#define CREATE_CAPACITY (24u << 20)

struct tour {
	struct world *world;
	struct judge judge;
	char name[128];
	bool sticky;
	uint64_t runs;
	uint64_t failed_operations;
	uint64_t allocations;
};

/* ------------------------------------------------------- further operations */

/* Take note of a call that is not one of the world's. */
static void note(struct world *w, const char *what, int ret,
                 struct qcowfmt_error *error)
{
	alloc_faults_inside(false);
	ck_assert_msg((error != NULL) == (ret < 0), "%s: %d with%s error", what,
	              ret, error == NULL ? "out" : "");
	w->result = QCF_MIN(ret, 0);
	w->code = qcowfmt_error_code(error);
	w->failures += ret < 0 ? 1 : 0;
	qcowfmt_error_free(error);
}

static void check_image(struct world *w)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;

	alloc_faults_inside(true);
	int ret = qcowfmt_check(w->image, 0, NULL, NULL, &result, &error);

	note(w, "check", ret, error);
	ck_assert_msg(result.corruptions == 0 && result.check_errors == 0,
	              "%s: check finds %" PRIu64 " corruptions, %" PRIu64
	              " errors",
	              w->sequence, result.corruptions, result.check_errors);
}

static void repair_image(struct world *w)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;

	alloc_faults_inside(true);
	int ret = qcowfmt_check(w->image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                        &result, &error);

	note(w, "repair", ret, error);
}

static void map_image(struct world *w)
{
	struct qcowfmt_extent extents[16];
	struct qcowfmt_error *error = NULL;

	alloc_faults_inside(true);
	int ret = qcowfmt_map(w->image, 0,
	                      crash_arguments.geometry->virtual_clusters *
	                              w->cluster_size,
	                      0, extents, 16, &error);

	note(w, "map", ret, error);
}

static void describe_image(struct world *w)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_error *error = NULL;

	alloc_faults_inside(true);
	int ret = qcowfmt_get_info(w->image, 0, &info, &error);

	note(w, "info", ret, error);
}

static void describe_encryption(struct world *w)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_error *error = NULL;

	alloc_faults_inside(true);
	int ret = qcowfmt_get_encryption_info(w->image, 0, &info, &error);

	note(w, "encryption info", ret, error);
}

static bool is_encrypted(const struct geometry *g)
{
	return g->encryption != QCOWFMT_ENCRYPTION_NONE;
}

/* Many buffers at odd places, so that helper vectors are needed. */
static void read_vector(struct world *w)
{
	static uint8_t bytes[300 * 40];
	struct iovec iov[300];
	struct qcowfmt_error *error = NULL;

	for (int i = 0; i < 300; i++)
		iov[i] = (struct iovec){ bytes + i * 40, 40 };
	alloc_faults_inside(true);
	int ret = qcowfmt_preadv(w->image, iov, 300, 77, &error);

	note(w, "read vector", ret, error);
}

static bool has_counts(const struct geometry *g)
{
	return g->version > 1;
}

static const struct crash_op more_ops[] = {
	{ "check", check_image, has_counts },
	{ "repair", repair_image, has_counts },
	{ "map", map_image, NULL },
	{ "info", describe_image, NULL },
	{ "encryption_info", describe_encryption, is_encrypted },
	{ "read_vector", read_vector, NULL },
};

/* --------------------------------------------------------------- the script */

static const char *const script[] = {
	"read_vector",
	"write_part",
	"info",
	"encryption_info",
	"flush",
	"overwrite_part",
	"compress_over",
	"write_subclusters",
	"discard_one",
	"write_many",
	"map",
	"flush",
	"zero_unmap",
	"zero_subclusters",
	"compress_and_write",
	"check",
	"reopen",
	"reuse_at_once",
	"write_cross_l2",
	"flush",
	"compress_and_discard",
	"repair",
	"discard_filled",
	"write_new",
};

static const struct crash_op *find_op(const char *name)
{
	const struct crash_op *op = crash_op_find(name);

	for (size_t i = 0; op == NULL && i < QCF_ARRAY_LEN(more_ops); i++) {
		if (strcmp(more_ops[i].name, name) == 0)
			op = &more_ops[i];
	}
	ck_assert_msg(op != NULL, "no operation '%s'", name);
	return op;
}

/* Failing for lack of memory says so, whatever it was that needed it. */
static void assert_says_so(struct tour *t, const struct crash_op *op)
{
	ck_assert_msg(t->world->result == 0 ||
	                      (t->world->result == -ENOMEM &&
	                       t->world->code == QCOWFMT_ERR_NO_MEMORY),
	              "%s: %s gives %d, code %d", t->name, op->name,
	              t->world->result, t->world->code);
}

static void run_op(struct tour *t, const struct crash_op *op)
{
	struct world *w = t->world;
	uint64_t failures = w->failures;

	op->run(w);
	if (w->failures == failures)
		return;
	t->failed_operations++;
	assert_says_so(t, op);
	if (w->image == NULL || t->sticky)
		return;
	failures = w->failures;
	op->run(w);
	ck_assert_msg(w->failures == failures,
	              "%s: %s fails again with %d, code %d", t->name, op->name,
	              w->result, w->code);
}

/* With memory again: an image that failed to open opens. */
static void recover(struct tour *t)
{
	struct world *w = t->world;

	t->allocations += alloc_faults_calls();
	alloc_faults_set(0, false);
	if (w->image != NULL)
		return;
	world_reopen(w);
	ck_assert_msg(w->image != NULL, "%s: does not open again: %d", t->name,
	              w->result);
}

static struct byte_image *copy_of(const struct world *w, enum rec_file file)
{
	struct byte_image *copy;

	if (w->start[file] == NULL)
		return NULL;
	copy = byte_image_new(byte_image_capacity(w->start[file]));
	byte_image_copy(copy, w->log->now[file]);
	return copy;
}

static void judge_what_is_left(struct tour *t)
{
	struct crash_state state = {
		.image = copy_of(t->world, REC_IMAGE),
		.data = copy_of(t->world, REC_DATA),
		.position = SIZE_MAX,
		.fingerprint = t->runs,
	};

	ck_assert_msg(judge_state(&t->judge, &state), "%s", t->name);
	byte_image_free(state.image);
	byte_image_free(state.data);
}

static bool run_once(struct tour *t, uint64_t nth)
{
	struct world *w = t->world;
	bool any = false;

	alloc_faults_set(0, false);
	world_restart(w);
	snprintf(t->name, sizeof(t->name), "allocation %" PRIu64 "%s", nth,
	         t->sticky ? " and later" : "");
	w->sequence = t->name;
	alloc_faults_set(nth, t->sticky);
	for (size_t i = 0; i < QCF_ARRAY_LEN(script); i++) {
		const struct crash_op *op = find_op(script[i]);

		if (!crash_op_applies(op, w->geometry))
			continue;
		run_op(t, op);
		any = any || alloc_faults_refused() > 0;
		if (w->image == NULL)
			recover(t);
	}
	recover(t);
	ck_assert_msg(world_content_is_newest(w), "%s: wrong content", t->name);
	world_close(w);
	ck_assert_msg(w->result == 0, "%s: close gives %d", t->name, w->result);
	judge_what_is_left(t);
	t->runs++;
	w->sequence = NULL;
	return any;
}

START_TEST(each_allocation)
{
	struct tour t = {
		.world = world_new(crash_arguments.geometry,
		                   crash_arguments.qemu_img),
		.sticky = _i == 1,
	};
	uint64_t nth = 1;

	t.judge.world = t.world;
	t.world->may_fail = true;
	t.world->unrecorded = true;
	t.world->guard = alloc_faults_inside;
	while (run_once(&t, nth))
		nth += thin_factor();
	printf("%s%s: %" PRIu64 " runs, %" PRIu64 " operations failed\n",
	       crash_arguments.geometry->name, t.sticky ? ", sticky" : "",
	       t.runs, t.failed_operations);
	ck_assert_uint_gt(t.runs, 50 / thin_factor());
	figure_add("allocation-faults", "points", t.runs);
	world_free(t.world);
}

END_TEST

/* Creating an image: all of it or an error. */
static int create_once(struct byte_image *bytes, struct byte_image *data,
                       struct creation *creation)
{
	struct qcowfmt_storage *s = image_storage_new(bytes, true);
	struct qcowfmt_error *error = NULL;

	creation->options.data_storage =
		data == NULL ? NULL : image_storage_new(data, true);
	alloc_faults_inside(true);
	int ret = qcowfmt_create(s, &creation->options, &error);

	alloc_faults_inside(false);
	ck_assert_int_eq(ret, alloc_faults_refused() > 0 ? -ENOMEM : 0);
	ck_assert_int_eq(qcowfmt_error_code(error),
	                 ret < 0 ? QCOWFMT_ERR_NO_MEMORY : QCOWFMT_ERR_NONE);
	qcowfmt_error_free(error);
	qcowfmt_storage_free(creation->options.data_storage);
	qcowfmt_storage_free(s);
	return ret;
}

START_TEST(each_allocation_of_create)
{
	const struct geometry *g = crash_arguments.geometry;
	struct byte_image *bytes = byte_image_new(CREATE_CAPACITY);
	struct byte_image *data =
		g->data_file ? byte_image_new(CREATE_CAPACITY) : NULL;
	struct creation creation;
	uint64_t nth = 0;

	crash_creation_init(&creation, g);
	do
		alloc_faults_set(++nth, _i == 1);
	while (create_once(bytes, data, &creation) < 0);
	/* Version 1 is made without any. */
	if (g->version > 1)
		ck_assert_uint_gt(nth, 1);
	byte_image_free(bytes);
	byte_image_free(data);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, each_allocation, 0, 2);
	if (crash_arguments.geometry->l2_bits == 0)
		tcase_add_loop_test(tcase, each_allocation_of_create, 0, 2);
}

int main(int argc, char **argv)
{
	int status;

	figure_init();
	status = crash_main("lack_of_memory_is_survived", add, argc, argv);
	figure_print();
	return status;
}
