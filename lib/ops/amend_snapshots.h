/* SPDX-License-Identifier: MIT */
/* amend_snapshots.h - what the versions demand of snapshots */
#ifndef QCF_AMEND_SNAPSHOTS_H
#define QCF_AMEND_SNAPSHOTS_H

#include "snapshot_table.h"

/* Whether version 2 can express all snapshots: if not, -EINVAL and USAGE. */
int qcf_amend_check_snapshots(struct qcf_meta *meta,
                              struct qcowfmt_error **errp);

/*
 * Version 3 wants entries that say how large the disk was: write a table that
 * has them, if there is one that has not, and make it stable; *area says where.
 * *table needs qcf_snapshot_table_fini() in any case.
 */
int qcf_amend_complete_snapshots(struct qcf_meta *meta,
                                 struct qcf_snapshot_table *table,
                                 struct qcf_area *area,
                                 struct qcowfmt_error **errp);

#endif
