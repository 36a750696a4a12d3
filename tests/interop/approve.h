/* SPDX-License-Identifier: MIT */
/* approve.h - whether a closed image file is in order */
#ifndef QCF_APPROVE_H
#define QCF_APPROVE_H

#include "finding.h"

/*
 * Our check finds neither corruption nor leak and the image is marked neither
 * dirty nor corrupt.
 */
bool qcf_library_approves(const char *path, struct qcf_finding *finding);

/* "qemu-img check" finds neither corruption nor leak. */
bool qcf_qemu_approves(const char *path, struct qcf_finding *finding);

/* The result of checking an open image holds nothing bad. */
bool qcf_check_is_clean(struct qcowfmt_image *image, bool leaks_allowed,
                        struct qcf_finding *finding);

#endif
