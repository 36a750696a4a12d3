/* SPDX-License-Identifier: MIT */
/*
 * block_cache.c - slices of L2 tables and refcount blocks in memory
 *
 * What holds whenever the lock is free:
 *
 *   - a linked block is in the bucket of its key, and no other linked block has
 *     that key;
 *   - seq is even exactly for linked blocks that are not loading (but for the
 *     moment in which a holder of a pin changes words in pairs);
 *   - a dirty, pinned or loading block is linked and keeps its key.
 *
 * Lock-free readers walk bucket chains that may change under them.  They can
 * miss a block that is there (and then take the lock), or follow a block into
 * another bucket; key and seq are checked at the end, and the walk is bounded.
 *
 * Eviction is a clock.  If everything is pinned or dirty the cache grows beyond
 * its budget; writers keep that rare by writing back early (writeback.c).
 */
#include <errno.h>
#include <string.h>

#include "block_cache.h"
#include "checked.h"

#define MAX_WALK    64
#define MIN_BUCKETS 16u
#define MAX_BUCKETS (UINT64_C(1) << 16)
/* A cache may always have so many blocks, whatever others have: fewer where many
 * caches share a budget, so that together they stay near it. */
#define MIN_BLOCKS  2u
#define MANY_BLOCKS 16u

static size_t bucket_of(const struct qcf_cache *cache, uint64_t key)
{
	uint64_t slice = key / cache->slice_size;

	return (size_t)((slice * UINT64_C(0x9e3779b97f4a7c15)) >> 40) &
	       (cache->bucket_count - 1);
}

int qcf_cache_init(struct qcf_cache *cache, uint64_t slice_size,
                   uint64_t max_slices, struct qcf_budget *budget,
                   qcf_cache_load load, void *owner,
                   struct qcowfmt_error **errp)
{
	uint64_t wanted = QCF_MIN(max_slices, budget->limit / slice_size);

	*cache = (struct qcf_cache){
		.slice_size = slice_size,
		.load = load,
		.owner = owner,
		.budget = budget,
		.bucket_count = MIN_BUCKETS,
	};
	while (cache->bucket_count < QCF_MIN(wanted, MAX_BUCKETS))
		cache->bucket_count *= 2;
	cache->buckets = calloc(cache->bucket_count, sizeof(*cache->buckets));
	if (cache->buckets == NULL)
		return qcf_fail_oom(errp);
	atomic_fetch_add(&budget->caches, 1);
	qcf_mutex_init(&cache->lock, QCF_RANK_CACHE);
	qcf_cond_init(&cache->loaded);
	return 0;
}

void qcf_cache_fini(struct qcf_cache *cache)
{
	if (cache->buckets == NULL)
		return;
	for (size_t i = 0; i < cache->block_count; i++) {
		free(cache->blocks[i]->words);
		free(cache->blocks[i]);
	}
	atomic_fetch_sub(&cache->budget->used,
	                 cache->block_count * cache->slice_size);
	atomic_fetch_sub(&cache->budget->caches, 1);
	free(cache->blocks);
	free(cache->buckets);
	cache->buckets = NULL;
	qcf_cond_fini(&cache->loaded);
	qcf_mutex_fini(&cache->lock);
}

/* ------------------------------------------------------------- lock-free */

struct qcf_block *qcf_cache_find(struct qcf_cache *cache, uint64_t host_offset,
                                 uint64_t *seq)
{
	struct qcf_block *block =
		atomic_load(&cache->buckets[bucket_of(cache, host_offset)]);

	for (int i = 0; block != NULL && i < MAX_WALK; i++) {
		uint64_t before = atomic_load(&block->seq);

		if (before % 2 == 0 &&
		    atomic_load(&block->key) == host_offset) {
			if (!atomic_load_explicit(&block->recent,
			                          memory_order_relaxed))
				atomic_store_explicit(&block->recent, true,
				                      memory_order_relaxed);
			*seq = before;
			return block;
		}
		block = atomic_load(&block->next_in_bucket);
	}
	return NULL;
}

/* --------------------------------------------------- with the lock held */

