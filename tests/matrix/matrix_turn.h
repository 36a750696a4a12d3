/* SPDX-License-Identifier: MIT */
/*
 * matrix_turn.h - random operations that one side does on the closed image
 *
 * A turn is drawn first, which also does it to the oracle, and then carried out
 * by one side or the other.  What each operation writes is a byte or a pattern
 * repeated; its length is prime, so that a slip by any power of two shows.
 */
#ifndef QCF_MATRIX_TURN_H
#define QCF_MATRIX_TURN_H

#include <stdio.h>

#include "matrix_image.h"

#define QCF_TURN_OPS    24 /* at most */
#define QCF_PATTERN_LEN 4099u

enum qcf_turn_op_kind {
	QCF_TURN_WRITE_BYTE,
	QCF_TURN_WRITE_PATTERN,
	QCF_TURN_ZERO,
	QCF_TURN_ZERO_UNMAP,
	QCF_TURN_DISCARD,
	QCF_TURN_FLUSH,
	QCF_TURN_COMPRESS_BYTE,
	QCF_TURN_COMPRESS_PATTERN,
	QCF_TURN_OP_KINDS
};

struct qcf_turn_op {
	enum qcf_turn_op_kind kind;
	struct qcf_range range;
	uint8_t byte;
};

struct qcf_turn {
	enum qcf_side side;
	uint64_t seed;
	int count;
	struct qcf_turn_op ops[QCF_TURN_OPS];
	uint8_t pattern[QCF_PATTERN_LEN];
};

/*
 * Draw a turn and do it to the image's oracle.  QEMU gets no operation that it
 * is known to do wrong.  The last operation of all is a write.
 */
void qcf_turn_draw(struct qcf_turn *turn, struct qcf_matrix_image *image,
                   enum qcf_side side, uint64_t seed);

/* Have QEMU do it. */
bool qcf_turn_by_qemu(const struct qcf_turn *turn,
                      const struct qcf_matrix_image *image,
                      struct qcf_finding *finding);

/* Do it with the library. */
bool qcf_turn_by_library(const struct qcf_turn *turn,
                         const struct qcf_matrix_image *image,
                         struct qcf_finding *finding);

/* Whichever its side is. */
bool qcf_turn_take(const struct qcf_turn *turn,
                   const struct qcf_matrix_image *image,
                   struct qcf_finding *finding);

void qcf_turn_print(const struct qcf_turn *turn, FILE *stream);

#endif
