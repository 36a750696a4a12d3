/* SPDX-License-Identifier: MIT */
/* map.c - guest range to mapping, and publishing new mappings */
#include <errno.h>

#include "image_flags.h"
#include "l1_table.h"
#include "map.h"

/* Entries looked at in one step: enough for 4 MiB of 64 KiB clusters, small
 * enough for the stack. */
#define MAX_ENTRIES 64

static void get_entries(const struct qcf_slice *slice, uint64_t count,
                        struct qcf_l2_raw *entries)
{
	for (uint64_t i = 0; i < count; i++)
		entries[i] = qcf_slice_get(slice, i);
}

/* Copy entries of a slice without a lock; false if it is not in the cache. */
static bool peek(struct qcf_meta *meta, uint64_t slice_offset,
                 struct qcf_slice *slice, uint64_t count,
                 struct qcf_l2_raw *entries)
{
	uint64_t seq;

	slice->block = qcf_cache_find(&meta->l2_cache, slice_offset, &seq);
	if (slice->block == NULL)
		return false;
	get_entries(slice, count, entries);
	return qcf_block_unchanged(slice->block, seq);
}

static int load_entries(struct qcf_meta *meta, uint64_t slice_offset,
                        struct qcf_slice *slice, uint64_t count,
                        struct qcf_l2_raw *entries, struct qcowfmt_error **errp)
{
	int ret = qcf_cache_pin(&meta->l2_cache, slice_offset, &slice->block,
	                        errp);

	if (ret < 0)
		return ret;
	/* Entries of two words must not change between them. */
	if (slice->words > 1)
		qcf_mutex_lock(&meta->map_lock);
	get_entries(slice, count, entries);
	if (slice->words > 1)
		qcf_mutex_unlock(&meta->map_lock);
	qcf_cache_unpin(&meta->l2_cache, slice->block);
	return 0;
}

static struct qcf_slice slice_at(const struct qcf_geometry *g,
                                 uint64_t l2_index)
{
	struct qcf_slice slice = {
		.index = qcf_slice_index(g, l2_index),
		.words = g->l2_entry_size / 8,
	};

	slice.count = g->slice_entry_count - slice.index;
	return slice;
}

/* With a data file a cluster can be in one place only. */
static bool is_misplaced(const struct qcf_geometry *g, uint64_t guest_offset,
                         const struct qcf_run *run)
{
	return g->data_file &&
	       (run->kind == QCF_DATA || run->kind == QCF_ZERO_ALLOCATED) &&
	       run->host_offset != guest_offset;
}

/* Whether the run begins in a hole, which is as long as can be told. */
static bool is_hole(struct qcf_meta *meta, uint64_t l2_offset,
                    uint64_t guest_offset, uint64_t len, struct qcf_run *run)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t l2_index = qcf_l2_index(g, guest_offset);
	uint64_t slice = l2_offset + qcf_slice_offset(g, l2_index);
	uint64_t end = 0;
	uint64_t entries;

	if (!qcf_l2_is_in_hole(meta, slice, g->slice_size, &end))
		return false;
	entries = QCF_MIN((end - l2_offset) / g->l2_entry_size,
	                  g->l2_entry_count) -
	          l2_index;
	run->length =
		QCF_MIN(len, (entries << g->cluster_bits) -
	                             qcf_offset_in_cluster(g, guest_offset));
	return true;
}

/*
 * The run inside one L2 table, in at most MAX_ENTRIES entries of one slice.  From
 * memory only, what is not there, or makes no sense, is -EAGAIN without an error
 * object.
 */
static int lookup_in_table(struct qcf_meta *meta, bool from_memory,
                           uint64_t l2_offset, uint64_t guest_offset,
                           uint64_t len, struct qcf_run *run,
                           struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_l2_raw entries[MAX_ENTRIES];
	uint64_t l2_index = qcf_l2_index(g, guest_offset);
	uint64_t in_cluster = qcf_offset_in_cluster(g, guest_offset);
	struct qcf_slice slice = slice_at(g, l2_index);
	uint64_t want = qcf_clusters_for(g, in_cluster + len);
	uint64_t slice_offset = l2_offset + qcf_slice_offset(g, l2_index);
	uint32_t corruption;

	want = QCF_MIN(want, slice.count);
	want = QCF_MIN(want, (uint64_t)MAX_ENTRIES);
	if (!peek(meta, slice_offset, &slice, want, entries)) {
		int ret = from_memory ? -EAGAIN
		                      : load_entries(meta, slice_offset, &slice,
		                                     want, entries, errp);

		if (ret < 0)
			return ret;
	}
	corruption = qcf_map_range(g, entries, want, in_cluster, len, run);
	if (corruption == 0 && is_misplaced(g, guest_offset, run))
		corruption = QCF_CHECK_DATA_FILE_OFFSET;
	if (corruption != 0)
		return from_memory ? -EAGAIN
		                   : qcf_meta_corrupt(meta, corruption,
		                                      run->host_offset, errp);
	return 0;
}

