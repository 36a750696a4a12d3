/* SPDX-License-Identifier: MIT */
/*
 * compact_move.c - carrying a plan out
 *
 * Step by step, each stable before the next one begins:
 *
 *   1. counts of the new places, equal to those of the old ones; guest data is
 *      copied there
 *   2. L2 entries name the new places of guest data
 *   3. L2 tables are copied; L1 entries, also of snapshots, name the copies
 *   4. refcount blocks are copied; the refcount table names the copies
 *   5. clusters of dirty bitmaps are copied; their tables name the copies.
 *      Then tables of several clusters, one write of the header, or of the
 *      directory of bitmaps, each
 *   6. counts of the old places become 0
 *
 * From 1 to 6 old and new place hold the same bytes and have the same count, so
 * it does not matter which of the references to a cluster a power cut leaves
 * changed: each leads to the right bytes, counts are as high as they have to be
 * or higher (CS-1), and a COPIED flag, which says that the count is 1, is true
 * for both.  Old places are not written to before 6 is stable.
 */
#include <errno.h>

#include "alloc.h"
#include "checked.h"
#include "compact_bitmaps.h"
#include "compact_move.h"
#include "compact_tables.h"
#include "l1_table.h"
#include "meta_protect.h"
#include "refcount.h"
#include "writeback.h"
#include "zeros.h"

/* Bytes copied at a time, unless a cluster is longer. */
#define COPY_SIZE (UINT64_C(1) << 20)

static int report(struct qcf_compaction *c, uint64_t done,
                  struct qcowfmt_error **errp)
{
	const struct qcowfmt_compact_options *o = c->options;
	uint64_t total = c->result->clusters_moved + c->moving;

	if (o->progress == NULL ||
	    o->progress(o->progress_opaque, c->result->clusters_moved + done,
	                total) == 0)
		return 0;
	return qcf_fail(errp, ECANCELED, QCOWFMT_ERR_CANCELLED,
	                "cancelled by the caller");
}

/* --------------------------------------------------------------- guest data */

static bool is_luks_data(const struct qcf_compaction *c, uint64_t cluster)
{
	return c->meta->header.crypt_method == QCOWFMT_ENCRYPTION_LUKS &&
	       qcf_compact_use(c, cluster) == QCF_USE_DATA;
}

/* What LUKS encrypts depends on where in the file it is. */
static int recrypt(struct qcf_compaction *c, uint8_t *bytes, size_t len,
                   uint64_t from, uint64_t to, struct qcowfmt_error **errp)
{
	int ret = qcf_crypto_decrypt(c->meta->crypto, bytes, bytes, len, 0,
	                             from, errp);

	return ret < 0 ? ret
	               : qcf_crypto_encrypt(c->meta->crypto, bytes, bytes, len,
	                                    0, to, errp);
}

/* Copy n clusters; nothing that was in the new place before shows. */
static int copy(struct qcf_compaction *c, uint8_t *buffer, uint64_t from,
                uint64_t to, uint64_t n, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	struct qcowfmt_storage *storage = c->meta->storage;
	uint64_t source = qcf_host_offset(g, from);
	uint64_t target = qcf_host_offset(g, to);
	size_t len = (size_t)(n << g->cluster_bits);
	int64_t got =
		qcf_storage_pread_padded(storage, buffer, len, source, errp);

	if (got < 0)
		return (int)got;
	if (is_luks_data(c, from)) {
		int ret = recrypt(c, buffer, len, source, target, errp);

		if (ret < 0)
			return ret;
	}
	if (qcf_is_zero(buffer, len))
		return qcf_storage_zero(storage, target, len, true, errp);
	return qcf_storage_pwrite(storage, buffer, len, target, errp);
}

static bool is_guest_data(const struct qcf_compaction *c, uint64_t cluster)
{
	enum qcf_use use = qcf_compact_use(c, cluster);

	return (use == QCF_USE_DATA || use == QCF_USE_PACKED) &&
	       qcf_compact_new_place(c, cluster) != QCF_STAYS;
}

/* How many clusters from one on are alike and stay neighbours. */
static uint64_t run_from(const struct qcf_compaction *c, uint64_t cluster,
                         uint64_t max)
{
	uint64_t to = qcf_compact_new_place(c, cluster);
	uint64_t n = 1;

	while (n < max && cluster + n < c->end &&
	       is_guest_data(c, cluster + n) &&
	       qcf_compact_use(c, cluster + n) == qcf_compact_use(c, cluster) &&
	       qcf_compact_new_place(c, cluster + n) == to + n)
		n++;
	return n;
}

