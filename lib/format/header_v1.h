/* SPDX-License-Identifier: MIT */
/*
 * header_v1.h - the header of a version 1 image, for header.c
 *
 *   byte  0 -  3  magic                "QFI\xfb"
 *         4 -  7  version              1
 *         8 - 15  backing_file_offset  0 = none
 *        16 - 19  backing_file_size    bytes, at most 1023
 *        20 - 23  mtime                of the backing file, says one writer;
 *                                      kept as it is
 *        24 - 31  virtual_size         bytes, at least 2, rounded down to 512
 *             32  cluster_bits         9 ... 16
 *             33  l2_bits              6 ... 13: log2 of entries in a table
 *        34 - 35  reserved             kept as it is
 *        36 - 39  crypt_method         0 none, 1 AES
 *        40 - 47  l1_table_offset      any alignment
 *
 * How many entries the L1 table has follows from the size.  There are no
 * extensions and no place for the format of the backing file.
 *
 * Xen puts a block of its own behind the header:
 *
 *   byte 48 - 51  magic                "XEN\xfb"
 *        52 - 55  checksum
 *        56 - 59  min_cluster_alloc
 *        60 - 63  flags                1 sparse, 2 L1 table is big-endian
 */
#ifndef QCF_HEADER_V1_H
#define QCF_HEADER_V1_H

#include <stdio.h>

#include "header.h"

/*
 * The four functions of header.h, for version 1.  bytes begin with magic and
 * version, which have been checked.
 */
int qcf_header_v1_decode(struct qcf_header *h, const uint8_t *bytes, size_t len,
                         struct qcowfmt_error **errp);
int qcf_header_v1_peek(const uint8_t *bytes, size_t len, uint64_t *area,
                       struct qcowfmt_error **errp);
int qcf_header_v1_encode(const struct qcf_header *h, uint8_t *bytes, size_t len,
                         struct qcowfmt_error **errp);
void qcf_header_v1_dump(const struct qcf_header *h, FILE *out);

/* Whether Xen wrote the L1 table in the byte order of its machine. */
bool qcf_header_v1_l1_is_native(const struct qcf_header *h);

#endif
