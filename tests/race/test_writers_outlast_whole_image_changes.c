/* SPDX-License-Identifier: MIT */
/*
 * test_writers_outlast_whole_image_changes.c - writes, discards and flushes of
 * several threads all arrive while another thread takes and deletes snapshots,
 * changes bitmaps, the size and the width of counts, compacts and checks the image
 * and converts it into a neighbour that it closes
 *
 * Each writer owns sectors of the disk and knows what they hold.  In the first
 * half writers own whole clusters, which they also discard; in the second half
 * they share clusters.  In the end the disk is what the writers know, also in the
 * snapshot taken last, and the bitmap kept all along has what they touched.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "approve.h"
#include "harness.h"
#include "rig.h"
#include "team.h"

#define WRITERS 4
#define CHANGES 60
#define SECTOR  512u

static const struct qcf_rig_shape shapes[] = {
	{ true, 4096, 1 << 20, 3, 16, .cache_size = 65536 },
	{ false, 512, 256 << 10, 3, 8, .lazy_refcounts = true,
	  .cache_size = 32768 },
	{ false, 16384, 2 << 20, 3, 16, .extended_l2 = true },
	{ false, 4096, 1 << 20, 2, 16 },
};

#define SHAPES (int)(sizeof(shapes) / sizeof(shapes[0]))

struct job {
	struct qcf_rig rig;
	uint8_t *disk;           /* what it must hold */
	bool *touched;           /* each sector */
	_Atomic uint64_t writes; /* so far */
	int names;               /* of snapshots, given so far */
	int oldest;              /* snapshot that is there */
};

/* ------------------------------------------------------------------- writers */

/* How much belongs to one writer before the next one's begins. */
static uint64_t stripe_of(const struct job *job, bool alone)
{
	return alone ? job->rig.shape.cluster_size : SECTOR;
}

static uint64_t any_stripe(struct qcf_member *m, bool alone)
{
	struct job *job = m->job;
	uint64_t half = job->rig.shape.size / 2;
	uint64_t stripe = stripe_of(job, alone);
	uint64_t turns = half / stripe / WRITERS;
	uint64_t writer = (uint64_t)m->number - 1;
	uint64_t index = qcf_rng_below(&m->rng, turns) * WRITERS + writer;

	return (alone ? 0 : half) + index * stripe;
}

static void note(struct job *job, uint64_t offset, uint64_t len)
{
	uint64_t s;

	for (s = offset / SECTOR; s < (offset + len) / SECTOR; s++)
		job->touched[s] = true;
}

/* Version 2 and 3 images without a backing file: a discard leaves zeros. */
static bool change_one(struct qcf_member *m)
{
	struct job *job = m->job;
	bool alone = qcf_rng_percent(&m->rng, 50);
	uint64_t len = stripe_of(job, alone);
	uint64_t at = any_stripe(m, alone);
	uint8_t *own = job->disk + at;

	note(job, at, len);
	if (alone && qcf_rng_percent(&m->rng, 25)) {
		memset(own, 0, len);
		return qcf_rig_discard(&job->rig, at, len, &m->finding);
	}
	if (qcf_rng_percent(&m->rng, 15)) {
		memset(own, 0, len);
		return qcf_rig_zero(&job->rig, at, len,
		                    qcf_rng_percent(&m->rng, 50), &m->finding);
	}
	qcf_rng_fill(&m->rng, own, len);
	if (alone && qcf_rng_percent(&m->rng, 20))
		return qcf_rig_compress(&job->rig, own, len, at, &m->finding);
	return qcf_rig_write(&job->rig, own, len, at, &m->finding);
}

static bool look_at_one(struct qcf_member *m)
{
	struct job *job = m->job;
	bool alone = qcf_rng_percent(&m->rng, 50);
	uint64_t len = stripe_of(job, alone);
	uint64_t at = any_stripe(m, alone);
	uint8_t bytes[1 << 14];

	if (!qcf_rig_read(&job->rig, bytes, len, at, &m->finding))
		return false;
	return memcmp(bytes, job->disk + at, len) == 0 ||
	       qcf_found(&m->finding, QCF_FOUND_CONTENT,
	                 "writer %d: other bytes at %" PRIu64, m->number, at);
}

/* What the header says, while it changes. */
static bool ask(struct qcf_member *m)
{
	const struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_measure_result result = { .struct_size =
		                                         sizeof(result) };
	struct qcowfmt_bitmap_list *list = NULL;
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_measure(job->rig.image, &options, &result, &error);

	if (ret == 0)
		ret = qcowfmt_bitmap_list(job->rig.image, 0, &list, &error);
	qcowfmt_bitmap_list_free(list);
	return ret == 0 || qcf_found_error(&m->finding, "asking", ret, error);
}

