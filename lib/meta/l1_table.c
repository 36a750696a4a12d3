/* SPDX-License-Identifier: MIT */
/*
 * l1_table.c - the active L1 table, and making L2 tables writable
 *
 * A new L2 table has its content on storage (zeros, or a copy) before its L1
 * entry changes in memory; writeback makes both stable in that order (CS-3).
 * The table that a copy replaces goes into quarantine like any freed cluster.
 */
#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "header_switch.h"
#include "image_flags.h"
#include "l1_table.h"
#include "meta_protect.h"
#include "meta_tables.h"
#include "writeback.h"
#include "zeros.h"

/* ------------------------------------------------------------- piece by piece */

int qcf_l1_expect(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint64_t pieces = (meta->l1.entry_count - 1) / QCF_L1_PIECE + 1;

	meta->l1.pieces = calloc(pieces, sizeof(*meta->l1.pieces));
	return meta->l1.pieces == NULL ? qcf_fail_oom(errp) : 0;
}

/* All pieces without an entry: most of a large disk, and of an overlay. */
static uint64_t empty_piece[QCF_L1_PIECE];

static void free_piece(uint64_t *piece)
{
	if (piece != empty_piece)
		free(piece);
}

static int read_piece(struct qcf_meta *meta, uint64_t first, uint64_t **piece,
                      struct qcowfmt_error **errp)
{
	uint64_t count = QCF_MIN(QCF_L1_PIECE, meta->l1.entry_count - first);
	QCF_AUTO_FREE uint64_t *bytes = malloc(count * 8);
	int ret = bytes == NULL
	                  ? qcf_fail_oom(errp)
	                  : qcf_meta_read_table(meta,
	                                        meta->header.l1_table_offset +
	                                                first * 8,
	                                        bytes, count * 8, errp);

	if (ret < 0)
		return qcf_wrap(errp, "reading the L1 table", ret);
	*piece = qcf_is_zero(bytes, count * 8) ? empty_piece : qcf_take(&bytes);
	return 0;
}

/* The piece that an index is in, NULL if it was not read yet. */
static const uint64_t *find_piece(const struct qcf_meta *meta,
                                  uint64_t l1_index)
{
	return atomic_load_explicit(&meta->l1.pieces[l1_index / QCF_L1_PIECE],
	                            memory_order_acquire);
}

/* The same, read now if need be.  Of several that read it one is kept. */
static int get_piece(struct qcf_meta *meta, uint64_t l1_index,
                     const uint64_t **piece, struct qcowfmt_error **errp)
{
	uint64_t number = l1_index / QCF_L1_PIECE;
	uint64_t *other = NULL;
	uint64_t *mine = NULL;
	int ret;

	*piece = find_piece(meta, l1_index);
	if (*piece != NULL)
		return 0;
	ret = read_piece(meta, number * QCF_L1_PIECE, &mine, errp);
	if (ret < 0)
		return ret;
	if (atomic_compare_exchange_strong(&meta->l1.pieces[number], &other,
	                                   mine)) {
		*piece = mine;
	} else {
		*piece = other;
		free_piece(mine);
	}
	return 0;
}

static void free_entries(struct qcf_l1 *l1)
{
	uint64_t count = l1->pieces == NULL ? 0 : l1->entry_count;

	for (uint64_t i = 0; i < count; i += QCF_L1_PIECE)
		free_piece(atomic_load(&l1->pieces[i / QCF_L1_PIECE]));
	free(l1->pieces);
	free((void *)(uintptr_t)l1->entries);
}

void qcf_l1_fini(struct qcf_meta *meta)
{
	free_entries(&meta->l1);
	free(meta->l1.dirty);
}

void qcf_l1_replace(struct qcf_meta *meta, struct qcf_be64 *entries,
                    uint64_t entry_count)
{
	free_entries(&meta->l1);
	meta->l1.pieces = NULL;
	meta->l1.entries = (void *)entries;
	meta->l1.entry_count = entry_count;
}

int qcf_l1_read_entry(struct qcf_meta *meta, uint64_t l1_index,
                      struct qcf_be64 *raw, struct qcowfmt_error **errp)
{
	const uint64_t *piece;
	int ret;

	if (meta->l1.pieces == NULL) {
		raw->raw = atomic_load(&meta->l1.entries[l1_index]);
		return 0;
	}
	ret = get_piece(meta, l1_index, &piece, errp);
	if (ret == 0)
		raw->raw = piece[l1_index % QCF_L1_PIECE];
	return ret;
}

