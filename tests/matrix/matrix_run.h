/* SPDX-License-Identifier: MIT */
/*
 * matrix_run.h - many games, each in a process of its own
 *
 * So that a crash or a hang ends one game and is reported with its combination.
 */
#ifndef QCF_MATRIX_RUN_H
#define QCF_MATRIX_RUN_H

#include "matrix_game.h"

/* $QCF_TEST_SEED, or a fixed one. */
uint64_t qcf_matrix_seed(void);

/* $QCF_LONG asks for the full product. */
bool qcf_matrix_is_long(void);

/*
 * Play a game in a child process that prints what it finds; the line that
 * repeats the game is printed after it.  Returns whether all went well.
 */
bool qcf_matrix_run(const struct qcf_game *game, const char *program);

#endif
