/* SPDX-License-Identifier: MIT */
/* matrix_fault.h - faults planted in a game, which must be noticed */
#ifndef QCF_MATRIX_FAULT_H
#define QCF_MATRIX_FAULT_H

#include "matrix_game.h"
#include "matrix_turn.h"

/* Spoil a turn that has been done to the oracle; other faults do nothing. */
void qcf_fault_in_turn(enum qcf_matrix_fault fault, struct qcf_turn *turn);

/* Spoil the files of a closed image, of version 2 or 3 with 16-bit refcounts;
 * faults of turns do nothing. */
bool qcf_fault_in_files(enum qcf_matrix_fault fault,
                        const struct qcf_matrix_image *image,
                        struct qcf_finding *finding);

#endif
