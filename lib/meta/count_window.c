/* SPDX-License-Identifier: MIT */
/* count_window.c - many refcount blocks in memory at once */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_id.h"
#include "checked.h"
#include "count_window.h"
#include "meta_tables.h"

/* Blocks that follow each other on storage are read and written together. */
#define MAX_RUN (UINT64_C(4) << 20)

static size_t count_present(const struct qcf_meta *meta)
{
	size_t present = 0;

	for (uint64_t i = 0; i < meta->refcounts.entry_count; i++)
		present += meta->refcounts.table[i] != 0;
	return present;
}

/* Blocks that lie at one place would be read again and again. */
static int check_present(const struct qcf_meta *meta, size_t present,
                         struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret = qcf_storage_get_size(meta->storage, &size, errp);

	if (ret < 0)
		return ret;
	if (present > qcf_clusters_for(&meta->geometry, size))
		return qcf_corruptf(errp, QCF_CHECK_BLOCK_OFFSET,
		                    meta->header.refcount_table_offset,
		                    "%zu refcount blocks do not fit into the "
		                    "file",
		                    present);
	return 0;
}

/* What the caches leave of the memory that they share, and not too little. */
static uint64_t memory_for_blocks(const struct qcf_meta *meta)
{
	const struct qcf_budget *b = meta->budget;
	uint64_t used = atomic_load(&b->used);
	uint64_t left = b->limit > used ? b->limit - used : 0;

	left = QCF_MAX(left, b->limit / 8);
	return QCF_MIN(left, UINT64_C(1) << 32);
}

int qcf_window_init(struct qcf_count_window *w, struct qcf_meta *meta,
                    bool note_freed, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	size_t present = count_present(meta);
	size_t room = QCF_MIN(
		present, (size_t)(memory_for_blocks(meta) >> g->cluster_bits));
	int ret = check_present(meta, present, errp);

	if (ret < 0)
		return ret;
	room = QCF_MAX(room, (size_t)1);
	*w = (struct qcf_count_window){ .meta = meta, .block_room = room };
	w->positions =
		calloc(meta->refcounts.entry_count + 1, sizeof(*w->positions));
	w->blocks = calloc(room, sizeof(*w->blocks));
	w->bytes = malloc(room << g->cluster_bits);
	if (note_freed)
		w->freed = malloc(qcf_div_ceil(room << g->block_bits, 8));
	if (w->positions != NULL && w->blocks != NULL && w->bytes != NULL &&
	    (w->freed != NULL || !note_freed))
		return 0;
	qcf_window_fini(w);
	return qcf_fail_oom(errp);
}

void qcf_window_fini(struct qcf_count_window *w)
{
	free(w->positions);
	free(w->blocks);
	free(w->bytes);
	free(w->freed);
	*w = (struct qcf_count_window){ 0 };
}

bool qcf_window_is_counted(const struct qcf_count_window *w,
                           uint64_t host_cluster)
{
	const struct qcf_refcounts *r = &w->meta->refcounts;
	uint64_t index = qcf_block_index(&w->meta->geometry, host_cluster);

	return index < r->entry_count && r->table[index] != 0;
}

/* ----------------------------------------------------------------- loading */

static int check_block(const struct qcf_meta *meta, uint64_t block,
                       struct qcowfmt_error **errp)
{
	if (!qcf_meta_is_cluster_offset(meta, block))
		return qcf_corrupt(errp, QCF_CHECK_BLOCK_OFFSET, block);
	if (qcf_overlap_is_not_only(&meta->overlap, QCF_OVERLAP_BLOCK,
	                            qcf_host_cluster(&meta->geometry, block)))
		return qcf_corrupt(errp, QCF_CHECK_OVERLAP, block);
	return 0;
}

/* Take as many table entries from first on as there is room for blocks. */
static int choose_blocks(struct qcf_count_window *w,
                         struct qcowfmt_error **errp)
{
	const struct qcf_refcounts *r = &w->meta->refcounts;

	w->block_count = 0;
	for (w->end = w->first; w->end < r->entry_count; w->end++) {
		uint64_t block = r->table[w->end];
		int ret;

		w->positions[w->end - w->first] = 0;
		if (block == 0)
			continue;
		if (w->block_count == w->block_room)
			break;
		ret = check_block(w->meta, block, errp);
		if (ret < 0)
			return ret;
		w->blocks[w->block_count++] = (struct qcf_window_block){
			.index = w->end,
			.host_offset = block,
		};
		w->positions[w->end - w->first] = (uint32_t)w->block_count;
	}
	return 0;
}