static int copy_data(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	uint64_t max = QCF_MAX(COPY_SIZE >> g->cluster_bits, UINT64_C(1));
	QCF_AUTO_FREE uint8_t *buffer = malloc(max << g->cluster_bits);
	uint64_t done = 0;
	int ret = buffer == NULL ? qcf_fail_oom(errp) : 0;

	for (uint64_t i = c->first; ret == 0 && i < c->end;) {
		uint64_t n = 1;

		if (is_guest_data(c, i)) {
			n = run_from(c, i, max);
			ret = copy(c, buffer, i, qcf_compact_new_place(c, i), n,
			           errp);
			done += n;
			if (ret == 0)
				ret = report(c, done, errp);
		}
		i += n;
	}
	return ret;
}

static int switch_slice(void *opaque, const struct qcf_l2_name *table,
                        struct qcf_block *slice, uint64_t first,
                        struct qcowfmt_error **errp)
{
	struct qcf_compaction *c = opaque;
	struct qcf_meta *meta = c->meta;
	const struct qcf_geometry *g = &meta->geometry;

	(void)table;
	(void)first;
	for (uint64_t i = 0; i < g->slice_entry_count; i++) {
		struct qcf_l2_raw raw = qcf_l2_slice_get(meta, slice, i);
		struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
		uint64_t to;

		if (g->data_file || m.host_offset == 0)
			continue;
		to = qcf_compact_new_place(c,
		                           qcf_host_cluster(g, m.host_offset));
		if (to == QCF_STAYS)
			continue;
		m.host_offset = qcf_host_offset(g, to) +
		                qcf_offset_in_cluster(g, m.host_offset);
		qcf_l2_slice_set(meta, slice, i, qcf_l2_entry_encode(g, m));
	}
	return qcf_writeback_is_due(meta) ? qcf_writeback_drain(meta, errp) : 0;
}

/* Writeback stores counts before mappings, and the flush between covers the
 * copies. */
static int switch_data(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret = qcf_l2_visit_all(c->meta, &c->list, switch_slice, c, errp);

	return ret < 0 ? ret : qcf_writeback_drain(c->meta, errp);
}

/* ---------------------------------------------------------- metadata blocks */

/* Guest data must not be written there.  Of L2 tables only active ones are
 * watched. */
static int protect(struct qcf_compaction *c, enum qcf_use use, uint64_t from,
                   uint64_t to, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	const struct qcf_l2_name *name;

	if (use == QCF_USE_BLOCK)
		return qcf_overlap_add(&c->meta->overlap, QCF_OVERLAP_BLOCK, to,
		                       errp);
	name = qcf_l2_list_find(&c->list, qcf_host_offset(g, from));
	if (name == NULL || !name->active)
		return 0;
	return qcf_meta_protect_l2(c->meta, qcf_host_offset(g, to), errp);
}

/* Copy all clusters of one use, and make the copies stable. */
static int copy_blocks(struct qcf_compaction *c, enum qcf_use use, bool *any,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *buffer = malloc(c->meta->geometry.cluster_size);
	int ret = buffer == NULL ? qcf_fail_oom(errp) : 0;

	*any = false;
	for (uint64_t i = c->first; ret == 0 && i < c->end; i++) {
		uint64_t to = qcf_compact_new_place(c, i);

		if (qcf_compact_use(c, i) != use || to == QCF_STAYS)
			continue;
		*any = true;
		ret = copy(c, buffer, i, to, 1, errp);
		if (ret == 0)
			ret = protect(c, use, i, to, errp);
	}
	return ret < 0 || !*any ? ret : qcf_meta_flush(c->meta, errp);
}

/* Nothing refers to the old places any more. */
static void forget_blocks(struct qcf_compaction *c, enum qcf_use use)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	bool is_l2 = use == QCF_USE_L2;

	for (uint64_t i = c->first; i < c->end; i++) {
		if (qcf_compact_use(c, i) != use ||
		    qcf_compact_new_place(c, i) == QCF_STAYS)
			continue;
		qcf_cache_drop(is_l2 ? &c->meta->l2_cache
		                     : &c->meta->refcount_cache,
		               qcf_host_offset(g, i), g->cluster_size);
		qcf_overlap_remove(&c->meta->overlap,
		                   is_l2 ? QCF_OVERLAP_L2 : QCF_OVERLAP_BLOCK,
		                   i);
	}
}

static int move_l2_tables(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	bool any = false;
	int ret = copy_blocks(c, QCF_USE_L2, &any, errp);

	if (ret < 0 || !any)
		return ret;
	ret = qcf_compact_switch_l1(c, errp);
	if (ret == 0)
		ret = qcf_writeback_drain(c->meta, errp);
	if (ret == 0)
		forget_blocks(c, QCF_USE_L2);
	return ret;
}

