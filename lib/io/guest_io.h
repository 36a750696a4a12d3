/* SPDX-License-Identifier: MIT */
/*
 * guest_io.h - whole guest requests
 *
 * Each enters the gate, checks the range, does its work in the calling thread and
 * leaves.  Lengths of vectors have been checked.
 */
#ifndef QCF_GUEST_IO_H
#define QCF_GUEST_IO_H

#include "image.h"

int qcf_guest_read(struct qcowfmt_image *image, const struct iovec *iov,
                   int iovcnt, uint64_t guest_offset, uint64_t len,
                   struct qcowfmt_error **errp);
int qcf_guest_write(struct qcowfmt_image *image, const struct iovec *iov,
                    int iovcnt, uint64_t guest_offset, uint64_t len,
                    struct qcowfmt_error **errp);
int qcf_guest_write_zeroes(struct qcowfmt_image *image, uint64_t guest_offset,
                           uint64_t len, bool may_unmap,
                           struct qcowfmt_error **errp);
int qcf_guest_discard(struct qcowfmt_image *image, uint64_t guest_offset,
                      uint64_t len, struct qcowfmt_error **errp);

#endif
