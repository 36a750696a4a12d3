/* SPDX-License-Identifier: MIT */
/* snapshot_l1.h - the L1 tables of snapshots, one after the other */
#ifndef QCF_SNAPSHOT_L1_H
#define QCF_SNAPSHOT_L1_H

#include "meta.h"
#include "snapshot_entry.h"

/* The L1 table of one snapshot, in memory for the time of a visit. */
struct qcf_snapshot_l1 {
	uint64_t offset; /* host offset of the table */
	uint32_t size;   /* entries */
	struct qcf_be64 *entries;
	const struct qcf_snapshot_entry *snapshot;
};

typedef int (*qcf_snapshot_l1_visitor)(void *opaque,
                                       struct qcf_snapshot_l1 *l1,
                                       struct qcowfmt_error **errp);

/* Read each table and call visit; an image without snapshots has none. */
int qcf_snapshot_l1_each(struct qcf_meta *meta, qcf_snapshot_l1_visitor visit,
                         void *opaque, struct qcowfmt_error **errp);

#endif
