/* SPDX-License-Identifier: MIT */
/* compact_bitmaps.h - moving what dirty bitmaps consist of */
#ifndef QCF_COMPACT_BITMAPS_H
#define QCF_COMPACT_BITMAPS_H

#include "compact_plan.h"

/* Whether an image has bitmaps that can move: *ext says where their directory
 * is. */
bool qcf_compact_has_bitmaps(const struct qcf_meta *meta,
                             struct qcf_bitmap_ext *ext);

/* Mark the clusters with bits in the window. */
int qcf_compact_mark_bits(struct qcf_compaction *c,
                          struct qcowfmt_error **errp);

/* The clusters with bits are copied: let the tables name the copies. */
int qcf_compact_switch_bits(struct qcf_compaction *c,
                            struct qcowfmt_error **errp);

/* A table of bits, or the directory, is copied and stable: let the directory, or
 * the header, name the copy, and make that stable. */
int qcf_compact_switch_bitmap_table(struct qcf_compaction *c,
                                    const struct qcf_table_place *t,
                                    struct qcowfmt_error **errp);

#endif
