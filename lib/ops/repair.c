/* SPDX-License-Identifier: MIT */
/*
 * repair.c - make stored counts, COPIED flags and tables true
 *
 * Guest data is never touched: what is written are counts, COPIED flags, entries
 * that read as zeros, and tables in free clusters.  Order, with everything before
 * a step stable when it begins:
 *
 *   1. counts that are too low are raised; or, where the refcount table or blocks
 *      cannot be used, all are made anew (repair_rebuild.c)
 *   2. COPIED flags and zero entries are corrected
 *   3. counts that are too high are lowered
 *   4. tables of snapshots and bitmaps are written anew (repair_tables.c)
 *
 * Interrupted at any point, the image is no worse than before: at most it leaks.
 */
#include <errno.h>
#include <inttypes.h>

#include "check_compare.h"
#include "check_copied.h"
#include "check_l2.h"
#include "check_stored.h"
#include "checked.h"
#include "l1_table.h"
#include "refcount.h"
#include "repair.h"
#include "repair_rebuild.h"
#include "repair_tables.h"
#include "writeback.h"

/* ------------------------------------------------------------------- counts */

/* The count that a cluster will have. */
static uint64_t target_count(const struct qcf_checker *c, uint64_t stored,
                             uint64_t found)
{
	if (stored > found)
		return c->fix_leaks && !c->lost ? found : stored;
	return c->fix_all ? QCF_MIN(found, c->geometry->refcount_max) : stored;
}

/* Tell about a count, and move it from what was found to what is repaired. */
static int announce(struct qcf_checker *c, uint64_t cluster, uint64_t stored,
                    uint64_t found, struct qcowfmt_error **errp)
{
	uint64_t target = target_count(c, stored, found);
	bool low = stored < found;

	(void)errp;
	if (c->fix_all && target < found)
		qcf_finding(c, QCF_CHECK_REFCOUNT_LOW,
		            qcf_host_offset(c->geometry, cluster),
		            "ERROR cluster %" PRIu64 " refcount=%" PRIu64
		            " reference=%" PRIu64 ": does not fit in %" PRIu32
		            " bit%s",
		            cluster, stored, found, c->geometry->refcount_bits,
		            c->geometry->refcount_bits == 1 ? "" : "s");
	else if (target == found || low)
		qcf_finding(c, low ? QCF_CHECK_REFCOUNT_LOW : QCF_CHECK_LEAK,
		            qcf_host_offset(c->geometry, cluster),
		            "%s cluster %" PRIu64 " refcount=%" PRIu64
		            " reference=%" PRIu64,
		            target == found ? "Repairing" : "ERROR", cluster,
		            stored, found);
	if (target != found)
		return 0;
	if (low) {
		c->result->corruptions--;
		c->result->corruptions_fixed++;
		c->count_errors--;
	} else {
		c->result->leaks--;
		c->result->leaks_fixed++;
	}
	return 0;
}

static int write_count(struct qcf_checker *c, uint64_t cluster, uint64_t count,
                       struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	int ret;

	qcf_mutex_lock(&meta->refcounts.lock);
	ret = qcf_refcount_write(meta, cluster, count, errp);
	qcf_mutex_unlock(&meta->refcounts.lock);
	if (ret == 0 && qcf_writeback_is_due(meta))
		ret = qcf_writeback_drain(meta, errp);
	return ret;
}

static int raise_count(struct qcf_checker *c, uint64_t cluster, uint64_t stored,
                       uint64_t found, struct qcowfmt_error **errp)
{
	uint64_t target = target_count(c, stored, found);

	return target > stored ? write_count(c, cluster, target, errp) : 0;
}

static int lower_count(struct qcf_checker *c, uint64_t cluster, uint64_t stored,
                       uint64_t found, struct qcowfmt_error **errp)
{
	uint64_t target = target_count(c, stored, found);

	return target < stored ? write_count(c, cluster, target, errp) : 0;
}

/* ----------------------------------------------------------- missing blocks */

/* Nothing refers to it, nor would if the file were longer. */
static bool is_free(struct qcf_checker *c, uint64_t cluster)
{
	return qcf_counts_get(&c->counts, cluster) == 0 &&
	       qcf_counts_get(&c->dangling, cluster) == 0;
}

/* A host cluster for the refcount block of an index: in the range it describes,
 * so that it counts itself, or behind everything. */
static int choose_block_cluster(struct qcf_checker *c, uint64_t index,
                                uint64_t *cluster, struct qcowfmt_error **errp)
{
	uint64_t per_block = UINT64_C(1) << c->geometry->block_bits;
	uint64_t at = index * per_block;
	uint64_t end = at + per_block;

	while (at < end && !is_free(c, at))
		at++;
	if (at == end)
		at = qcf_counts_end(&c->counts);
	while (!is_free(c, at))
		at++;
	if (c->storage->fixed_size &&
	    at >= c->file_size >> c->geometry->cluster_bits)
		return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
		                "no host cluster is free for a refcount "
		                "block");
	*cluster = at;
	return 0;
}

