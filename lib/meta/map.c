/* SPDX-License-Identifier: MIT */
/* map.c - guest range to mapping, and publishing new mappings */
#include <errno.h>

#include "image_flags.h"
#include "l1_table.h"
#include "map.h"

/* Entries looked at in one step: enough for 4 MiB of 64 KiB clusters, small
 * enough for the stack. */
#define MAX_ENTRIES 64

/* Copy entries of a slice without a lock; false if it is not in the cache. */
static bool peek(struct qcf_meta *meta, uint64_t slice_offset, uint64_t index,
                 uint64_t count, struct qcf_be64 *entries)
{
	uint64_t seq;
	struct qcf_block *block =
		qcf_cache_find(&meta->l2_cache, slice_offset, &seq);

	if (block == NULL)
		return false;
	for (uint64_t i = 0; i < count; i++)
		entries[i] = qcf_block_word(block, index + i);
	return qcf_block_unchanged(block, seq);
}

static int load_entries(struct qcf_meta *meta, uint64_t slice_offset,
                        uint64_t index, uint64_t count,
                        struct qcf_be64 *entries, struct qcowfmt_error **errp)
{
	struct qcf_block *block;
	int ret;

	if (peek(meta, slice_offset, index, count, entries))
		return 0;
	ret = qcf_cache_pin(&meta->l2_cache, slice_offset, &block, errp);
	if (ret < 0)
		return ret;
	for (uint64_t i = 0; i < count; i++)
		entries[i] = qcf_block_word(block, index + i);
	qcf_cache_unpin(&meta->l2_cache, block);
	return 0;
}

/* A run of whole clusters, cut to a range that begins inside the first. */
static struct qcf_run cut_run(const struct qcf_geometry *g,
                              const struct qcf_mapping *first,
                              uint64_t clusters, uint64_t guest_offset,
                              uint64_t len)
{
	uint64_t in_cluster = qcf_offset_in_cluster(g, guest_offset);
	struct qcf_run run = {
		.kind = first->kind,
		.length = QCF_MIN(len,
		                  (clusters << g->cluster_bits) - in_cluster),
		.host_offset = first->host_offset,
		.compressed_len = first->compressed_len,
		.copied = first->copied,
	};

	if (run.kind == QCF_DATA || run.kind == QCF_ZERO_ALLOCATED)
		run.host_offset += in_cluster;
	return run;
}

/* The run inside one L2 table, in at most MAX_ENTRIES entries of one slice. */
static int lookup_in_table(struct qcf_meta *meta, uint64_t l2_offset,
                           uint64_t guest_offset, uint64_t len,
                           struct qcf_run *run, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_be64 entries[MAX_ENTRIES];
	uint64_t l2_index = qcf_l2_index(g, guest_offset);
	uint64_t index = qcf_slice_index(g, l2_index);
	uint64_t want = qcf_clusters_for(
		g, qcf_offset_in_cluster(g, guest_offset) + len);
	struct qcf_mapping first;
	uint32_t corruption;
	uint64_t clusters;
	int ret;

	want = QCF_MIN(want, g->slice_entry_count - index);
	want = QCF_MIN(want, (uint64_t)MAX_ENTRIES);
	ret = load_entries(meta, l2_offset + qcf_slice_offset(g, l2_index),
	                   index, want, entries, errp);
	if (ret < 0)
		return ret;
	clusters = qcf_map_range(g, entries, want, &first, &corruption);
	if (clusters == 0)
		return qcf_meta_corrupt(meta, corruption, first.host_offset,
		                        errp);
	*run = cut_run(g, &first, clusters, guest_offset, len);
	return 0;
}

static int lookup_piece(struct qcf_meta *meta, uint64_t guest_offset,
                        uint64_t len, struct qcf_run *run,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t l2_offset;
	int ret = qcf_l1_lookup(meta, qcf_l1_index(g, guest_offset), &l2_offset,
	                        errp);

	len = QCF_MIN(len, qcf_left_in_l2_table(g, guest_offset));
	*run = (struct qcf_run){ .kind = QCF_UNALLOCATED, .length = len };
	if (ret == 0 && l2_offset != 0)
		ret = lookup_in_table(meta, l2_offset, guest_offset, len, run,
		                      errp);
	if (ret < 0)
		qcf_error_at_guest(errp, guest_offset);
	return ret;
}

int qcf_map_lookup(struct qcf_meta *meta, uint64_t guest_offset, uint64_t len,
                   struct qcf_run *run, struct qcowfmt_error **errp)
{
	*run = (struct qcf_run){ 0 };
	while (run->length < len) {
		struct qcf_run next;
		int ret = lookup_piece(meta, guest_offset + run->length,
		                       len - run->length, &next,
		                       run->length == 0 ? errp : NULL);

		/* What is behind a good run is for the next call to report. */
		if (ret < 0)
			return run->length == 0 ? ret : 0;
		if (!qcf_run_append(run, &next))
			break;
	}
	return 0;
}

int qcf_map_pin(struct qcf_meta *meta, uint64_t guest_offset,
                struct qcf_slice *slice, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t l2_index = qcf_l2_index(g, guest_offset);
	uint64_t l2_offset;
	int ret = qcf_l1_writable_table(meta, qcf_l1_index(g, guest_offset),
	                                &l2_offset, errp);

	if (ret < 0)
		return ret;
	slice->index = qcf_slice_index(g, l2_index);
	slice->count = g->slice_entry_count - slice->index;
	return qcf_cache_pin(&meta->l2_cache,
	                     l2_offset + qcf_slice_offset(g, l2_index),
	                     &slice->block, errp);
}

void qcf_map_unpin(struct qcf_meta *meta, struct qcf_slice *slice)
{
	qcf_cache_unpin(&meta->l2_cache, slice->block);
}

void qcf_map_publish(struct qcf_meta *meta, const struct qcf_slice *slice,
                     const struct qcf_be64 *entries, uint64_t count,
                     struct qcf_freed_batch *freed)
{
	QCF_GUARD(&meta->map_lock);

	for (uint64_t i = 0; i < count; i++)
		qcf_block_set_word(slice->block, slice->index + i, entries[i]);
	qcf_cache_mark_dirty(&meta->l2_cache, slice->block);
	qcf_quarantine_add(&meta->quarantine, freed);
}
