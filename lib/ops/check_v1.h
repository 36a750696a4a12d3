/* SPDX-License-Identifier: MIT */
/* check_v1.h - an image of version 1 */
#ifndef QCF_CHECK_V1_H
#define QCF_CHECK_V1_H

#include "check_image.h"

/*
 * Report tables and clusters that are not where they may be, or share bytes of
 * the file; fill in the counters about guest clusters.  There are no counts, so
 * nothing can leak.
 */
int qcf_check_v1(struct qcf_checker *checker, struct qcowfmt_error **errp);

#endif
