/* SPDX-License-Identifier: MIT */
/*
 * encrypted.h - guest data that is encrypted in the file that holds it
 *
 * The unit is the sector.  What a request covers only in part is decrypted,
 * changed and encrypted again.
 */
#ifndef QCF_ENCRYPTED_H
#define QCF_ENCRYPTED_H

#include "cow.h"
#include "image.h"

/* As qcf_host_read(). */
int qcf_encrypted_read(struct qcf_layer *layer,
                       const struct qcf_payload *payload, uint64_t host_offset,
                       uint64_t len, struct qcowfmt_error **errp);

/* As qcf_host_write(). */
int qcf_encrypted_write(struct qcf_layer *layer, const struct qcf_cow *cow,
                        const struct qcf_payload *payload, uint64_t host_offset,
                        struct qcowfmt_error **errp);

#endif
