/* SPDX-License-Identifier: MIT */
/* bitmap_free.c - giving back the clusters of dirty bitmaps */
#include "bitmap_free.h"
#include "alloc.h"
#include "refcount.h"

static void free_cluster(struct qcf_meta *meta, uint64_t host_cluster)
{
	qcf_alloc_discard_other(meta, host_cluster, 1);
	QCF_GUARD(&meta->refcounts.lock);
	uint64_t count = 0;

	if (qcf_overlap_hits(&meta->overlap, host_cluster, 1) ||
	    qcf_refcount_read(meta, host_cluster, &count, NULL) < 0 ||
	    count == 0)
		return;
	(void)qcf_alloc_free_locked(meta, host_cluster, 1, NULL);
}

void qcf_bitmap_free_range(struct qcf_meta *meta, uint64_t host_offset,
                           uint64_t len)
{
	uint64_t first = qcf_host_cluster(&meta->geometry, host_offset);
	uint64_t count = qcf_clusters_for(&meta->geometry, len);

	for (uint64_t i = 0; i < count; i++)
		free_cluster(meta, first + i);
}

/* Walk two tables side by side. */
static void free_bits(struct qcf_meta *meta, struct qcf_bitmap_view *old,
                      struct qcf_bitmap_view *next)
{
	for (uint32_t i = 0; i < old->table_entries; i++) {
		struct qcf_bitmap_cluster before;
		struct qcf_bitmap_cluster after;

		if (qcf_bitmap_view_cluster(old, i, &before, NULL) < 0 ||
		    qcf_bitmap_view_cluster(next, i, &after, NULL) < 0)
			continue;
		if (before.host_offset != 0 &&
		    before.host_offset != after.host_offset)
			free_cluster(meta,
			             qcf_host_cluster(&meta->geometry,
			                              before.host_offset));
	}
}

void qcf_bitmap_free_replaced(struct qcf_meta *meta,
                              const struct qcf_bitmap_entry *old,
                              const struct qcf_bitmap_entry *next)
{
	QCF_AUTO_FREE struct qcf_bitmap_view *views = NULL;

	if (next != NULL && next->table_offset == old->table_offset)
		return;
	if (qcf_bitmap_entry_check_table(old, &meta->geometry, NULL) < 0)
		return;
	views = malloc(2 * sizeof(*views));
	if (views != NULL) {
		qcf_bitmap_view_init(&views[0], meta, old, 0);
		qcf_bitmap_view_init(&views[1], meta, next, 0);
		free_bits(meta, &views[0], &views[1]);
	}
	qcf_bitmap_free_range(meta, old->table_offset,
	                      (uint64_t)old->table_entries * 8);
}
