/* SPDX-License-Identifier: MIT */
/* header_check.h - limits of header fields, for header.c */
#ifndef QCF_HEADER_CHECK_H
#define QCF_HEADER_CHECK_H

#include "header.h"

int qcf_header_check_cluster_bits(uint32_t cluster_bits,
                                  struct qcowfmt_error **errp);

/* The header length.  cluster_bits has been checked. */
int qcf_header_check_length(const struct qcf_header *h,
                            struct qcowfmt_error **errp);

/* All other fields but the backing name.  Those above have been checked. */
int qcf_header_check_fields(const struct qcf_header *h,
                            struct qcowfmt_error **errp);

#endif
