/* SPDX-License-Identifier: MIT */
/*
 * test_disjoint_writers_lose_nothing.c - threads that write to different bytes
 * do not disturb each other
 *
 * Each thread owns every n-th stripe of the disk and compares what it reads
 * there with its own flat array while the others work on the clusters, table
 * slices and, where stripes end within a sector, the sectors that they share
 * with it.  A discard of whole clusters that a thread owns must not reach its
 * neighbours either.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"
#include "team.h"

#define WRITERS        5
#define ROUNDS         1000
#define MAX_LEN        (192u << 10)
#define FLUSHERS       1
#define FLUSH_EVERY_US 50000

/* Stripes as a number of bytes (below 10 of clusters). */
static const uint64_t stripes[] = { 700, 512, 4096 + 512, 1, 3, 100 };

#define STRIPES (int)(sizeof(stripes) / sizeof(stripes[0]))

/* The argument "features" chooses the other ones. */
static const struct qcf_rig_shape *shapes;

struct job {
	struct qcf_rig rig;
	uint64_t stripe; /* bytes */
	uint64_t used;   /* bytes at the start of the disk that are used */
	uint8_t *oracle; /* a byte belongs to the owner of its stripe */
};

struct piece {
	uint64_t offset;
	uint64_t len;
};

/* A random range within a stripe of the member. */
static struct piece any_piece(struct qcf_member *m)
{
	const struct job *job = m->job;
	uint64_t round = job->stripe * WRITERS;
	uint64_t start = qcf_rng_below(&m->rng, job->used / round) * round +
	                 (uint64_t)m->number * job->stripe;
	uint64_t len = job->stripe < MAX_LEN ? job->stripe : MAX_LEN;
	uint64_t first = qcf_rng_below(&m->rng, len);
	struct piece piece;

	if (qcf_rng_percent(&m->rng, 30))
		first = 0;
	piece.offset = start + first;
	piece.len = qcf_rng_between(&m->rng, 1, len - first);
	if (qcf_rng_percent(&m->rng, 30))
		piece.len = len - first;
	return piece;
}

static void oracle_discard(const struct job *job, struct piece piece)
{
	uint64_t cs = job->rig.shape.cluster_size;
	uint64_t first = (piece.offset + cs - 1) / cs * cs;
	uint64_t last = (piece.offset + piece.len) / cs * cs;

	/* Version 1 cannot give anything back. */
	if (job->rig.shape.version > 1 && first < last)
		memset(job->oracle + first, 0, last - first);
}

static bool read_back(struct qcf_member *m, uint8_t *buffer, struct piece piece)
{
	struct job *job = m->job;

	if (!qcf_rig_read(&job->rig, buffer, piece.len, piece.offset,
	                  &m->finding))
		return false;
	if (memcmp(buffer, job->oracle + piece.offset, piece.len) == 0)
		return true;
	return qcf_found(&m->finding, QCF_FOUND_CONTENT,
	                 "thread %d: %" PRIu64 " bytes at %" PRIu64 " differ",
	                 m->number, piece.len, piece.offset);
}

/* Whole clusters may be written compressed; half of each is easy to. */
static bool write_piece(struct qcf_member *m, uint8_t *buffer,
                        struct piece piece)
{
	struct job *job = m->job;
	uint64_t cs = job->rig.shape.cluster_size;
	bool compress = piece.offset % cs == 0 && piece.len % cs == 0 &&
	                qcf_rig_compresses(&job->rig) &&
	                qcf_rng_percent(&m->rng, 40);

	memset(buffer, (int)qcf_rng_below(&m->rng, 256), piece.len);
	qcf_rng_fill(&m->rng, buffer, compress ? piece.len / 2 : piece.len);
	memcpy(job->oracle + piece.offset, buffer, piece.len);
	return compress ? qcf_rig_compress(&job->rig, buffer, piece.len,
	                                   piece.offset, &m->finding)
	                : qcf_rig_write(&job->rig, buffer, piece.len,
	                                piece.offset, &m->finding);
}

/* Subclusters may have become zeros, too, and then all bytes of them that are in
 * the piece; what else there is must be the old content. */
