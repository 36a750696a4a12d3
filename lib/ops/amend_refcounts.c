/* SPDX-License-Identifier: MIT */
/*
 * amend_refcounts.c - the same reference counts in another width
 *
 *   ... everything in use | new blocks | new refcount table |
 *
 * The new blocks count all that the old ones count, and themselves.  The old
 * ones know nothing of the new area: to them it is free space, so that until
 * the header points to the new table nothing has happened.  Afterwards the old
 * blocks and their table are still counted, and are freed like anything else.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "amend_refcounts.h"
#include "check_id.h"
#include "checked.h"
#include "image_flags.h"
#include "refcount.h"
#include "writeback.h"

/* A block that is needed, before it has a place.  No offset is odd. */
#define WANTED UINT64_C(1)

/* Bytes of new blocks that are written together. */
#define WRITE_SIZE (UINT64_C(1) << 20)

/* Counts that are handled together: a power of two, no more than any block has
 * (512 bytes of 64 bits each). */
#define RUN 64u

static uint64_t area_clusters(const struct qcf_new_counts *n)
{
	return n->block_count + n->table_clusters;
}

/* ----------------------------------------------------------------- planning */

static int want_block(struct qcf_new_counts *n, uint64_t cluster,
                      struct qcowfmt_error **errp)
{
	uint64_t index = qcf_block_index(&n->geometry, cluster);

	if (index >= n->geometry.max_reftable_entry_count)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
		                "the refcount table would exceed %" PRIu64
		                " entries",
		                n->geometry.max_reftable_entry_count);
	if (n->table[index] == WANTED)
		return 0;
	n->table[index] = WANTED;
	n->block_count++;
	n->entry_count = QCF_MAX(n->entry_count, index + 1);
	return 0;
}

static int too_large(const struct qcf_new_counts *n, uint64_t cluster,
                     uint64_t count, struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EOVERFLOW, QCOWFMT_ERR_LIMIT,
	                "Cannot decrease refcount entry width to %" PRIu32
	                " bits: Cluster at offset 0x%" PRIx64
	                " has a refcount of %" PRIu64,
	                n->geometry.refcount_bits,
	                qcf_host_offset(&n->geometry, cluster), count);
}

/* One run of counts, of which some are not 0. */
static int look_at_run(struct qcf_new_counts *n, uint64_t cluster,
                       const uint64_t *values, struct qcowfmt_error **errp)
{
	for (uint64_t i = 0; i < RUN; i++) {
		if (values[i] > n->geometry.refcount_max)
			return too_large(n, cluster + i, values[i], errp);
		if (values[i] != 0)
			n->first = cluster + i + 1;
	}
	return want_block(n, cluster, errp);
}

/* Clusters come in ascending order. */
static int look_at_block(struct qcf_meta *meta, struct qcf_new_counts *n,
                         const uint8_t *block, uint64_t cluster,
                         struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t per_block = UINT64_C(1) << g->block_bits;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < per_block; i += RUN) {
		uint64_t values[RUN];
		uint64_t any = 0;

		qcf_refcount_get_run(block, i, RUN, g->refcount_order, values);
		for (size_t k = 0; k < RUN; k++)
			any |= values[k];
		if (any != 0)
			ret = look_at_run(n, cluster + i, values, errp);
	}
	return ret;
}

/* Which blocks there have to be, and where the area for them begins. */
static int look_at_counts(struct qcf_amending *a, struct qcf_new_counts *n,
                          struct qcowfmt_error **errp)
{
	struct qcf_count_window *w = &n->window;
	int ret = 0;

	while (ret == 0 && qcf_window_more(w)) {
		ret = qcf_window_next(w, errp);
		for (size_t i = 0; ret == 0 && i < w->block_count; i++) {
			ret = look_at_block(
				a->meta, n, qcf_window_bytes(w, i),
				w->blocks[i].index
					<< a->meta->geometry.block_bits,
				errp);
			if (ret == 0)
				ret = qcf_amend_progress(a, 1, errp);
		}
	}
	return ret;
}

/* The area counts itself, which may take more blocks. */
static int plan_area(struct qcf_meta *meta, struct qcf_new_counts *n,
                     struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t planned;
	uint64_t next = n->first;

	do {
		planned = area_clusters(n);
		for (uint64_t c = 0; c < planned; c++) {
			int ret = want_block(n, n->first + c, errp);

			if (ret < 0)
				return ret;
		}
		n->table_clusters = qcf_clusters_for(g, n->entry_count * 8);
	} while (area_clusters(n) > planned);
	if (qcf_overlap_hits(&meta->overlap, n->first, planned))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP,
		                        qcf_host_offset(g, n->first), errp);
	n->entry_count = (n->table_clusters << g->cluster_bits) / 8;
	for (uint64_t i = 0; i < n->entry_count; i++) {
		if (n->table[i] == WANTED)
			n->table[i] = qcf_host_offset(g, next++);
	}
	return 0;
}

