/* SPDX-License-Identifier: MIT */
/* model_check.h - whether an image holds what its model says */
#ifndef QCF_MODEL_CHECK_H
#define QCF_MODEL_CHECK_H

#include "model.h"

/* The open image: its bitmaps and the VM state behind the disk. */
bool qcf_model_check_open(struct qcf_model *m, struct qcf_finding *finding);

/* The closed image: each snapshot, opened as an image of its own.  With QEMU, one
 * of them as QEMU reads it, too. */
bool qcf_model_check_snapshots(struct qcf_model *m, bool with_qemu,
                               struct qcf_finding *finding);

#endif
