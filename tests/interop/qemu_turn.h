/* SPDX-License-Identifier: MIT */
/* qemu_turn.h - random operations as a script for qemu-io */
#ifndef QCF_QEMU_TURN_H
#define QCF_QEMU_TURN_H

#include "workload.h"

/*
 * Run a number of random operations with qemu-io on the closed image, and
 * do the same to the oracle.  Scratch files go to the directory.
 */
bool qcf_qemu_turn(const struct qcf_tmpdir *dir,
                   const struct qcf_qemu_image *image,
                   const struct qcf_target *target, struct qcf_oracle *oracle,
                   uint64_t count, uint64_t seed, struct qcf_finding *finding);

#endif
