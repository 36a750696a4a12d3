/* SPDX-License-Identifier: MIT */
/*
 * zero_discard.c - write-zeroes and discard
 *
 * Whole clusters are changed in the L2 tables alone, one slice at a time.  A
 * part of a cluster is written as zeros, unless the whole cluster reads as
 * zeros already and so can be made a zero cluster.
 *
 * Version 2 cannot say "zeros": without a backing file unallocated means the
 * same, with one zeros are written as data and a discard does nothing.
 */
#include <errno.h>

#include "alloc.h"
#include "checked.h"
#include "extent.h"
#include "write.h"
#include "zero_discard.h"

enum change {
	ZERO,         /* keep host clusters */
	ZERO_UNMAP,   /* free host clusters */
	ZERO_IF_ZERO, /* one cluster: only if it reads as zeros anyway */
	DISCARD,
};

/* A guest range in which mappings change. */
struct change_range {
	struct qcf_request *request;
	enum change change;
	uint64_t guest_offset;
	uint64_t len;
};

static struct qcf_layer *top_of(const struct change_range *r)
{
	return qcf_image_top(r->request->image);
}

static struct qcf_entry_change plan_entry(const struct change_range *r,
                                          struct qcf_be64 entry)
{
	const struct qcf_meta *meta = top_of(r)->meta;
	const struct qcf_geometry *g = &meta->geometry;

	if (r->change == DISCARD || g->version < 3)
		return qcf_discard_plan(g, entry, meta->has_backing);
	return qcf_zero_plan(g, entry, r->change == ZERO_UNMAP);
}

/* Decide for the clusters of a slice and publish. */
static int change_slice(const struct change_range *r,
                        const struct qcf_slice *slice, uint64_t count,
                        struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = top_of(r)->meta;
	struct qcf_be64 entries[QCF_STEP_CLUSTERS];
	struct qcf_freed_batch *freed = qcf_freed_batch_new(count);
	bool changed = false;

	if (freed == NULL)
		return qcf_fail_oom(errp);
	freed->discard =
		r->request->image->discard_mode == QCOWFMT_DISCARD_UNMAP;
	for (uint64_t i = 0; i < count; i++) {
		struct qcf_be64 old = qcf_slice_get(slice, i);
		struct qcf_entry_change change = plan_entry(r, old);
		uint64_t first;
		uint64_t n =
			qcf_entry_host_clusters(&meta->geometry, old, &first);

		entries[i] = change.entry;
		changed |= change.changed;
		if (change.frees)
			qcf_freed_batch_add(freed, first, n);
	}
	if (changed)
		qcf_map_publish(meta, slice, entries, count, freed);
	else
		free(freed);
	return 0;
}

static int change_claimed(const struct change_range *r,
                          struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = top_of(r)->meta;
	struct qcf_slice slice;
	uint64_t count = r->len >> meta->geometry.cluster_bits;
	int ret = qcf_map_pin(meta, r->guest_offset, &slice, errp);

	if (ret < 0)
		return ret;
	ret = change_slice(r, &slice, QCF_MIN(count, slice.count), errp);
	qcf_map_unpin(meta, &slice);
	return ret;
}

/* Whether a cluster can become a zero cluster without anybody noticing. */
static int reads_as_zeros(const struct change_range *r, bool *is_zero,
                          struct qcowfmt_error **errp)
{
	struct qcf_extent extent;
	int ret = qcf_extent_lookup(r->request->image, r->guest_offset, 1, 0,
	                            &extent, errp);

	*is_zero = false;
	if (ret < 0 || extent.run.kind == QCF_DATA ||
	    extent.run.kind == QCF_COMPRESSED)
		return ret;
	return qcf_extent_is_zero(r->request->image, r->guest_offset, r->len,
	                          is_zero, errp);
}

/* One step of a change: clusters of one slice, under a claim. */
static int change_step(const struct change_range *r, bool *done,
                       struct qcowfmt_error **errp)
{
	struct qcf_inflight *inflight = &r->request->image->inflight;
	struct qcf_claim claim;
	int ret = 0;

	*done = true;
	qcf_inflight_claim(inflight, &claim, r->guest_offset,
	                   r->guest_offset + r->len);
	if (r->change == ZERO_IF_ZERO)
		ret = reads_as_zeros(r, done, errp);
	if (ret == 0 && *done)
		ret = change_claimed(r, errp);
	qcf_inflight_release(inflight, &claim);
	return ret;
}

/*
 * How far from the start of a range on there is nothing to change, because
 * unallocated is what the clusters would become: saves making L2 tables.
 */
