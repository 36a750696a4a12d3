/* SPDX-License-Identifier: MIT */
/*
 * repair_rebuild.c - a refcount table and blocks made anew
 *
 * Everything new goes behind all that is referenced, or, where storage cannot
 * grow, to clusters that nothing refers to; the old table and blocks count as
 * referenced until everything new has its place.  So no write before the one that
 * switches the header touches anything that means something, and a power cut
 * leaves the old image or the new one.
 *
 * New blocks are referenced themselves and may need a block that is not there
 * yet; that ends, because one block describes more clusters than one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check_refcounts.h"
#include "checked.h"
#include "refcount_entry.h"
#include "refcount_replace.h"
#include "repair_rebuild.h"

/* A block to be: which clusters it describes and where it goes. */
struct new_block {
	uint64_t index;
	uint64_t host_cluster; /* 0 = it has no place yet */
};

struct rebuilding {
	struct qcf_checker *c;
	struct new_block *blocks; /* sorted by index; owned */
	size_t count;
	size_t room;
	uint64_t cursor; /* no cluster below it is tried */
	uint64_t limit;  /* nor any from here on */
	uint64_t table_first;
	uint64_t table_clusters;
};

/* ------------------------------------------------------------------ placing */

static int no_space(struct qcowfmt_error **errp)
{
	return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
	                "no host clusters are free for new refcount blocks");
}

/* Nothing refers to it, nor would if the file were longer. */
static bool is_free(struct qcf_checker *c, uint64_t cluster)
{
	return qcf_counts_get(&c->counts, cluster) == 0 &&
	       qcf_counts_get(&c->dangling, cluster) == 0;
}

/* The first of count free clusters that follow each other. */
static int take(struct rebuilding *r, uint64_t count, uint64_t *first,
                struct qcowfmt_error **errp)
{
	uint64_t run = 0;
	uint64_t cluster = r->cursor;

	while (run < count) {
		if (cluster >= r->limit)
			return no_space(errp);
		run = is_free(r->c, cluster) ? run + 1 : 0;
		cluster++;
	}
	*first = cluster - count;
	/* Gaps that are too small for the table may do for blocks. */
	if (count == 1)
		r->cursor = cluster;
	return qcf_counts_add(&r->c->counts, *first, count, 1, errp);
}

static size_t position_of(const struct rebuilding *r, uint64_t index)
{
	size_t low = 0;
	size_t high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->blocks[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* See to it that there is a block of an index. */
static int need_block(struct rebuilding *r, uint64_t index,
                      struct qcowfmt_error **errp)
{
	size_t at = position_of(r, index);
	size_t room = r->room == 0 ? 64 : r->room * 2;
	struct new_block *blocks = r->blocks;

	if (at < r->count && blocks[at].index == index)
		return 0;
	if (index >= r->c->geometry->max_reftable_entry_count)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
		                "a refcount table for host cluster %" PRIu64
		                " would be too long",
		                index << r->c->geometry->block_bits);
	if (r->count == r->room) {
		blocks = realloc(blocks, room * sizeof(*blocks));
		if (blocks == NULL)
			return qcf_fail_oom(errp);
		r->blocks = blocks;
		r->room = room;
	}
	memmove(blocks + at + 1, blocks + at,
	        (r->count - at) * sizeof(*blocks));
	blocks[at] = (struct new_block){ .index = index };
	r->count++;
	return 0;
}

static int need_blocks_of(struct rebuilding *r, uint64_t first, uint64_t count,
                          struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = r->c->geometry;
	int ret = 0;

	for (uint64_t i = qcf_block_index(g, first);
	     ret == 0 && i <= qcf_block_index(g, first + count - 1); i++)
		ret = need_block(r, i, errp);
	return ret;
}

/* Blocks for all references there are. */
static int need_all(struct rebuilding *r, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint64_t *groups = NULL;
	size_t count = 0;
	int ret = qcf_counts_sorted(&r->c->counts, &groups, &count, errp);

	for (size_t i = 0; ret == 0 && i < count; i++) {
		uint64_t first = groups[i] * QCF_COUNT_GROUP;

		if (qcf_counts_in_group(&r->c->counts, groups[i]))
			ret = need_block(r,
			                 qcf_block_index(r->c->geometry, first),
			                 errp);
	}
	return ret;
}

/* Give each block a place, and each place a block. */
static int place_blocks(struct rebuilding *r, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < r->count; i++) {
		uint64_t cluster = 0;

		if (r->blocks[i].host_cluster != 0)
			continue;
		ret = take(r, 1, &cluster, errp);
		r->blocks[i].host_cluster = cluster;
		if (ret == 0)
			ret = need_blocks_of(r, cluster, 1, errp);
		/* The new one may have gone in front. */
		i = position_of(r, qcf_block_index(r->c->geometry, cluster)) <=
		                    i
		            ? (size_t)-1
		            : i;
	}
	return ret;
}

static uint64_t clusters_for_table(const struct rebuilding *r)
{
	uint64_t entries = r->blocks[r->count - 1].index + 1;

	return qcf_clusters_for(r->c->geometry, entries * 8);
}

