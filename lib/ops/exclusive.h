/* SPDX-License-Identifier: MIT */
/*
 * exclusive.h - working on an image while no guest request runs
 *
 * An operation on the whole image closes the gate, does its work with a request
 * that needs no slot ({ .image = image }), and opens the gate again.
 */
#ifndef QCF_EXCLUSIVE_H
#define QCF_EXCLUSIVE_H

#include "image.h"

/*
 * Begin to change an image: close its gate and write back everything, so that
 * nothing is dirty and nothing in quarantine.  -EROFS on a read-only image,
 * POISONED after a failure; the gate is then open.
 */
int qcf_exclusive_begin(struct qcowfmt_image *image,
                        struct qcowfmt_error **errp);

/* The same for an operation that does not touch guest data: also for an image
 * opened with QCOWFMT_OPEN_NO_DATA. */
int qcf_exclusive_begin_without_data(struct qcowfmt_image *image,
                                     struct qcowfmt_error **errp);

/* Let guest requests go on. */
void qcf_exclusive_end(struct qcowfmt_image *image);

#endif
