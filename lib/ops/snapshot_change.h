/* SPDX-License-Identifier: MIT */
/*
 * snapshot_change.h - the frame of operations that change snapshots
 *
 * They all go like this:
 *
 *   prepare  new tables are written to clusters of their own and made stable
 *            with their counts; a failure gives the clusters back
 *   change   counts and COPIED flags of whole trees (recount.h), and in between
 *            one write to the header, which is when the operation happens
 *   tidy     what nothing points to any more is freed
 *
 * In version 3 the dirty bit is set from the beginning of "change" to the end, so
 * a power cut leaves something that the next opening repairs, and a failure is
 * repaired at once.  Version 2 has no such bit: there the order of writes leaves
 * counts that are too high and COPIED flags that are clear where they could be set,
 * which costs space but no data.
 */
#ifndef QCF_SNAPSHOT_CHANGE_H
#define QCF_SNAPSHOT_CHANGE_H

#include "area.h"
#include "image.h"
#include "l2_tree.h"
#include "snapshot_table.h"

struct qcf_snapshot_change {
	struct qcowfmt_image *image;
	struct qcf_layer *layer;
	struct qcf_meta *meta;
	struct qcf_snapshot_table table; /* as it will be */
	struct qcf_area old_table;
	struct qcf_area new_table;
	bool changing;     /* between prepare and tidy: tables on storage do not
			  * fit together */
	bool marked;       /* the dirty bit was set for this */
	bool has_switched; /* the header points to the new table */
};

/*
 * Close the image's gate, write back everything and load the snapshot table.
 * -ENOTSUP for what cannot have snapshots.  On failure nothing needs to be ended.
 */
int qcf_snapshot_begin(struct qcf_snapshot_change *c,
                       struct qcowfmt_image *image,
                       struct qcowfmt_error **errp);

/* End with the result of the operation, which is returned: after a failure that
 * came in the midst of changes, bring everything in order. */
int qcf_snapshot_end(struct qcf_snapshot_change *c, int ret,
                     struct qcowfmt_error **errp);

/* Prepare: write c->table to c->new_table. */
int qcf_snapshot_place_table(struct qcf_snapshot_change *c,
                             struct qcowfmt_error **errp);

/* Change: from here on a failure is repaired in qcf_snapshot_end(). */
int qcf_snapshot_start_changing(struct qcf_snapshot_change *c,
                                struct qcowfmt_error **errp);

/* Make the header point to c->new_table.  Everything is stable that has to be. */
int qcf_snapshot_switch_table(struct qcf_snapshot_change *c,
                              struct qcowfmt_error **errp);

/*
 * Change: add a reference for each one in a tree, and clear the COPIED flags
 * there.  Stable afterwards.  clear_l1: the tree is the active one, whose L1
 * entries lose the flag, too.
 */
int qcf_snapshot_share(struct qcf_snapshot_change *c, struct qcf_tree *tree,
                       bool clear_l1, struct qcowfmt_error **errp);

/* Change: take the references of a tree back; stable afterwards. */
int qcf_snapshot_unshare(struct qcf_snapshot_change *c, struct qcf_tree *tree,
                         struct qcowfmt_error **errp);

#endif
