/* SPDX-License-Identifier: MIT */
/*
 * count_window.h - many refcount blocks in memory at once
 *
 * For changes that touch most of the counts.  A window is as many blocks, in the
 * order of the refcount table, as the metadata caches leave room for; whoever
 * changes counts goes through the windows one after another and in each does
 * what concerns the clusters counted there.
 *
 * It works past the refcount cache, which is clean when the first window is
 * loaded and dropped after the last was stored.  Nobody else uses the counts
 * meanwhile.
 */
#ifndef QCF_COUNT_WINDOW_H
#define QCF_COUNT_WINDOW_H

#include "meta.h"

struct qcf_window_block {
	uint64_t index; /* in the refcount table */
	uint64_t host_offset;
	size_t dirty_start; /* bytes [dirty_start, dirty_end) differ from */
	size_t dirty_end;   /* storage */
};

struct qcf_count_window {
	struct qcf_meta *meta;
	uint64_t first; /* refcount table indexes [first, end) */
	uint64_t end;
	uint32_t *positions; /* of a table index, behind first: 1 + position
			      * among blocks; 0 = there is no block */
	struct qcf_window_block *blocks;
	size_t block_count;
	size_t block_room;
	uint8_t *bytes; /* of the blocks, one after another */
	uint8_t *freed; /* a bit for each count: it fell to 0; NULL: nobody
			 * will note that */
	bool any_freed;
};

/* Where a count is. */
struct qcf_count_place {
	size_t position; /* of its block */
	uint64_t slot;
};

/* A window on no blocks yet. */
int qcf_window_init(struct qcf_count_window *window, struct qcf_meta *meta,
                    bool note_freed, struct qcowfmt_error **errp);
void qcf_window_fini(struct qcf_count_window *window);

/* Whether there are table entries behind the window. */
static inline bool qcf_window_more(const struct qcf_count_window *window)
{
	return window->end < window->meta->refcounts.entry_count;
}

/* Move on to the blocks behind and load them; changes are forgotten. */
int qcf_window_next(struct qcf_count_window *window,
                    struct qcowfmt_error **errp);

/* Begin anew; nothing was changed.  What has all blocks keeps them. */
static inline void qcf_window_rewind(struct qcf_count_window *window)
{
	if (window->first > 0 || qcf_window_more(window))
		window->end = 0;
}

/* The counts of a block, as stored. */
static inline const uint8_t *qcf_window_bytes(
	const struct qcf_count_window *window, size_t position)
{
	return window->bytes +
	       (position << window->meta->geometry.cluster_bits);
}

/* Find the count of a cluster; false if it is not in the window. */
static inline bool qcf_window_find(const struct qcf_count_window *window,
                                   uint64_t host_cluster,
                                   struct qcf_count_place *place)
{
	const struct qcf_geometry *g = &window->meta->geometry;
	uint64_t index = qcf_block_index(g, host_cluster);
	uint32_t position;

	if (index < window->first || index >= window->end)
		return false;
	position = window->positions[index - window->first];
	place->position = position - 1;
	place->slot = qcf_index_in_block(g, host_cluster);
	return position != 0;
}

/* Whether any window has the count of a cluster. */
bool qcf_window_is_counted(const struct qcf_count_window *window,
                           uint64_t host_cluster);

uint64_t qcf_window_get(const struct qcf_count_window *window,
                        const struct qcf_count_place *place);
void qcf_window_set(struct qcf_count_window *window,
                    const struct qcf_count_place *place, uint64_t count);

/* Note that a count has become 0, for qcf_window_release(). */
void qcf_window_note_freed(struct qcf_count_window *window,
                           const struct qcf_count_place *place);

/* The largest count in the window. */
uint64_t qcf_window_max(const struct qcf_count_window *window);

/* The first cluster of the window whose count is 0, or that has no count; the
 * first one behind the window if there is none. */
uint64_t qcf_window_first_free(const struct qcf_count_window *window);

/* Write what was changed; it is not stable yet. */
int qcf_window_store(struct qcf_count_window *window,
                     struct qcowfmt_error **errp);

/*
 * Let the allocator know of clusters whose counts fell to 0, and with discard
 * give back their host space, which is a hint: those that were noted in the
 * window, and any others.
 */
void qcf_window_release(struct qcf_count_window *window, bool discard);
void qcf_counts_released(struct qcf_meta *meta, uint64_t host_cluster,
                         uint64_t count, bool discard);

#endif