/* ------------------------------------------------------------------ writing */

/* The old counts of a run, none of which is of the area; clusters come in
 * ascending order. */
static int get_old_counts(struct qcf_new_counts *n, uint64_t cluster,
                          uint64_t *values, struct qcowfmt_error **errp)
{
	struct qcf_count_window *w = &n->window;
	const struct qcf_geometry *g = &w->meta->geometry;
	uint64_t index = qcf_block_index(g, cluster);
	struct qcf_count_place place;
	int ret = 0;

	while (ret == 0 && index >= w->end && qcf_window_more(w))
		ret = qcf_window_next(w, errp);
	if (ret < 0)
		return ret;
	if (qcf_window_find(w, cluster, &place))
		qcf_refcount_get_run(qcf_window_bytes(w, place.position),
		                     place.slot, RUN, g->refcount_order,
		                     values);
	else
		memset(values, 0, RUN * sizeof(*values));
	return 0;
}

static int get_counts(struct qcf_new_counts *n, uint64_t cluster,
                      uint64_t *values, struct qcowfmt_error **errp)
{
	uint64_t area_end = n->first + area_clusters(n);
	int ret = get_old_counts(n, cluster, values, errp);

	if (cluster + RUN <= n->first || cluster >= area_end)
		return ret;
	for (uint64_t i = 0; i < RUN; i++) {
		if (cluster + i >= n->first && cluster + i < area_end)
			values[i] = 1;
	}
	return ret;
}

static int fill_block(struct qcf_new_counts *n, uint64_t index, uint8_t *block,
                      struct qcowfmt_error **errp)
{
	uint64_t per_block = UINT64_C(1) << n->geometry.block_bits;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < per_block; i += RUN) {
		uint64_t values[RUN];

		ret = get_counts(n, index * per_block + i, values, errp);
		if (ret == 0)
			qcf_refcount_set_run(block, i, RUN,
			                     n->geometry.refcount_order,
			                     values);
	}
	return ret;
}

/* Fill up to max blocks from an index on, and move it on. */
static int fill_blocks(struct qcf_new_counts *n, uint64_t *index, uint64_t max,
                       uint8_t *buffer, uint64_t *filled,
                       struct qcowfmt_error **errp)
{
	int ret = 0;

	for (*filled = 0; ret == 0 && *filled < max && *index < n->entry_count;
	     ++*index) {
		if (n->table[*index] == 0)
			continue;
		ret = fill_block(n, *index,
		                 buffer + (*filled << n->geometry.cluster_bits),
		                 errp);
		++*filled;
	}
	return ret;
}

/* Blocks lie in the order of their indexes. */
static int write_blocks(struct qcf_amending *a, struct qcf_new_counts *n,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &n->geometry;
	uint64_t max = QCF_MAX(WRITE_SIZE >> g->cluster_bits, UINT64_C(1));
	QCF_AUTO_FREE uint8_t *buffer = malloc(max << g->cluster_bits);
	uint64_t index = 0;
	uint64_t filled = 0;
	int ret = buffer == NULL ? qcf_fail_oom(errp) : 0;

	qcf_window_rewind(&n->window);
	for (uint64_t done = 0; ret == 0 && done < n->block_count;
	     done += filled) {
		ret = fill_blocks(n, &index, max, buffer, &filled, errp);
		if (ret == 0)
			ret = qcf_storage_pwrite(
				a->meta->storage, buffer,
				filled << g->cluster_bits,
				qcf_host_offset(g, n->first + done), errp);
		if (ret == 0)
			ret = qcf_amend_progress(a, filled, errp);
	}
	return ret;
}

static int write_table(struct qcf_meta *meta, const struct qcf_new_counts *n,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *raw =
		calloc(n->entry_count, sizeof(*raw));

	if (raw == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < n->entry_count; i++)
		raw[i] = qcf_reftable_entry_encode(n->table[i]);
	return qcf_storage_pwrite(
		meta->storage, raw, n->entry_count * sizeof(*raw),
		qcf_host_offset(&n->geometry, n->first + n->block_count), errp);
}

/* After this installing them cannot fail for lack of memory. */
static int protect_blocks(struct qcf_meta *meta, struct qcf_new_counts *n,
                          struct qcowfmt_error **errp)
{
	int ret = 0;

