/* SPDX-License-Identifier: MIT */
/*
 * matrix_game.h - one combination, played from creation to the last judgement
 *
 * One side creates an image, then both take turns, and after every turn both
 * judge it.
 */
#ifndef QCF_MATRIX_GAME_H
#define QCF_MATRIX_GAME_H

#include "matrix_image.h"

/* What goes wrong in a game on purpose, to see that it is noticed. */
enum qcf_matrix_fault {
	QCF_MATRIX_FAULT_NONE,
	QCF_MATRIX_FAULT_LOST_WRITE,  /* the last write never happens */
	QCF_MATRIX_FAULT_SHORT_WRITE, /* its last byte is missing */
	QCF_MATRIX_FAULT_LEAK,        /* a cluster is counted twice */
	QCF_MATRIX_FAULT_LOST_COUNT,  /* a cluster in use is not counted */
	QCF_MATRIX_FAULT_DATA_FILE,   /* a byte of the data file changes */
	QCF_MATRIX_FAULTS
};

struct qcf_game {
	struct qcf_spec spec;
	uint64_t seed;
	enum qcf_side creator;
	enum qcf_matrix_fault fault; /* planted after the last turn */
};

/*
 * Play it.  Returns true if all went well; otherwise the operations of the last
 * turn are on standard error and the files are kept if $QCF_KEEP is 1.
 */
bool qcf_game_play(const struct qcf_game *game, struct qcf_finding *finding);

#endif
