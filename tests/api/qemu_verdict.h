/* SPDX-License-Identifier: MIT */
/*
 * qemu_verdict.h - what qemu-img says of an image with a changed field, against
 * what the library says
 *
 * Two things must never be: an image that qemu-img finds nothing wrong with and the
 * library takes for corrupt, and one that the library has repaired and qemu-img does
 * not find clean.  Who refuses what otherwise may differ; each kind of difference
 * has its reason in a table, and any other is a failure.
 */
#ifndef QCF_QEMU_VERDICT_H
#define QCF_QEMU_VERDICT_H

#include "api_disk.h"

enum verdict {
	VERDICT_CLEAN,
	VERDICT_LEAKS,
	VERDICT_CORRUPT, /* or something could not be looked at */
	VERDICT_REFUSED,
};

/* What qcowfmt_check() returned and found. */
enum verdict verdict_of(int ret, const struct qcowfmt_check_result *result);

/* Put the companions of the image where it says. */
void qemu_verdict_begin(const struct api_disk *data_file, uint64_t disk_size);

/*
 * Compare the check of a damaged image, and of what the library repaired, with those
 * of qemu-img; what says which image it is.
 */
void qemu_verdict_compare(const char *what, const struct api_disk *damaged,
                          enum verdict check, const struct api_disk *repaired,
                          enum verdict after);

#endif
