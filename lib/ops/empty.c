/* SPDX-License-Identifier: MIT */
/*
 * empty.c - dropping everything that an overlay holds
 *
 * Called when the image below holds the same data, so that it does not matter
 * to the guest which clusters a power cut leaves mapped.
 *
 *   versions 2, 3   an empty L1 table becomes the active one in one header write;
 *                   then what the old one referred to loses one reference each.
 *                   That works with snapshots as well, which have references of
 *                   their own, and never counts too low (CS-4)
 *   version 1       the L1 table becomes zeros where it is, any part of it first,
 *                   and the file ends behind it
 */
#include "empty.h"
#include "alloc.h"
#include "area.h"
#include "cut_file.h"
#include "drop_blocks.h"
#include "header_switch.h"
#include "l1_table.h"
#include "recount.h"
#include "writeback.h"

struct emptying {
	struct qcowfmt_image *image;
	struct qcf_meta *meta;
	struct qcf_tree tree;   /* what the old L1 table reached */
	struct qcf_area old_l1; /* which is to be freed */
};

static bool has_tables(const struct qcf_meta *meta)
{
	for (uint64_t i = 0; i < meta->l1.entry_count; i++) {
		if (atomic_load(&meta->l1.entries[i]) != 0)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------- versions 2 and 3 */

/* Let the header point to an empty table that is stable, and memory follow. */
static int switch_to(struct emptying *e, const struct qcf_area *area,
                     struct qcf_be64 **zeros, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = e->meta;
	uint64_t count = meta->l1.entry_count;
	uint8_t bytes[12];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));
	struct qcf_cluster_table *none = qcf_overlap_new_set(0);
	bool switched = false;
	int ret;

	if (none == NULL)
		return qcf_fail_oom(errp);
	qcf_write_u32(&w, (uint32_t)count);
	qcf_write_u64(&w, area->host_offset);
	ret = qcf_header_switch(meta, QCF_HEADER_AT_L1, bytes, sizeof(bytes),
	                        &switched, errp);
	if (!switched) {
		free(none);
		return ret;
	}
	e->old_l1 = qcf_area_of(meta, meta->header.l1_table_offset, count * 8);
	qcf_l1_adopt(meta, qcf_take(zeros), count, area->host_offset);
	qcf_overlap_put_set(&meta->overlap, QCF_OVERLAP_L2, none);
	return ret;
}

static int store_and_switch(struct emptying *e, struct qcf_be64 **zeros,
                            struct qcf_area *area, struct qcowfmt_error **errp)
{
	int ret = qcf_writeback_drain(e->meta, errp);

	if (ret == 0)
		ret = switch_to(e, area, zeros, errp);
	if (*zeros != NULL)
		(void)qcf_area_free(e->meta, area, NULL);
	return ret;
}

/* Put an empty L1 table in place of the present one; with only_lower if that moves
 * it towards the start of the file. */
static int put_empty_table(struct emptying *e, bool only_lower,
                           struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = e->meta;
	uint64_t count = meta->l1.entry_count;
	QCF_AUTO_FREE struct qcf_be64 *zeros =
		calloc(count + 1, sizeof(*zeros));
	struct qcf_area area = { 0 };
	int ret = zeros == NULL
	                  ? qcf_fail_oom(errp)
	                  : qcf_area_write(meta, zeros, count * 8, &area, errp);

	if (ret < 0)
		return ret;
	if (only_lower && area.host_offset > meta->header.l1_table_offset)
		return qcf_area_free(meta, &area, errp);
	return store_and_switch(e, &zeros, &area, errp);
}

/* Clusters of a data file are not counted; only the tables are. */
static int free_tables(struct emptying *e, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &e->meta->geometry;
	int ret = 0;

	qcf_cache_drop_all(&e->meta->l2_cache);
	for (size_t i = 0; ret == 0 && i < e->tree.count; i++)
		ret = qcf_alloc_free(
			e->meta,
			qcf_host_cluster(g, e->tree.tables[i].host_offset), 1,
			errp);
	return ret;
}

/* Counts that have fallen, in any order, are right: nothing refers to the
 * clusters any more. */
static int free_all(struct emptying *e, struct qcowfmt_error **errp)
{
	const struct qcf_recount drop = {
		.change = -1,
		.flags = QCF_FLAGS_KEEP,
		.discard = e->image->discard_mode != QCOWFMT_DISCARD_KEEP,
	};
	int ret = qcf_recount(e->meta, &e->tree, &drop, errp);

	qcf_recount_end(e->meta);
	return ret;
}

static int drop_references(struct emptying *e, struct qcowfmt_error **errp)
{
	return qcf_wrap(errp, "freeing clusters",
	                e->meta->geometry.data_file ? free_tables(e, errp)
	                                            : free_all(e, errp));
}