/* -------------------------------------------------------------------- entries */

static struct qcf_l1_entry load_entry(struct qcf_meta *meta, uint64_t l1_index)
{
	struct qcf_be64 raw = { atomic_load(&meta->l1.entries[l1_index]) };

	return qcf_l1_entry_decode(&meta->geometry, raw);
}

/* What is wrong with the offset of an entry, 0 if nothing is. */
static uint32_t check_entry(struct qcf_meta *meta,
                            const struct qcf_l1_entry *entry)
{
	uint64_t offset = entry->l2_offset;

	if (offset == 0)
		return 0;
	if (!qcf_meta_is_cluster_offset(meta, offset))
		return QCF_CHECK_L2_OFFSET;
	/* Writing through a table that is other metadata, too, would change
	 * both; writing where its entries point could hit anything. */
	if (meta->writable && qcf_meta_is_not_only_l2(meta, offset))
		return QCF_CHECK_OVERLAP;
	return 0;
}

/* An entry whose offset, if it has one, can be that of an L2 table. */
static int lookup_entry(struct qcf_meta *meta, uint64_t l1_index,
                        struct qcf_l1_entry *entry, struct qcowfmt_error **errp)
{
	uint32_t corruption;

	*entry = (struct qcf_l1_entry){ 0 };
	if (l1_index >= meta->l1.entry_count)
		return 0;
	if (meta->l1.pieces == NULL) {
		*entry = load_entry(meta, l1_index);
	} else {
		struct qcf_be64 raw;
		int ret = qcf_l1_read_entry(meta, l1_index, &raw, errp);

		if (ret < 0)
			return ret;
		*entry = qcf_l1_entry_decode(&meta->geometry, raw);
	}
	corruption = check_entry(meta, entry);
	return corruption == 0 ? 0
	                       : qcf_meta_corrupt(meta, corruption,
	                                          entry->l2_offset, errp);
}

int qcf_l1_lookup(struct qcf_meta *meta, uint64_t l1_index, uint64_t *l2_offset,
                  struct qcowfmt_error **errp)
{
	struct qcf_l1_entry entry;
	int ret = lookup_entry(meta, l1_index, &entry, errp);

	*l2_offset = entry.l2_offset;
	return ret;
}

bool qcf_l1_peek(struct qcf_meta *meta, uint64_t l1_index, uint64_t *l2_offset)
{
	struct qcf_l1_entry entry = { 0 };

	if (l1_index < meta->l1.entry_count && meta->l1.pieces == NULL) {
		entry = load_entry(meta, l1_index);
	} else if (l1_index < meta->l1.entry_count) {
		const uint64_t *piece = find_piece(meta, l1_index);

		if (piece == NULL)
			return false;
		entry = qcf_l1_entry_decode(
			&meta->geometry,
			(struct qcf_be64){ piece[l1_index % QCF_L1_PIECE] });
	}
	*l2_offset = entry.l2_offset;
	return check_entry(meta, &entry) == 0;
}

/* Room to note one more dirty entry, so that linking a table cannot fail. */
static int reserve_dirty(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->map_lock);
	struct qcf_l1 *l1 = &meta->l1;
	uint32_t *dirty;
	size_t room;

	/* Entries taken back from a failed commit need room, too. */
	if (l1->dirty_count + 1 <= l1->dirty_room / 2)
		return 0;
	room = QCF_MAX(l1->dirty_room * 2, (size_t)64);
	dirty = realloc(l1->dirty, room * sizeof(*dirty));
	if (dirty == NULL)
		return qcf_fail_oom(errp);
	l1->dirty = dirty;
	l1->dirty_room = room;
	return 0;
}

static int copy_table(struct qcf_meta *meta, uint64_t from, uint64_t to,
                      struct qcowfmt_error **errp)
{
	uint64_t size = meta->geometry.l2_table_size;
	QCF_AUTO_FREE void *table = malloc(size);
	int ret;

