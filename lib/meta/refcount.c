/* SPDX-License-Identifier: MIT */
/*
 * refcount.c - reference counts of host clusters
 *
 * A missing refcount block means that every cluster of its range is free, so a
 * new block always finds a place inside its own range: it is described by
 * itself, and no other count has to change for it.
 *
 * The table grows in memory at once; writeback finds it a new place on storage
 * before anything that depends on the new blocks is written.
 */
#include <errno.h>
#include <inttypes.h>

#include "checked.h"
#include "image_flags.h"
#include "refcount.h"

/* The slice that holds a count, pinned, and the slot in it. */
struct counted {
	struct qcf_block *slice; /* NULL: there is no block */
	uint64_t slot;
};

static int pin_count(struct qcf_meta *meta, uint64_t host_cluster,
                     struct counted *counted, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t block_index = qcf_block_index(g, host_cluster);
	uint64_t index = qcf_index_in_block(g, host_cluster);
	uint64_t block;

	*counted = (struct counted){
		.slot = index & (g->slice_refcount_count - 1),
	};
	if (block_index >= meta->refcounts.entry_count)
		return 0;
	block = meta->refcounts.table[block_index];
	if (block == 0)
		return 0;
	if (!qcf_meta_is_cluster_offset(meta, block))
		return qcf_meta_corrupt(meta, QCF_CHECK_BLOCK_OFFSET, block,
		                        errp);
	if (qcf_overlap_is_not_only(&meta->overlap, QCF_OVERLAP_BLOCK,
	                            qcf_host_cluster(g, block)))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP, block, errp);
	return qcf_cache_pin(&meta->refcount_cache,
	                     block + index / g->slice_refcount_count *
	                                     g->slice_size,
	                     &counted->slice, errp);
}

static void unpin_count(struct qcf_meta *meta, struct counted *counted)
{
	if (counted->slice != NULL)
		qcf_cache_unpin(&meta->refcount_cache, counted->slice);
}

int qcf_refcount_read(struct qcf_meta *meta, uint64_t host_cluster,
                      uint64_t *count, struct qcowfmt_error **errp)
{
	struct counted counted;
	int ret = pin_count(meta, host_cluster, &counted, errp);

	if (ret < 0)
		return ret;
	*count = counted.slice == NULL
	                 ? 0
	                 : qcf_refcount_get(qcf_block_bytes(counted.slice),
	                                    counted.slot,
	                                    meta->geometry.refcount_order);
	unpin_count(meta, &counted);
	return 0;
}

int qcf_refcount_write(struct qcf_meta *meta, uint64_t host_cluster,
                       uint64_t count, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct counted counted;
	int ret = pin_count(meta, host_cluster, &counted, errp);

	if (ret < 0)
		return ret;
	if (counted.slice == NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "host cluster %" PRIu64
		                " has no refcount block",
		                host_cluster);
	if (count > g->refcount_max)
		ret = qcf_fail(errp, EINVAL, QCOWFMT_ERR_NO_SPACE,
		               "host cluster %" PRIu64 " has %" PRIu64
		               " references, its refcount can be at most "
		               "%" PRIu64,
		               host_cluster, count, g->refcount_max);
	else
		qcf_refcount_set(qcf_block_bytes(counted.slice), counted.slot,
		                 g->refcount_order, count);
	qcf_cache_mark_dirty(&meta->refcount_cache, counted.slice);
	unpin_count(meta, &counted);
	return ret;
}

static int change_one(struct qcf_meta *meta, uint64_t host_cluster,
                      struct counted *counted, bool increase,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t host_offset = qcf_host_offset(g, host_cluster);
	void *counts;
	uint64_t value;

	if (counted->slice == NULL)
		return qcf_meta_corrupt(meta, QCF_CHECK_REFCOUNT_UNDERFLOW,
		                        host_offset, errp);
	counts = qcf_block_bytes(counted->slice);
	value = qcf_refcount_get(counts, counted->slot, g->refcount_order);
	if (increase && value == g->refcount_max)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_NO_SPACE,
		                "refcount of host cluster %" PRIu64
		                " is at its maximum of %" PRIu64,
		                host_cluster, value);
	if (!increase && value == 0)
		return qcf_meta_corrupt(meta, QCF_CHECK_REFCOUNT_UNDERFLOW,
		                        host_offset, errp);
	qcf_refcount_set(counts, counted->slot, g->refcount_order,
	                 increase ? value + 1 : value - 1);
	return 0;
}

