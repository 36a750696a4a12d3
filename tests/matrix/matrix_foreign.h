/* SPDX-License-Identifier: MIT */
/*
 * matrix_foreign.h - images of version 1 as neither side makes them
 *
 * QEMU and the library create version 1 with two cluster sizes; other writers
 * chose others, and L2 tables of other sizes, which both sides must take.
 */
#ifndef QCF_MATRIX_FOREIGN_H
#define QCF_MATRIX_FOREIGN_H

#include "matrix_image.h"

/* Write an empty image. */
bool qcf_foreign_create(const struct qcf_matrix_image *image,
                        struct qcf_finding *finding);

#endif
