/* SPDX-License-Identifier: MIT */
/*
 * test_flush_covers_returned_writes.c - when flush() returns to one of many
 * callers, what that caller wrote before survives a power cut
 *
 * Every thread writes its own sectors, flushes while the others do the same,
 * and then looks at what would be left if the power went now: its sectors must
 * be there, and the image must be free of corruption whatever the others were
 * in the middle of.  Flushes are shared, so many calls need few of the
 * storage's.
 */
#include <inttypes.h>
#include <string.h>

#include "approve.h"
#include "harness.h"
#include "stamp.h"
#include "team.h"
#include "volatile_storage.h"

#define THREADS     6
#define ROUNDS      60
#define SECTORS     384u /* of each thread */
#define STORAGE_MAX (UINT64_C(4) << 20)

static const uint64_t cluster_sizes[] = { 512, 4096, 65536 };

#define SHAPES (int)(sizeof(cluster_sizes) / sizeof(cluster_sizes[0]))

struct job {
	struct qcf_volatile *memory;
	struct qcowfmt_image *image;
	/* Version that each sector must have; a sector's thread is its number
	 * modulo THREADS. */
	uint64_t versions[SECTORS * THREADS];
};

static bool write_some(struct qcf_member *m, uint64_t round)
{
	struct job *job = m->job;
	uint64_t version = qcf_version(m->number, round);
	struct qcowfmt_error *error = NULL;
	uint8_t data[QCF_SECTOR];
	uint64_t sector;
	int ret;
	int i;

	for (i = 0; i < 5; i++) {
		sector = qcf_rng_below(&m->rng, SECTORS) * THREADS +
		         (uint64_t)m->number;
		qcf_stamp_fill(data, sector, 1, version);
		ret = qcowfmt_pwrite(job->image, data, sizeof(data),
		                     sector * QCF_SECTOR, &error);
		if (ret < 0)
			return qcf_found_error(&m->finding, "write", ret,
			                       error);
		job->versions[sector] = version;
	}
	return true;
}

static bool sector_survived(struct qcf_member *m, struct qcowfmt_image *image,
                            uint64_t sector)
{
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	struct qcf_reading reading;
	uint8_t data[QCF_SECTOR];
	int ret = qcowfmt_pread(image, data, sizeof(data), sector * QCF_SECTOR,
	                        &error);

	if (ret < 0)
		return qcf_found_error(&m->finding, "read", ret, error);
	if (!qcf_stamp_read(data, sector, &reading, &m->finding))
		return false;
	if (reading.count == 1 && reading.versions[0] == job->versions[sector])
		return true;
	return qcf_found(&m->finding, QCF_FOUND_CONTENT,
	                 "after a power cut sector %" PRIu64
	                 " has version 0x%" PRIx64 ", flushed was 0x%" PRIx64,
	                 sector, reading.versions[0], job->versions[sector]);
}

static bool look_at_remains(struct qcf_member *m, struct qcowfmt_image *image)
{
	uint64_t sector = (uint64_t)m->number;

	for (; sector < SECTORS * THREADS; sector += THREADS) {
		if (!sector_survived(m, image, sector))
			return false;
	}
	return qcf_check_is_clean(image, true, &m->finding);
}

static bool cut_the_power(struct qcf_member *m)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	struct job *job = m->job;
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	bool good;
	int ret;

	ret = qcf_volatile_after_power_cut(job->memory, &storage, &error);
	if (ret == 0)
		ret = qcowfmt_open(storage, &options, &image, &error);
	if (ret < 0) {
		qcowfmt_storage_free(storage);
		return qcf_found_error(&m->finding, "opening what is left", ret,
		                       error);
	}
	good = look_at_remains(m, image);
	qcowfmt_close(image, NULL);
	return good;
}

static bool write_flush_look(struct qcf_member *m)
{
	unsigned int rounds = qcf_team_rounds(ROUNDS);
	struct job *job = m->job;
	struct qcowfmt_error *error = NULL;
	unsigned int i;
	int ret;

	for (i = 0; i < rounds && qcf_team_goes_on(m); i++) {
		if (!write_some(m, i))
			return false;
		ret = qcowfmt_flush(job->image, &error);
		if (ret < 0)
			return qcf_found_error(&m->finding, "flush", ret,
			                       error);
		if (!cut_the_power(m))
			return false;
	}
	return true;
}

static void open_image(struct job *job, uint64_t cluster_size)
{
	const struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SECTORS * THREADS * QCF_SECTOR,
		.cluster_size = cluster_size,
	};
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_storage *storage = NULL;

	ck_assert_int_eq(qcf_volatile_storage(job->memory, &storage, NULL), 0);
	ck_assert_int_eq(qcowfmt_create(storage, &create, NULL), 0);
	ck_assert_int_eq(qcowfmt_open(storage, &options, &job->image, NULL), 0);
}

START_TEST(flush_covers_returned_writes)
{
	struct qcf_finding finding = { 0 };
	static struct job job;
	bool good;

	job.memory = qcf_volatile_new(STORAGE_MAX);
	open_image(&job, cluster_sizes[_i]);
	good = qcf_team_run(THREADS, write_flush_look, 0, NULL, &job,
	                    qcf_seed() + (uint64_t)_i, &finding);
	ck_assert_msg(good, "QCF_SEED=%" PRIu64 " clusters of %" PRIu64 ": %s",
	              qcf_seed(), cluster_sizes[_i], finding.text);
	ck_assert_int_eq(qcowfmt_close(job.image, NULL), 0);
	ck_assert_uint_gt(qcf_volatile_flushes(job.memory), 0);
	qcf_volatile_free(job.memory);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("flush covers returned writes");
	TCase *tcase = tcase_create("power cut");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, flush_covers_returned_writes, 0, SHAPES);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
