/* SPDX-License-Identifier: MIT */
/* matrix_game.c - one combination, from creation to the last judgement */
#include "matrix_game.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matrix_fault.h"
#include "matrix_judge.h"
#include "matrix_turn.h"
#include "run.h"

#define TURNS    3
#define SNAPSHOT "before"

struct course {
	const struct qcf_game *game;
	struct qcf_matrix_image image;
	struct qcf_oracle snapshot; /* closed until it is taken */
	struct qcf_turn turn;       /* the last one */
};

static bool take_snapshot(struct course *c, struct qcf_finding *finding)
{
	struct qcf_matrix_image *image = &c->image;
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	char path[QCF_PATH_SIZE];
	int n = qcf_qemu_argv(image, "qemu-img", "snapshot", argv);

	if (!image->traits.snapshot)
		return true;
	qcf_tmpdir_path(&image->dir, "snapshot.oracle", path);
	if (!qcf_oracle_copy(&image->oracle, &c->snapshot, path, image->size,
	                     finding))
		return false;
	qcf_matrix_qemu_options(image, options);
	argv[n++] = "-c";
	argv[n++] = SNAPSHOT;
	argv[n++] = "--image-opts";
	argv[n++] = options;
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding) &&
	       qcf_judge_metadata(image, finding);
}

static bool take_turn(struct course *c, int number, enum qcf_side side,
                      struct qcf_finding *finding)
{
	qcf_turn_draw(&c->turn, &c->image, side,
	              c->game->seed + (uint64_t)number);
	if (number == TURNS - 1)
		qcf_fault_in_turn(c->game->fault, &c->turn);
	return qcf_turn_take(&c->turn, &c->image, finding);
}

static bool play(struct course *c, struct qcf_finding *finding)
{
	bool qemu_is_next = c->game->creator == QCF_SIDE_QEMU;
	int i;

	if (!qcf_matrix_image_create(&c->image,
	                             qcf_subject_is_qemu() ? QCF_SIDE_QEMU
	                                                   : c->game->creator,
	                             finding))
		return false;
	for (i = 0; i < TURNS; i++) {
		if (!take_turn(c, i,
		               qemu_is_next ? QCF_SIDE_QEMU : QCF_SIDE_LIBRARY,
		               finding))
			return false;
		if (i == TURNS - 1 &&
		    !qcf_fault_in_files(c->game->fault, &c->image, finding))
			return false;
		if (!qcf_judge(&c->image, finding) ||
		    (i == 0 && !take_snapshot(c, finding)))
			return false;
		qemu_is_next = !qemu_is_next;
	}
	return !c->image.traits.snapshot ||
	       qcf_judge_snapshot(&c->image, SNAPSHOT, &c->snapshot, finding);
}

bool qcf_game_play(const struct qcf_game *game, struct qcf_finding *finding)
{
	const struct qcf_traits traits = qcf_spec_traits(&game->spec);
	const char *keep = getenv("QCF_KEEP");
	struct course *c = calloc(1, sizeof(*c));
	bool good;

	if (!c)
		abort();
	c->game = game;
	c->snapshot.fd = -1;
	good = qcf_matrix_image_init(&c->image, &traits, game->seed, finding) &&
	       play(c, finding);
	if (getenv("QCF_TRACE") ||
	    (!good && game->fault == QCF_MATRIX_FAULT_NONE))
		qcf_turn_print(&c->turn, stderr);
	qcf_oracle_close(&c->snapshot);
	qcf_matrix_image_fini(&c->image,
	                      !good && keep && strcmp(keep, "1") == 0);
	free(c);
	return good;
}