	while (ret == 0 && n->protected_count < n->block_count) {
		ret = qcf_overlap_add(&meta->overlap, QCF_OVERLAP_BLOCK,
		                      n->first + n->protected_count, errp);
		n->protected_count += ret == 0;
	}
	return ret;
}

int qcf_new_counts_prepare(struct qcf_amending *a, struct qcf_new_counts *n,
                           uint32_t refcount_order, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = a->meta;
	int ret;

	*n = (struct qcf_new_counts){ 0 };
	ret = qcf_geometry_init(&n->geometry, 3, meta->geometry.cluster_bits,
	                        refcount_order, meta->geometry.extended_l2,
	                        errp);
	if (ret < 0)
		return ret;
	n->table =
		calloc(n->geometry.max_reftable_entry_count, sizeof(*n->table));
	if (n->table == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_window_init(&n->window, meta, false, errp);
	if (ret == 0)
		ret = look_at_counts(a, n, errp);
	if (ret == 0)
		ret = plan_area(meta, n, errp);
	if (ret == 0)
		ret = protect_blocks(meta, n, errp);
	if (ret == 0)
		ret = write_blocks(a, n, errp);
	if (ret == 0)
		ret = write_table(meta, n, errp);
	qcf_window_fini(&n->window);
	return ret < 0 ? ret : qcf_meta_flush(meta, errp);
}

void qcf_new_counts_point(const struct qcf_new_counts *n, struct qcf_header *h)
{
	h->refcount_order = n->geometry.refcount_order;
	h->refcount_table_offset =
		qcf_host_offset(&n->geometry, n->first + n->block_count);
	h->refcount_table_clusters = (uint32_t)n->table_clusters;
}

/* --------------------------------------------------------------- installing */

/* Forget the blocks of a table; their clusters are still counted. */
static void forget_blocks(struct qcf_meta *meta, const uint64_t *table,
                          uint64_t entry_count)
{
	const struct qcf_geometry *g = &meta->geometry;

	for (uint64_t i = 0; i < entry_count; i++) {
		if (table[i] == 0)
			continue;
		qcf_overlap_remove(&meta->overlap, QCF_OVERLAP_BLOCK,
		                   qcf_host_cluster(g, table[i]));
		qcf_cache_drop(&meta->refcount_cache, table[i],
		               g->cluster_size);
	}
}

static int free_old(struct qcf_meta *meta, const struct qcf_refcounts *old,
                    struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	int ret = qcf_alloc_free(
		meta, qcf_host_cluster(g, old->stored_offset),
		qcf_clusters_for(g, old->stored_entry_count * 8), errp);

	for (uint64_t i = 0; ret == 0 && i < old->entry_count; i++) {
		if (old->table[i] != 0)
			ret = qcf_alloc_free(meta,
			                     qcf_host_cluster(g, old->table[i]),
			                     1, errp);
	}
	return ret;
}

/* *old gets what was there before; its table is the caller's. */
static void adopt(struct qcf_meta *meta, struct qcf_new_counts *n,
                  struct qcf_refcounts *old)
{
	struct qcf_refcounts *r = &meta->refcounts;
	QCF_GUARD(&r->lock);

	*old = (struct qcf_refcounts){
		.table = r->table,
		.entry_count = r->entry_count,
		.stored_offset = r->stored_offset,
		.stored_entry_count = r->stored_entry_count,
	};
	forget_blocks(meta, old->table, old->entry_count);
	r->table = qcf_take(&n->table);
	r->entry_count = n->entry_count;
	r->stored_entry_count = n->entry_count;
	r->stored_offset =
		qcf_host_offset(&n->geometry, n->first + n->block_count);
	r->moving_clusters = 0;
	r->dirty_first = r->dirty_end = 0;
	r->first_free = 0;
	r->pack_offset = 0;
	r->fresh_from = QCF_MAX(r->fresh_from, n->first + area_clusters(n));
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_REFTABLE,
	                      n->first + n->block_count, n->table_clusters);
}

int qcf_new_counts_install(struct qcf_meta *meta, struct qcf_new_counts *n,
                           struct qcowfmt_error **errp)
{
	struct qcf_refcounts old;
	int ret;

	adopt(meta, n, &old);
	ret = free_old(meta, &old, errp);
	free(old.table);
	return ret;
}

void qcf_new_counts_fini(struct qcf_meta *meta, struct qcf_new_counts *n)
{
	/* An installed table has been taken over. */
	for (uint64_t i = 0; n->table != NULL && i < n->protected_count; i++)
		qcf_overlap_remove(&meta->overlap, QCF_OVERLAP_BLOCK,
		                   n->first + i);
	free(n->table);
	n->table = NULL;
}
