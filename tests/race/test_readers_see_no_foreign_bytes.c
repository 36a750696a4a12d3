/* SPDX-License-Identifier: MIT */
/*
 * test_readers_see_no_foreign_bytes.c - a read never returns bytes of another
 * place, however fast clusters are freed and used again
 *
 * Writers stamp, zero and discard clusters all over a small disk, so that host
 * clusters change their owner all the time; readers look at every sector they
 * get.  Metadata or another cluster's data would not carry the right stamp.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "rig.h"
#include "stamp.h"
#include "team.h"

#define WRITERS 4
#define READERS 3
#define ROUNDS  900
#define MAX_LEN (256u << 10)

/* The argument "features" chooses the other ones. */
static const struct qcf_rig_shape *shapes;

struct job {
	struct qcf_rig rig;
	uint64_t used; /* bytes at the start of the disk that are used */
	atomic_uint_least64_t begun[WRITERS]; /* writes of each thread */
};

struct range {
	uint64_t offset;
	uint64_t len;
};

/* Sector aligned, often whole clusters, at most a few of them. */
static struct range any_range(struct qcf_member *m)
{
	const struct job *job = m->job;
	uint64_t cs = job->rig.shape.cluster_size;
	uint64_t most = 3 * cs < MAX_LEN ? 3 * cs : MAX_LEN;
	struct range range;

	range.len = qcf_rng_between(&m->rng, 1, most / QCF_SECTOR) * QCF_SECTOR;
	range.offset =
		qcf_rng_below(&m->rng, (job->used - range.len) / QCF_SECTOR) *
		QCF_SECTOR;
	if (qcf_rng_percent(&m->rng, 60)) {
		range.offset -= range.offset % cs;
		range.len = (range.len + cs - 1) / cs * cs;
	}
	return range;
}

static bool write_stamps(struct qcf_member *m, uint8_t *buffer,
                         struct range range)
{
	struct job *job = m->job;
	uint64_t sequence = atomic_fetch_add(&job->begun[m->number], 1);
	uint64_t cs = job->rig.shape.cluster_size;

	qcf_stamp_fill(buffer, range.offset / QCF_SECTOR,
	               range.len / QCF_SECTOR,
	               qcf_version(m->number, sequence));
	if (range.offset % cs == 0 && range.len % cs == 0 &&
	    qcf_rig_compresses(&job->rig) && qcf_rng_percent(&m->rng, 30))
		return qcf_rig_compress(&job->rig, buffer, range.len,
		                        range.offset, &m->finding);
	return qcf_rig_write(&job->rig, buffer, range.len, range.offset,
	                     &m->finding);
}

static bool one_round(struct qcf_member *m, uint8_t *buffer)
{
	struct job *job = m->job;
	struct range range = any_range(m);
	uint64_t pick = qcf_rng_below(&m->rng, 20);

	if (pick < 9)
		return write_stamps(m, buffer, range);
	if (pick < 12)
		return qcf_rig_zero(&job->rig, range.offset, range.len,
		                    pick % 2 == 0, &m->finding);
	if (pick < 19)
		return qcf_rig_discard(&job->rig, range.offset, range.len,
		                       &m->finding);
	return qcf_rig_flush(&job->rig, &m->finding);
}

static bool change_owners(struct qcf_member *m)
{
	unsigned int rounds = qcf_team_rounds(ROUNDS);
	uint8_t *buffer = malloc(MAX_LEN);
	bool good = true;
	unsigned int i;

	if (!buffer)
		abort();
	for (i = 0; i < rounds && good && qcf_team_goes_on(m); i++)
		good = one_round(m, buffer);
	free(buffer);
	return good;
}

static bool was_begun(struct job *job, uint64_t version)
{
	int thread = qcf_version_thread(version);

	if (version == QCF_VERSION_ZERO)
		return true;
	return thread >= 0 && thread < WRITERS &&
	       qcf_version_sequence(version) < atomic_load(&job->begun[thread]);
}

static bool look_at(struct qcf_member *m, const uint8_t *data, uint64_t sector)
{
	struct job *job = m->job;
	struct qcf_reading reading;
	int i;

	if (!qcf_stamp_read(data, sector, &reading, &m->finding))
		return false;
	for (i = 0; i < reading.count; i++) {
		if (!was_begun(job, reading.versions[i]))
			return qcf_found(&m->finding, QCF_FOUND_CONTENT,
			                 "sector %" PRIu64
			                 " has version 0x%" PRIx64
			                 ", which nobody wrote",
			                 sector, reading.versions[i]);
	}
	return true;
}

static bool read_range(struct qcf_member *m, uint8_t *buffer,
                       struct range range)
{
	struct job *job = m->job;
	uint64_t i;

	memset(buffer, 0xee, range.len);
	if (!qcf_rig_read(&job->rig, buffer, range.len, range.offset,
	                  &m->finding))
		return false;
	for (i = 0; i < range.len; i += QCF_SECTOR) {
		if (!look_at(m, buffer + i, (range.offset + i) / QCF_SECTOR))
			return false;
	}
	return true;
}

static bool look_everywhere(struct qcf_member *m)
{
	uint8_t *buffer = malloc(MAX_LEN);
	bool good = true;

	if (!buffer)
		abort();
	while (good && qcf_team_leaders_work(m))
		good = read_range(m, buffer, any_range(m));
	free(buffer);
	return good;
}

static bool read_all(struct qcf_member *m)
{
	struct job *job = m->job;
	struct range range = { .len = QCF_SECTOR };
	uint8_t buffer[QCF_SECTOR];

	for (; range.offset < job->used; range.offset += range.len) {
		if (!read_range(m, buffer, range))
			return false;
	}
	return true;
}

static bool stress(struct job *job, uint64_t seed, struct qcf_finding *finding)
{
	return qcf_team_run(WRITERS, change_owners, READERS, look_everywhere,
	                    job, seed, finding) &&
	       qcf_rig_reopen(&job->rig, finding) &&
	       qcf_team_run(1, read_all, 0, NULL, job, seed, finding) &&
	       qcf_rig_fini(&job->rig, finding);
}

START_TEST(readers_see_no_foreign_bytes)
{
	const struct qcf_rig_shape *shape = &shapes[_i];
	struct qcf_finding finding = { 0 };
	static struct job job;
	char text[160];

	qcf_rig_print(shape, text, sizeof(text));
	job.used = 48 * shape->cluster_size;
	ck_assert_msg(qcf_rig_init(&job.rig, shape, &finding) &&
	                      stress(&job, qcf_seed() + (uint64_t)_i, &finding),
	              "QCF_SEED=%" PRIu64 " %s: %s", qcf_seed(), text,
	              finding.text);
}

END_TEST

int main(int argc, char **argv)
{
	bool features = argc > 1 && strcmp(argv[1], "features") == 0;
	int count =
		features ? qcf_rig_feature_shape_count : qcf_rig_shape_count;
	Suite *suite = suite_create("readers see no foreign bytes");
	TCase *tcase = tcase_create("stress");

	shapes = features ? qcf_rig_feature_shapes : qcf_rig_shapes;
	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, readers_see_no_foreign_bytes, 0, count);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
