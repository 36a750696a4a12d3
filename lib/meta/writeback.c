/* SPDX-License-Identifier: MIT */
/*
 * writeback.c - the order in which metadata reaches storage
 *
 * Nothing else writes dirty metadata.  (New tables get their first content when
 * they are made, while nothing points to them; the feature bits have their own
 * file; recount.c changes whole trees while nothing is dirty.)  A commit copies
 * what is dirty and writes it in stages with a flush after each, so that at every
 * instant CS-1 to CS-8 hold:
 *
 *   1. counts    refcount blocks
 *      flush     now guest data, counts and what new tables hold are stable
 *   2. blocks    refcount table entries, or a whole new refcount table and then
 *                the header that points to it
 *      flush     now every count of stage 1 can be found
 *   3. mappings  slices of L2 tables; L1 entries
 *      flush
 *
 * Stage 2 is rare, and an empty stage costs no flush: a batch of allocating
 * writes takes two flushes however long it is.
 *
 * Why this is enough:
 *
 *   - Mappings are copied before counts.  A cluster is counted before it is
 *     mapped, so counts copied later cover every mapping copied (CS-2).
 *   - Data was written before its mapping was published, so the flush after
 *     stage 1 covers it (CS-3).  A mapping published later is not in the copy.
 *   - A new L2 table got zeros, or the entries of the one it replaces, before
 *     its L1 entry changed in memory, and that flush covers them, too.  So
 *     slices and L1 entries may arrive in any order: where a slice is missing
 *     the table says what was true before (CS-3).
 *   - A count is lowered in memory only after the commit that removed the
 *     reference has completed (quarantine.c), so what stage 1 writes is never
 *     too low (CS-1, CS-4).
 *
 * With lazy refcounts stages 1 and 2 leave the counts out.  The dirty bit is
 * made stable before the first such commit and cleared by the last, complete
 * one (CS-7).
 *
 * If writing fails, everything copied is dirty again and nothing was promised.
 */
#include <errno.h>

#include "alloc.h"
#include "image_flags.h"
#include "l1_table.h"
#include "writeback.h"

/* Freed clusters that are let wait for somebody else's commit. */
#define MAX_UNLINKED 4096

/* What one commit copied. */
struct batch {
	struct qcf_write_set mappings;
	struct qcf_l1_change *links;
	size_t link_count;

	bool with_counts;
	struct qcf_write_set counts;
	struct qcf_be64 *table; /* entries [table_first, table_first + n) */
	uint64_t table_first;
	uint64_t table_count;
	uint64_t move_to; /* whole table to a new place; 0 = in place */
};

static void batch_fini(struct batch *batch)
{
	qcf_write_set_fini(&batch->mappings);
	qcf_write_set_fini(&batch->counts);
	free(batch->links);
	free(batch->table);
}

/* --------------------------------------------------------------- collecting */

/*
 * The refcount table has grown in memory: find it a place on storage that has
 * room for it.  Placing it may add blocks and so make it longer.
 */
static int place_table_locked(struct qcf_meta *meta,
                              struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	const struct qcf_geometry *g = &meta->geometry;

	while (r->entry_count > r->stored_entry_count &&
	       r->entry_count * 8 > r->moving_clusters << g->cluster_bits) {
		uint64_t clusters = qcf_clusters_for(g, r->entry_count * 8);
		uint64_t first = 0;
		int ret;

		if (r->moving_clusters > 0) {
			ret = qcf_alloc_free_locked(
				meta, qcf_host_cluster(g, r->moving_to),
				r->moving_clusters, errp);
			r->moving_clusters = 0;
			if (ret < 0)
				return ret;
		}
		ret = qcf_alloc_reserve_exact_locked(meta, clusters, &first,
		                                     errp);
		if (ret < 0)
			return qcf_wrap(errp, "moving the refcount table", ret);
		r->moving_to = qcf_host_offset(g, first);
		r->moving_clusters = clusters;
	}
	return 0;
}

static int copy_table_locked(struct qcf_meta *meta, struct batch *batch,
                             struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;

	batch->table_first = r->dirty_first;
	batch->table_count = r->dirty_end - r->dirty_first;
	if (r->moving_clusters > 0) {
		batch->move_to = r->moving_to;
		batch->table_first = 0;
		batch->table_count =
			(r->moving_clusters << meta->geometry.cluster_bits) / 8;
	}
	batch->table = calloc(batch->table_count + 1, sizeof(*batch->table));
	if (batch->table == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < batch->table_count; i++) {
		uint64_t index = batch->table_first + i;

		if (index < r->entry_count)
			batch->table[i] =
				qcf_reftable_entry_encode(r->table[index]);
	}
	return 0;
}