	if (table == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(meta, from, table, size, errp);
	if (ret == 0)
		ret = qcf_storage_pwrite(meta->storage, table, size, to, errp);
	return ret;
}

static void link_table(struct qcf_meta *meta, uint64_t l1_index,
                       uint64_t l2_offset, struct qcf_freed_batch *old)
{
	struct qcf_l1_entry entry = { .l2_offset = l2_offset,
		                      .copied = l2_offset != 0 };
	struct qcf_l1 *l1 = &meta->l1;

	QCF_GUARD(&meta->map_lock);
	atomic_store(&l1->entries[l1_index],
	             qcf_l1_entry_encode(&meta->geometry, entry).raw);
	l1->dirty[l1->dirty_count++] = (uint32_t)l1_index;
	qcf_quarantine_add(&meta->quarantine, old);
}

/* Give an L1 index a private L2 table in a reserved cluster. */
static int make_table(struct qcf_meta *meta, uint64_t l1_index,
                      uint64_t old_offset, uint64_t host_cluster,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t offset = qcf_host_offset(g, host_cluster);
	QCF_AUTO_FREE struct qcf_freed_batch *old = qcf_freed_batch_new(1);
	int ret = old == NULL ? qcf_fail_oom(errp) : reserve_dirty(meta, errp);

	if (ret == 0 && old_offset == 0)
		ret = qcf_storage_zero(meta->storage, offset, g->l2_table_size,
		                       true, errp);
	else if (ret == 0)
		ret = copy_table(meta, old_offset, offset, errp);
	if (ret == 0)
		ret = qcf_meta_protect_l2(meta, offset, errp);
	if (ret < 0)
		return ret;
	old->metadata = true;
	if (old_offset != 0)
		qcf_freed_batch_add(old, qcf_host_cluster(g, old_offset), 1);
	link_table(meta, l1_index, offset, qcf_take(&old));
	return 0;
}

/* Make or unshare a table; l1.lock is held. */
static int make_private(struct qcf_meta *meta, uint64_t l1_index,
                        uint64_t *l2_offset, struct qcowfmt_error **errp)
{
	struct qcf_reservation reservation;
	/* One cluster, but for version 1, which gets all it asks for. */
	int ret = qcf_alloc_reserve(
		meta,
		qcf_clusters_for(&meta->geometry, meta->geometry.l2_table_size),
		&reservation, errp);

	if (ret < 0)
		return ret;
	ret = make_table(meta, l1_index, *l2_offset, reservation.host_cluster,
	                 errp);
	if (ret < 0)
		qcf_alloc_abandon(meta, &reservation);
	else
		*l2_offset = qcf_host_offset(&meta->geometry,
		                             reservation.host_cluster);
	return ret;
}

int qcf_l1_writable_table(struct qcf_meta *meta, uint64_t l1_index,
                          uint64_t *l2_offset, struct qcowfmt_error **errp)
{
	struct qcf_l1_entry entry;
	int ret = lookup_entry(meta, l1_index, &entry, errp);

	*l2_offset = entry.l2_offset;
	if (ret < 0 || (entry.l2_offset != 0 && entry.copied))
		return ret;
	/* Somebody else may be making the table: look again. */
	QCF_GUARD(&meta->l1.lock);
	ret = lookup_entry(meta, l1_index, &entry, errp);
	*l2_offset = entry.l2_offset;
	if (ret < 0 || (entry.l2_offset != 0 && entry.copied))
		return ret;
	return qcf_wrap(errp, "making an L2 table",
	                make_private(meta, l1_index, l2_offset, errp));
}

int qcf_l1_drop_table(struct qcf_meta *meta, uint64_t l1_index,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t old = load_entry(meta, l1_index).l2_offset;
	QCF_AUTO_FREE struct qcf_freed_batch *freed = qcf_freed_batch_new(1);
	int ret =
		freed == NULL ? qcf_fail_oom(errp) : reserve_dirty(meta, errp);

	if (ret < 0)
		return ret;
	freed->metadata = true;
	qcf_freed_batch_add(freed, qcf_host_cluster(g, old), 1);
	link_table(meta, l1_index, 0, qcf_take(&freed));
	return 0;
}

/* ------------------------------------------------------------------ growing */

void qcf_l1_adopt(struct qcf_meta *meta, struct qcf_be64 *entries,
                  uint64_t entry_count, uint64_t host_offset)
{
	const struct qcf_geometry *g = &meta->geometry;

	qcf_l1_replace(meta, entries, entry_count);
	meta->header.l1_size = (uint32_t)entry_count;
	meta->header.l1_table_offset = host_offset;
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_L1,
	                      qcf_host_cluster(g, host_offset),
	                      qcf_clusters_for(g, entry_count * 8));
}