static uint8_t *bytes_of(const struct qcf_count_window *w, size_t position)
{
	return w->bytes + (position << w->meta->geometry.cluster_bits);
}

/* How many blocks from a position on follow each other on storage, too. */
static size_t run_from(const struct qcf_count_window *w, size_t position)
{
	uint64_t size = w->meta->geometry.cluster_size;
	uint64_t start = w->blocks[position].host_offset;
	size_t n = 1;

	while (position + n < w->block_count && (n + 1) * size <= MAX_RUN &&
	       w->blocks[position + n].host_offset == start + n * size)
		n++;
	return n;
}

int qcf_window_next(struct qcf_count_window *w, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &w->meta->geometry;
	int ret;

	w->first = w->end;
	w->any_freed = false;
	ret = choose_blocks(w, errp);
	for (size_t i = 0; ret == 0 && i < w->block_count;) {
		size_t n = run_from(w, i);

		ret = qcf_meta_read_table(w->meta, w->blocks[i].host_offset,
		                          bytes_of(w, i), n << g->cluster_bits,
		                          errp);
		i += n;
	}
	if (ret == 0 && w->freed != NULL)
		memset(w->freed, 0,
		       qcf_div_ceil(w->block_count << g->block_bits, 8));
	return qcf_wrap(errp, "reading refcount blocks", ret);
}

/* ------------------------------------------------------------------ counts */

/* The width that nearly all images have goes without a call. */
#define USUAL_ORDER 4u

uint64_t qcf_window_get(const struct qcf_count_window *w,
                        const struct qcf_count_place *place)
{
	const uint8_t *block = bytes_of(w, place->position);
	uint32_t order = w->meta->geometry.refcount_order;

	if (order == USUAL_ORDER)
		return (uint64_t)block[2 * place->slot] << 8 |
		       block[2 * place->slot + 1];
	return qcf_refcount_get(block, place->slot, order);
}

static void set_count(uint8_t *block, uint64_t slot, uint32_t order,
                      uint64_t count)
{
	if (order != USUAL_ORDER) {
		qcf_refcount_set(block, slot, order, count);
		return;
	}
	block[2 * slot] = (uint8_t)(count >> 8);
	block[2 * slot + 1] = (uint8_t)count;
}

void qcf_window_note_freed(struct qcf_count_window *w,
                           const struct qcf_count_place *place)
{
	uint64_t bit =
		((uint64_t)place->position << w->meta->geometry.block_bits) +
		place->slot;

	w->any_freed = true;
	w->freed[bit / 8] = (uint8_t)(w->freed[bit / 8] | 1u << bit % 8);
}

void qcf_window_set(struct qcf_count_window *w,
                    const struct qcf_count_place *place, uint64_t count)
{
	struct qcf_window_block *block = &w->blocks[place->position];
	uint32_t order = w->meta->geometry.refcount_order;
	uint64_t bit = place->slot << order;
	size_t start = (size_t)qcf_align_down(bit / 8, QCF_SECTOR_SIZE);

	set_count(bytes_of(w, place->position), place->slot, order, count);
	if (block->dirty_end == 0)
		block->dirty_start = start;
	block->dirty_start = QCF_MIN(block->dirty_start, start);
	block->dirty_end = QCF_MAX(block->dirty_end, start + QCF_SECTOR_SIZE);
}

static uint64_t max_of_block(const uint8_t *block, uint64_t count,
                             uint32_t order)
{
	uint64_t max = 0;

	if (order == USUAL_ORDER) {
		for (uint64_t i = 0; i < count; i++)
			max = QCF_MAX(max, (uint64_t)block[2 * i] << 8 |
			                           block[2 * i + 1]);
		return max;
	}
	for (uint64_t i = 0; i < count; i++)
		max = QCF_MAX(max, qcf_refcount_get(block, i, order));
	return max;
}

uint64_t qcf_window_max(const struct qcf_count_window *w)
{
	const struct qcf_geometry *g = &w->meta->geometry;
	uint64_t max = 0;

	for (size_t i = 0; i < w->block_count; i++)
		max = QCF_MAX(max, max_of_block(bytes_of(w, i),
		                                UINT64_C(1) << g->block_bits,
		                                g->refcount_order));
	return max;
}

static uint64_t first_zero(const uint8_t *block, uint64_t count, uint32_t order)
{
	uint64_t slot = 0;

	while (slot < count && qcf_refcount_get(block, slot, order) != 0)
		slot++;
	return slot;
}