static int collect_counts(struct qcf_meta *meta, struct batch *batch,
                          struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	int ret = place_table_locked(meta, errp);

	if (ret == 0)
		ret = copy_table_locked(meta, batch, errp);
	if (ret == 0)
		ret = qcf_cache_collect(&meta->refcount_cache, &batch->counts,
		                        errp);
	if (ret == 0)
		meta->refcounts.dirty_first = meta->refcounts.dirty_end = 0;
	return ret;
}

static int collect_mappings(struct qcf_meta *meta, struct batch *batch,
                            struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->map_lock);
	int ret = qcf_cache_collect(&meta->l2_cache, &batch->mappings, errp);

	if (ret < 0)
		return ret;
	ret = qcf_l1_collect(meta, &batch->links, &batch->link_count, errp);
	qcf_quarantine_begin(&meta->quarantine);
	return ret;
}

/* ----------------------------------------------------------------- writing */

static int write_counts(struct qcf_meta *meta, struct batch *batch,
                        struct qcowfmt_error **errp)
{
	int ret = qcf_write_set_write(&batch->counts, meta->storage, errp);

	if (ret < 0)
		return qcf_wrap(errp, "writing refcount blocks", ret);
	return qcf_meta_flush(meta, errp);
}

static void adopt_table(struct qcf_meta *meta, const struct batch *batch)
{
	struct qcf_refcounts *r = &meta->refcounts;
	const struct qcf_geometry *g = &meta->geometry;
	QCF_GUARD(&r->lock);
	r->stored_offset = batch->move_to;
	r->stored_entry_count = batch->table_count;
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_REFTABLE,
	                      qcf_host_cluster(g, r->stored_offset),
	                      r->moving_clusters);
	meta->header.refcount_table_offset = batch->move_to;
	meta->header.refcount_table_clusters = (uint32_t)r->moving_clusters;
	r->moving_clusters = 0;
}

/* Point the header to the refcount table at its new place (CS-6). */
static int switch_table(struct qcf_meta *meta, struct batch *batch,
                        struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	const struct qcf_geometry *g = &meta->geometry;
	uint8_t bytes[12];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));
	uint64_t old = qcf_host_cluster(g, r->stored_offset);
	uint64_t old_count = qcf_clusters_for(g, r->stored_entry_count * 8);
	int ret = qcf_meta_flush(meta, errp);

	qcf_write_u64(&w, batch->move_to);
	qcf_write_u32(&w, (uint32_t)r->moving_clusters);
	if (ret == 0)
		ret = qcf_storage_pwrite(meta->storage, bytes, sizeof(bytes),
		                         QCF_HEADER_AT_REFTABLE, errp);
	if (ret == 0)
		ret = qcf_meta_flush(meta, errp);
	if (ret < 0)
		return ret;
	adopt_table(meta, batch);
	return qcf_alloc_free(meta, old, old_count, errp);
}

static int write_blocks(struct qcf_meta *meta, struct batch *batch,
                        struct qcowfmt_error **errp)
{
	uint64_t base = batch->move_to != 0 ? batch->move_to
	                                    : meta->refcounts.stored_offset;
	int ret;

	if (batch->table_count == 0)
		return 0;
	ret = qcf_storage_pwrite(meta->storage, batch->table,
	                         batch->table_count * 8,
	                         base + batch->table_first * 8, errp);
	if (ret < 0)
		return qcf_wrap(errp, "writing the refcount table", ret);
	return batch->move_to != 0 ? switch_table(meta, batch, errp)
	                           : qcf_meta_flush(meta, errp);
}

static int write_links(struct qcf_meta *meta, struct batch *batch,
                       struct qcowfmt_error **errp)
{
	for (size_t i = 0; i < batch->link_count; i++) {
		const struct qcf_l1_change *link = &batch->links[i];
		int ret = qcf_storage_pwrite(meta->storage, &link->raw,
		                             sizeof(link->raw),
		                             link->host_offset, errp);

		if (ret < 0)
			return qcf_wrap(errp, "writing the L1 table", ret);
	}
	return 0;
}

static int write_mappings(struct qcf_meta *meta, struct batch *batch,
                          struct qcowfmt_error **errp)
{
	int ret;

	if (batch->mappings.count == 0 && batch->link_count == 0)
		return 0;
	ret = qcf_write_set_write(&batch->mappings, meta->storage, errp);
	if (ret < 0)
		return qcf_wrap(errp, "writing L2 tables", ret);
	ret = write_links(meta, batch, errp);
	return ret < 0 ? ret : qcf_meta_flush(meta, errp);
}

static int write_batch(struct qcf_meta *meta, struct batch *batch,
                       struct qcowfmt_error **errp)
{
	int ret = write_counts(meta, batch, errp);

	if (ret == 0)
		ret = write_blocks(meta, batch, errp);
	if (ret == 0)
		ret = write_mappings(meta, batch, errp);
	return ret;
}

