/* SPDX-License-Identifier: MIT */
/* zero_discard.h - write-zeroes and discard */
#ifndef QCF_ZERO_DISCARD_H
#define QCF_ZERO_DISCARD_H

#include "image.h"

/* As qcowfmt_write_zeroes(), inside a request. */
int qcf_write_zeroes(struct qcf_request *request, uint64_t guest_offset,
                     uint64_t len, bool may_unmap, struct qcowfmt_error **errp);

/*
 * Make the clusters of [start, end) unallocated, so that the backing file shows
 * through: whole ones, which may lie behind the virtual size.
 */
int qcf_drop_clusters(struct qcf_request *request, uint64_t start, uint64_t end,
                      struct qcowfmt_error **errp);

/* As qcowfmt_discard(), inside a request. */
int qcf_discard(struct qcf_request *request, uint64_t guest_offset,
                uint64_t len, struct qcowfmt_error **errp);

#endif
