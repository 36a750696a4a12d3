/* SPDX-License-Identifier: MIT */
/*
 * zero_discard.c - write-zeroes and discard
 *
 * Whole clusters are changed in the L2 tables alone, one slice at a time; with
 * extended L2 entries also whole subclusters, which are the unit then.  A part
 * of a unit is written as zeros, unless all of it reads as zeros already and so
 * can be made a zero unit.
 *
 * Version 2 cannot say "zeros": without a backing file unallocated means the
 * same, with one zeros are written as data and a discard does nothing.  In
 * version 1 nothing is ever freed, so a discard does nothing at all.
 *
 * With a data file there is nothing to free either, but its space is given back;
 * if it is to be a raw image of the disk, zeros are in it before the tables say
 * so.
 */
#include <errno.h>

#include "alloc.h"
#include "bitmap_track.h"
#include "checked.h"
#include "extent.h"
#include "write.h"
#include "zero_discard.h"

enum change {
	ZERO,         /* keep host clusters */
	ZERO_UNMAP,   /* free host clusters */
	ZERO_IF_ZERO, /* one unit: only if it reads as zeros anyway */
	DISCARD,
	DROP, /* whole clusters become unallocated, whatever is behind them */
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

/* The subclusters of a range that lie in its i-th cluster. */
static uint32_t mask_in_cluster(const struct change_range *r, uint64_t i)
{
	const struct qcf_geometry *g = &top_of(r)->meta->geometry;
	uint64_t cluster =
		qcf_cluster_start(g, r->guest_offset) + (i << g->cluster_bits);
	uint64_t start = QCF_MAX(r->guest_offset, cluster);
	uint64_t end =
		QCF_MIN(r->guest_offset + r->len, cluster + g->cluster_size);
	uint64_t count = (end - start) >> g->subcluster_bits;

	return (QCF_ALL_SUBCLUSTERS >> (32 - count))
	       << qcf_subcluster_index(g, start);
}

static struct qcf_entry_change plan_entry(const struct change_range *r,
                                          uint64_t i, struct qcf_l2_raw entry)
{
	const struct qcf_meta *meta = top_of(r)->meta;
	const struct qcf_geometry *g = &meta->geometry;

	if (r->change == DROP)
		return qcf_drop_plan(g, entry);
	if (r->change == DISCARD || g->version < 3)
		return qcf_discard_plan(g, entry, mask_in_cluster(r, i),
		                        meta->has_backing);
	return qcf_zero_plan(g, entry, mask_in_cluster(r, i),
	                     r->change == ZERO_UNMAP);
}

static bool is_raw_data_file(const struct qcf_layer *top)
{
	return (top->meta->header.autoclear_features &
	        QCF_AUTOCLEAR_RAW_DATA_FILE) != 0;
}

/* Make the data file follow what is about to be published. */
static int change_data_file(const struct change_range *r,
                            struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = top_of(r);
	uint64_t end = QCF_MIN(r->guest_offset + r->len, top->virtual_size);
	uint64_t len = end - r->guest_offset;
	bool unmap = r->change == ZERO_UNMAP || r->change == DISCARD;

	if (!top->meta->geometry.data_file || r->change == DROP)
		return 0;
	if (is_raw_data_file(top))
		return qcf_storage_zero(top->data, r->guest_offset, len, unmap,
		                        errp);
	/*
	 * The tables will say that it reads as zeros, as it does from now on:
	 * until they do, nothing else may be seen there.  Zeros would decrypt
	 * to something else.
	 */
	if (unmap && top->meta->crypto == NULL &&
	    r->request->image->discard_mode == QCOWFMT_DISCARD_UNMAP)
		(void)qcf_storage_discard_to_zeros(top->data, r->guest_offset,
		                                   len, NULL);
	return 0;
}

/*
 * Decide for the clusters of a slice and publish.  *done is false afterwards if
 * that cannot be said in the tables; it can for whole clusters.
 */
static int change_slice(const struct change_range *r,
                        const struct qcf_slice *slice, uint64_t count,
                        bool *done, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = top_of(r)->meta;
	struct qcf_l2_raw entries[QCF_STEP_CLUSTERS];
	QCF_AUTO_FREE struct qcf_freed_batch *freed =
		qcf_freed_batch_new(count);
	bool changed = false;
	int ret;

	/* Zeros in a data file that is raw, but encrypted, are data. */
	*done = !is_raw_data_file(top_of(r)) || meta->crypto == NULL ||
	        r->change == DROP;
	if (!*done)
		return 0;
	ret = freed == NULL ? qcf_fail_oom(errp) : change_data_file(r, errp);
	if (ret < 0)
		return ret;
	freed->discard =
		r->request->image->discard_mode == QCOWFMT_DISCARD_UNMAP;
	for (uint64_t i = 0; i < count; i++) {
		struct qcf_l2_raw old = qcf_slice_get(slice, i);
		struct qcf_entry_change change = plan_entry(r, i, old);
		uint64_t first;
		uint64_t n =
			qcf_entry_host_clusters(&meta->geometry, old, &first);

		if (change.impossible) {
			*done = false;
			return 0;
		}
		entries[i] = change.entry;
		changed |= change.changed;
		if (change.frees && n > 0)
			qcf_freed_batch_add(freed, first, n);
	}
	if (changed)
		qcf_map_publish(meta, slice, entries, count, qcf_take(&freed));
	return 0;
}

static int change_claimed(const struct change_range *r, bool *done,
                          struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = top_of(r)->meta;
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_slice slice;
	uint64_t count = qcf_clusters_for(
		g, qcf_offset_in_cluster(g, r->guest_offset) + r->len);
	int ret = qcf_map_pin(meta, r->guest_offset, &slice, errp);

	if (ret < 0)
		return ret;
	count = QCF_MIN(count, slice.count);
	ret = qcf_map_check(meta, &slice, r->guest_offset, count, errp);
	if (ret == 0)
		ret = change_slice(r, &slice, count, done, errp);
	qcf_map_unpin(meta, &slice);
	return ret;
}

/* Whether a unit can become a zero unit without anybody noticing. */
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

/* One step of a change: units of one slice, under a claim.  *done is false
 * afterwards if zeros have to be written. */
static int change_step(const struct change_range *r, bool *done,
                       struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &top_of(r)->meta->geometry;
	struct qcf_inflight *inflight = &r->request->image->inflight;
	struct qcf_claim claim;
	int ret = 0;

	*done = true;
	qcf_inflight_claim(
		inflight, &claim, qcf_cluster_start(g, r->guest_offset),
		qcf_align_up(r->guest_offset + r->len, g->cluster_size));
	if (r->change == ZERO_IF_ZERO)
		ret = reads_as_zeros(r, done, errp);
	if (ret == 0 && *done)
		ret = change_claimed(r, done, errp);
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

	if (top->meta->has_backing || r->change == DROP ||
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

/*
 * How much one step takes: units of one slice.  A cluster of which only some
 * subclusters are meant gets a step of its own.
 */
static uint64_t step_len(const struct change_range *r, uint64_t end)
{
	const struct qcf_geometry *g = &top_of(r)->meta->geometry;
	uint64_t in_cluster = qcf_offset_in_cluster(g, r->guest_offset);
	uint64_t len = QCF_MIN(end - r->guest_offset,
	                       qcf_left_in_slice(g, r->guest_offset));

	if (in_cluster != 0)
		return QCF_MIN(len, g->cluster_size - in_cluster);
	return len > g->cluster_size ? qcf_align_down(len, g->cluster_size)
	                             : len;
}

/* Change, or skip, some of the units up to end; r->len says how much. */
static int change_some(struct change_range *r, uint64_t end,
                       struct qcowfmt_error **errp)
{
	uint64_t left = top_of(r)->virtual_size - r->guest_offset;
	bool done;
	int ret = qcf_request_breathe(r->request, errp);

	if (ret < 0)
		return ret;
	r->len = nothing_to_change(r, end);
	if (r->len > 0)
		return 0;
	r->len = step_len(r, end);
	ret = change_step(r, &done, errp);
	if (ret < 0 || done)
		return ret;
	return qcf_write_zero_data(r->request, r->guest_offset,
	                           QCF_MIN(r->len, left), errp);
}

/* Change whole units. */
static int change_units(struct qcf_request *request, enum change change,
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

/* Zero a part of one unit. */
static int zero_part(struct qcf_request *request, uint64_t guest_offset,
                     uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	uint64_t unit = top->meta->geometry.subcluster_size;
	struct change_range r = {
		.request = request,
		.change = ZERO_IF_ZERO,
		.guest_offset = qcf_align_down(guest_offset, unit),
		.len = unit,
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

/* The end of a range up to which units count as whole: the last cluster of the
 * disk may be cut short by the virtual size. */
static uint64_t whole_end(const struct qcf_layer *top, uint64_t end,
                          uint64_t unit)
{
	return end == top->virtual_size
	               ? qcf_align_up(end, top->meta->geometry.cluster_size)
	               : qcf_align_down(end, unit);
}

/* Zeros as data, but not where the guest sees zeros already. */
static int zero_as_data(struct qcf_request *request, uint64_t guest_offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	int ret = 0;

	while (len > 0 && ret == 0) {
		struct qcf_extent extent;
		bool known =
			qcf_extent_lookup_chain(request->image, guest_offset,
		                                len, &extent, NULL) == 0;
		uint64_t part = known ? extent.run.length : len;

		if (!known || extent.run.kind == QCF_DATA ||
		    extent.run.kind == QCF_COMPRESSED)
			ret = qcf_write_zero_data(request, guest_offset, part,
			                          errp);
		guest_offset += part;
		len -= part;
	}
	return ret;
}

static int zero_qcow(struct qcf_request *request, uint64_t guest_offset,
                     uint64_t len, bool may_unmap, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	const struct qcf_geometry *g = &top->meta->geometry;
	uint64_t end = guest_offset + len;
	uint64_t body = qcf_align_up(guest_offset, g->subcluster_size);
	uint64_t body_end = whole_end(top, end, g->subcluster_size);
	int ret;

	if (g->version == 1 || (g->version == 2 && top->meta->has_backing))
		return zero_as_data(request, guest_offset, len, errp);
	if (body >= end || body_end <= body) {
		/* No whole unit: at most two parts. */
		body = QCF_MIN(body, end);
		body_end = body;
	}
	ret = zero_part(request, guest_offset, body - guest_offset, errp);
	if (ret == 0)
		ret = change_units(request, may_unmap ? ZERO_UNMAP : ZERO, body,
		                   body_end, errp);
	if (ret == 0 && body_end < end)
		ret = zero_part(request, body_end, end - body_end, errp);
	return ret;
}

int qcf_write_zeroes(struct qcf_request *request, uint64_t guest_offset,
                     uint64_t len, bool may_unmap, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	int ret;

	if (len == 0)
		return 0;
	if (top->meta != NULL) {
		ret = qcf_bitmaps_track(top->meta, guest_offset, len, errp);
		return ret < 0 ? ret
		               : zero_qcow(request, guest_offset, len,
		                           may_unmap, errp);
	}
	return qcf_storage_zero(top->storage, guest_offset, len, may_unmap,
	                        errp);
}

int qcf_drop_clusters(struct qcf_request *request, uint64_t start, uint64_t end,
                      struct qcowfmt_error **errp)
{
	return change_units(request, DROP, start, end, errp);
}

int qcf_discard(struct qcf_request *request, uint64_t guest_offset,
                uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(request->image);
	uint64_t start;
	uint64_t unit;
	int ret;

	if (len == 0 || request->image->discard_mode == QCOWFMT_DISCARD_IGNORE)
		return 0;
	if (top->meta == NULL)
		return qcf_storage_zero(top->storage, guest_offset, len, true,
		                        errp);
	if (top->meta->geometry.version == 1 ||
	    (top->meta->geometry.version == 2 && top->meta->has_backing))
		return 0;
	ret = qcf_bitmaps_track(top->meta, guest_offset, len, errp);
	if (ret < 0)
		return ret;
	unit = top->meta->geometry.subcluster_size;
	start = qcf_align_up(guest_offset, unit);
	if (start >= top->virtual_size)
		return 0;
	return change_units(request, DISCARD, start,
	                    whole_end(top, guest_offset + len, unit), errp);
}
