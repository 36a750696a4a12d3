/* SPDX-License-Identifier: MIT */
/*
 * repair.c - make stored counts and COPIED flags true
 *
 * Order: counts that are too low are raised and flags corrected, and that is
 * made stable; only then counts that are too high are lowered.  Interrupted at
 * any point, the image is no worse than before: at most it leaks.
 */
#include <errno.h>
#include <inttypes.h>

#include "check_compare.h"
#include "checked.h"
#include "refcount.h"
#include "repair.h"
#include "writeback.h"

/* A host cluster for the refcount block of an index: in the range it describes,
 * so that it counts itself, or behind everything. */
static int choose_block_cluster(struct qcf_checker *c, uint64_t index,
                                uint64_t *cluster, struct qcowfmt_error **errp)
{
	uint64_t per_block = UINT64_C(1) << c->meta->geometry.block_bits;
	uint64_t room = c->counts.chunk_count * QCF_COUNTS_CHUNK;
	uint64_t at = index * per_block;

	while (at < room && qcf_counts_get(&c->counts, at) > 0)
		at++;
	if (at >= room)
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
		ret = qcf_counts_add(&c->counts, cluster, 1, errp);
	if (ret == 0)
		ret = qcf_refcount_install_block(c->meta, index, cluster, errp);
	if (ret == 0)
		c->file_clusters = QCF_MAX(c->file_clusters, cluster + 1);
	return ret;
}

/* A block placed behind its own range is seen to when its turn comes. */
static int add_missing_blocks(struct qcf_checker *c,
                              struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;

	QCF_GUARD(&c->meta->refcounts.lock);
	for (uint64_t cluster = 0; cluster < c->file_clusters; cluster++) {
		int ret;

		if (qcf_counts_get(&c->counts, cluster) == 0 ||
		    qcf_check_has_block(c, cluster))
			continue;
		ret = add_missing_block(c, qcf_block_index(g, cluster), errp);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Write all counts that are too low, or all that are too high. */
static int write_counts(struct qcf_checker *c, bool raise,
                        struct qcowfmt_error **errp)
{
	for (uint64_t cluster = 0; cluster < c->file_clusters; cluster++) {
		uint64_t found = qcf_counts_get(&c->counts, cluster);
		uint64_t stored;
		int ret = qcf_check_stored_count(c, cluster, &stored, errp);

		if (ret == 0 && (raise ? stored < found : stored > found)) {
			QCF_GUARD(&c->meta->refcounts.lock);
			ret = qcf_refcount_write(c->meta, cluster, found, errp);
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

int qcf_repair(struct qcf_checker *c, bool leaks_only,
               struct qcowfmt_error **errp)
{
	int ret = 0;

	if (!leaks_only) {
		ret = add_missing_blocks(c, errp);
		if (ret == 0)
			ret = write_counts(c, true, errp);
		if (ret == 0)
			ret = qcf_check_copied(c, true, errp);
		if (ret == 0)
			ret = qcf_writeback_drain(c->meta, errp);
	}
	if (ret == 0)
		ret = write_counts(c, false, errp);
	if (ret < 0)
		return ret;
	qcf_mutex_lock(&c->meta->refcounts.lock);
	c->meta->refcounts.first_free = 0;
	c->meta->refcounts.pack_offset = 0;
	qcf_mutex_unlock(&c->meta->refcounts.lock);
	return qcf_writeback_drain(c->meta, errp);
}
