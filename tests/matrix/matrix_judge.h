/* SPDX-License-Identifier: MIT */
/* matrix_judge.h - whether a closed image of the matrix is what it should be */
#ifndef QCF_MATRIX_JUDGE_H
#define QCF_MATRIX_JUDGE_H

#include "matrix_image.h"

/*
 * Both sides read what the oracle holds, both sides' checks find neither
 * corruption nor leak, no mark is left in the header, a raw data file is the
 * disk, and the backing file is as it was.
 */
bool qcf_judge(const struct qcf_matrix_image *image,
               struct qcf_finding *finding);

/* Both sides' checks alone. */
bool qcf_judge_metadata(const struct qcf_matrix_image *image,
                        struct qcf_finding *finding);

/* What QEMU reads of an internal snapshot is what the oracle holds. */
bool qcf_judge_snapshot(const struct qcf_matrix_image *image, const char *name,
                        const struct qcf_oracle *oracle,
                        struct qcf_finding *finding);

#endif
