/* SPDX-License-Identifier: MIT */
/* empty.h - dropping everything that an overlay holds */
#ifndef QCF_EMPTY_H
#define QCF_EMPTY_H

#include "image.h"

/*
 * Make all of a disk unallocated, so that the backing file shows through
 * everywhere.  Snapshots, bitmaps and the size stay.  The caller is alone
 * (exclusive.h), and the image below is stable.
 */
int qcf_empty(struct qcowfmt_image *image, struct qcowfmt_error **errp);

#endif
