/* SPDX-License-Identifier: MIT */
/*
 * block_cache.h - slices of L2 tables and refcount blocks in memory
 *
 * A slice is slice_size bytes of metadata, known by its host offset.  The cache
 * holds slices as arrays of 64-bit words exactly as they are on storage.
 *
 * Two ways to a slice:
 *
 *   - qcf_cache_find() takes no lock.  It gives a block and a sequence number;
 *     the caller reads words with qcf_block_word() and then asks
 *     qcf_block_unchanged().  On false the words mean nothing.
 *   - qcf_cache_pin() loads the slice if need be and keeps it until unpinned.
 *     Several threads that want the same slice cause one read.
 *
 * Words are changed only by holders of a pin, under the lock of the metadata
 * they belong to (map or alloc), with qcf_block_set_word(); the slice is then
 * marked dirty and stays in memory until writeback has collected it.
 *
 * Blocks are never freed before the cache is, so a lock-free reader can at
 * worst look at a block that has moved on to another slice.
 */
#ifndef QCF_BLOCK_CACHE_H
#define QCF_BLOCK_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "error.h"
#include "lock.h"
#include "write_set.h"

/* Memory that several caches share; a soft limit. */
struct qcf_budget {
	_Atomic uint64_t used;
	_Atomic uint32_t caches; /* that share it */
	uint64_t limit;
};

struct qcf_block {
	_Atomic uint64_t seq; /* odd while words belong to no slice, or are
			       * being changed in pairs */
	_Atomic uint64_t key; /* host offset of the slice */
	_Atomic(struct qcf_block *) next_in_bucket;
	atomic_bool recent;      /* used since the clock hand passed */
	_Atomic uint64_t *words; /* slice_size / 8 of them */

	/* guarded by the cache's lock */
	uint32_t pins;
	bool linked; /* in the bucket of its key */
	bool loading;
	bool dirty;
};

/* Reads a slice from storage into buffer and validates it. */
typedef int (*qcf_cache_load)(void *owner, uint64_t host_offset, void *buffer,
                              size_t len, struct qcowfmt_error **errp);

struct qcf_cache {
	uint64_t slice_size;
	qcf_cache_load load;
	void *owner;
	struct qcf_budget *budget;
	_Atomic(struct qcf_block *) *buckets;
	size_t bucket_count; /* a power of two */

	/* guarded by lock */
	struct qcf_mutex lock;
	struct qcf_cond loaded;
	struct qcf_block **blocks; /* all of them */
	size_t block_count;
	size_t block_room; /* elements allocated */
	size_t hand;       /* of the eviction clock */

	_Atomic size_t dirty_count;
};

/* max_slices is how many slices there can ever be, for sizing. */
int qcf_cache_init(struct qcf_cache *cache, uint64_t slice_size,
                   uint64_t max_slices, struct qcf_budget *budget,
                   qcf_cache_load load, void *owner,
                   struct qcowfmt_error **errp);
void qcf_cache_fini(struct qcf_cache *cache);

struct qcf_block *qcf_cache_find(struct qcf_cache *cache, uint64_t host_offset,
                                 uint64_t *seq);

static inline struct qcf_be64 qcf_block_word(const struct qcf_block *block,
                                             uint64_t index)
{
	return (struct qcf_be64){ atomic_load(&block->words[index]) };
}

static inline bool qcf_block_unchanged(const struct qcf_block *block,
                                       uint64_t seq)
{
	return atomic_load(&block->seq) == seq;
}

int qcf_cache_pin(struct qcf_cache *cache, uint64_t host_offset,
                  struct qcf_block **block, struct qcowfmt_error **errp);
void qcf_cache_unpin(struct qcf_cache *cache, struct qcf_block *block);

static inline void qcf_block_set_word(struct qcf_block *block, uint64_t index,
                                      struct qcf_be64 word)
{
	atomic_store(&block->words[index], word.raw);
}

/* The words as bytes: for slices that are only ever used under a lock. */
static inline void *qcf_block_bytes(struct qcf_block *block)
{
	return (void *)(uintptr_t)block->words;
}

/*
 * Around changes that readers without a lock must see all or none of.  The
 * caller has the block pinned and holds the lock under which words change.
 */
static inline void qcf_block_begin_change(struct qcf_block *block)
{
	atomic_fetch_add(&block->seq, 1);
}

static inline void qcf_block_end_change(struct qcf_block *block)
{
	atomic_fetch_add(&block->seq, 1);
}

void qcf_cache_mark_dirty(struct qcf_cache *cache, struct qcf_block *block);

/*
 * Copy all dirty slices into a set, pin them and mark them clean.  The caller
 * holds the lock under which words change, and ends with qcf_cache_settle().
 * On failure all are dirty as before.
 */
int qcf_cache_collect(struct qcf_cache *cache, struct qcf_write_set *set,
                      struct qcowfmt_error **errp);

/* Unpin what a set collected; if it was not written, it is dirty again. */
void qcf_cache_settle(struct qcf_cache *cache, struct qcf_write_set *set,
                      bool written);

/* Forget all slices of a host range, dirty or not. */
void qcf_cache_drop(struct qcf_cache *cache, uint64_t host_offset,
                    uint64_t len);

/* Forget all slices.  None is pinned or being loaded. */
void qcf_cache_drop_all(struct qcf_cache *cache);

static inline size_t qcf_cache_dirty_count(struct qcf_cache *cache)
{
	return atomic_load_explicit(&cache->dirty_count, memory_order_relaxed);
}

#endif