static int change(struct qcf_meta *meta, uint64_t first, uint64_t count,
                  bool increase, uint64_t *done, struct qcowfmt_error **errp)
{
	uint64_t per_slice = meta->geometry.slice_refcount_count;

	*done = 0;
	while (*done < count) {
		struct counted counted;
		int ret = pin_count(meta, first + *done, &counted, errp);

		if (ret < 0)
			return ret;
		for (; *done < count && ret == 0 && counted.slot < per_slice;
		     counted.slot++) {
			ret = change_one(meta, first + *done, &counted,
			                 increase, errp);
			*done += ret == 0;
		}
		if (counted.slice != NULL && *done > 0)
			qcf_cache_mark_dirty(&meta->refcount_cache,
			                     counted.slice);
		unpin_count(meta, &counted);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int qcf_refcount_increase(struct qcf_meta *meta, uint64_t first, uint64_t count,
                          uint64_t *done, struct qcowfmt_error **errp)
{
	return change(meta, first, count, true, done, errp);
}

int qcf_refcount_decrease(struct qcf_meta *meta, uint64_t first, uint64_t count,
                          uint64_t *done, struct qcowfmt_error **errp)
{
	return change(meta, first, count, false, done, errp);
}

int qcf_refcount_find_free(struct qcf_meta *meta, uint64_t from, uint64_t max,
                           uint64_t *first, uint64_t *run, bool *has_block,
                           struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t per_slice = g->slice_refcount_count;

	for (;;) {
		struct counted counted;
		uint64_t slot;
		int ret = pin_count(meta, from, &counted, errp);

		if (ret < 0)
			return ret;
		*has_block = counted.slice != NULL;
		*first = from;
		*run = 1;
		if (!*has_block)
			return 0;
		slot = qcf_refcount_find_zero(qcf_block_bytes(counted.slice),
		                              counted.slot, per_slice,
		                              g->refcount_order);
		*first = from + (slot - counted.slot);
		if (slot < per_slice)
			*run = qcf_refcount_zero_run(
				qcf_block_bytes(counted.slice), slot,
				QCF_MIN(max, per_slice - slot),
				g->refcount_order);
		unpin_count(meta, &counted);
		if (slot < per_slice)
			return 0;
		from = *first;
	}
}

/* ----------------------------------------------------------------- growth */

/* Make the table in memory long enough for an index. */
static int grow_table(struct qcf_meta *meta, uint64_t block_index,
                      struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t per_cluster = meta->geometry.cluster_size / 8;
	uint64_t max = meta->geometry.max_reftable_entry_count;
	uint64_t count;
	uint64_t *table;

	if (block_index < r->entry_count)
		return 0;
	if (block_index >= max)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
		                "the refcount table would exceed %" PRIu64
		                " entries",
		                max);
	count = qcf_align_up(block_index + 1 + block_index / 2, per_cluster);
	count = QCF_MIN(count, max);
	table = realloc(r->table, count * sizeof(*table));
	if (table == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = r->entry_count; i < count; i++)
		table[i] = 0;
	r->table = table;
	r->entry_count = count;
	return 0;
}

static void set_entry(struct qcf_refcounts *r, uint64_t block_index,
                      uint64_t block)
{
	r->table[block_index] = block;
	if (r->dirty_first == r->dirty_end) {
		r->dirty_first = block_index;
		r->dirty_end = block_index + 1;
	}
	r->dirty_first = QCF_MIN(r->dirty_first, block_index);
	r->dirty_end = QCF_MAX(r->dirty_end, block_index + 1);
}

void qcf_refcount_set_block(struct qcf_meta *meta, uint64_t block_index,
                            uint64_t host_offset)
{
	set_entry(&meta->refcounts, block_index, host_offset);
}

/* Hook an all-zero block into the table in memory. */
int qcf_refcount_install_block(struct qcf_meta *meta, uint64_t block_index,
                               uint64_t host_cluster,
                               struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t block = qcf_host_offset(g, host_cluster);
	int ret;

	if (qcf_overlap_hits(&meta->overlap, host_cluster, 1))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP, block, errp);
	ret = grow_table(meta, block_index, errp);
	if (ret == 0)
		ret = qcf_storage_zero(meta->storage, block, g->cluster_size,
		                       true, errp);
	if (ret == 0)
		ret = qcf_overlap_add(&meta->overlap, QCF_OVERLAP_BLOCK,
		                      host_cluster, errp);
	if (ret < 0)
		return qcf_wrap(errp, "adding a refcount block", ret);
	meta->refcounts.fresh_from =
		QCF_MAX(meta->refcounts.fresh_from, host_cluster + 1);
	set_entry(&meta->refcounts, block_index, block);
	return 0;
}

/* Take back blocks that nothing relies on yet, so that their clusters can be
 * used for anything. */
static void uninstall_blocks(struct qcf_meta *meta, uint64_t block_index,
                             uint64_t host_cluster, uint64_t count)
{
	const struct qcf_geometry *g = &meta->geometry;

	for (uint64_t i = 0; i < count; i++) {
		set_entry(&meta->refcounts, block_index + i, 0);
		qcf_overlap_remove(&meta->overlap, QCF_OVERLAP_BLOCK,
		                   host_cluster + i);
		qcf_cache_drop(&meta->refcount_cache,
		               qcf_host_offset(g, host_cluster + i),
		               g->cluster_size);
	}
}

int qcf_refcount_add_block(struct qcf_meta *meta, uint64_t host_cluster,
                           struct qcowfmt_error **errp)
{
	uint64_t block_index = qcf_block_index(&meta->geometry, host_cluster);
	uint64_t done;
	int ret = qcf_refcount_install_block(meta, block_index, host_cluster,
	                                     errp);

	if (ret < 0)
		return ret;
	ret = qcf_refcount_increase(meta, host_cluster, 1, &done, errp);
	if (ret < 0)
		uninstall_blocks(meta, block_index, host_cluster, 1);
	return ret;
}

/* The first block index behind all that exist. */
static uint64_t first_unused_index(const struct qcf_refcounts *r)
{
	uint64_t index = r->entry_count;

	while (index > 0 && r->table[index - 1] == 0)
		index--;
	return index;
}

int qcf_refcount_add_area(struct qcf_meta *meta, uint64_t count,
                          uint64_t *first, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t per_block = UINT64_C(1) << g->block_bits;
	uint64_t index = first_unused_index(&meta->refcounts);
	uint64_t start = index * per_block;
	uint64_t blocks = 1;
	uint64_t installed = 0;
	uint64_t done;
	int ret = 0;

	while (blocks * per_block < blocks + count)
		blocks++;
	for (; installed < blocks && ret == 0; installed += ret == 0)
		ret = qcf_refcount_install_block(meta, index + installed,
		                                 start + installed, errp);
	if (ret == 0)
		ret = qcf_refcount_increase(meta, start, blocks + count, &done,
		                            errp);
	if (ret < 0)
		uninstall_blocks(meta, index, start, installed);
	*first = start + blocks;
	return ret;
}