static struct qcf_block *find_locked(struct qcf_cache *cache, uint64_t key)
{
	struct qcf_block *block =
		atomic_load(&cache->buckets[bucket_of(cache, key)]);

	while (block != NULL && atomic_load(&block->key) != key)
		block = atomic_load(&block->next_in_bucket);
	return block;
}

static void link_locked(struct qcf_cache *cache, struct qcf_block *block,
                        uint64_t key)
{
	_Atomic(struct qcf_block *) *bucket =
		&cache->buckets[bucket_of(cache, key)];

	atomic_store(&block->key, key);
	atomic_store(&block->next_in_bucket, atomic_load(bucket));
	atomic_store(bucket, block);
	block->linked = true;
}

/* Take a block out of its bucket; its words belong to no slice afterwards. */
static void unlink_locked(struct qcf_cache *cache, struct qcf_block *block)
{
	_Atomic(struct qcf_block *) *at =
		&cache->buckets[bucket_of(cache, atomic_load(&block->key))];

	if (atomic_load(&block->seq) % 2 == 0)
		atomic_fetch_add(&block->seq, 1);
	while (atomic_load(at) != block)
		at = &atomic_load(at)->next_in_bucket;
	atomic_store(at, atomic_load(&block->next_in_bucket));
	block->linked = false;
	if (block->dirty) {
		block->dirty = false;
		atomic_fetch_sub(&cache->dirty_count, 1);
	}
}

static struct qcf_block *grow_locked(struct qcf_cache *cache)
{
	QCF_AUTO_FREE struct qcf_block *block = calloc(1, sizeof(*block));
	QCF_AUTO_FREE void *words = malloc(cache->slice_size);

	if (block == NULL || words == NULL)
		return NULL;
	if (cache->block_count == cache->block_room) {
		size_t room = QCF_MAX(cache->block_room * 2, MANY_BLOCKS);
		struct qcf_block **blocks =
			realloc(cache->blocks, room * sizeof(cache->blocks[0]));

		if (blocks == NULL)
			return NULL;
		cache->blocks = blocks;
		cache->block_room = room;
	}
	memset(words, 0, cache->slice_size);
	block->words = qcf_take(&words);
	atomic_store(&block->seq, 1);
	atomic_fetch_add(&cache->budget->used, cache->slice_size);
	cache->blocks[cache->block_count++] = block;
	return qcf_take(&block);
}

/* A block nobody needs now, unlinked; NULL if there is none. */
static struct qcf_block *evict_locked(struct qcf_cache *cache)
{
	for (size_t i = 0; i < 2 * cache->block_count; i++) {
		struct qcf_block *block = cache->blocks[cache->hand];

		cache->hand = (cache->hand + 1) % cache->block_count;
		if (block->pins > 0 || block->dirty || block->loading)
			continue;
		if (!block->linked)
			return block;
		if (atomic_exchange(&block->recent, false))
			continue;
		unlink_locked(cache, block);
		return block;
	}
	return NULL;
}

/* Blocks that a cache may have even if the budget is used up. */
static uint64_t guaranteed(const struct qcf_cache *cache)
{
	const struct qcf_budget *budget = cache->budget;
	uint64_t share = budget->limit / 2 / atomic_load(&budget->caches) /
	                 cache->slice_size;

	share = QCF_MAX(share, (uint64_t)MIN_BLOCKS);
	return QCF_MIN(share, (uint64_t)MANY_BLOCKS);
}

static struct qcf_block *new_locked(struct qcf_cache *cache)
{
	struct qcf_block *block = NULL;

	if (cache->block_count >= guaranteed(cache) &&
	    atomic_load(&cache->budget->used) + cache->slice_size >
	            cache->budget->limit)
		block = evict_locked(cache);
	if (block == NULL)
		block = grow_locked(cache);
	if (block == NULL && cache->block_count > 0)
		block = evict_locked(cache);
	return block;
}

/* ---------------------------------------------------------------- loading */

static void fill(struct qcf_cache *cache, struct qcf_block *block,
                 const uint64_t *words)
{
	for (uint64_t i = 0; i < cache->slice_size / 8; i++)
		atomic_store_explicit(&block->words[i], words[i],
		                      memory_order_release);
}