static int lookup_piece(struct qcf_meta *meta, bool from_memory,
                        uint64_t guest_offset, uint64_t len,
                        struct qcf_run *run, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t l1_index = qcf_l1_index(g, guest_offset);
	uint64_t l2_offset;
	int ret = 0;

	if (!from_memory)
		ret = qcf_l1_lookup(meta, l1_index, &l2_offset, errp);
	else if (!qcf_l1_peek(meta, l1_index, &l2_offset))
		ret = -EAGAIN;
	len = QCF_MIN(len, qcf_left_in_l2_table(g, guest_offset));
	*run = (struct qcf_run){ .kind = QCF_UNALLOCATED, .length = len };
	if (ret == 0 && l2_offset != 0 &&
	    !is_hole(meta, l2_offset, guest_offset, len, run))
		ret = lookup_in_table(meta, from_memory, l2_offset,
		                      guest_offset, len, run, errp);
	if (ret < 0)
		qcf_error_at_guest(errp, guest_offset);
	return ret;
}

static int lookup(struct qcf_meta *meta, bool from_memory,
                  uint64_t guest_offset, uint64_t len, struct qcf_run *run,
                  struct qcowfmt_error **errp)
{
	*run = (struct qcf_run){ 0 };
	while (run->length < len) {
		struct qcf_run next;
		int ret = lookup_piece(meta, from_memory,
		                       guest_offset + run->length,
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

int qcf_map_lookup(struct qcf_meta *meta, uint64_t guest_offset, uint64_t len,
                   struct qcf_run *run, struct qcowfmt_error **errp)
{
	return lookup(meta, false, guest_offset, len, run, errp);
}

bool qcf_map_peek(struct qcf_meta *meta, uint64_t guest_offset, uint64_t len,
                  struct qcf_run *run)
{
	return lookup(meta, true, guest_offset, len, run, NULL) == 0;
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
	*slice = slice_at(g, l2_index);
	return qcf_cache_pin(&meta->l2_cache,
	                     l2_offset + qcf_slice_offset(g, l2_index),
	                     &slice->block, errp);
}

int qcf_map_check(struct qcf_meta *meta, const struct qcf_slice *slice,
                  uint64_t guest_offset, uint64_t count,
                  struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;

	for (uint64_t i = 0; i < count; i++) {
		struct qcf_l2_raw raw = qcf_slice_get(slice, i);
		struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
		uint32_t corruption = qcf_mapping_check(g, raw);

		if (corruption == 0 && g->data_file &&
		    qcf_mapping_has_cluster(&m) &&
		    m.host_offset != qcf_cluster_start(g, guest_offset) +
		                             (i << g->cluster_bits))
			corruption = QCF_CHECK_DATA_FILE_OFFSET;
		if (corruption != 0)
			return qcf_meta_corrupt(meta, corruption, m.host_offset,
			                        errp);
	}
	return 0;
}

void qcf_map_unpin(struct qcf_meta *meta, struct qcf_slice *slice)
{
	qcf_cache_unpin(&meta->l2_cache, slice->block);
}

/*
 * Readers without a lock notice from the sequence number that an entry of two
 * words was being changed; one word changes at once.
 */
static void set_entries(const struct qcf_slice *slice,
                        const struct qcf_l2_raw *entries, uint64_t count)
{
	struct qcf_block *block = slice->block;
	uint64_t at = slice->index * slice->words;

	if (slice->words == 1) {
		for (uint64_t i = 0; i < count; i++)
			qcf_block_set_word(block, at + i, entries[i].word);
		return;
	}
	qcf_block_begin_change(block);
	for (uint64_t i = 0; i < count; i++) {
		qcf_block_set_word(block, at + 2 * i, entries[i].word);
		qcf_block_set_word(block, at + 2 * i + 1, entries[i].bitmap);
	}
	qcf_block_end_change(block);
}

void qcf_map_publish(struct qcf_meta *meta, const struct qcf_slice *slice,
                     const struct qcf_l2_raw *entries, uint64_t count,
                     struct qcf_freed_batch *freed)
{
	QCF_GUARD(&meta->map_lock);

	set_entries(slice, entries, count);
	qcf_cache_mark_dirty(&meta->l2_cache, slice->block);
	qcf_quarantine_add(&meta->quarantine, freed);
}