static bool write_on(struct qcf_member *m)
{
	struct job *job = m->job;
	bool good = true;

	while (good && qcf_team_leaders_work(m)) {
		good = change_one(m) && look_at_one(m);
		if (good && qcf_rng_percent(&m->rng, 2))
			good = ask(m);
		if (good && qcf_rng_percent(&m->rng, 3))
			good = qcf_rig_flush(&job->rig, &m->finding);
		atomic_fetch_add(&job->writes, 1);
	}
	return good;
}

/* ------------------------------------------------------------ whole-image changes */

static bool take(struct qcf_member *m)
{
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	char name[16];
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
	};
	int ret;

	snprintf(name, sizeof(name), "s%d", job->names);
	ret = qcowfmt_snapshot_create(job->rig.image, &options, &error);
	if (ret < 0)
		return qcf_found_error(&m->finding, "taking a snapshot", ret,
		                       error);
	job->names++;
	return true;
}

static bool delete_oldest(struct qcf_member *m)
{
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	char name[16];
	int ret;

	if (job->oldest == job->names)
		return true;
	snprintf(name, sizeof(name), "s%d", job->oldest++);
	ret = qcowfmt_snapshot_delete(job->rig.image, NULL, name, &error);
	return ret == 0 ||
	       qcf_found_error(&m->finding, "deleting a snapshot", ret, error);
}

static bool change_bitmap(struct job *job, int32_t kind, const char *name,
                          const char *source, struct qcf_finding *finding)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = job->rig.image,
		.name = name,
		.kind = kind,
		.granularity = kind == QCOWFMT_BITMAP_ADD ? SECTOR : 0,
		.source_name = source,
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	if (job->rig.shape.version < 3)
		return true;
	ret = qcowfmt_bitmap_change(&action, 1, NULL, &error);
	return ret == 0 ||
	       qcf_found_error(finding, "changing bitmaps", ret, error);
}

static bool pass_a_bitmap(struct qcf_member *m)
{
	struct job *job = m->job;

	return change_bitmap(job, QCOWFMT_BITMAP_ADD, "passing", NULL,
	                     &m->finding) &&
	       change_bitmap(job, QCOWFMT_BITMAP_MERGE, "passing", "kept",
	                     &m->finding) &&
	       change_bitmap(job, QCOWFMT_BITMAP_REMOVE, "passing", NULL,
	                     &m->finding);
}

static bool compact(struct qcf_member *m)
{
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_compact(job->rig.image, NULL, NULL, &error);

	return ret == 0 ||
	       qcf_found_error(&m->finding, "compacting", ret, error);
}

static bool set_size(struct qcf_member *m, uint64_t size)
{
	const struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_resize(job->rig.image, size, &options, &error);

	return ret == 0 || qcf_found_error(&m->finding, "resize", ret, error);
}

/* Nobody uses what comes and goes.  Version 2 cannot with snapshots. */
static bool breathe(struct qcf_member *m)
{
	struct job *job = m->job;
	uint64_t size = job->rig.shape.size;

	return job->rig.shape.version < 3 ||
	       (set_size(m, size * 9) && set_size(m, size));
}

static bool amend(struct qcf_member *m)
{
	struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
		.refcount_bits = 16u << qcf_rng_below(&m->rng, 3),
		.lazy_refcounts = qcf_rng_percent(&m->rng, 50) ? 1 : -1,
	};
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	int ret;

	if (job->rig.shape.version < 3)
		return true;
	ret = qcowfmt_amend(job->rig.image, &options, &error);
	return ret == 0 || qcf_found_error(&m->finding, "amend", ret, error);
}

static bool check(struct qcf_member *m)
{
	struct job *job = m->job;

	return qcf_check_is_clean(job->rig.image, true, &m->finding);
}

static bool convert_to(struct qcf_member *m, struct qcowfmt_image *target)
{
	const struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.threads = 2,
	};
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_convert(&job->rig.image, 1, target, &options, &error);

	return ret == 0 || qcf_found_error(&m->finding, "convert", ret, error);
}

static bool convert(struct qcf_member *m)
{
	struct job *job = m->job;
	struct qcf_rig_shape shape = job->rig.shape;
	struct qcf_rig target;

	shape.in_memory = true;
	return qcf_rig_init(&target, &shape, &m->finding) &&
	       convert_to(m, target.image) &&
	       qcf_rig_fini(&target, &m->finding);
}