/* A longer copy of the table in memory; the caller frees it. */
static _Atomic uint64_t *longer_copy(const struct qcf_meta *meta,
                                     uint64_t entry_count)
{
	uint64_t bytes = qcf_clusters_for(&meta->geometry, entry_count * 8)
	                 << meta->geometry.cluster_bits;
	_Atomic uint64_t *entries = calloc(1, bytes);

	for (uint64_t i = 0; entries != NULL && i < meta->l1.entry_count; i++)
		atomic_store(&entries[i], atomic_load(&meta->l1.entries[i]));
	return entries;
}

/* Point the header to a table that is stable. */
static int switch_header(struct qcf_meta *meta, uint64_t offset,
                         uint64_t entry_count, bool *switched,
                         struct qcowfmt_error **errp)
{
	uint8_t bytes[12];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));

	qcf_write_u32(&w, (uint32_t)entry_count);
	qcf_write_u64(&w, offset);
	return qcf_header_switch(meta, QCF_HEADER_AT_L1, bytes, sizeof(bytes),
	                         switched, errp);
}

/* Write the new table to its clusters and make it and their counts stable. */
static int store_table(struct qcf_meta *meta, uint64_t offset,
                       _Atomic uint64_t *entries, uint64_t clusters,
                       struct qcowfmt_error **errp)
{
	int ret = qcf_storage_pwrite(meta->storage, (void *)(uintptr_t)entries,
	                             clusters << meta->geometry.cluster_bits,
	                             offset, errp);

	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

static int move_table(struct qcf_meta *meta, uint64_t first, uint64_t clusters,
                      uint64_t entry_count, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t offset = qcf_host_offset(g, first);
	uint64_t old_offset = meta->header.l1_table_offset;
	uint64_t old_count = qcf_clusters_for(g, meta->l1.entry_count * 8);
	_Atomic uint64_t *entries = longer_copy(meta, entry_count);
	int ret = entries == NULL
	                  ? qcf_fail_oom(errp)
	                  : store_table(meta, offset, entries, clusters, errp);
	bool switched = false;

	if (ret == 0)
		ret = switch_header(meta, offset, entry_count, &switched, errp);
	if (!switched) {
		free((void *)(uintptr_t)entries);
		return ret;
	}
	qcf_l1_adopt(meta, (void *)(uintptr_t)entries, entry_count, offset);
	return ret < 0 ? ret
	               : qcf_alloc_free(meta, qcf_host_cluster(g, old_offset),
	                                old_count, errp);
}

static int reserve_table(struct qcf_meta *meta, uint64_t clusters,
                         uint64_t *first, struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);

	return qcf_alloc_reserve_exact_locked(meta, clusters, first, errp);
}

int qcf_l1_grow(struct qcf_meta *meta, uint64_t entry_count,
                struct qcowfmt_error **errp)
{
	uint64_t clusters = qcf_clusters_for(&meta->geometry, entry_count * 8);
	uint64_t first = 0;
	int ret = reserve_table(meta, clusters, &first, errp);

	if (ret == 0) {
		ret = move_table(meta, first, clusters, entry_count, errp);
		/* What is counted for nothing after a failure is a leak. */
		if (ret < 0 && meta->l1.entry_count < entry_count)
			(void)qcf_alloc_free(meta, first, clusters, NULL);
	}
	return qcf_wrap(errp, "growing the L1 table", ret);
}

int qcf_l1_move(struct qcf_meta *meta, uint64_t first,
                struct qcowfmt_error **errp)
{
	uint64_t clusters =
		qcf_clusters_for(&meta->geometry, meta->l1.entry_count * 8);

	return qcf_wrap(
		errp, "moving the L1 table",
		move_table(meta, first, clusters, meta->l1.entry_count, errp));
}

/* Put an entry that means the same in place of another. */
static int replace_entry(struct qcf_meta *meta, uint64_t l1_index,
                         struct qcf_l1_entry entry, struct qcowfmt_error **errp)
{
	int ret = reserve_dirty(meta, errp);

	if (ret < 0)
		return ret;
	QCF_GUARD(&meta->map_lock);
	atomic_store(&meta->l1.entries[l1_index],
	             qcf_l1_entry_encode(&meta->geometry, entry).raw);
	meta->l1.dirty[meta->l1.dirty_count++] = (uint32_t)l1_index;
	return 0;
}

int qcf_l1_set_table(struct qcf_meta *meta, uint64_t l1_index,
                     uint64_t l2_offset, struct qcowfmt_error **errp)
{
	struct qcf_l1_entry entry = load_entry(meta, l1_index);

	entry.l2_offset = l2_offset;
	return replace_entry(meta, l1_index, entry, errp);
}

