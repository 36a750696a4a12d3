/* SPDX-License-Identifier: MIT */
/*
 * change.h - one random change of an image as a whole
 *
 * A snapshot is taken, applied or deleted, bitmaps change, the disk gets another
 * size, the image other properties or a shorter file; the model follows.  What an
 * image cannot have must be refused and change nothing.
 */
#ifndef QCF_CHANGE_H
#define QCF_CHANGE_H

#include "model.h"

/* By the library, while m->disk is open. */
bool qcf_change_by_library(struct qcf_model *m, struct qcf_finding *finding);

/* By QEMU's programs, while the image is closed.  Only changes that QEMU makes
 * without fault. */
bool qcf_change_by_qemu(struct qcf_model *m, struct qcf_finding *finding);

/* Choices that both make. */
uint64_t qcf_change_any_size(struct qcf_model *m);
uint64_t qcf_change_any_granularity(struct qcf_model *m);
struct qcf_bitmap_model *qcf_change_any_bitmap(struct qcf_model *m);
struct qcf_snapshot_model *qcf_change_any_snapshot(struct qcf_model *m);
void qcf_change_new_name(struct qcf_model *m, char name[16]);

/* Whether the image could be version 2, the widths of its counts and compression
 * with zstd aside. */
bool qcf_change_fits_version_2(const struct qcf_model *m);

#endif
