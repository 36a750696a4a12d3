/* SPDX-License-Identifier: MIT */
/*
 * host_data.h - guest data in the file that holds it
 *
 * The one place where guest data meets storage: the image file or a data file,
 * encrypted or not.
 */
#ifndef QCF_HOST_DATA_H
#define QCF_HOST_DATA_H

#include "cow.h"
#include "image.h"

/* Read the payload's first len bytes from host_offset on. */
int qcf_host_read(struct qcf_layer *layer, const struct qcf_payload *payload,
                  uint64_t host_offset, uint64_t len,
                  struct qcowfmt_error **errp);

/*
 * Write head, the data of a payload, and tail, so that data begins at
 * host_offset.  With fresh, zeros need not be written.  In an encrypted image
 * no other request writes to the sectors at both ends meanwhile.
 */
int qcf_host_write(struct qcf_layer *layer, const struct qcf_cow *cow,
                   const struct qcf_payload *payload, uint64_t host_offset,
                   bool fresh, struct qcowfmt_error **errp);

/*
 * Cut the len bytes at host_offset to where the file that holds guest data
 * changes between data and hole, and say which of the two they are.  A sector that
 * is a hole only in part, at the end of the file, counts as data.
 */
int qcf_host_find_hole(struct qcf_layer *layer, uint64_t host_offset,
                       uint64_t *len, bool *is_hole,
                       struct qcowfmt_error **errp);

#endif
