/* SPDX-License-Identifier: MIT */
/*
 * test_overlapping_writes_stay_whole.c - writes that overlap in space and time
 * leave every sector with one of them, and no read goes back in time
 *
 * Threads write, zero and read ranges of a small disk.  Every call is recorded
 * with the moments around it; afterwards each version that was read must have
 * been possible, and the disk at rest must hold one whole version a sector.
 */
#include <inttypes.h>
#include <string.h>

#include "harness.h"
#include "history.h"
#include "rig.h"
#include "stamp.h"
#include "team.h"

#define WRITERS     4
#define READERS     2
#define ROUNDS      700
#define MAX_SECTORS 24
#define SECTORS     512u /* of the disk that are used */

/* The argument "features" chooses the other ones. */
static const struct qcf_rig_shape *shapes;

struct job {
	struct qcf_rig rig;
	struct qcf_history history;
	uint64_t used; /* sectors */
};

struct range {
	uint64_t first;
	uint64_t count;
};

static struct range any_range(struct qcf_member *m)
{
	const struct job *job = m->job;
	struct range range;

	range.count = qcf_rng_between(&m->rng, 1, MAX_SECTORS);
	range.first = qcf_rng_below(&m->rng, job->used - range.count);
	return range;
}

static bool write_range(struct qcf_member *m, struct range range, bool zeroes)
{
	static _Thread_local uint8_t buffer[MAX_SECTORS * QCF_SECTOR];
	struct job *job = m->job;
	struct qcf_write_record record = {
		.first_sector = range.first,
		.count = range.count,
		.zeroes = zeroes,
	};
	uint64_t sequence = qcf_history_next(&job->history, m->number);
	uint64_t offset = range.first * QCF_SECTOR;
	uint64_t len = range.count * QCF_SECTOR;
	bool good;

	qcf_stamp_fill(buffer, range.first, range.count,
	               qcf_version(m->number, sequence));
	record.start = qcf_history_now(&job->history);
	if (zeroes)
		good = qcf_rig_zero(&job->rig, offset, len,
		                    qcf_rng_percent(&m->rng, 50), &m->finding);
	else
		good = qcf_rig_write(&job->rig, buffer, len, offset,
		                     &m->finding);
	record.end = qcf_history_now(&job->history);
	qcf_history_add_write(&job->history, m->number, &record);
	return good;
}

static bool record_sector(struct qcf_member *m, const uint8_t *data,
                          struct qcf_read_record *record)
{
	struct job *job = m->job;
	struct qcf_reading reading;
	int i;

	if (!qcf_stamp_read(data, record->sector, &reading, &m->finding))
		return false;
	for (i = 0; i < reading.count; i++) {
		record->version = reading.versions[i];
		qcf_history_add_read(&job->history, m->number, record);
	}
	return true;
}

static bool read_range(struct qcf_member *m, struct range range)
{
	static _Thread_local uint8_t buffer[MAX_SECTORS * QCF_SECTOR];
	struct job *job = m->job;
	struct qcf_read_record record;
	uint64_t i;

	memset(buffer, 0xee, sizeof(buffer));
	record.start = qcf_history_now(&job->history);
	if (!qcf_rig_read(&job->rig, buffer, range.count * QCF_SECTOR,
	                  range.first * QCF_SECTOR, &m->finding))
		return false;
	record.end = qcf_history_now(&job->history);
	for (i = 0; i < range.count; i += 3) {
		record.sector = range.first + i;
		if (!record_sector(m, buffer + i * QCF_SECTOR, &record))
			return false;
	}
	return true;
}

static bool write_much(struct qcf_member *m)
{
	unsigned int rounds = qcf_team_rounds(ROUNDS);
	unsigned int i;

	for (i = 0; i < rounds && qcf_team_goes_on(m); i++) {
		if (!write_range(m, any_range(m), qcf_rng_percent(&m->rng, 10)))
			return false;
		if (i % 8 == 0 && !read_range(m, any_range(m)))
			return false;
	}
	return true;
}

static bool read_much(struct qcf_member *m)
{
	unsigned int left = 4 * qcf_team_rounds(ROUNDS);

	while (qcf_team_leaders_work(m) && left-- > 0) {
		if (!read_range(m, any_range(m)))
			return false;
	}
	return true;
}

/* At rest: whole sectors, and a read later than all that was recorded. */
static bool read_at_rest(struct job *job, struct qcf_finding *finding)
{
	struct qcf_read_record record;
	struct qcf_reading reading;
	uint8_t sector[QCF_SECTOR];
	uint64_t i;

	for (i = 0; i < job->used; i++) {
		record.sector = i;
		record.start = qcf_history_now(&job->history);
		if (!qcf_rig_read(&job->rig, sector, QCF_SECTOR, i * QCF_SECTOR,
		                  finding) ||
		    !qcf_stamp_read(sector, i, &reading, finding))
			return false;
		if (reading.count != 1)
			return qcf_found(finding, QCF_FOUND_CONTENT,
			                 "sector %" PRIu64 " is a mixture", i);
		record.end = qcf_history_now(&job->history);
		record.version = reading.versions[0];
		qcf_history_add_read(&job->history, 0, &record);
	}
	return true;
}

static bool stress(struct job *job, uint64_t seed, struct qcf_finding *finding)
{
	return qcf_team_run(WRITERS, write_much, READERS, read_much, job, seed,
	                    finding) &&
	       read_at_rest(job, finding) &&
	       qcf_rig_reopen(&job->rig, finding) &&
	       read_at_rest(job, finding) &&
	       qcf_history_judge(&job->history, finding) &&
	       qcf_rig_fini(&job->rig, finding);
}

START_TEST(overlapping_writes_stay_whole)
{
	const struct qcf_rig_shape *shape = &shapes[_i];
	struct qcf_finding finding = { 0 };
	struct job job = { .used = SECTORS };
	char text[160];

	qcf_rig_print(shape, text, sizeof(text));
	qcf_history_init(&job.history, WRITERS + READERS, job.used);
	ck_assert_msg(qcf_rig_init(&job.rig, shape, &finding) &&
	                      stress(&job, qcf_seed() + (uint64_t)_i, &finding),
	              "QCF_SEED=%" PRIu64 " %s: %s", qcf_seed(), text,
	              finding.text);
	qcf_history_fini(&job.history);
}

END_TEST

int main(int argc, char **argv)
{
	bool features = argc > 1 && strcmp(argv[1], "features") == 0;
	int count =
		features ? qcf_rig_feature_shape_count : qcf_rig_shape_count;
	Suite *suite = suite_create("overlapping writes stay whole");
	TCase *tcase = tcase_create("stress");

	shapes = features ? qcf_rig_feature_shapes : qcf_rig_shapes;
	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, overlapping_writes_stay_whole, 0, count);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
