/* SPDX-License-Identifier: MIT */
/*
 * drop_blocks.c - refcount blocks that nobody needs
 *
 * A block lies mostly in the range that it describes.  When everything else in
 * that range has become free it keeps the file from ending before it.
 */
#include "drop_blocks.h"
#include "alloc.h"
#include "refcount.h"
#include "writeback.h"

/* Whether all that a block counts is itself. */
static int counts_only_itself(struct qcf_meta *meta, uint64_t index,
                              uint64_t own, bool *only,
                              struct qcowfmt_error **errp)
{
	uint32_t block_bits = meta->geometry.block_bits;
	uint64_t at = index << block_bits;
	uint64_t end = (index + 1) << block_bits;
	int ret = 0;

	*only = true;
	while (ret == 0 && *only && at < end) {
		uint64_t found = at;
		uint64_t run = 0;
		bool has_block = false;

		ret = qcf_refcount_find_free(meta, at, end - at, &found, &run,
		                             &has_block, errp);
		*only = found == at || (at == own && found == own + 1);
		at = found + run;
	}
	return ret;
}

/*
 * A block that lies in the range it describes ceases to be counted with it; one
 * that does not is freed when the table no longer names it (CS-4), and the block
 * that counted it may be needless now: *again.
 */
static int drop_block(struct qcf_meta *meta, uint64_t index, bool *again,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t own = qcf_host_cluster(g, r->table[index]);
	bool only = false;
	int ret;

	qcf_mutex_lock(&r->lock);
	ret = counts_only_itself(meta, index, own, &only, errp);
	if (ret == 0 && only) {
		qcf_cache_drop(&meta->refcount_cache, r->table[index],
		               g->cluster_size);
		qcf_refcount_set_block(meta, index, 0);
		qcf_overlap_remove(&meta->overlap, QCF_OVERLAP_BLOCK, own);
	}
	qcf_mutex_unlock(&r->lock);
	if (ret < 0 || !only || qcf_block_index(g, own) == index)
		return ret;
	*again = true;
	ret = qcf_writeback_drain(meta, errp);
	return ret < 0 ? ret : qcf_alloc_free(meta, own, 1, errp);
}

int qcf_drop_blocks(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	const struct qcf_refcounts *r = &meta->refcounts;
	bool again;
	int ret = 0;

	do {
		again = false;
		for (uint64_t i = r->entry_count; ret == 0 && i-- > 0;) {
			if (r->table[i] != 0)
				ret = drop_block(meta, i, &again, errp);
		}
		if (ret == 0)
			ret = qcf_writeback_drain(meta, errp);
	} while (ret == 0 && again);
	return ret;
}
