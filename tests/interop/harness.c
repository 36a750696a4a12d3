/* SPDX-License-Identifier: MIT */
/* harness.c - what the main() of every test here does */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"
#include "run.h"
#include "scratch.h"
#include "thin.h"

static int shard_first;
static int shard_step = 1;
static int shard_thin = 1;

int qcf_shard_init(int argc, char **argv, int count)
{
	if (argc > 1 &&
	    (sscanf(argv[1], "%d/%d", &shard_first, &shard_step) != 2 ||
	     shard_first < 0 || shard_step < 1 || shard_first >= count)) {
		fprintf(stderr, "usage: %s [K/N]\n", argv[0]);
		exit(2);
	}
	count = (count - shard_first + shard_step - 1) / shard_step;
	shard_thin = (int)thin_factor() < count ? (int)thin_factor() : count;
	return count / shard_thin;
}

int qcf_shard_index(int n)
{
	/* One of each group, in turn another: a stride may be that of some
	 * property of the images. */
	return shard_first + (n * shard_thin + n % shard_thin) * shard_step;
}

static void clean_up(bool failed)
{
	const char *keep = getenv("QCF_KEEP");

	if (failed && keep && strcmp(keep, "1") == 0)
		printf("files kept in %s\n", scratch_path(""));
	else
		scratch_fini();
}

int qcf_harness_run(Suite *suite, bool needs_qemu)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	if (needs_qemu && (!qcf_program_exists("qemu-img") ||
	                   !qcf_program_exists("qemu-io"))) {
		srunner_free(runner);
		return 77;
	}
	qcf_seed();
	scratch_init();
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	clean_up(failed != 0);
	return failed == 0 ? 0 : 1;
}