static int free_old_table(struct emptying *e, struct qcowfmt_error **errp)
{
	struct qcf_area area = e->old_l1;
	int ret;

	e->old_l1 = (struct qcf_area){ 0 };
	ret = qcf_area_free(e->meta, &area, errp);
	return ret < 0 ? ret : qcf_writeback_drain(e->meta, errp);
}

/* Nothing in the data file is referred to any more.  It is a hint. */
static void discard_data_file(const struct emptying *e)
{
	struct qcf_layer *top = qcf_image_top(e->image);

	if (qcf_layer_has_data_file(top) &&
	    e->image->discard_mode == QCOWFMT_DISCARD_UNMAP)
		(void)qcf_storage_discard(top->data, 0, top->virtual_size,
		                          NULL);
}

static int empty_counted(struct emptying *e, struct qcowfmt_error **errp)
{
	int ret;

	if (!has_tables(e->meta))
		return 0;
	ret = qcf_tree_init(&e->tree, e->meta, qcf_l1_raw(e->meta),
	                    e->meta->l1.entry_count, errp);
	if (ret == 0)
		ret = put_empty_table(e, false, errp);
	if (ret < 0)
		return ret;
	discard_data_file(e);
	ret = drop_references(e, errp);
	if (ret == 0)
		ret = free_old_table(e, errp);
	if (ret == 0)
		ret = put_empty_table(e, true, errp);
	if (ret == 0)
		ret = free_old_table(e, errp);
	if (ret == 0)
		ret = qcf_drop_blocks(e->meta, errp);
	return ret < 0 ? ret : qcf_cut_file(qcf_image_top(e->image), errp);
}

/* -------------------------------------------------------------------- version 1 */

/* No table is in use any more. */
static void forget_tables(struct qcf_meta *meta)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t units = g->l2_table_size >> g->guard_bits;

	for (uint64_t i = 0; i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&meta->l1.entries[i]) };
		uint64_t offset = qcf_l1_entry_decode(g, raw).l2_offset;

		atomic_store(&meta->l1.entries[i], 0);
		if (!qcf_meta_is_cluster_offset(meta, offset))
			continue;
		qcf_cache_drop(&meta->l2_cache, offset, g->l2_table_size);
		for (uint64_t k = 0; k < units; k++)
			qcf_overlap_remove(&meta->overlap, QCF_OVERLAP_L2,
			                   (offset >> g->guard_bits) + k);
	}
	/* The same places may hold other data from now on. */
	atomic_fetch_add(&meta->reclaims, 1);
}

static int clear_l1(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *cause = NULL;
	int ret = qcf_storage_write_zeros(
		meta->storage, meta->header.l1_table_offset,
		meta->l1.entry_count * sizeof(uint64_t), &cause);

	if (ret == 0)
		ret = qcf_meta_flush(meta, &cause);
	/* Nobody knows which entries are left. */
	if (ret < 0)
		qcf_poison_set(&meta->poison, cause);
	qcf_error_move(errp, cause);
	return ret;
}

/* Of backing_file_offset and backing_file_size in the header. */
#define BACKING_FILE_FIELDS 8

/* Behind the L1 table, and behind the backing file name, which others may have
 * put there. */
static int find_end(struct qcf_meta *meta, uint64_t *end,
                    struct qcowfmt_error **errp)
{
	uint8_t bytes[QCF_HEADER_LEN_V1] = { 0 };
	struct qcf_reader reader = qcf_reader_init(bytes, sizeof(bytes));
	int ret = qcf_storage_pread_exact(meta->storage, bytes, sizeof(bytes),
	                                  0, errp);
	uint64_t name;

	if (ret < 0)
		return ret;
	reader.pos = BACKING_FILE_FIELDS;
	name = qcf_read_u64(&reader);
	name += qcf_read_u32(&reader);
	*end = meta->header.l1_table_offset +
	       meta->l1.entry_count * sizeof(uint64_t);
	/* The name was read when the image was opened, so it is in the file. */
	*end = QCF_MAX(*end, name);
	return 0;
}

static int empty_v1(struct emptying *e, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = e->meta;
	uint64_t end = 0;
	int ret = find_end(meta, &end, errp);

	if (ret == 0 && has_tables(meta))
		ret = clear_l1(meta, errp);
	if (ret < 0)
		return ret;
	forget_tables(meta);
	if (!meta->storage->fixed_size)
		ret = qcf_storage_truncate(meta->storage, end, errp);
	atomic_store(&qcf_image_top(e->image)->known_size, 0);
	if (ret == 0)
		meta->refcounts.append_at = end;
	return ret;
}

int qcf_empty(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	struct emptying e = {
		.image = image,
		.meta = qcf_image_top(image)->meta,
	};
	int ret = e.meta->geometry.version == 1 ? empty_v1(&e, errp)
	                                        : empty_counted(&e, errp);

	qcf_tree_fini(&e.tree);
	return qcf_wrap(errp, "emptying the image", ret);
}