/* ----------------------------------------------------------------- commits */

static void mark_table_dirty(struct qcf_meta *meta, const struct batch *batch)
{
	QCF_GUARD(&meta->refcounts.lock);
	struct qcf_refcounts *r = &meta->refcounts;

	if (batch->table_count == 0 || batch->move_to != 0)
		return;
	if (r->dirty_first == r->dirty_end)
		r->dirty_first = r->dirty_end = batch->table_first;
	r->dirty_first = QCF_MIN(r->dirty_first, batch->table_first);
	r->dirty_end =
		QCF_MAX(r->dirty_end, batch->table_first + batch->table_count);
}

/* The batch is written, or everything in it is dirty again. */
static void settle(struct qcf_meta *meta, struct batch *batch, bool written)
{
	qcf_cache_settle(&meta->l2_cache, &batch->mappings, written);
	qcf_cache_settle(&meta->refcount_cache, &batch->counts, written);
	if (written) {
		qcf_quarantine_stable(&meta->quarantine,
		                      qcf_gate_advance(meta->gate));
		return;
	}
	mark_table_dirty(meta, batch);
	QCF_GUARD(&meta->map_lock);
	qcf_l1_uncollect(meta, batch->links, batch->link_count);
	qcf_quarantine_failed(&meta->quarantine);
}

static bool counts_overflow(struct qcf_meta *meta)
{
	return qcf_cache_dirty_count(&meta->refcount_cache) *
	               meta->geometry.slice_size >
	       meta->budget->limit / 8;
}

static int set_dirty_bit(struct qcf_meta *meta, const struct batch *batch,
                         struct qcowfmt_error **errp)
{
	int ret;

	if (batch->with_counts || meta->commit.dirty_bit_set ||
	    (batch->mappings.count == 0 && batch->link_count == 0))
		return 0;
	ret = qcf_flags_set_incompatible(meta, QCF_INCOMPAT_DIRTY, errp);
	if (ret == 0)
		meta->commit.dirty_bit_set = true;
	return ret;
}

static int commit_locked(struct qcf_meta *meta, bool with_counts,
                         struct qcowfmt_error **errp)
{
	struct batch batch = {
		.with_counts = with_counts,
	};
	int ret = collect_mappings(meta, &batch, errp);

	if (ret == 0 && batch.with_counts)
		ret = collect_counts(meta, &batch, errp);
	if (ret == 0)
		ret = set_dirty_bit(meta, &batch, errp);
	if (ret == 0)
		ret = write_batch(meta, &batch, errp);
	settle(meta, &batch, ret == 0);
	batch_fini(&batch);
	return ret;
}

int qcf_writeback_commit(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcf_commit_state *c = &meta->commit;
	uint64_t begun_before = atomic_load(&c->started);
	QCF_GUARD(&c->lock);
	uint64_t number;
	int ret = qcf_poison_check(&meta->poison, errp);

	if (ret < 0)
		return ret;
	/* A commit that began after we were called and succeeded covers us. */
	if (c->last_complete > begun_before)
		return 0;
	number = atomic_fetch_add(&c->started, 1) + 1;
	ret = commit_locked(
		meta, !meta->lazy_refcounts || counts_overflow(meta), errp);
	if (ret == 0)
		c->last_complete = number;
	return ret;
}

bool qcf_writeback_is_due(struct qcf_meta *meta)
{
	uint64_t dirty = qcf_cache_dirty_count(&meta->l2_cache) +
	                 qcf_cache_dirty_count(&meta->refcount_cache);

	return dirty * meta->geometry.slice_size > meta->budget->limit / 4 ||
	       qcf_quarantine_unlinked(&meta->quarantine) > MAX_UNLINKED;
}

static bool anything_dirty(struct qcf_meta *meta)
{
	return qcf_cache_dirty_count(&meta->l2_cache) > 0 ||
	       qcf_cache_dirty_count(&meta->refcount_cache) > 0;
}

static int drain_locked(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	int ret = qcf_poison_check(&meta->poison, errp);

	if (ret < 0)
		return ret;
	do {
		ret = commit_locked(meta, true, errp);
		if (ret == 0)
			ret = qcf_alloc_reclaim(meta, errp);
	} while (ret == 0 && anything_dirty(meta));
	return ret;
}

int qcf_writeback_drain(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->commit.lock);
	return drain_locked(meta, errp);
}

int qcf_writeback_finish(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->commit.lock);
	int ret = drain_locked(meta, errp);

	if (ret < 0 || !meta->commit.dirty_bit_set || !meta->lazy_refcounts)
		return ret;
	return qcf_flags_clear_incompatible(meta, QCF_INCOMPAT_DIRTY, errp);
}
