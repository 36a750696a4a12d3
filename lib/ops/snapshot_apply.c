/* SPDX-License-Identifier: MIT */
/*
 * snapshot_apply.c - going back to a snapshot
 *
 * The active L1 table is replaced by a copy of that of the snapshot, which then
 * shares everything with it, so that no COPIED flag is set anywhere:
 *
 *   copy of the snapshot's L1 table and its counts                 ─ flush
 *   COPIED flags of the snapshot cleared, its counts raised        ─ flush
 *   the header gets the disk size and the new L1 table at once     ─ flush
 *   counts of what was active fall                                 ─ flush
 *   the old L1 table is freed
 */
#include <errno.h>
#include <inttypes.h>

#include "header_switch.h"
#include "l1_table.h"
#include "recount.h"
#include "snapshot_apply.h"
#include "snapshot_change.h"
#include "writeback.h"

struct applying {
	struct qcf_snapshot_change change;
	uint64_t size;            /* of the disk */
	struct qcf_be64 *entries; /* of the new L1 table; owned */
	uint64_t entry_count;
	struct qcf_area new_l1;
	struct qcf_area old_l1;
	struct qcf_tree tree;             /* of the snapshot */
	struct qcf_tree active;           /* of the state that is given up */
	struct qcf_cluster_table *l2_set; /* what the overlap check will know;
					   * owned */
};

/* -------------------------------------------------------------------- prepare */

static int check_allowed(const struct applying *a, struct qcowfmt_error **errp)
{
	const struct qcf_header *h = &a->change.meta->header;

	if (qcf_header_extension(h, QCF_EXT_BITMAPS) != NULL)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "the image has dirty bitmaps, which would no "
		                "longer tell what has changed");
	if (h->version < 3 && a->size != h->virtual_size)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "the disk had %" PRIu64
		                " bytes and has %" PRIu64
		                " now, and version 2 images with snapshots "
		                "cannot be resized",
		                a->size, h->virtual_size);
	return 0;
}

/* A copy of a snapshot's L1 table, without flags, that covers the disk. */
static int copy_l1(struct applying *a, const struct qcf_snapshot_entry *entry,
                   struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = a->change.meta;
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	int ret = qcf_snapshot_read_l1(a->change.meta, entry, &entries, errp);

	if (ret < 0)
		return ret;
	a->entry_count = QCF_MAX(qcf_l1_entries_for(&meta->geometry, a->size),
	                         (uint64_t)entry->l1_size);
	a->entries = calloc(a->entry_count + 1, sizeof(*a->entries));
	if (a->entries == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; i < entry->l1_size; i++)
		a->entries[i] = qcf_be64_encode(qcf_be64_decode(entries[i]) &
		                                ~QCF_ENTRY_COPIED);
	return 0;
}

static int read_snapshot(struct applying *a, const char *id, const char *name,
                         struct qcowfmt_error **errp)
{
	const struct qcf_snapshot_table *table = &a->change.table;
	const struct qcf_snapshot_entry *entry;
	uint32_t index = 0;
	int ret = qcf_snapshot_table_find(table, id, name, &index, errp);

	if (ret < 0)
		return ret;
	entry = &table->entries[index];
	a->size = entry->disk_size;
	ret = qcf_snapshot_check_size(&a->change.meta->geometry, entry, errp);
	if (ret == 0)
		ret = check_allowed(a, errp);
	return ret < 0 ? ret : copy_l1(a, entry, errp);
}

static int make_trees(struct applying *a, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->change.meta;
	int ret =
		qcf_tree_init(&a->tree, meta, a->entries, a->entry_count, errp);

	if (ret == 0)
		ret = qcf_tree_init(&a->active, meta, qcf_l1_raw(meta),
		                    meta->l1.entry_count, errp);
	if (ret < 0)
		return ret;
	a->l2_set = qcf_overlap_new_set(a->tree.count);
	if (a->l2_set == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; i < a->tree.count; i++)
		qcf_overlap_fill_set(
			a->l2_set,
			qcf_host_cluster(&meta->geometry,
		                         a->tree.tables[i].host_offset));
	return 0;
}

static int prepare(struct applying *a, const char *id, const char *name,
                   struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->change.meta;
	int ret = read_snapshot(a, id, name, errp);

	if (ret == 0)
		ret = make_trees(a, errp);
	if (ret == 0)
		ret = qcf_recount_check_room(meta, &a->tree, errp);
	if (ret < 0)
		return ret;
	a->old_l1 = qcf_area_of(meta, meta->header.l1_table_offset,
	                        meta->l1.entry_count * 8);
	ret = qcf_area_write(meta, a->entries, a->entry_count * 8, &a->new_l1,
	                     errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

/* --------------------------------------------------------------------- change */

/* Memory follows the header. */
static void take_over(struct applying *a)
{
	struct qcf_meta *meta = a->change.meta;

	qcf_l1_adopt(meta, qcf_take(&a->entries), a->entry_count,
	             a->new_l1.host_offset);
	qcf_overlap_put_set(&meta->overlap, QCF_OVERLAP_L2,
	                    qcf_take(&a->l2_set));
	meta->header.virtual_size = a->size;
	atomic_store(&a->change.layer->virtual_size, a->size);
}

/* Disk size, crypt_method, l1_size and l1_table_offset are neighbours. */
static int switch_header(struct applying *a, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->change.meta;
	uint8_t bytes[24];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));
	bool switched = false;
	int ret;

	qcf_write_u64(&w, a->size);
	qcf_write_u32(&w, meta->header.crypt_method);
	qcf_write_u32(&w, (uint32_t)a->entry_count);
	qcf_write_u64(&w, a->new_l1.host_offset);
	ret = qcf_header_switch(meta, QCF_HEADER_AT_VIRTUAL_SIZE, bytes,
	                        sizeof(bytes), &switched, errp);
	if (switched)
		take_over(a);
	return ret;
}

static int change(struct applying *a, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->change.meta;
	int ret = qcf_snapshot_start_changing(&a->change, errp);

	if (ret == 0)
		ret = qcf_snapshot_share(&a->change, &a->tree, false, errp);
	if (ret == 0)
		ret = switch_header(a, errp);
	if (ret == 0)
		ret = qcf_snapshot_unshare(&a->change, &a->active, errp);
	if (ret < 0)
		return ret;
	qcf_recount_end(meta);
	ret = qcf_area_free(meta, &a->old_l1, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

int qcf_snapshot_apply(struct qcowfmt_image *image, const char *id,
                       const char *name, struct qcowfmt_error **errp)
{
	struct applying a = { 0 };
	int ret = qcf_snapshot_begin(&a.change, image, errp);

	if (ret < 0)
		return ret;
	ret = prepare(&a, id, name, errp);
	if (ret == 0)
		ret = change(&a, errp);
	if (ret < 0 && !a.change.changing)
		(void)qcf_area_free(a.change.meta, &a.new_l1, NULL);
	qcf_tree_fini(&a.tree);
	qcf_tree_fini(&a.active);
	free(a.entries);
	free(a.l2_set);
	return qcf_snapshot_end(&a.change, ret, errp);
}
