/* SPDX-License-Identifier: MIT */
/* area.c - host clusters for a table that is written as a whole */
#include "area.h"
#include "alloc.h"

static int reserve(struct qcf_meta *meta, struct qcf_area *area,
                   struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	uint64_t first = 0;
	int ret = qcf_alloc_reserve_exact_locked(meta, area->clusters, &first,
	                                         errp);

	area->host_offset = qcf_host_offset(&meta->geometry, first);
	return ret;
}

int qcf_area_fill(struct qcf_meta *meta, const void *bytes, uint64_t len,
                  const struct qcf_area *area, struct qcowfmt_error **errp)
{
	uint64_t size = area->clusters << meta->geometry.cluster_bits;
	int ret = qcf_storage_pwrite(meta->storage, bytes, len,
	                             area->host_offset, errp);

	return ret < 0 || len == size
	               ? ret
	               : qcf_storage_write_zeros(meta->storage,
	                                         area->host_offset + len,
	                                         size - len, errp);
}

int qcf_area_write(struct qcf_meta *meta, const void *bytes, uint64_t len,
                   struct qcf_area *area, struct qcowfmt_error **errp)
{
	int ret;

	*area = qcf_area_of(meta, 0, len);
	if (len == 0)
		return 0;
	ret = reserve(meta, area, errp);
	if (ret == 0) {
		ret = qcf_area_fill(meta, bytes, len, area, errp);
		/* What cannot be given back is a leak. */
		if (ret < 0)
			(void)qcf_area_free(meta, area, NULL);
	}
	if (ret < 0)
		area->clusters = 0;
	return ret;
}

int qcf_area_free(struct qcf_meta *meta, const struct qcf_area *area,
                  struct qcowfmt_error **errp)
{
	if (area->clusters == 0)
		return 0;
	return qcf_alloc_free(
		meta, qcf_host_cluster(&meta->geometry, area->host_offset),
		area->clusters, errp);
}
