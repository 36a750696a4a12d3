/* SPDX-License-Identifier: MIT */
/* dehydrate_names.h - metadata without the names in it */
#ifndef QCF_DEHYDRATE_NAMES_H
#define QCF_DEHYDRATE_NAMES_H

#include "header.h"

/*
 * Replace the texts in a header: len bytes from the start of the file.  h is what
 * they decode to, NULL if they do not.  What is neither a field nor an extension
 * may be left from an older header and is wiped.
 */
void qcf_dehydrate_header(const struct qcf_header *h, uint8_t *bytes,
                          size_t len);

/* Replace names and ids in a snapshot table, but not ids that are numbers. */
int qcf_dehydrate_snapshots(uint32_t count, uint8_t *bytes, size_t len,
                            struct qcowfmt_error **errp) QCF_MUST_CHECK;

/* Replace names in a bitmap directory by others that differ from each other. */
int qcf_dehydrate_bitmaps(uint32_t count, uint8_t *bytes, size_t len,
                          struct qcowfmt_error **errp) QCF_MUST_CHECK;

#endif