int qcf_l1_set_copied(struct qcf_meta *meta, uint64_t l1_index, bool copied,
                      struct qcowfmt_error **errp)
{
	struct qcf_l1_entry entry = load_entry(meta, l1_index);

	entry.copied = copied;
	return replace_entry(meta, l1_index, entry, errp);
}

/* --------------------------------------------------------- the whole table */

/* Write the entries of a changed copy that differ from memory, and take them
 * over. */
static int store_changes(struct qcf_meta *meta, const struct qcf_be64 *changed,
                         struct qcowfmt_error **errp)
{
	const struct qcf_be64 *now = qcf_l1_raw(meta);
	uint64_t first = 0;
	uint64_t end = meta->l1.entry_count;
	int ret;

	while (first < end && changed[first].raw == now[first].raw)
		first++;
	while (end > first && changed[end - 1].raw == now[end - 1].raw)
		end--;
	if (first == end)
		return 0;
	ret = qcf_storage_pwrite(
		meta->storage, &changed[first], (end - first) * 8,
		meta->header.l1_table_offset + first * 8, errp);
	if (ret < 0)
		return qcf_wrap(errp, "writing the L1 table", ret);
	for (uint64_t i = first; i < end; i++)
		atomic_store(&meta->l1.entries[i], changed[i].raw);
	return 0;
}

static struct qcf_be64 *copy_entries(const struct qcf_meta *meta)
{
	size_t size = ((size_t)meta->l1.entry_count + 1) * 8;
	struct qcf_be64 *copy = calloc(1, size);

	if (copy != NULL)
		memcpy(copy, qcf_l1_raw(meta), size - 8);
	return copy;
}

int qcf_l1_correct_flags(struct qcf_meta *meta, const struct qcf_tree *tree,
                         struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *changed = copy_entries(meta);

	if (changed == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < meta->l1.entry_count; i++) {
		struct qcf_l1_entry entry = load_entry(meta, i);
		const struct qcf_tree_table *table =
			tree == NULL ? NULL
				     : qcf_tree_find(tree, entry.l2_offset);
		bool copied = table != NULL && table->alone;

		if (entry.l2_offset == 0 || entry.copied == copied)
			continue;
		entry.copied = copied;
		changed[i] = qcf_l1_entry_encode(&meta->geometry, entry);
	}
	return store_changes(meta, changed, errp);
}

int qcf_l1_cut(struct qcf_meta *meta, uint64_t entry_count,
               struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *changed = copy_entries(meta);

	if (changed == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = entry_count; i < meta->l1.entry_count; i++)
		changed[i] = qcf_be64_encode(0);
	return store_changes(meta, changed, errp);
}

int qcf_l1_reload(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *stored = copy_entries(meta);
	int ret;

	if (stored == NULL)
		return qcf_fail_oom(errp);
	if (meta->l1.entry_count == 0)
		return 0;
	ret = qcf_meta_read_table(meta, meta->header.l1_table_offset, stored,
	                          meta->l1.entry_count * 8, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the L1 table", ret);
	for (uint64_t i = 0; i < meta->l1.entry_count; i++)
		atomic_store(&meta->l1.entries[i], stored[i].raw);
	return 0;
}

/* ---------------------------------------------------------------- writeback */

int qcf_l1_collect(struct qcf_meta *meta, struct qcf_l1_change **changes,
                   size_t *count, struct qcowfmt_error **errp)
{
	struct qcf_l1 *l1 = &meta->l1;

	*count = 0;
	*changes = calloc(l1->dirty_count + 1, sizeof(**changes));
	if (*changes == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; i < l1->dirty_count; i++) {
		uint32_t index = l1->dirty[i];
		struct qcf_be64 raw = { atomic_load(&l1->entries[index]) };

		(*changes)[i] = (struct qcf_l1_change){
			.host_offset = meta->header.l1_table_offset +
			               (uint64_t)index * 8,
			.raw = raw,
			.index = index,
		};
	}
	*count = l1->dirty_count;
	l1->dirty_count = 0;
	return 0;
}

/* There is room: reserve_dirty() keeps the list at most half full. */
void qcf_l1_uncollect(struct qcf_meta *meta,
                      const struct qcf_l1_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		meta->l1.dirty[meta->l1.dirty_count++] = changes[i].index;
}
