/* SPDX-License-Identifier: MIT */
/*
 * header_check.h - limits of header fields, for header.c and header_v1.c
 */
#ifndef QCF_HEADER_CHECK_H
#define QCF_HEADER_CHECK_H

#include "header.h"

/* The file ends inside the header. */
int qcf_header_truncated(struct qcowfmt_error **errp, size_t have, size_t want);

/*
 * Take the backing file name from the len bytes that were read; they may end
 * before it does.  offset + name_len does not overflow.
 */
int qcf_header_decode_name(struct qcf_header *h, const uint8_t *bytes,
                           size_t len, uint64_t offset, size_t name_len,
                           struct qcowfmt_error **errp);

/* The other functions are about versions 2 and 3. */

int qcf_header_check_cluster_bits(uint32_t cluster_bits,
                                  struct qcowfmt_error **errp);

/* The header length.  cluster_bits has been checked. */
int qcf_header_check_length(const struct qcf_header *h,
                            struct qcowfmt_error **errp);

/* All other fields but the backing name.  Those above have been checked. */
int qcf_header_check_fields(const struct qcf_header *h,
                            struct qcowfmt_error **errp);

#endif
