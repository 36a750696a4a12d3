/* SPDX-License-Identifier: MIT */
/* snapshot_rewrite.c - a snapshot table in a new place */
#include "snapshot_rewrite.h"

#include "alloc.h"
#include "writeback.h"

static int reserve(struct qcf_meta *meta, uint64_t clusters, uint64_t *first,
                   struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	return qcf_alloc_reserve_exact_locked(meta, clusters, first, errp);
}

static int store(struct qcf_meta *meta, const struct qcf_new_snapshots *n,
                 uint64_t clusters, struct qcowfmt_error **errp)
{
	size_t size = (size_t)(clusters << meta->geometry.cluster_bits);
	QCF_AUTO_FREE uint8_t *bytes = calloc(1, size);
	int ret;

	if (bytes == NULL)
		return qcf_fail_oom(errp);
	qcf_snapshot_table_encode(&n->table, bytes, size);
	ret = qcf_storage_pwrite(meta->storage, bytes, size, n->offset, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

int qcf_new_snapshots_write(struct qcf_meta *meta, struct qcf_new_snapshots *n,
                            uint64_t first, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t clusters;
	int ret = 0;

	n->len = qcf_snapshot_table_len(&n->table);
	clusters = qcf_clusters_for(g, n->len);
	if (n->len > QCF_MAX_SNAPSHOT_TABLE)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_LIMIT,
		                "the snapshot table would be too long");
	if (first == 0)
		ret = reserve(meta, clusters, &first, errp);
	if (ret < 0)
		return ret;
	n->offset = qcf_host_offset(g, first);
	return qcf_wrap(errp, "writing the snapshot table",
	                store(meta, n, clusters, errp));
}

int qcf_new_snapshots_install(struct qcf_meta *meta,
                              struct qcf_new_snapshots *n, uint64_t old_offset,
                              struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t old_len = n->table.stored_len;
	int ret;

	if (n->offset == 0)
		return 0;
	ret = qcf_snapshot_table_protect(meta, &n->table, n->offset, n->len,
	                                 errp);
	n->offset = 0;
	return ret < 0 ? ret
	               : qcf_alloc_free(meta, qcf_host_cluster(g, old_offset),
	                                qcf_clusters_for(g, old_len), errp);
}

void qcf_new_snapshots_abandon(struct qcf_meta *meta,
                               struct qcf_new_snapshots *n)
{
	const struct qcf_geometry *g = &meta->geometry;

	/* What cannot be freed is a leak. */
	if (n->offset != 0)
		(void)qcf_alloc_free(meta, qcf_host_cluster(g, n->offset),
		                     qcf_clusters_for(g, n->len), NULL);
	n->offset = 0;
}

void qcf_new_snapshots_fini(struct qcf_new_snapshots *n)
{
	qcf_snapshot_table_fini(&n->table);
}