/* Read the slice of a block that is linked and loading. */
static int load(struct qcf_cache *cache, struct qcf_block *block,
                struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint64_t *words = malloc(cache->slice_size);
	int ret = words != NULL
	                  ? cache->load(cache->owner, atomic_load(&block->key),
	                                words, cache->slice_size, errp)
	                  : qcf_fail_oom(errp);

	if (ret == 0)
		fill(cache, block, words);
	QCF_GUARD(&cache->lock);
	block->loading = false;
	if (ret == 0) {
		atomic_fetch_add(&block->seq, 1);
		atomic_store(&block->recent, true);
	} else {
		block->pins--;
		unlink_locked(cache, block);
	}
	qcf_cond_broadcast(&cache->loaded);
	return ret;
}

int qcf_cache_pin(struct qcf_cache *cache, uint64_t host_offset,
                  struct qcf_block **result, struct qcowfmt_error **errp)
{
	struct qcf_block *block;

	qcf_mutex_lock(&cache->lock);
	while ((block = find_locked(cache, host_offset)) != NULL &&
	       block->loading)
		qcf_cond_wait(&cache->loaded, &cache->lock);
	if (block != NULL) {
		block->pins++;
		atomic_store(&block->recent, true);
		*result = block;
		qcf_mutex_unlock(&cache->lock);
		return 0;
	}
	block = new_locked(cache);
	if (block != NULL) {
		block->pins = 1;
		block->loading = true;
		link_locked(cache, block, host_offset);
	}
	qcf_mutex_unlock(&cache->lock);
	if (block == NULL)
		return qcf_fail_oom(errp);
	*result = block;
	return load(cache, block, errp);
}

void qcf_cache_unpin(struct qcf_cache *cache, struct qcf_block *block)
{
	QCF_GUARD(&cache->lock);
	block->pins--;
}

/* ---------------------------------------------------------------- writing */

static void mark_dirty_locked(struct qcf_cache *cache, struct qcf_block *block)
{
	if (block->dirty || !block->linked)
		return;
	block->dirty = true;
	atomic_fetch_add(&cache->dirty_count, 1);
}

void qcf_cache_mark_dirty(struct qcf_cache *cache, struct qcf_block *block)
{
	QCF_GUARD(&cache->lock);
	mark_dirty_locked(cache, block);
}

int qcf_cache_collect(struct qcf_cache *cache, struct qcf_write_set *set,
                      struct qcowfmt_error **errp)
{
	QCF_GUARD(&cache->lock);
	int ret = qcf_write_set_reserve(set, atomic_load(&cache->dirty_count),
	                                cache->slice_size, errp);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < cache->block_count; i++) {
		struct qcf_block *block = cache->blocks[i];

		if (!block->dirty)
			continue;
		qcf_write_set_add(set, atomic_load(&block->key),
		                  qcf_block_bytes(block), block);
		block->dirty = false;
		block->pins++;
	}
	atomic_store(&cache->dirty_count, 0);
	return 0;
}

void qcf_cache_settle(struct qcf_cache *cache, struct qcf_write_set *set,
                      bool written)
{
	QCF_GUARD(&cache->lock);

	for (size_t i = 0; i < set->count; i++) {
		struct qcf_block *block = set->pieces[i].source;

		if (!written)
			mark_dirty_locked(cache, block);
		block->pins--;
	}
}

void qcf_cache_drop(struct qcf_cache *cache, uint64_t host_offset, uint64_t len)
{
	QCF_GUARD(&cache->lock);

	for (uint64_t at = host_offset; at < host_offset + len;
	     at += cache->slice_size) {
		struct qcf_block *block = find_locked(cache, at);

		if (block != NULL && !block->loading)
			unlink_locked(cache, block);
	}
}

void qcf_cache_drop_all(struct qcf_cache *cache)
{
	QCF_GUARD(&cache->lock);

	for (size_t i = 0; i < cache->block_count; i++) {
		if (cache->blocks[i]->linked)
			unlink_locked(cache, cache->blocks[i]);
	}
}
