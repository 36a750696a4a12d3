/* SPDX-License-Identifier: MIT */
/*
 * snapshot_rewrite.h - a snapshot table in a new place
 *
 *   write -> (point the header to it) -> install
 *                                    \-> abandon
 */
#ifndef QCF_SNAPSHOT_REWRITE_H
#define QCF_SNAPSHOT_REWRITE_H

#include "snapshot_table.h"

struct qcf_new_snapshots {
	struct qcf_snapshot_table table; /* owned */
	uint64_t offset;                 /* host offset; 0 = not written */
	uint64_t len;                    /* bytes */
};

/*
 * Write n->table to clusters of its own, which first says, or to free ones if
 * that is 0, and make table and counts stable.  *n needs
 * qcf_new_snapshots_fini() in any case.
 */
int qcf_new_snapshots_write(struct qcf_meta *meta, struct qcf_new_snapshots *n,
                            uint64_t first, struct qcowfmt_error **errp);

/* The header, also in memory, points to the table: free the one there was,
 * which began at old_offset. */
int qcf_new_snapshots_install(struct qcf_meta *meta,
                              struct qcf_new_snapshots *n, uint64_t old_offset,
                              struct qcowfmt_error **errp);

/* Nothing will point to the table: free it. */
void qcf_new_snapshots_abandon(struct qcf_meta *meta,
                               struct qcf_new_snapshots *n);

void qcf_new_snapshots_fini(struct qcf_new_snapshots *n);

#endif
