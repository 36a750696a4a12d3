/* SPDX-License-Identifier: MIT */
/*
 * refcount_replace.c - another refcount table in place of the one there is
 *
 * The header changes in one write inside one sector (CS-6).  New blocks are known
 * as metadata before, the old ones no longer afterwards.
 */
#include "refcount_replace.h"
#include "checked.h"
#include "header_switch.h"

static int protect(struct qcf_meta *meta, const uint64_t *table, uint64_t count,
                   struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++) {
		if (table[i] != 0)
			ret = qcf_overlap_add(
				&meta->overlap, QCF_OVERLAP_BLOCK,
				qcf_host_cluster(&meta->geometry, table[i]),
				errp);
	}
	return ret;
}

/* The slices of a block that is left are no longer looked for, and those of a new
 * one were never read. */
static void drop_blocks(struct qcf_meta *meta, const uint64_t *table,
                        uint64_t count, bool unprotect)
{
	for (uint64_t i = 0; i < count; i++) {
		if (!qcf_meta_is_cluster_offset(meta, table[i]))
			continue;
		qcf_cache_drop(&meta->refcount_cache, table[i],
		               meta->geometry.cluster_size);
		if (unprotect)
			qcf_overlap_remove(
				&meta->overlap, QCF_OVERLAP_BLOCK,
				qcf_host_cluster(&meta->geometry, table[i]));
	}
}

static int switch_header(struct qcf_meta *meta, uint64_t host_offset,
                         uint32_t clusters, struct qcowfmt_error **errp)
{
	uint8_t bytes[12];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));

	qcf_write_u64(&w, host_offset);
	qcf_write_u32(&w, clusters);
	return qcf_wrap(errp, "switching to a new refcount table",
	                qcf_header_replace(meta, QCF_HEADER_AT_REFTABLE, bytes,
	                                   sizeof(bytes), errp));
}

/* Everything in memory that follows the table. */
static void adopt(struct qcf_meta *meta, uint64_t *table, uint64_t entry_count,
                  uint64_t host_offset, uint32_t clusters)
{
	struct qcf_refcounts *r = &meta->refcounts;
	const struct qcf_geometry *g = &meta->geometry;
	QCF_AUTO_FREE uint64_t *old = r->table;

	drop_blocks(meta, old, r->entry_count, true);
	drop_blocks(meta, table, entry_count, false);
	r->table = table;
	r->entry_count = r->stored_entry_count = entry_count;
	r->stored_offset = host_offset;
	r->moving_clusters = 0;
	r->dirty_first = r->dirty_end = 0;
	r->first_free = 0;
	r->pack_offset = 0;
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_REFTABLE,
	                      qcf_host_cluster(g, host_offset), clusters);
	meta->header.refcount_table_offset = host_offset;
	meta->header.refcount_table_clusters = clusters;
}

int qcf_refcount_replace(struct qcf_meta *meta, uint64_t **table,
                         uint64_t entry_count, uint64_t host_offset,
                         struct qcowfmt_error **errp)
{
	uint32_t clusters =
		(uint32_t)qcf_clusters_for(&meta->geometry, entry_count * 8);
	uint64_t size = 0;
	int ret;

	QCF_GUARD(&meta->commit.lock);
	QCF_GUARD(&meta->refcounts.lock);
	ret = qcf_storage_get_size(meta->storage, &size, errp);
	if (ret == 0)
		ret = protect(meta, *table, entry_count, errp);
	if (ret == 0)
		ret = switch_header(meta, host_offset, clusters, errp);
	if (ret < 0)
		return ret;
	meta->refcounts.fresh_from =
		QCF_MAX(meta->refcounts.fresh_from,
	                qcf_clusters_for(&meta->geometry, size));
	adopt(meta, qcf_take(table), entry_count, host_offset, clusters);
	return 0;
}