static bool change_image(struct qcf_member *m)
{
	static bool (*const changes[])(struct qcf_member * m) = {
		take,    take,  delete_oldest, delete_oldest, pass_a_bitmap,
		compact, amend, breathe,       convert,       check,
	};
	const uint64_t kinds = sizeof(changes) / sizeof(changes[0]);
	struct job *job = m->job;
	unsigned int count = qcf_team_rounds(CHANGES);
	uint64_t seen = 0;
	unsigned int i;

	for (i = 0; i < count && qcf_team_goes_on(m); i++) {
		/* Let somebody write something in between. */
		while (atomic_load(&job->writes) < seen + WRITERS &&
		       qcf_team_goes_on(m))
			usleep(100);
		seen = atomic_load(&job->writes);
		if (!changes[qcf_rng_below(&m->rng, kinds)](m))
			return false;
		if (job->names - job->oldest > 4 && !delete_oldest(m))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------- the end */

static void expect_disk(const struct job *job, struct qcowfmt_image *image)
{
	size_t size = job->rig.shape.size;
	uint8_t *bytes = malloc(size);

	ck_assert_int_eq(qcowfmt_pread(image, bytes, size, 0, NULL), 0);
	ck_assert_msg(memcmp(bytes, job->disk, size) == 0,
	              "QCF_SEED=%" PRIu64 ": the disk differs", qcf_seed());
	free(bytes);
}

/* Dirty, and nothing else. */
static void expect_bitmap(const struct job *job)
{
	uint64_t sectors = job->rig.shape.size / SECTOR;
	uint64_t start = 0;
	uint64_t len = 0;
	uint64_t s = 0;

	while (job->rig.shape.version >= 3 && s < sectors) {
		int ret = qcowfmt_bitmap_next(job->rig.image, "kept",
		                              s * SECTOR, &start, &len, NULL);

		ck_assert_int_ge(ret, 0);
		if (ret == 0)
			start = sectors * SECTOR;
		for (; s < start / SECTOR; s++)
			ck_assert_msg(!job->touched[s],
			              "QCF_SEED=%" PRIu64 ": sector %" PRIu64
			              " is clean",
			              qcf_seed(), s);
		for (; ret == 1 && s < (start + len) / SECTOR; s++)
			ck_assert(job->touched[s]);
	}
}

static void expect_last_snapshot(const struct job *job)
{
	char name[16];
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_NO_LOCK,
		.snapshot_name = name,
	};
	struct qcowfmt_image *image = NULL;

	snprintf(name, sizeof(name), "s%d", job->names - 1);
	ck_assert_int_eq(
		qcowfmt_open_file(job->rig.path, &options, &image, NULL), 0);
	expect_disk(job, image);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void set_up(struct job *job, int number, struct qcf_finding *finding)
{
	memset(job, 0, sizeof(*job));
	ck_assert_msg(qcf_rig_init(&job->rig, &shapes[number], finding), "%s",
	              finding->text);
	job->disk = calloc(1, job->rig.shape.size);
	job->touched = calloc(job->rig.shape.size / SECTOR, sizeof(bool));
	ck_assert(job->disk && job->touched);
	ck_assert_msg(
		change_bitmap(job, QCOWFMT_BITMAP_ADD, "kept", NULL, finding),
		"%s", finding->text);
}

START_TEST(writers_outlast_changes)
{
	struct qcf_finding finding = { 0 };
	struct qcf_member last = { 0 };
	static struct job job;

	set_up(&job, _i, &finding);
	ck_assert_msg(qcf_team_run(1, change_image, WRITERS, write_on, &job,
	                           qcf_seed() + (uint64_t)_i, &finding),
	              "QCF_SEED=%" PRIu64 ": %s", qcf_seed(), finding.text);
	expect_disk(&job, job.rig.image);
	expect_bitmap(&job);
	last.job = &job;
	ck_assert_msg(take(&last), "%s", last.finding.text);
	ck_assert_msg(qcf_rig_reopen(&job.rig, &finding), "%s", finding.text);
	expect_disk(&job, job.rig.image);
	expect_bitmap(&job);
	if (!job.rig.shape.in_memory)
		expect_last_snapshot(&job);
	ck_assert_msg(qcf_rig_fini(&job.rig, &finding), "%s", finding.text);
	free(job.disk);
	free(job.touched);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("writers outlast whole-image changes");
	TCase *tcase = tcase_create("race");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, writers_outlast_changes, 0, SHAPES);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
