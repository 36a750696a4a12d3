/* SPDX-License-Identifier: MIT */
/*
 * test_images_are_independent.c - threads with an image each share nothing
 *
 * The library has no state of its own: creating, using, checking and closing
 * images at the same time, errors included, needs no locking by the callers.
 */
#include <inttypes.h>
#include <string.h>

#include "harness.h"
#include "rig.h"
#include "stamp.h"
#include "team.h"

#define THREADS 6
#define ROUNDS  800
#define SECTORS 64u

static bool fill(struct qcf_member *m, struct qcf_rig *rig, uint64_t version)
{
	uint8_t data[SECTORS * QCF_SECTOR];

	qcf_stamp_fill(data, 0, SECTORS, version);
	return qcf_rig_write(rig, data, sizeof(data), 0, &m->finding);
}

static bool read_back(struct qcf_member *m, struct qcf_rig *rig,
                      uint64_t version)
{
	uint8_t want[SECTORS * QCF_SECTOR];
	uint8_t data[SECTORS * QCF_SECTOR];

	qcf_stamp_fill(want, 0, SECTORS, version);
	if (!qcf_rig_read(rig, data, sizeof(data), 0, &m->finding))
		return false;
	if (memcmp(data, want, sizeof(data)) == 0)
		return true;
	return qcf_found(&m->finding, QCF_FOUND_CONTENT,
	                 "thread %d reads what it did not write", m->number);
}

/* An error belongs to the call that raised it. */
static bool fail_on_purpose(struct qcf_member *m, struct qcf_rig *rig)
{
	struct qcowfmt_error *error = NULL;
	uint64_t beyond = rig->shape.size;
	uint8_t byte = 0;
	int ret = qcowfmt_pwrite(rig->image, &byte, 1, beyond, &error);

	if (ret >= 0 || !error || qcowfmt_error_errno(error) != -ret)
		return qcf_found(&m->finding, QCF_FOUND_ERROR,
		                 "write beyond the end returns %d", ret);
	qcowfmt_error_free(error);
	return true;
}

static bool live_a_life(struct qcf_member *m, unsigned int round)
{
	uint64_t version = qcf_version(m->number, round);
	struct qcf_rig_shape shape = qcf_rig_shapes[round % 2];
	struct qcf_rig rig;

	shape.in_memory = true;
	return qcf_rig_init(&rig, &shape, &m->finding) &&
	       fill(m, &rig, version) && fail_on_purpose(m, &rig) &&
	       qcf_rig_flush(&rig, &m->finding) &&
	       read_back(m, &rig, version) && qcf_rig_fini(&rig, &m->finding);
}

static bool live(struct qcf_member *m)
{
	unsigned int rounds = qcf_team_rounds(ROUNDS);
	unsigned int i;

	for (i = 0; i < rounds && qcf_team_goes_on(m); i++) {
		if (!live_a_life(m, i))
			return false;
	}
	return true;
}

START_TEST(images_are_independent)
{
	struct qcf_finding finding = { 0 };

	ck_assert_msg(qcf_team_run(THREADS, live, 0, NULL, NULL, qcf_seed(),
	                           &finding),
	              "QCF_SEED=%" PRIu64 ": %s", qcf_seed(), finding.text);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("images are independent");
	TCase *tcase = tcase_create("lives");

	tcase_set_timeout(tcase, 60 * qcf_long_factor());
	tcase_add_test(tcase, images_are_independent);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
