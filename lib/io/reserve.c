/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - host space for guest clusters before anything is written there
 *
 * New clusters become DATA without a write, because they hold zeros; encrypted
 * ones, where zeros would decrypt to noise, are marked as zeros.  With extended
 * L2 entries no subcluster changes its state.
 */
#include <errno.h>

#include "alloc.h"
#include "reserve.h"
#include "write.h"

struct reserving {
	struct qcf_request *request;
	uint64_t guest_offset;
	uint64_t end;
	int mode;
};

static struct qcf_meta *meta_of(const struct reserving *r)
{
	return qcf_image_top(r->request->image)->meta;
}

/* Make host space what the mode asks for; it reads as zeros afterwards. */
static int prepare_space(const struct reserving *r, uint64_t offset,
                         uint64_t len, bool fresh, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *data = meta_of(r)->data;
	int ret = 0;

	if (r->mode == QCOWFMT_PREALLOCATION_FULL)
		return qcf_storage_write_zeros(data, offset, len, errp);
	if (!fresh)
		ret = qcf_storage_zero(data, offset, len, true, errp);
	if (ret == 0 && r->mode == QCOWFMT_PREALLOCATION_FALLOC)
		ret = qcf_storage_allocate(data, offset, len, errp);
	return ret;
}

/* The entry for a cluster that gets its host cluster now. */
static struct qcf_l2_raw reserved_entry(const struct qcf_meta *meta,
                                        struct qcf_l2_raw old,
                                        uint64_t host_offset)
{
	struct qcf_mapping m = qcf_l2_entry_decode(&meta->geometry, old);

	m.kind = meta->crypto != NULL && !meta->geometry.extended_l2
	                 ? QCF_ZERO_ALLOCATED
	                 : QCF_DATA;
	m.host_offset = host_offset;
	m.copied = true;
	return qcf_l2_entry_encode(&meta->geometry, m);
}

/* How many entries from i on have no host cluster. */
static uint64_t without_cluster(const struct qcf_geometry *g,
                                const struct qcf_slice *slice, uint64_t i,
                                uint64_t count)
{
	uint64_t n = 0;

	for (; i + n < count; n++) {
		struct qcf_mapping m =
			qcf_l2_entry_decode(g, qcf_slice_get(slice, i + n));

		if (m.kind != QCF_UNALLOCATED && m.kind != QCF_ZERO_PLAIN)
			break;
	}
	return n;
}

/* Reserve for up to n entries from i on, which have no host cluster; *n gets how
 * many were served. */
static int reserve_run(const struct reserving *r, struct qcf_slice *slice,
                       uint64_t i, uint64_t *n, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(r);
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_slice part = *slice;
	struct qcf_l2_raw entries[QCF_STEP_CLUSTERS];
	struct qcf_reservation to = { .count = *n };
	uint64_t host_offset = r->guest_offset + (i << g->cluster_bits);
	int ret = g->data_file ? 0 : qcf_alloc_reserve(meta, *n, &to, errp);

	if (ret < 0)
		return ret;
	if (!g->data_file)
		host_offset = qcf_host_offset(g, to.host_cluster);
	*n = to.count;
	ret = prepare_space(r, host_offset, *n << g->cluster_bits, to.fresh,
	                    errp);
	if (ret < 0) {
		if (!g->data_file)
			qcf_alloc_abandon(meta, &to);
		return ret;
	}
	part.index += i;
	for (uint64_t k = 0; k < *n; k++)
		entries[k] =
			reserved_entry(meta, qcf_slice_get(&part, k),
		                       host_offset + (k << g->cluster_bits));
	qcf_map_publish(meta, &part, entries, *n, NULL);
	return 0;
}

/* The clusters of one slice. */
static int reserve_slice(struct reserving *r, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(r);
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_slice slice;
	uint64_t count;
	int ret = qcf_map_pin(meta, r->guest_offset, &slice, errp);

	if (ret < 0)
		return ret;
	count = QCF_MIN(slice.count,
	                (r->end - r->guest_offset) >> g->cluster_bits);
	ret = qcf_map_check(meta, &slice, r->guest_offset, count, errp);
	for (uint64_t i = 0; ret == 0 && i < count;) {
		uint64_t n = without_cluster(g, &slice, i, count);

		if (n > 0)
			ret = reserve_run(r, &slice, i, &n, errp);
		i += n > 0 ? n : 1;
	}
	qcf_map_unpin(meta, &slice);
	r->guest_offset += count << g->cluster_bits;
	return ret;
}

int qcf_reserve_clusters(struct qcf_request *request, uint64_t start,
                         uint64_t end, int mode, struct qcowfmt_error **errp)
{
	struct reserving r = {
		.request = request,
		.guest_offset = start,
		.end = end,
		.mode = mode,
	};
	int ret = 0;

	while (ret == 0 && r.guest_offset < end) {
		struct qcf_inflight *inflight = &request->image->inflight;
		struct qcf_claim claim;

		ret = qcf_request_breathe(request, errp);
		if (ret < 0)
			break;
		qcf_inflight_claim(inflight, &claim, r.guest_offset, end);
		ret = reserve_slice(&r, errp);
		qcf_inflight_release(inflight, &claim);
	}
	return ret;
}
