/* SPDX-License-Identifier: MIT */
/*
 * feature.h - the refusal table: what this library does about every header
 * field, feature bit and extension that can change how an image is read
 *
 * feature.c holds one table with a row for each; nothing is silently ignored
 * elsewhere.  A row says: understood read-write, understood read-only, or
 * refused, and gives the words of the refusal.
 */
#ifndef QCF_FEATURE_H
#define QCF_FEATURE_H

#include "header.h"

/* Incompatible features */
#define QCF_INCOMPAT_DIRTY       (UINT64_C(1) << 0)
#define QCF_INCOMPAT_CORRUPT     (UINT64_C(1) << 1)
#define QCF_INCOMPAT_DATA_FILE   (UINT64_C(1) << 2)
#define QCF_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCF_INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
/* Compatible features */
#define QCF_COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)
/* Autoclear features */
#define QCF_AUTOCLEAR_BITMAPS       (UINT64_C(1) << 0)
#define QCF_AUTOCLEAR_RAW_DATA_FILE (UINT64_C(1) << 1)

/*
 * Whether an image with this header may be opened, for reading or for writing.
 * 0, or an error of code UNSUPPORTED (or CORRUPT for the corrupt bit) that
 * names the feature: from the table, or, for an unknown bit, from the image's
 * own feature name table, or by its number.
 */
int qcf_feature_check(const struct qcf_header *h, bool writable, bool repair,
                      struct qcowfmt_error **errp);

/* Autoclear bits that a writer must clear before its first write. */
uint64_t qcf_feature_autoclear_to_clear(const struct qcf_header *h);

/* The feature name table that is written to new headers: its bytes (48 per
 * entry) and their number. */
const uint8_t *qcf_feature_name_table(size_t *len);

#endif
