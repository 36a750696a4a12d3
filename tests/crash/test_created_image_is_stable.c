/* SPDX-License-Identifier: MIT */
/*
 * Promise: when creating an image has returned, a power cut cannot take it
 * away; before that, what there is either is the whole image or no image.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_judge.h"
#include "image_storage.h"
#include "scratch.h"
#include "unit.h"

static bool opens_clean(struct byte_image *bytes)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_storage *storage = image_storage_new(bytes, false);
	struct qcowfmt_image *image = NULL;

	if (qcowfmt_open(storage, &options, &image, NULL) < 0) {
		qcowfmt_storage_free(storage);
		return false;
	}

	bool fine = qcowfmt_check(image, 0, NULL, NULL, &result, NULL) == 0 &&
	            result.corruptions == 0 && result.leaks == 0 &&
	            result.check_errors == 0;

	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return fine;
}

struct tally {
	size_t returned; /* position at which creating returned */
	uint64_t whole;
	uint64_t nothing;
};

static bool has_magic(const struct byte_image *bytes)
{
	return byte_image_size(bytes) >= 4 &&
	       memcmp(byte_image_bytes(bytes), "QFI\xfb", 4) == 0;
}

static bool is_whole_or_nothing(void *opaque, const struct crash_state *state)
{
	struct tally *tally = opaque;

	if (opens_clean(state->image)) {
		tally->whole++;
		return true;
	}
	tally->nothing++;
	return state->position < tally->returned && !has_magic(state->image);
}

#define MODES 4 /* of enum qcowfmt_preallocation */

START_TEST(create)
{
	const struct geometry *g = &crash_geometries[_i / MODES];
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = g->virtual_clusters * g->cluster_size,
		.version = g->version,
		.cluster_size = g->cluster_size,
		.refcount_bits = g->refcount_bits,
		.flags = g->lazy ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0,
		.backing_filename = g->backing ? "backing" : NULL,
		.backing_format = g->backing ? "raw" : NULL,
		.preallocation = _i % MODES,
	};
	struct crash_options crash = { .seed = 1 };
	struct crash_totals totals = { 0 };
	struct rec_log *log;
	struct qcowfmt_storage *storage;

	/* Such an image cannot be preallocated. */
	if (g->backing && options.preallocation != QCOWFMT_PREALLOCATION_OFF)
		return;
	log = rec_log_new(4u << 20);
	storage = rec_storage_new(log);

	/* What was there before is no image. */
	ck_assert_int_eq(
		qcf_storage_pwrite(storage, "not an image", 12, 600, NULL), 0);
	rec_log_restart(log);
	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
	rec_log_mark(log);

	struct tally tally = { .returned = log->count };

	ck_assert_msg(crash_states_visit(log, &crash, is_whole_or_nothing,
	                                 &tally, &totals),
	              "%s, preallocation %d", g->name, options.preallocation);
	printf("%s: %" PRIu64 " states, %" PRIu64 " whole, %" PRIu64
	       " nothing\n",
	       g->name, totals.states, tally.whole, tally.nothing);
	ck_assert_uint_gt(tally.whole, 0);
	ck_assert_uint_gt(tally.nothing, 0);
	qcowfmt_storage_free(storage);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, create, 0,
	                    (int)crash_geometry_count * MODES);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	return unit_run("created_image_is_stable", add);
}
