/* SPDX-License-Identifier: MIT */
/*
 * snapshot_delete.c - forgetting a snapshot
 *
 *   new snapshot table and its counts                       ─ flush
 *   the header points to it: the snapshot is gone           ─ flush
 *   counts of what it reached fall                          ─ flush
 *   COPIED flags are set where the active state is alone    ─ flush
 *   its L1 table and the old snapshot table are freed
 */
#include "snapshot_delete.h"
#include "l1_table.h"
#include "recount.h"
#include "snapshot_change.h"
#include "writeback.h"

struct deleting {
	struct qcf_snapshot_change change;
	struct qcf_area l1; /* of the snapshot */
	struct qcf_tree tree;
	struct qcf_tree active;
};

/* Find the snapshot, see what it reaches, and take it out of the table. */
static int take_entry(struct deleting *d, const char *id, const char *name,
                      struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table *table = &d->change.table;
	struct qcf_meta *meta = d->change.meta;
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	const struct qcf_snapshot_entry *entry;
	uint32_t index = 0;
	int ret = qcf_snapshot_table_find(table, id, name, &index, errp);

	if (ret < 0)
		return ret;
	entry = &table->entries[index];
	ret = qcf_snapshot_read_l1(meta, entry, &entries, errp);
	if (ret == 0)
		ret = qcf_tree_init(&d->tree, meta, entries, entry->l1_size,
		                    errp);
	if (ret < 0)
		return ret;
	d->l1 = qcf_area_of(meta, entry->l1_table_offset,
	                    (uint64_t)entry->l1_size * 8);
	qcf_snapshot_table_remove(table, index);
	return 0;
}

static int prepare(struct deleting *d, const char *id, const char *name,
                   struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = d->change.meta;
	int ret = take_entry(d, id, name, errp);

	if (ret == 0)
		ret = qcf_tree_init(&d->active, meta, qcf_l1_raw(meta),
		                    meta->l1.entry_count, errp);
	if (ret == 0 && d->change.table.count > 0)
		ret = qcf_recount_find_free(meta, errp);
	if (ret == 0)
		ret = qcf_snapshot_place_table(&d->change, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

/* The counts that flags follow are stable; they are with the next commit. */
static int correct_flags(struct deleting *d, struct qcowfmt_error **errp)
{
	const struct qcf_recount look = { .flags = QCF_FLAGS_TRUE };
	struct qcf_meta *meta = d->change.meta;
	int ret = qcf_recount(meta, &d->active, &look, errp);

	return ret < 0 ? ret : qcf_l1_correct_flags(meta, &d->active, errp);
}

static int free_tables(struct deleting *d, struct qcowfmt_error **errp)
{
	int ret = qcf_area_free(d->change.meta, &d->l1, errp);

	if (ret == 0)
		ret = qcf_area_free(d->change.meta, &d->change.old_table, errp);
	return ret < 0 ? ret : qcf_writeback_drain(d->change.meta, errp);
}

static int change(struct deleting *d, struct qcowfmt_error **errp)
{
	int ret = qcf_snapshot_start_changing(&d->change, errp);

	if (ret == 0)
		ret = qcf_snapshot_switch_table(&d->change, errp);
	if (ret == 0)
		ret = qcf_snapshot_unshare(&d->change, &d->tree, errp);
	if (ret == 0)
		ret = correct_flags(d, errp);
	if (ret < 0)
		return ret;
	qcf_recount_end(d->change.meta);
	return free_tables(d, errp);
}

int qcf_snapshot_delete(struct qcowfmt_image *image, const char *id,
                        const char *name, struct qcowfmt_error **errp)
{
	struct deleting d = { 0 };
	int ret = qcf_snapshot_begin(&d.change, image, errp);

	if (ret < 0)
		return ret;
	ret = prepare(&d, id, name, errp);
	if (ret == 0)
		ret = change(&d, errp);
	qcf_tree_fini(&d.tree);
	qcf_tree_fini(&d.active);
	return qcf_snapshot_end(&d.change, ret, errp);
}
