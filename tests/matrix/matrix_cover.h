/* SPDX-License-Identifier: MIT */
/*
 * matrix_cover.h - a selection of the legal combinations
 *
 * All of them are too many for every day.  A cover has each pair of values of
 * two dimensions that some legal combination has, at least once.
 */
#ifndef QCF_MATRIX_COVER_H
#define QCF_MATRIX_COVER_H

#include "matrix_spec.h"

struct qcf_cover {
	struct qcf_spec *specs;
	size_t count;
	size_t legal_count;   /* combinations that there are */
	size_t pair_count;    /* pairs of values that they have */
	size_t covered_count; /* pairs that the selection has */
};

/* A cover, filled up to min_count by chance.  The same for the same seed. */
void qcf_cover_pairs(struct qcf_cover *cover, size_t min_count, uint64_t seed);

/*
 * The full product, except that each combination of everything else meets only
 * one of the LUKS ciphers.
 */
void qcf_cover_product(struct qcf_cover *cover);

void qcf_cover_free(struct qcf_cover *cover);

#endif