static uint64_t nothing_to_change(const struct change_range *r, uint64_t end)
{
	const struct qcf_layer *top = top_of(r);
	struct qcf_extent extent;
	uint64_t reached;

	if (top->meta->has_backing ||
	    (r->change != DISCARD && top->meta->geometry.version >= 3) ||
	    qcf_extent_lookup(r->request->image, r->guest_offset,
	                      end - r->guest_offset, 0, &extent, NULL) < 0 ||
	    extent.run.kind != QCF_UNALLOCATED)
		return 0;
	reached = r->guest_offset + extent.run.length;
	if (reached == top->virtual_size)
		return end - r->guest_offset;
	return qcf_align_down(extent.run.length,
	                      top->meta->geometry.cluster_size);
}

/* Change, or skip, some of the clusters up to end; r->len says how much. */
static int change_some(struct change_range *r, uint64_t end,
                       struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &top_of(r)->meta->geometry;
	bool done;
	int ret = qcf_request_breathe(r->request, errp);

	if (ret < 0)
		return ret;
	r->len = nothing_to_change(r, end);
	if (r->len > 0)
		return 0;
	r->len = QCF_MIN(end - r->guest_offset,
	                 qcf_left_in_slice(g, r->guest_offset));
	return change_step(r, &done, errp);
}

/* Change whole clusters. */
static int change_clusters(struct qcf_request *request, enum change change,
                           uint64_t start, uint64_t end,
                           struct qcowfmt_error **errp)
{
	struct change_range r = {
		.request = request,
		.change = change,
		.guest_offset = start,
	};

	for (; r.guest_offset < end; r.guest_offset += r.len) {
		int ret = change_some(&r, end, errp);

		if (ret < 0) {
			qcf_error_at_guest(errp, r.guest_offset);
			return ret;
		}
	}
	return 0;
}

/* Zero a part of one cluster. */
static int zero_part(struct qcf_request *request, uint64_t guest_offset,
                     uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	uint64_t cluster_size = top->meta->geometry.cluster_size;
	struct change_range r = {
		.request = request,
		.change = ZERO_IF_ZERO,
		.guest_offset = qcf_align_down(guest_offset, cluster_size),
		.len = cluster_size,
	};
	bool done = false;
	int ret;

	if (len == 0)
		return 0;
	/* Version 2 has no zero clusters to change to. */
	ret = top->meta->geometry.version < 3 ? reads_as_zeros(&r, &done, errp)
	                                      : change_step(&r, &done, errp);
	if (ret < 0 || done)
		return ret;
	return qcf_write_zero_data(request, guest_offset, len, errp);
}

/* The end of a range up to which clusters count as whole: the last cluster of
 * the disk may be cut short by the virtual size. */
static uint64_t whole_end(const struct qcf_layer *top, uint64_t end)
{
	uint64_t cluster_size = top->meta->geometry.cluster_size;

	return end == top->virtual_size ? qcf_align_up(end, cluster_size)
	                                : qcf_align_down(end, cluster_size);
}

static int zero_qcow2(struct qcf_request *request, uint64_t guest_offset,
                      uint64_t len, bool may_unmap, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	uint64_t end = guest_offset + len;
	uint64_t body =
		qcf_align_up(guest_offset, top->meta->geometry.cluster_size);
	uint64_t body_end = whole_end(top, end);
	int ret;

	if (top->meta->geometry.version < 3 && top->meta->has_backing)
		return qcf_write_zero_data(request, guest_offset, len, errp);
	if (body >= end || body_end <= body) {
		/* No whole cluster: at most two parts. */
		body = QCF_MIN(body, end);
		body_end = body;
	}
	ret = zero_part(request, guest_offset, body - guest_offset, errp);
	if (ret == 0)
		ret = change_clusters(request, may_unmap ? ZERO_UNMAP : ZERO,
		                      body, body_end, errp);
	if (ret == 0 && body_end < end)
		ret = zero_part(request, body_end, end - body_end, errp);
	return ret;
}

int qcf_write_zeroes(struct qcf_request *request, uint64_t guest_offset,
                     uint64_t len, bool may_unmap, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);

	if (len == 0)
		return 0;
	if (top->meta != NULL)
		return zero_qcow2(request, guest_offset, len, may_unmap, errp);
	return qcf_storage_zero(top->storage, guest_offset, len, may_unmap,
	                        errp);
}

int qcf_discard(struct qcf_request *request, uint64_t guest_offset,
                uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	uint64_t start;

	if (len == 0 || request->image->discard_mode == QCOWFMT_DISCARD_IGNORE)
		return 0;
	if (top->meta == NULL)
		return qcf_storage_zero(top->storage, guest_offset, len, true,
		                        errp);
	if (top->meta->geometry.version < 3 && top->meta->has_backing)
		return 0;
	start = qcf_align_up(guest_offset, top->meta->geometry.cluster_size);
	return change_clusters(request, DISCARD, start,
	                       whole_end(top, guest_offset + len), errp);
}
