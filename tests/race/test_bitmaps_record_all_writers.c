/* SPDX-License-Identifier: MIT */
/*
 * test_bitmaps_record_all_writers.c - threads that write at once leave no byte out
 * of a dirty bitmap
 *
 * Each writer notes the sectors it changed.  Meanwhile other threads look through
 * the bitmaps, and add, merge and remove one, which stores all of them with
 * everybody waiting.  In the end what is dirty, in memory and after closing, is
 * what was noted, in units of each bitmap.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rng.h"
#include "run.h"
#include "scratch.h"
#include "team.h"

#define WRITERS   5
#define OTHERS    2
#define ROUNDS    600
#define SECTOR    512u
#define SECTORS   ((uint64_t)65536)
#define MAX_WRITE ((uint64_t)200)

static const struct kept {
	const char *name;
	uint64_t granularity;
} kept[] = { { "fine", 512 }, { "some", 4096 }, { "large", 1 << 20 } };

#define KEPT (sizeof(kept) / sizeof(kept[0]))

struct job {
	struct qcowfmt_image *image;
	atomic_uchar changed[SECTORS];
};

static bool change(struct qcowfmt_image *image, int kind, const char *name,
                   const char *source, uint64_t granularity,
                   struct qcf_finding *finding)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = name,
		.kind = kind,
		.granularity = granularity,
		.source_name = source,
	};
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_bitmap_change(&action, 1, NULL, &error);

	return ret == 0 ||
	       qcf_found_error(finding, "changing bitmaps", ret, error);
}

/* ---------------------------------------------------------------------- threads */

static int one_change(struct job *job, struct qcf_rng *rng, uint64_t first,
                      uint64_t count, const uint8_t *bytes,
                      struct qcowfmt_error **errp)
{
	uint64_t offset = first * SECTOR;
	uint64_t len = count * SECTOR;

	if (qcf_rng_percent(rng, 10))
		return qcowfmt_write_zeroes(job->image, offset, len, 0, errp);
	if (qcf_rng_percent(rng, 10))
		return qcowfmt_discard(job->image, offset, len, errp);
	return qcowfmt_pwrite(job->image, bytes, len, offset, errp);
}

static bool write_and_note(struct qcf_member *m)
{
	struct job *job = m->job;
	uint8_t *bytes = calloc(MAX_WRITE, SECTOR);
	unsigned int rounds = qcf_team_rounds(ROUNDS);
	bool good = bytes != NULL;

	for (unsigned int i = 0; i < rounds && good && qcf_team_goes_on(m);
	     i++) {
		uint64_t count = qcf_rng_between(&m->rng, 1, MAX_WRITE);
		uint64_t first = qcf_rng_below(&m->rng, SECTORS / 2 - count);
		struct qcowfmt_error *error = NULL;
		int ret;

		/* Most of the second half stays clean. */
		if (qcf_rng_percent(&m->rng, 1))
			first += SECTORS / 2;
		ret = one_change(job, &m->rng, first, count, bytes, &error);
		for (uint64_t s = first; s < first + count; s++)
			job->changed[s] = 1;
		if (ret < 0)
			good = qcf_found_error(&m->finding, "writing", ret,
			                       error);
	}
	free(bytes);
	return good;
}

/* What is dirty grows, and is in order. */
static bool look_through(struct qcf_member *m)
{
	struct job *job = m->job;
	uint64_t at = 0;
	uint64_t start = 0;
	uint64_t len = 0;

	for (;;) {
		struct qcowfmt_error *error = NULL;
		int ret = qcowfmt_bitmap_next(job->image, "fine", at, &start,
		                              &len, &error);

		if (ret < 0)
			return qcf_found_error(&m->finding, "looking", ret,
			                       error);
		if (ret == 0)
			return true;
		if (start < at || len == 0)
			return qcf_found(&m->finding, QCF_FOUND_METADATA,
			                 "a range at %" PRIu64
			                 " after %" PRIu64,
			                 start, at);
		at = start + len;
	}
}

