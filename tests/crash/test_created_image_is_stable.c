/* SPDX-License-Identifier: MIT */
/*
 * Promise: when creating an image has returned, a power cut cannot take it
 * away; before that, what there is either is the whole image or no image.  A
 * dehydrated copy is stable, too, when it has been made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_judge.h"
#include "image_storage.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

#define CAPACITY (8u << 20)

/* Kinds of image, and others that are made like one of them. */
static const struct {
	const char *like;
	int32_t preallocation;
	uint32_t clusters; /* of the disk; 0 = as many */
} variants[] = {
	{ "v3_4096", QCOWFMT_PREALLOCATION_METADATA },
	{ "v3_512", QCOWFMT_PREALLOCATION_FALLOC },
	{ "v2_512", QCOWFMT_PREALLOCATION_FULL },
	{ "v3_16k_subclusters_preallocated", QCOWFMT_PREALLOCATION_FULL },
	{ "v3_4096_data_file", QCOWFMT_PREALLOCATION_FALLOC },
	{ "v3_4096_data_file_raw", QCOWFMT_PREALLOCATION_FULL },
	{ "v3_4096_luks", QCOWFMT_PREALLOCATION_METADATA },
	/* The last entry of its L1 table is where something was before. */
	{ "v1_4096", 0, 70 * 512 },
};

static struct geometry geometry_of(int index)
{
	struct geometry g;

	if ((size_t)index < crash_geometry_count)
		return crash_geometries[index];
	index -= (int)crash_geometry_count;
	g = *crash_geometry_find(variants[index].like);
	g.preallocation = variants[index].preallocation;
	if (variants[index].clusters != 0)
		g.virtual_clusters = variants[index].clusters;
	return g;
}

/* Nothing to find fault with, and all there that is to be there. */
static bool is_clean(const struct geometry *g, struct qcowfmt_image *image)
{
	bool all = g->preallocation != 0 || g->data_file_raw;
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	if (g->version == 1)
		return true;
	return qcowfmt_check(image, 0, NULL, NULL, &result, NULL) == 0 &&
	       result.corruptions == 0 && result.leaks == 0 &&
	       result.check_errors == 0 &&
	       (!all || result.allocated_clusters == result.total_clusters);
}

/* What encrypted clusters hold that nobody has written is not defined. */
static bool reads_as_zeros(const struct geometry *g,
                           struct qcowfmt_image *image)
{
	static const uint8_t zeros[8192];
	uint8_t bytes[8192];
	uint64_t end = qcowfmt_get_size(image) - sizeof(bytes);

	if (g->backing || (g->encryption != 0 && g->preallocation != 0))
		return true;
	return qcowfmt_pread(image, bytes, sizeof(bytes), 0, NULL) == 0 &&
	       memcmp(bytes, zeros, sizeof(bytes)) == 0 &&
	       qcowfmt_pread(image, bytes, sizeof(bytes), end, NULL) == 0 &&
	       memcmp(bytes, zeros, sizeof(bytes)) == 0;
}

static bool opens_clean(const struct geometry *g,
                        const struct crash_state *state)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = crash_format(g),
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.secret = g->encryption != 0 ? CRASH_SECRET : NULL,
		.secret_len = g->encryption != 0 ? strlen(CRASH_SECRET) : 0,
	};
	struct qcowfmt_storage *storage =
		image_storage_new(state->image, false);
	struct qcowfmt_image *image = NULL;

	if (state->data != NULL)
		options.data_storage = image_storage_new(state->data, false);
	if (qcowfmt_open(storage, &options, &image, NULL) < 0) {
		qcowfmt_storage_free(options.data_storage);
		qcowfmt_storage_free(storage);
		return false;
	}

	bool fine = image_is_like(image, g) && is_clean(g, image) &&
	            reads_as_zeros(g, image);

	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return fine;
}

struct tally {
	const struct geometry *geometry;
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

	if (opens_clean(tally->geometry, state)) {
		tally->whole++;
		return true;
	}
	tally->nothing++;
	return state->position < tally->returned && !has_magic(state->image);
}