uint64_t qcf_window_first_free(const struct qcf_count_window *w)
{
	const struct qcf_geometry *g = &w->meta->geometry;
	uint64_t per_block = UINT64_C(1) << g->block_bits;

	for (uint64_t index = w->first; index < w->end; index++) {
		uint32_t position = w->positions[index - w->first];
		uint64_t slot =
			position == 0
				? 0
				: first_zero(bytes_of(w, position - 1),
		                             per_block, g->refcount_order);

		if (slot < per_block)
			return (index << g->block_bits) + slot;
	}
	return w->end << g->block_bits;
}

/* ----------------------------------------------------------------- storing */

static int store_range(const struct qcf_count_window *w, size_t position,
                       size_t start, size_t end, struct qcowfmt_error **errp)
{
	return qcf_storage_pwrite(
		w->meta->storage, bytes_of(w, position) + start, end - start,
		w->blocks[position].host_offset + start, errp);
}

/* Whether all of a block and the beginning of the next one are dirty, so that
 * they can be written together. */
static bool goes_on(const struct qcf_count_window *w, size_t position)
{
	const struct qcf_geometry *g = &w->meta->geometry;

	return w->blocks[position].dirty_end == g->cluster_size &&
	       w->blocks[position + 1].dirty_end > 0 &&
	       w->blocks[position + 1].dirty_start == 0;
}

/* Write the dirty part of n blocks that follow each other on storage. */
static int store_run(struct qcf_count_window *w, size_t first, size_t n,
                     struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &w->meta->geometry;
	int ret = 0;

	for (size_t i = first; ret == 0 && i < first + n;) {
		size_t last = i;

		while (last + 1 < first + n && goes_on(w, last))
			last++;
		if (w->blocks[i].dirty_end > 0)
			ret = store_range(w, i, w->blocks[i].dirty_start,
			                  ((last - i) << g->cluster_bits) +
			                          w->blocks[last].dirty_end,
			                  errp);
		i = last + 1;
	}
	return ret;
}

int qcf_window_store(struct qcf_count_window *w, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < w->block_count;) {
		size_t n = run_from(w, i);

		ret = store_run(w, i, n, errp);
		i += n;
	}
	for (size_t i = 0; i < w->block_count; i++)
		w->blocks[i].dirty_start = w->blocks[i].dirty_end = 0;
	return qcf_wrap(errp, "writing refcount blocks", ret);
}

/* --------------------------------------------------------------- releasing */

static bool is_freed(const struct qcf_count_window *w, uint64_t bit)
{
	return (w->freed[bit / 8] >> bit % 8 & 1) != 0;
}

/* Never the host space of metadata, whatever the counts say. */
static void discard_clusters(const struct qcf_meta *meta, uint64_t first,
                             uint64_t count)
{
	const struct qcf_geometry *g = &meta->geometry;

	if (!qcf_overlap_hits(&meta->overlap, first, count))
		(void)qcf_storage_discard(meta->storage,
		                          qcf_host_offset(g, first),
		                          count << g->cluster_bits, NULL);
}

void qcf_counts_released(struct qcf_meta *meta, uint64_t first, uint64_t count,
                         bool discard)
{
	struct qcf_refcounts *r = &meta->refcounts;

	atomic_fetch_add(&meta->reclaims, 1);
	if (discard)
		discard_clusters(meta, first, count);
	QCF_GUARD(&r->lock);
	r->first_free = QCF_MIN(r->first_free, first);
	r->pack_offset = 0;
}

static void release_block(struct qcf_count_window *w, size_t position,
                          bool discard)
{
	const struct qcf_geometry *g = &w->meta->geometry;
	uint64_t count = UINT64_C(1) << g->block_bits;
	uint64_t bit = (uint64_t)position << g->block_bits;
	uint64_t cluster = w->blocks[position].index << g->block_bits;

	for (uint64_t i = 0; i < count;) {
		uint64_t n = 0;

		while (i + n < count && is_freed(w, bit + i + n))
			n++;
		if (n > 0)
			qcf_counts_released(w->meta, cluster + i, n, discard);
		i += n + 1;
	}
}

void qcf_window_release(struct qcf_count_window *w, bool discard)
{
	if (w->freed == NULL || !w->any_freed)
		return;
	for (size_t i = 0; i < w->block_count; i++)
		release_block(w, i, discard);
}