static bool store_in_between(struct qcf_member *m)
{
	struct job *job = m->job;

	return change(job->image, QCOWFMT_BITMAP_ADD, "passing", NULL, 512,
	              &m->finding) &&
	       change(job->image, QCOWFMT_BITMAP_MERGE, "passing", "some", 0,
	              &m->finding) &&
	       change(job->image, QCOWFMT_BITMAP_REMOVE, "passing", NULL, 0,
	              &m->finding);
}

static bool disturb(struct qcf_member *m)
{
	bool good = true;

	while (good && qcf_team_leaders_work(m)) {
		good = m->number == WRITERS ? look_through(m)
		                            : store_in_between(m);
		usleep(2000);
	}
	return good;
}

/* --------------------------------------------------------------------- the end */

/* Whether a unit was written to. */
static bool was_changed(const struct job *job, uint64_t unit,
                        uint64_t granularity)
{
	uint64_t per_unit = granularity / SECTOR;

	for (uint64_t s = unit * per_unit; s < (unit + 1) * per_unit; s++) {
		if (job->changed[s] != 0)
			return true;
	}
	return false;
}

static bool matches(struct job *job, const struct kept *k,
                    struct qcf_finding *finding)
{
	uint64_t units = SECTORS * SECTOR / k->granularity;
	uint64_t start = 0;
	uint64_t len = 0;
	uint64_t end = 0;

	for (uint64_t unit = 0; unit < units; unit++) {
		uint64_t at = unit * k->granularity;
		bool dirty;

		if (at >= end) {
			int ret = qcowfmt_bitmap_next(job->image, k->name, at,
			                              &start, &len, NULL);

			if (ret <= 0)
				start = SECTORS * SECTOR;
			end = start + (ret <= 0 ? 0 : len);
		}
		dirty = at >= start && at < end;
		if (dirty != was_changed(job, unit, k->granularity))
			return qcf_found(finding, QCF_FOUND_CONTENT,
			                 "bitmap %s: unit %" PRIu64 " is %s",
			                 k->name, unit,
			                 dirty ? "dirty" : "clean");
	}
	return true;
}

static bool all_match(struct job *job, struct qcf_finding *finding)
{
	bool good = true;

	for (size_t i = 0; i < KEPT && good; i++)
		good = matches(job, &kept[i], finding);
	return good;
}

static struct qcowfmt_image *open_image(const char *path)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image = NULL;

	ck_assert_int_eq(qcowfmt_open_file(path, &options, &image, NULL), 0);
	return image;
}

static const uint64_t cluster_sizes[] = { 512, 65536 };

START_TEST(bitmaps_record_all_writers)
{
	static struct job job;
	struct qcf_finding finding = { 0 };
	const char *path = scratch_path("bitmaps.qcow2");
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.cluster_size = cluster_sizes[_i],
		.virtual_size = SECTORS * SECTOR,
	};
	bool good = true;

	ck_assert_int_eq(qcowfmt_create_file(path, &options, NULL), 0);
	job.image = open_image(path);
	for (size_t i = 0; i < KEPT && good; i++)
		good = change(job.image, QCOWFMT_BITMAP_ADD, kept[i].name, NULL,
		              kept[i].granularity, &finding);
	good = good &&
	       qcf_team_run(WRITERS, write_and_note, OTHERS, disturb, &job,
	                    qcf_seed() + (uint64_t)_i, &finding) &&
	       all_match(&job, &finding);
	ck_assert_int_eq(qcowfmt_close(job.image, NULL), 0);
	job.image = open_image(path);
	good = good && all_match(&job, &finding);
	ck_assert_int_eq(qcowfmt_close(job.image, NULL), 0);
	ck_assert_msg(good, "QCF_SEED=%" PRIu64 ": %s", qcf_seed(),
	              finding.text);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("bitmaps record all writers");
	TCase *tcase = tcase_create("stress");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, bitmaps_record_all_writers, 0, 2);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
