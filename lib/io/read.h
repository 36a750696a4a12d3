/* SPDX-License-Identifier: MIT */
/* read.h - reading guest data */
#ifndef QCF_READ_H
#define QCF_READ_H

#include "image.h"

/*
 * Read a guest range into a vector of len bytes.  The range is inside the
 * virtual disk, and the caller is inside the gate.
 */
int qcf_read(struct qcowfmt_image *image, const struct iovec *iov, int iovcnt,
             uint64_t guest_offset, uint64_t len, struct qcowfmt_error **errp);

/*
 * The same for a guest request.  Half of a sector that is being written would
 * decrypt to noise, so in an encrypted image that can be written, reads and
 * writes of the same sectors wait for each other.
 */
int qcf_read_request(struct qcowfmt_image *image, const struct iovec *iov,
                     int iovcnt, uint64_t guest_offset, uint64_t len,
                     struct qcowfmt_error **errp);

/* As qcf_read(), into a buffer, of a range whose part beyond the virtual disk reads
 * as zeros. */
int qcf_read_padded(struct qcowfmt_image *image, void *buffer,
                    uint64_t guest_offset, uint64_t len,
                    struct qcowfmt_error **errp);

#endif
