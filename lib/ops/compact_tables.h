/* SPDX-License-Identifier: MIT */
/* compact_tables.h - tables of several clusters, and what names L2 tables */
#ifndef QCF_COMPACT_TABLES_H
#define QCF_COMPACT_TABLES_H

#include "compact_plan.h"

/*
 * Let L1 entries, active ones and those of snapshots, name the new places of L2
 * tables.  They are stable with the next commit.
 */
int qcf_compact_switch_l1(struct qcf_compaction *c,
                          struct qcowfmt_error **errp);

/* Move the tables that have a new place, and free the old ones. */
int qcf_compact_move_tables(struct qcf_compaction *c,
                            struct qcowfmt_error **errp);

#endif