static bool discard_piece(struct qcf_member *m, uint8_t *buffer,
                          struct piece piece)
{
	struct job *job = m->job;
	uint64_t sub = job->rig.shape.cluster_size / 32;
	uint64_t at = (piece.offset + sub - 1) / sub * sub;

	oracle_discard(job, piece);
	if (!qcf_rig_discard(&job->rig, piece.offset, piece.len, &m->finding))
		return false;
	for (;
	     job->rig.shape.extended_l2 && at + sub <= piece.offset + piece.len;
	     at += sub) {
		uint64_t i = 0;

		if (!qcf_rig_read(&job->rig, buffer, sub, at, &m->finding))
			return false;
		while (i < sub && buffer[i] == 0)
			i++;
		if (i == sub)
			memset(job->oracle + at, 0, sub);
	}
	return true;
}

static bool one_round(struct qcf_member *m, uint8_t *buffer)
{
	struct job *job = m->job;
	struct piece piece = any_piece(m);
	uint64_t pick = qcf_rng_below(&m->rng, 20);

	if (pick < 10)
		return write_piece(m, buffer, piece);
	if (pick < 12) {
		memset(job->oracle + piece.offset, 0, piece.len);
		return qcf_rig_zero(&job->rig, piece.offset, piece.len,
		                    pick % 2 == 0, &m->finding);
	}
	if (pick < 14)
		return discard_piece(m, buffer, piece);
	return read_back(m, buffer, piece);
}

static bool write_and_read(struct qcf_member *m)
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

static bool flush_now_and_then(struct qcf_member *m)
{
	struct job *job = m->job;

	while (qcf_team_leaders_work(m)) {
		if (!qcf_rig_flush(&job->rig, &m->finding))
			return false;
		usleep(FLUSH_EVERY_US);
	}
	return true;
}

static bool matches_oracle(struct job *job, struct qcf_finding *finding)
{
	uint64_t size = job->rig.shape.size;
	uint8_t *all = malloc(size);
	bool good;

	if (!all)
		abort();
	good = qcf_rig_read(&job->rig, all, size, 0, finding);
	if (good && memcmp(all, job->oracle, size) != 0)
		good = qcf_found(finding, QCF_FOUND_CONTENT,
		                 "after all threads: content differs");
	free(all);
	return good;
}

static bool stress(struct job *job, uint64_t seed, struct qcf_finding *finding)
{
	return qcf_team_run(WRITERS, write_and_read, FLUSHERS,
	                    flush_now_and_then, job, seed, finding) &&
	       matches_oracle(job, finding) &&
	       qcf_rig_reopen(&job->rig, finding) &&
	       matches_oracle(job, finding) && qcf_rig_fini(&job->rig, finding);
}

START_TEST(disjoint_writers_lose_nothing)
{
	const struct qcf_rig_shape *shape = &shapes[_i / STRIPES];
	struct qcf_finding finding = { 0 };
	struct job job;
	char text[160];

	qcf_rig_print(shape, text, sizeof(text));
	job.stripe = stripes[_i % STRIPES];
	if (job.stripe < 10)
		job.stripe *= shape->cluster_size;
	/* Few clusters, so that writers meet in the same one all the time. */
	job.used = shapes == qcf_rig_feature_shapes ? 16 * shape->cluster_size
	                                            : shape->size;
	job.oracle = calloc(1, shape->size);
	ck_assert_ptr_nonnull(job.oracle);
	ck_assert_msg(qcf_rig_init(&job.rig, shape, &finding) &&
	                      stress(&job, qcf_seed() + (uint64_t)_i, &finding),
	              "QCF_SEED=%" PRIu64 " %s, stripes of %" PRIu64 ": %s",
	              qcf_seed(), text, job.stripe, finding.text);
	free(job.oracle);
}

END_TEST

int main(int argc, char **argv)
{
	bool features = argc > 1 && strcmp(argv[1], "features") == 0;
	int count =
		features ? qcf_rig_feature_shape_count : qcf_rig_shape_count;
	Suite *suite = suite_create("disjoint writers lose nothing");
	TCase *tcase = tcase_create("stress");

	shapes = features ? qcf_rig_feature_shapes : qcf_rig_shapes;

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_loop_test(tcase, disjoint_writers_lose_nothing, 0,
	                    count * STRIPES);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
