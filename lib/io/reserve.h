/* SPDX-License-Identifier: MIT */
/* reserve.h - host space for guest clusters before anything is written there */
#ifndef QCF_RESERVE_H
#define QCF_RESERVE_H

#include "image.h"

/*
 * Give every cluster of the guest range [start, end), whole clusters that read
 * as zeros, a host cluster; mode is an enum qcowfmt_preallocation other than
 * OFF.  They read as zeros afterwards, too.
 */
int qcf_reserve_clusters(struct qcf_request *request, uint64_t start,
                         uint64_t end, int mode, struct qcowfmt_error **errp);

#endif
