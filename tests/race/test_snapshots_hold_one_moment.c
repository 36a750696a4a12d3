/* SPDX-License-Identifier: MIT */
/*
 * test_snapshots_hold_one_moment.c - a snapshot that is taken while others write
 * holds everything written before and nothing written after
 *
 * Each writer counts up in a sector of its own and says so before and after each
 * write.  Whoever takes a snapshot notes what had been said in between: in the
 * snapshot each counter has a value that it could have had at one moment of that
 * time, and it never goes back from one snapshot to the next.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"
#include "team.h"

#define WRITERS   4
#define SNAPSHOTS 12
#define SPREAD    37u /* sectors between those of one writer */
#define PLACES    20u

static const struct qcf_rig_shape shapes[] = {
	{ .cluster_size = 4096, .size = UINT64_C(4) << 20, .version = 3 },
	{ .cluster_size = 512, .size = UINT64_C(4) << 20, .version = 2 },
};

#define SHAPES (int)(sizeof(shapes) / sizeof(shapes[0]))

struct moment {
	uint64_t before[WRITERS]; /* written when taking it began */
	uint64_t after[WRITERS];  /* begun to be written when it had ended */
};

struct job {
	struct qcf_rig rig;
	_Atomic uint64_t begun[WRITERS];
	_Atomic uint64_t written[WRITERS];
	struct moment moments[SNAPSHOTS];
};

/* A writer goes round its places, so that clusters are shared and copied. */
static uint64_t place_of(int writer, uint64_t count)
{
	return ((count % PLACES) * SPREAD * WRITERS + (uint64_t)writer * 3) *
	       512;
}

static bool count_up(struct qcf_member *m)
{
	struct job *job = m->job;
	int writer = m->number - 1;
	uint8_t sector[512];
	uint64_t count;

	for (count = 1; qcf_team_leaders_work(m); count++) {
		memset(sector, 0, sizeof(sector));
		memcpy(sector, &count, sizeof(count));
		atomic_store(&job->begun[writer], count);
		if (!qcf_rig_write(&job->rig, sector, sizeof(sector),
		                   place_of(writer, count), &m->finding))
			return false;
		atomic_store(&job->written[writer], count);
	}
	return true;
}

static bool take(struct qcf_member *m, int number)
{
	struct job *job = m->job;
	struct moment *moment = &job->moments[number];
	struct qcowfmt_error *error = NULL;
	char name[16];
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
	};
	int ret;
	int i;

	snprintf(name, sizeof(name), "s%d", number);
	for (i = 0; i < WRITERS; i++)
		moment->before[i] = atomic_load(&job->written[i]);
	ret = qcowfmt_snapshot_create(job->rig.image, &options, &error);
	if (ret < 0)
		return qcf_found_error(&m->finding, "taking a snapshot", ret,
		                       error);
	for (i = 0; i < WRITERS; i++)
		moment->after[i] = atomic_load(&job->begun[i]);
	return true;
}

static bool take_snapshots(struct qcf_member *m)
{
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	int ret;
	int i;

	for (i = 0; i < SNAPSHOTS && qcf_team_goes_on(m); i++) {
		/* Let everybody write something in between. */
		while (atomic_load(&job->written[0]) < (uint64_t)i * 8 &&
		       qcf_team_goes_on(m))
			usleep(100);
		if (!take(m, i))
			return false;
	}
	/* One in the middle goes away under the hands of the writers. */
	ret = qcowfmt_snapshot_delete(job->rig.image, NULL, "s5", &error);
	if (ret < 0)
		return qcf_found_error(&m->finding, "deleting a snapshot", ret,
		                       error);
	return true;
}

/* The largest value that a writer has in an image. */
static uint64_t value_of(struct qcowfmt_image *image, int writer)
{
	uint64_t largest = 0;
	uint64_t i;

	for (i = 0; i < PLACES; i++) {
		uint64_t count = 0;

		ck_assert_int_eq(qcowfmt_pread(image, &count, sizeof(count),
		                               place_of(writer, i), NULL),
		                 0);
		ck_assert(count == 0 || count % PLACES == i);
		if (count > largest)
			largest = count;
	}
	return largest;
}

static void look_at(struct job *job, int number)
{
	const struct moment *moment = &job->moments[number];
	char name[16];
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_NO_LOCK,
		.snapshot_name = name,
	};
	struct qcowfmt_image *image = NULL;
	int i;

	snprintf(name, sizeof(name), "s%d", number);
	ck_assert_int_eq(
		qcowfmt_open_file(job->rig.path, &options, &image, NULL),
		number == 5 ? -ENOENT : 0);
	if (image == NULL)
		return;
	for (i = 0; i < WRITERS; i++) {
		uint64_t value = value_of(image, i);

		ck_assert_msg(
			value >= moment->before[i] && value <= moment->after[i],
			"%s: writer %d has %" PRIu64 ", want %" PRIu64
			" to %" PRIu64,
			name, i, value, moment->before[i], moment->after[i]);
	}
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

START_TEST(snapshots_hold_one_moment)
{
	struct qcf_finding finding = { 0 };
	static struct job job;
	bool good;
	int i;

	memset(&job, 0, sizeof(job));
	ck_assert_msg(qcf_rig_init(&job.rig, &shapes[_i], &finding), "%s",
	              finding.text);
	good = qcf_team_run(1, take_snapshots, WRITERS, count_up, &job,
	                    qcf_seed() + (uint64_t)_i, &finding);
	ck_assert_msg(good, "QCF_SEED=%" PRIu64 ": %s", qcf_seed(),
	              finding.text);
	ck_assert_int_eq(qcowfmt_flush(job.rig.image, NULL), 0);
	for (i = 0; i < SNAPSHOTS; i++)
		look_at(&job, i);
	ck_assert_msg(qcf_rig_fini(&job.rig, &finding), "%s", finding.text);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshots hold one moment");
	TCase *tcase = tcase_create("race");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, snapshots_hold_one_moment, 0, SHAPES);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
