/* SPDX-License-Identifier: MIT */
/*
 * test_features_interoperate.c - every two features work together, in QEMU too
 *
 * Versions, cluster sizes, compression, encryption, extended L2 entries, data
 * files, backing files, preallocation, refcount widths, lazy refcounts and
 * internal snapshots, in combinations that have each pair of values at least
 * once.  Each combination is an image that QEMU creates and one that the library
 * creates; QEMU and the library take turns on both.
 *
 * Arguments: none, "K/N" for every N-th combination from number K on, "list" to
 * print the combinations, or one combination as a failure prints it.  QCF_LONG=1
 * plays the full product.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "matrix_cover.h"
#include "matrix_run.h"
#include "run.h"
#include "scratch.h"
#include "thin.h"

#define MIN_COMBINATIONS 320
#define MAX_FAILURES     10
#define WANTED_SPACE     (UINT64_C(256) << 20)

/*
 * QEMU takes seconds to make a LUKS header, whatever it is told.  Among the
 * combinations with LUKS it makes the first of every second cluster size, and in
 * a long run one of this many.
 */
#define LUKS_SHARE 64

struct score {
	size_t combinations;
	size_t by_qemu; /* images created */
	size_t by_library;
	size_t failures;
};

static bool play(const struct qcf_spec *spec, enum qcf_side creator,
                 const char *program, struct score *score)
{
	const struct qcf_game game = {
		.spec = *spec,
		.seed = qcf_matrix_seed() * 1000 + qcf_spec_hash(spec) +
		        (creator == QCF_SIDE_QEMU ? 0 : 500),
		.creator = creator,
	};

	if (creator == QCF_SIDE_QEMU)
		score->by_qemu++;
	else
		score->by_library++;
	if (qcf_matrix_run(&game, program))
		return true;
	score->failures++;
	return false;
}

static void play_both(const struct qcf_spec *spec, bool qemu_too,
                      const char *program, struct score *score)
{
	score->combinations++;
	if (qemu_too)
		play(spec, QCF_SIDE_QEMU, program, score);
	/* With QEMU in the library's place that would take as long. */
	if (qcf_subject_is_qemu() && !qemu_too)
		return;
	play(spec, QCF_SIDE_LIBRARY, program, score);
}

/* Whether QEMU makes an image of the combination with this number. */
static bool qemu_makes(const struct qcf_cover *cover, size_t number)
{
	const struct qcf_spec *spec = &cover->specs[number];
	uint8_t cluster_size = spec->value[QCF_DIM_CLUSTER_SIZE];
	size_t i;

	if (!qcf_spec_traits(spec).luks)
		return true;
	if (qcf_matrix_is_long())
		return qcf_spec_hash(spec) % LUKS_SHARE == 0;
	if (cluster_size % 2 != 0)
		return false;
	for (i = 0; i < number; i++) {
		if (qcf_spec_traits(&cover->specs[i]).luks &&
		    cover->specs[i].value[QCF_DIM_CLUSTER_SIZE] == cluster_size)
			return false;
	}
	return true;
}

static int report(const struct score *score, time_t started)
{
	printf("%zu combinations played: %zu images created by qemu, %zu by "
	       "the library; %zu failed, %ld s\n",
	       score->combinations, score->by_qemu, score->by_library,
	       score->failures, (long)(time(NULL) - started));
	return score->failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void choose_cover(struct qcf_cover *cover)
{
	if (qcf_matrix_is_long())
		qcf_cover_product(cover);
	else
		qcf_cover_pairs(cover, MIN_COMBINATIONS, qcf_matrix_seed());
}

static int list(void)
{
	struct qcf_cover cover;
	char text[QCF_SPEC_SIZE];
	size_t i;

	choose_cover(&cover);
	for (i = 0; i < cover.count; i++) {
		qcf_spec_print(&cover.specs[i], text);
		puts(text);
	}
	qcf_cover_free(&cover);
	return EXIT_SUCCESS;
}

static int play_shard(size_t first, size_t step, const char *program)
{
	time_t started = time(NULL);
	struct score score = { 0 };
	struct qcf_cover cover;
	size_t i;

	choose_cover(&cover);
	printf("QCF_TEST_SEED=%" PRIu64 ": %zu of %zu legal combinations, with "
	       "%zu of %zu pairs of values\n",
	       qcf_matrix_seed(), cover.count, cover.legal_count,
	       cover.covered_count, cover.pair_count);
	if (cover.count < MIN_COMBINATIONS ||
	    cover.covered_count < cover.pair_count)
		score.failures++;
	for (i = first; i < cover.count && score.failures < MAX_FAILURES;
	     i += step * thin_factor())
		play_both(&cover.specs[i], qemu_makes(&cover, i), program,
		          &score);
	if (i < cover.count)
		printf("given up after %zu failures\n", score.failures);
	qcf_cover_free(&cover);
	return report(&score, started);
}

static int play_one(const char *text, const char *program)
{
	time_t started = time(NULL);
	struct score score = { 0 };
	struct qcf_spec spec;

	if (!qcf_spec_parse(text, &spec))
		return 2;
	play_both(&spec, true, program, &score);
	return report(&score, started);
}

/*
 * Thousands of small files are made, flushed and removed: in memory if there is
 * room, unless TMPDIR says otherwise.
 */
static void prefer_memory(void)
{
	struct statvfs vfs;

	if (statvfs("/dev/shm", &vfs) == 0 &&
	    (uint64_t)vfs.f_bavail * vfs.f_frsize >= WANTED_SPACE &&
	    access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
}

static int play_all(const char *argument, const char *program)
{
	size_t first = 0;
	size_t step = 1;

	if (!argument)
		return play_shard(0, 1, program);
	if (strchr(argument, '='))
		return play_one(argument, program);
	if (sscanf(argument, "%zu/%zu", &first, &step) == 2 && step > 0)
		return play_shard(first, step, program);
	fprintf(stderr, "usage: %s [K/N | list | COMBINATION]\n", program);
	return 2;
}

int main(int argc, char **argv)
{
	const char *argument = argc > 1 ? argv[1] : NULL;
	const char *keep = getenv("QCF_KEEP");
	int status;

	if (argument && strcmp(argument, "list") == 0)
		return list();
	if (!qcf_program_exists("qemu-img") || !qcf_program_exists("qemu-io"))
		return 77;
	prefer_memory();
	scratch_init();
	status = play_all(argument, argv[0]);
	if (status != EXIT_SUCCESS && keep && strcmp(keep, "1") == 0)
		printf("files kept in %s\n", scratch_path(""));
	else
		scratch_fini();
	return status;
}