static int place_table(struct rebuilding *r, struct qcowfmt_error **errp)
{
	int ret = place_blocks(r, errp);

	while (ret == 0 && clusters_for_table(r) > r->table_clusters) {
		qcf_counts_subtract(&r->c->counts, r->table_first,
		                    r->table_clusters, 1);
		r->table_clusters = clusters_for_table(r);
		ret = take(r, r->table_clusters, &r->table_first, errp);
		if (ret == 0)
			ret = need_blocks_of(r, r->table_first,
			                     r->table_clusters, errp);
		if (ret == 0)
			ret = place_blocks(r, errp);
	}
	return ret;
}

static void forget_places(struct rebuilding *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->blocks[i].host_cluster != 0)
			qcf_counts_subtract(&r->c->counts,
			                    r->blocks[i].host_cluster, 1, 1);
	}
	qcf_counts_subtract(&r->c->counts, r->table_first, r->table_clusters,
	                    1);
	r->count = 0;
	r->table_first = r->table_clusters = 0;
}

static int place_from(struct rebuilding *r, uint64_t cursor, uint64_t limit,
                      struct qcowfmt_error **errp)
{
	int ret;

	forget_places(r);
	r->cursor = cursor;
	r->limit = limit;
	ret = need_all(r, errp);
	return ret < 0 ? ret : place_table(r, errp);
}

static int place_all(struct rebuilding *r, struct qcowfmt_error **errp)
{
	struct qcf_checker *c = r->c;
	uint64_t end = QCF_MAX(qcf_counts_end(&c->counts), UINT64_C(1));
	uint64_t limit = UINT64_MAX;
	int ret;

	if (c->storage->fixed_size)
		limit = c->file_size >> c->geometry->cluster_bits;
	ret = place_from(r, end, limit, NULL);
	if (ret == -ENOSPC || ret == -EFBIG)
		ret = place_from(r, 1, limit, errp);
	else if (ret == -ENOMEM)
		return qcf_fail_oom(errp);
	return ret;
}

/* ------------------------------------------------------------------ writing */

/* A block describes whole groups. */
static void fill_block(struct rebuilding *r, uint64_t index, uint8_t *bytes)
{
	const struct qcf_geometry *g = r->c->geometry;
	uint64_t count = UINT64_C(1) << g->block_bits;
	uint32_t found[QCF_COUNT_GROUP];

	memset(bytes, 0, g->cluster_size);
	for (uint64_t i = 0; i < count; i += QCF_COUNT_GROUP) {
		uint64_t number = (index * count + i) / QCF_COUNT_GROUP;

		if (!qcf_counts_in_group(&r->c->counts, number))
			continue;
		qcf_counts_group(&r->c->counts, number, found);
		for (uint64_t j = 0; j < QCF_COUNT_GROUP; j++)
			qcf_refcount_set(bytes, i + j, g->refcount_order,
			                 QCF_MIN(found[j], g->refcount_max));
	}
}

static int write_blocks(struct rebuilding *r, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = r->c->geometry;
	QCF_AUTO_FREE uint8_t *bytes = malloc(g->cluster_size);
	int ret = bytes == NULL ? qcf_fail_oom(errp) : 0;

	for (size_t i = 0; ret == 0 && i < r->count; i++) {
		fill_block(r, r->blocks[i].index, bytes);
		ret = qcf_storage_pwrite(
			r->c->storage, bytes, g->cluster_size,
			qcf_host_offset(g, r->blocks[i].host_cluster), errp);
	}
	return qcf_wrap(errp, "writing new refcount blocks", ret);
}

/* Host offsets of all blocks; the caller frees it. */
static int make_table(struct rebuilding *r, uint64_t **table, uint64_t *count,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = r->c->geometry;

	*count = (r->table_clusters << g->cluster_bits) / 8;
	*table = calloc(*count, sizeof(**table));
	if (*table == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; i < r->count; i++)
		(*table)[r->blocks[i].index] =
			qcf_host_offset(g, r->blocks[i].host_cluster);
	return 0;
}

static int write_table(struct rebuilding *r, const uint64_t *table,
                       uint64_t count, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *raw = calloc(count, sizeof(*raw));
	int ret;

	if (raw == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < count; i++)
		raw[i] = qcf_reftable_entry_encode(table[i]);
	ret = qcf_storage_pwrite(
		r->c->storage, raw, count * sizeof(*raw),
		qcf_host_offset(r->c->geometry, r->table_first), errp);
	return qcf_wrap(errp, "writing a new refcount table", ret);
}

static int write_all(struct rebuilding *r, struct qcf_meta *meta,
                     struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint64_t *table = NULL;
	uint64_t count = 0;
	int ret = make_table(r, &table, &count, errp);

	if (ret == 0)
		ret = write_blocks(r, errp);
	if (ret == 0)
		ret = write_table(r, table, count, errp);
	if (ret == 0)
		ret = qcf_meta_flush(meta, errp);
	if (ret == 0)
		ret = qcf_refcount_replace(
			meta, &table, count,
			qcf_host_offset(r->c->geometry, r->table_first), errp);
	return ret;
}

int qcf_repair_rebuild(struct qcf_checker *c, struct qcf_meta *meta,
                       struct qcowfmt_error **errp)
{
	struct rebuilding r = { .c = c };
	int ret = place_all(&r, errp);

	if (ret == 0) {
		qcf_check_uncount_refcounts(c);
		if (meta != NULL)
			ret = write_all(&r, meta, errp);
	}
	free(r.blocks);
	return ret;
}