static int add_missing_block(struct qcf_checker *c, uint64_t index,
                             struct qcowfmt_error **errp)
{
	uint64_t cluster = 0;
	int ret = choose_block_cluster(c, index, &cluster, errp);

	if (ret == 0)
		ret = qcf_counts_add(&c->counts, cluster, 1, 1, errp);
	if (ret < 0)
		return ret;
	c->file_clusters = QCF_MAX(c->file_clusters, cluster + 1);
	QCF_GUARD(&c->meta->refcounts.lock);
	return qcf_refcount_install_block(c->meta, index, cluster, errp);
}

/* The first block that counts in a group need and that is not there; UINT64_MAX
 * if there is none.  It may have been added just now. */
static uint64_t missing_block(struct qcf_checker *c, uint64_t group)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t first = group * QCF_COUNT_GROUP;
	uint64_t index = qcf_block_index(g, first);

	if (qcf_check_block(c, index) != 0 ||
	    (c->meta != NULL && index < c->meta->refcounts.entry_count &&
	     c->meta->refcounts.table[index] != 0))
		return UINT64_MAX;
	return qcf_counts_in_group(&c->counts, group) ? index : UINT64_MAX;
}

/*
 * Add the blocks that are missing now, unless this is only to see whether they
 * can be; *added says whether that needs a look at what they need in turn.
 * Without room in the table everything is made anew.
 */
static int add_blocks_once(struct qcf_checker *c, bool add, bool *added,
                           struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint64_t *groups = NULL;
	size_t count = 0;
	int ret = qcf_counts_sorted(&c->counts, &groups, &count, errp);

	*added = false;
	for (size_t i = 0; ret == 0 && i < count && !c->need_rebuild; i++) {
		uint64_t index = missing_block(c, groups[i]);

		if (index == UINT64_MAX)
			continue;
		c->need_rebuild = index >= c->reftable_entries;
		if (!add || c->need_rebuild)
			continue;
		ret = add_missing_block(c, index, errp);
		*added = true;
	}
	return ret;
}

static int add_missing_blocks(struct qcf_checker *c,
                              struct qcowfmt_error **errp)
{
	bool added = true;
	int ret = 0;

	while (ret == 0 && added && !c->need_rebuild)
		ret = add_blocks_once(c, true, &added, errp);
	return ret;
}

/* ------------------------------------------------------- counts as a whole */

static int rebuild(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	if (c->lost) {
		qcf_finding(c, QCF_CHECK_NONE, QCOWFMT_NO_OFFSET,
		            "ERROR refcount structures cannot be rebuilt while "
		            "snapshots cannot be read");
		return 0;
	}
	qcf_finding(c, QCF_CHECK_NONE, QCOWFMT_NO_OFFSET,
	            "Rebuilding refcount structure");
	c->result->corruptions -= c->count_errors;
	c->result->corruptions_fixed += c->count_errors;
	c->result->leaks_fixed += c->result->leaks;
	c->result->leaks = 0;
	c->count_errors = 0;
	return qcf_repair_rebuild(c, c->meta, errp);
}

/* Counts in blocks that can be used; new blocks where there are none. */
static int raise_counts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	int ret = add_missing_blocks(c, errp);

	if (ret < 0)
		return ret;
	return c->need_rebuild ? rebuild(c, errp)
	                       : qcf_check_each_mismatch(c, raise_count, errp);
}

static int correct_counts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	bool unused;
	int ret = 0;

	if (c->fix_all && !c->need_rebuild && c->mismatch)
		ret = add_blocks_once(c, false, &unused, errp);
	if (ret < 0)
		return ret;
	if (c->need_rebuild && c->fix_all)
		return rebuild(c, errp);
	if (!c->mismatch)
		return 0;
	ret = qcf_check_each_mismatch(c, announce, errp);
	return ret == 0 && c->meta != NULL && c->fix_all ? raise_counts(c, errp)
	                                                 : ret;
}

static int lower_counts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &c->meta->refcounts;
	int ret = qcf_check_each_mismatch(c, lower_count, errp);

	if (ret < 0)
		return ret;
	qcf_mutex_lock(&r->lock);
	r->first_free = 0;
	r->pack_offset = 0;
	qcf_mutex_unlock(&r->lock);
	return qcf_writeback_drain(c->meta, errp);
}

/* ------------------------------------------------------------------ entries */

/* Put a word into an L2 table. */
static int write_l2_word(struct qcf_meta *meta, uint64_t at,
                         struct qcf_be64 raw, struct qcowfmt_error **errp)
{
	uint64_t slice = qcf_align_down(at, meta->geometry.slice_size);
	struct qcf_block *block;
	int ret = qcf_cache_pin(&meta->l2_cache, slice, &block, errp);

