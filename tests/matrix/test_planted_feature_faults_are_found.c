/* SPDX-License-Identifier: MIT */
/*
 * test_planted_feature_faults_are_found.c - the games of the matrix can be lost
 *
 * Games that go well are played again with one fault each, and must end with a
 * finding of the right kind.
 */
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "matrix_game.h"

#define SEED 1

struct plant {
	enum qcf_matrix_fault fault;
	enum qcf_finding_kind finding;
	const char *spec;
};

#define PLAIN   "version=3,refcount_bits=16,cluster_size=4096"
#define BACKED  PLAIN ",backing=v2-short,snapshot=yes"
#define HIDDEN  PLAIN ",encryption=aes"
#define OUTSIDE PLAIN ",data_file=raw"
#define OLD     "version=1,cluster_size=4096,compression=zlib"

static const struct plant plants[] = {
	{ QCF_MATRIX_FAULT_NONE, QCF_FOUND_NOTHING, BACKED },
	{ QCF_MATRIX_FAULT_NONE, QCF_FOUND_NOTHING, HIDDEN },
	{ QCF_MATRIX_FAULT_NONE, QCF_FOUND_NOTHING, OUTSIDE },
	{ QCF_MATRIX_FAULT_NONE, QCF_FOUND_NOTHING, OLD },
	{ QCF_MATRIX_FAULT_LOST_WRITE, QCF_FOUND_CONTENT, BACKED },
	{ QCF_MATRIX_FAULT_LOST_WRITE, QCF_FOUND_CONTENT, OLD },
	{ QCF_MATRIX_FAULT_SHORT_WRITE, QCF_FOUND_CONTENT, HIDDEN },
	{ QCF_MATRIX_FAULT_LEAK, QCF_FOUND_METADATA, BACKED },
	{ QCF_MATRIX_FAULT_LOST_COUNT, QCF_FOUND_METADATA, HIDDEN },
	{ QCF_MATRIX_FAULT_DATA_FILE, QCF_FOUND_CONTENT, OUTSIDE },
};

static void play(const struct plant *plant, enum qcf_side creator)
{
	struct qcf_game game = { .seed = SEED,
		                 .creator = creator,
		                 .fault = plant->fault };
	struct qcf_finding finding = { 0 };
	bool good;

	ck_assert(qcf_spec_parse(plant->spec, &game.spec));
	good = qcf_game_play(&game, &finding);
	if (good != (plant->fault == QCF_MATRIX_FAULT_NONE) ||
	    finding.kind != plant->finding)
		ck_abort_msg("fault %d in %s: finding %d, want %d: %s",
		             (int)plant->fault, plant->spec, (int)finding.kind,
		             (int)plant->finding, finding.text);
}

START_TEST(fault_is_found)
{
	play(&plants[_i], QCF_SIDE_QEMU);
	play(&plants[_i], QCF_SIDE_LIBRARY);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("planted feature faults");
	TCase *tcase = tcase_create("plant");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, fault_is_found, 0,
	                    sizeof(plants) / sizeof(plants[0]));
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
