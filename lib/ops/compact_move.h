/* SPDX-License-Identifier: MIT */
/* compact_move.h - carrying a plan out */
#ifndef QCF_COMPACT_MOVE_H
#define QCF_COMPACT_MOVE_H

#include "compact_plan.h"

/*
 * Move what the window's plan says, and free the old places.  On failure part
 * of it may have been done: old and new places are counted then.
 */
int qcf_compact_move_window(struct qcf_compaction *c,
                            struct qcowfmt_error **errp);

#endif