static int move_blocks(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	const struct qcf_geometry *g = &meta->geometry;
	const struct qcf_refcounts *r = &meta->refcounts;
	bool any = false;
	int ret = copy_blocks(c, QCF_USE_BLOCK, &any, errp);

	if (ret < 0 || !any)
		return ret;
	for (uint64_t i = 0; i < r->entry_count; i++) {
		uint64_t to = qcf_compact_new_place(
			c, qcf_host_cluster(g, r->table[i]));

		QCF_GUARD(&meta->refcounts.lock);
		if (to != QCF_STAYS)
			qcf_refcount_set_block(meta, i, qcf_host_offset(g, to));
	}
	ret = qcf_writeback_drain(meta, errp);
	if (ret == 0)
		forget_blocks(c, QCF_USE_BLOCK);
	return ret;
}

/* ------------------------------------------------------------------ freeing */

static int free_old_places(struct qcf_compaction *c,
                           struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	int ret = 0;

	for (uint64_t i = c->first; ret == 0 && i < c->end; i++) {
		QCF_GUARD(&meta->refcounts.lock);

		if (qcf_compact_new_place(c, i) != QCF_STAYS)
			ret = qcf_refcount_write(meta, i, 0, errp);
	}
	if (ret == 0)
		ret = qcf_writeback_drain(meta, errp);
	/* Decompressed clusters are known by where they were. */
	atomic_fetch_add(&meta->reclaims, 1);
	qcf_mutex_lock(&meta->refcounts.lock);
	meta->refcounts.first_free = 0;
	meta->refcounts.pack_offset = 0;
	qcf_mutex_unlock(&meta->refcounts.lock);
	return ret;
}

/* Whether a table in memory names the old place of a cluster that moves. */
static bool is_still_named(const struct qcf_compaction *c, enum qcf_use use,
                           uint64_t cluster)
{
	struct qcf_meta *meta = c->meta;
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t offset = qcf_host_offset(g, cluster);

	if (use == QCF_USE_BLOCK) {
		for (uint64_t i = 0; i < meta->refcounts.entry_count; i++) {
			if (meta->refcounts.table[i] == offset)
				return true;
		}
		return false;
	}
	for (uint64_t i = 0; i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&meta->l1.entries[i]) };

		if (qcf_l1_entry_decode(g, raw).l2_offset == offset)
			return true;
	}
	return false;
}

/* A failure came in between: of each pair of places forget the one that no
 * table names. */
static void settle(struct qcf_compaction *c, enum qcf_use use)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	bool is_l2 = use == QCF_USE_L2;

	for (uint64_t i = c->first; i < c->end; i++) {
		uint64_t gone = qcf_compact_new_place(c, i);
		const struct qcf_l2_name *name;

		if (qcf_compact_use(c, i) != use || gone == QCF_STAYS)
			continue;
		name = qcf_l2_list_find(&c->list, qcf_host_offset(g, i));
		if (is_l2 && (name == NULL || !name->active))
			continue;
		if (!is_still_named(c, use, i))
			gone = i;
		qcf_cache_drop(is_l2 ? &c->meta->l2_cache
		                     : &c->meta->refcount_cache,
		               qcf_host_offset(g, gone), g->cluster_size);
		qcf_overlap_remove(&c->meta->overlap,
		                   is_l2 ? QCF_OVERLAP_L2 : QCF_OVERLAP_BLOCK,
		                   gone);
	}
}

static int move_bits(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	bool any = false;
	int ret = copy_blocks(c, QCF_USE_BITS, &any, errp);

	return ret < 0 || !any ? ret : qcf_compact_switch_bits(c, errp);
}

static int move_metadata(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret = move_l2_tables(c, errp);

	if (ret == 0)
		ret = move_blocks(c, errp);
	if (ret < 0) {
		settle(c, QCF_USE_L2);
		settle(c, QCF_USE_BLOCK);
	}
	return ret;
}

int qcf_compact_move_window(struct qcf_compaction *c,
                            struct qcowfmt_error **errp)
{
	int ret = copy_data(c, errp);

	if (ret < 0) {
		qcf_compact_abandon_window(c);
		return ret;
	}
	ret = switch_data(c, errp);
	if (ret == 0)
		ret = move_metadata(c, errp);
	if (ret == 0)
		ret = move_bits(c, errp);
	if (ret == 0)
		ret = qcf_compact_move_tables(c, errp);
	if (ret == 0)
		ret = free_old_places(c, errp);
	if (ret == 0)
		c->result->clusters_moved += c->moving;
	return ret;
}