	if (ret < 0)
		return ret;
	qcf_mutex_lock(&meta->map_lock);
	qcf_block_set_word(block, (at - slice) / 8, raw);
	qcf_cache_mark_dirty(&meta->l2_cache, block);
	qcf_mutex_unlock(&meta->map_lock);
	qcf_cache_unpin(&meta->l2_cache, block);
	return qcf_writeback_is_due(meta) ? qcf_writeback_drain(meta, errp) : 0;
}

static int fix_l1(struct qcf_checker *c, uint64_t l1_index, bool copied,
                  struct qcowfmt_error **errp)
{
	return c->meta == NULL
	               ? 0
	               : qcf_l1_set_copied(c->meta, l1_index, copied, errp);
}

static int fix_l2(struct qcf_checker *c, uint64_t at, struct qcf_be64 raw,
                  struct qcowfmt_error **errp)
{
	struct qcf_be64 fixed = { raw.raw ^ htobe64(QCF_ENTRY_COPIED) };

	return c->meta == NULL ? 0 : write_l2_word(c->meta, at, fixed, errp);
}

/* A count that cannot be read is nothing that flags can be made to agree with. */
static int stored_count(struct qcf_checker *c, uint64_t cluster,
                        uint64_t *count, struct qcowfmt_error **errp)
{
	uint64_t errors = c->result->check_errors;
	int ret = qcf_check_stored_count(c, cluster, count, errp);

	if (ret < 0 || c->meta == NULL || c->result->check_errors == errors)
		return ret;
	return qcf_fail(errp, EIO, QCOWFMT_ERR_IO,
	                "the refcount of cluster %" PRIu64 " cannot be read",
	                cluster);
}

/* The count that a cluster has after the repair, or would have if it fitted. */
static int final_count(struct qcf_checker *c, uint64_t cluster, uint64_t *count,
                       struct qcowfmt_error **errp)
{
	uint64_t found = qcf_counts_get(&c->counts, cluster);
	uint64_t stored = 0;
	int ret = 0;

	if (c->fix_all && !c->lost) {
		*count = found;
		return 0;
	}
	ret = stored_count(c, cluster, &stored, errp);
	if (cluster < c->file_clusters)
		stored = target_count(c, stored, found);
	*count = qcf_checker_count_for_flag(c, stored, found);
	return ret;
}

/* Without repairing everything, flags are left alone if anything else is wrong,
 * because then they may be right and the counts wrong. */
static int correct_flags(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	bool fix = c->fix_all || c->result->corruptions == 0;
	const struct qcf_copied_rules rules = {
		.count = final_count,
		.as_found = !c->mismatch || (c->fix_all && !c->lost),
		.fix_l1 = fix ? fix_l1 : NULL,
		.fix_l2 = fix ? fix_l2 : NULL,
	};

	return qcf_check_copied(c, &rules, errp);
}

/* Zeros with a cluster that cannot be one become zeros without a cluster. */
static int correct_zeros(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = c->geometry;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < c->bad_zero_count; i++) {
		const struct qcf_bad_zero *zero = &c->bad_zeros[i];
		uint64_t cluster = qcf_host_cluster(g, zero->at);

		/* A table that is something else, too, is left alone. */
		if (qcf_counts_get(&c->counts, cluster) == zero->names)
			ret = write_l2_word(c->meta, zero->at,
			                    qcf_be64_encode(QCF_ENTRY_ZERO),
			                    errp);
	}
	return ret;
}

/* --------------------------------------------------------------- everything */

static int refuse_leaks(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	qcf_finding(c, QCF_CHECK_NONE, QCOWFMT_NO_OFFSET,
	            "ERROR need to rebuild refcount structures");
	return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
	                "refcounts are too low to free anything: repair all");
}

static int carry_out(struct qcf_checker *c, bool *rewritten,
                     struct qcowfmt_error **errp)
{
	int ret = correct_counts(c, errp);

	if (ret == 0 && c->meta != NULL)
		ret = correct_zeros(c, errp);
	if (ret == 0)
		ret = correct_flags(c, errp);
	if (ret < 0 || c->meta == NULL)
		return ret;
	ret = qcf_writeback_drain(c->meta, errp);
	if (ret == 0 && !c->need_rebuild && c->mismatch)
		ret = lower_counts(c, errp);
	if (ret == 0)
		ret = qcf_repair_tables(c, c->meta, rewritten, errp);
	return ret;
}

int qcf_repair(struct qcf_checker *c, struct qcf_meta *meta, bool *rewritten,
               struct qcowfmt_error **errp)
{
	*rewritten = false;
	c->meta = meta;
	/* What could not be read may refer to anything. */
	if (c->result->check_errors > 0)
		return qcf_checker_look_at_flags(c, errp);
	if (!c->fix_all && (c->need_rebuild || c->uncounted))
		return refuse_leaks(c, errp);
	return carry_out(c, rewritten, errp);
}