/* What was there before is no image. */
static void put_something(struct qcowfmt_storage *storage)
{
	ck_assert_int_eq(
		qcf_storage_pwrite(storage, "not an image", 12, 600, NULL), 0);
}

static void create_image(struct rec_log *log, const struct geometry *g)
{
	struct qcowfmt_storage *storage = rec_storage_new(log);
	struct qcowfmt_storage *data = NULL;
	struct creation creation;

	put_something(storage);
	if (g->data_file) {
		rec_log_add_data(log, CAPACITY);
		data = rec_data_storage_new(log);
		put_something(data);
	}
	rec_log_restart(log);
	crash_creation_init(&creation, g);
	creation.options.data_storage = data;

	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_create(storage, &creation.options, &error) == 0,
	              "%s: %s", g->name, qcowfmt_error_message(error));
	qcowfmt_storage_free(storage);
	qcowfmt_storage_free(data);
}

START_TEST(create)
{
	struct geometry g = geometry_of(_i);

	if (g.l2_bits != 0)
		return; /* is not made by the library */

	struct crash_options crash = { .seed = 1, .thin = thin_factor() };
	struct crash_totals totals = { 0 };
	struct rec_log *log = rec_log_new(CAPACITY);

	create_image(log, &g);
	rec_log_mark(log);

	struct tally tally = { .geometry = &g, .returned = log->count };

	ck_assert_msg(crash_states_visit(log, &crash, is_whole_or_nothing,
	                                 &tally, &totals),
	              "%s", g.name);
	printf("%s: %" PRIu64 " states, %" PRIu64 " whole, %" PRIu64
	       " nothing\n",
	       g.name, totals.states, tally.whole, tally.nothing);
	ck_assert_uint_gt(tally.whole, 0);
	ck_assert_uint_gt(tally.nothing, 0);
	rec_log_free(log);
}

END_TEST

/* ------------------------------------------------------------- a dehydrated copy */

#define DISK (UINT64_C(64) * 4096)

/* All clusters of the disk are there. */
static bool is_clean_copy(struct byte_image *bytes)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_storage *storage = image_storage_new(bytes, false);
	struct qcowfmt_image *image = NULL;

	if (qcowfmt_open(storage, &options, &image, NULL) < 0) {
		qcowfmt_storage_free(storage);
		return false;
	}

	int ret = qcowfmt_check(image, 0, NULL, NULL, &result, NULL);

	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return ret == 0 && result.corruptions == 0 && result.leaks == 0 &&
	       result.check_errors == 0 &&
	       result.allocated_clusters == DISK / 4096;
}

static bool is_the_copy(void *opaque, const struct crash_state *state)
{
	const size_t *returned = opaque;

	return state->position < *returned || is_clean_copy(state->image);
}

START_TEST(dehydrate)
{
	struct crash_options crash = { .seed = 1 };
	struct crash_totals totals = { 0 };
	struct rec_log *log = rec_log_new(CAPACITY);
	struct byte_image *bytes = byte_image_new(CAPACITY);
	struct qcowfmt_storage *source = image_storage_new(bytes, true);
	struct qcowfmt_storage *target = rec_storage_new(log);
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.cluster_size = 4096,
		.virtual_size = DISK,
		.preallocation = QCOWFMT_PREALLOCATION_METADATA,
	};
	size_t returned;

	ck_assert_int_eq(qcowfmt_create(source, &options, NULL), 0);
	put_something(target);
	rec_log_restart(log);
	ck_assert_int_eq(qcowfmt_dehydrate(source, target, 0, NULL), 0);
	rec_log_mark(log);
	returned = log->count;
	ck_assert(crash_states_visit(log, &crash, is_the_copy, &returned,
	                             &totals));
	qcowfmt_storage_free(source);
	qcowfmt_storage_free(target);
	byte_image_free(bytes);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, dehydrate);
	tcase_add_loop_test(tcase, create, 0,
	                    (int)crash_geometry_count +
	                            (int)QCF_ARRAY_LEN(variants));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();

	int status = unit_run("created_image_is_stable", add);

	scratch_fini();
	return status;
}
