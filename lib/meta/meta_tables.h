/* SPDX-License-Identifier: MIT */
/*
 * meta_tables.h - reading the header and the tables that it points to
 */
#ifndef QCF_META_TABLES_H
#define QCF_META_TABLES_H

#include "meta.h"

/*
 * Load a table of the image into memory.  Bytes behind the end of the file are
 * zeros if they are in its last cluster, otherwise the table is truncated.
 */
int qcf_meta_read_table(struct qcf_meta *meta, uint64_t host_offset,
                        void *table, size_t len, struct qcowfmt_error **errp);

/*
 * Read the snapshot table, which has no stated length: it ends with its last
 * entry.  *table, NULL before, gets what the file has from its start on, at
 * least to there if it ends at all, and at most what the entries can take; the
 * caller frees it, on failure too.
 */
int qcf_meta_read_snapshot_table(struct qcf_meta *meta, uint8_t **table,
                                 size_t *len, struct qcowfmt_error **errp);

/* Read the header into the image's. */
int qcf_meta_read_header(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* Read the L1 table or the refcount table and have it protected; one of more
 * than ceiling bytes, or that is not in the file, is refused.  For who only reads
 * the refcount table is not read, and a long L1 table later. */
int qcf_meta_read_l1(struct qcf_meta *meta, uint64_t ceiling,
                     struct qcowfmt_error **errp);
int qcf_meta_read_reftable(struct qcf_meta *meta, uint64_t ceiling,
                           struct qcowfmt_error **errp);

#endif
