/* SPDX-License-Identifier: MIT */
/* check_snapshots.h - the snapshot table */
#ifndef QCF_CHECK_SNAPSHOTS_H
#define QCF_CHECK_SNAPSHOTS_H

#include "check_image.h"
#include "snapshot_entry.h"

/* The L1 table of a snapshot. */
struct qcf_snapshot_l1 {
	uint64_t offset;
	uint32_t entry_count;
};

/* The bytes of a table, and its entries as far as they can be told apart. */
struct qcf_snapshot_view {
	uint8_t *bytes; /* owned; NULL if there is no table to be read */
	size_t len;
	struct qcf_snapshot_parts *parts; /* owned */
	uint32_t count;
	size_t end; /* of the table, behind the last entry */
};

/* Read what the header says; missing entries are not an error. */
int qcf_snapshot_view_read(struct qcf_snapshot_view *view,
                           struct qcf_checker *checker,
                           struct qcowfmt_error **errp);
void qcf_snapshot_view_fini(struct qcf_snapshot_view *view);

/* Whether an entry stands for no snapshot: it is all zeros. */
bool qcf_snapshot_view_is_empty(const struct qcf_snapshot_view *view,
                                uint32_t index);

/* Count the table and report entries that make no sense. */
int qcf_check_walk_snapshots(struct qcf_checker *checker,
                             const struct qcf_snapshot_view *view,
                             struct qcowfmt_error **errp);

/* Whether the L1 table of an entry can be one. */
bool qcf_check_is_snapshot_l1(const struct qcf_checker *checker,
                              const struct qcf_snapshot_parts *parts);

#endif
