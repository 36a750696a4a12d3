/* SPDX-License-Identifier: MIT */
/* check_walk.h - count every reference of an image */
#ifndef QCF_CHECK_WALK_H
#define QCF_CHECK_WALK_H

#include "check_image.h"

/* Fill checker->counts and the counters about guest clusters; report entries
 * that make no sense. */
int qcf_check_walk(struct qcf_checker *checker, struct qcowfmt_error **errp);

#endif
