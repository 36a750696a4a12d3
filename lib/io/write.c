/* SPDX-License-Identifier: MIT */
/*
 * write.c - guest writes
 *
 * A request goes in steps, each for a run of clusters that are treated alike:
 *
 *   in place    the clusters are allocated and private: one write, no metadata
 *   fill        a private cluster that reads as zeros: all of it is written,
 *               then the mapping changes
 *   allocate    new clusters: head, data and tail in one write, then the new
 *               mapping is published and the old clusters are quarantined
 *
 * Only the last two change mappings; they claim their guest clusters first and
 * look again under the claim.  No lock is held while data moves.
 *
 * After a failure the new clusters are given back and the old mapping stands,
 * so each sector has its old content; sectors of earlier steps have the new.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "bitmap_track.h"
#include "checked.h"
#include "cow.h"
#include "host_data.h"
#include "image_flags.h"
#include "meta_protect.h"
#include "probe.h"
#include "write.h"
#include "writeback.h"

static struct qcf_meta *meta_of(struct qcf_request *request)
{
	return qcf_image_top(request->image)->meta;
}

/* Write the first len bytes to where they are mapped already. */
static int write_host(struct qcf_layer *layer, const struct qcf_payload *p,
                      uint64_t host_offset, uint64_t len,
                      struct qcowfmt_error **errp)
{
	static const struct qcf_cow nothing_around;
	struct qcf_payload part = *p;

	part.len = len;
	return qcf_host_write(layer, &nothing_around, &part, host_offset, true,
	                      errp);
}

static int write_in_place(struct qcf_request *request,
                          const struct qcf_payload *p, struct qcf_run *run,
                          struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = qcf_image_top(request->image);
	int ret = qcf_layer_limit_to_file(layer, run->host_offset, &run->length,
	                                  errp);

	if (ret < 0)
		return ret;
	if (!layer->meta->geometry.data_file &&
	    qcf_meta_is_metadata(layer->meta, run->host_offset, run->length))
		return qcf_meta_corrupt(layer->meta, QCF_CHECK_OVERLAP,
		                        run->host_offset, errp);
	return write_host(layer, p, run->host_offset, run->length, errp);
}

/* ------------------------------------------------------ changing mappings */

int qcf_write_freed_by_entries(const struct qcf_geometry *g,
                               const struct qcf_slice *slice, uint64_t count,
                               struct qcf_freed_batch **batch,
                               struct qcowfmt_error **errp)
{
	size_t used = 0;
	uint64_t first;

	*batch = NULL;
	for (uint64_t i = 0; i < count; i++)
		used += qcf_entry_host_clusters(g, qcf_slice_get(slice, i),
		                                &first) > 0;
	if (used == 0)
		return 0;
	*batch = qcf_freed_batch_new(used);
	if (*batch == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t n = qcf_entry_host_clusters(g, qcf_slice_get(slice, i),
		                                     &first);

		if (n > 0)
			qcf_freed_batch_add(*batch, first, n);
	}
	return 0;
}

/* Clusters to which a step writes. */
struct target {
	enum qcf_write_action action;
	uint64_t host_offset; /* of the first */
	uint64_t clusters;
	bool fresh; /* they read as zeros: nobody ever wrote there */
};

/* Guest bytes of a payload that fall into its first clusters. */
static uint64_t len_in_clusters(const struct qcf_geometry *g,
                                const struct qcf_payload *p, uint64_t clusters)
{
	uint64_t room = (clusters << g->cluster_bits) -
	                qcf_offset_in_cluster(g, p->guest_offset);

	return QCF_MIN(p->len, room);
}

static struct qcf_cow_range range_to_write(const struct qcf_meta *meta,
                                           const struct qcf_slice *slice,
                                           const struct target *to,
                                           const struct qcf_payload *p)
{
	struct qcf_cow_range range = {
		.start = p->guest_offset,
		.end = p->guest_offset +
		       len_in_clusters(&meta->geometry, p, to->clusters),
	};

	qcf_plan_span(&meta->geometry, to->action, qcf_slice_get(slice, 0),
	              qcf_slice_get(slice, to->clusters - 1),
	              meta->crypto != NULL, range.start, range.end,
	              &range.span_start, &range.span_end);
	return range;
}

/* Make the clusters that a range was written to visible to the guest. */
static void publish_data(struct qcf_meta *meta, const struct qcf_slice *slice,
                         const struct target *to,
                         const struct qcf_cow_range *range,
                         struct qcf_freed_batch *freed)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_l2_raw entries[QCF_STEP_CLUSTERS];
	uint64_t start = qcf_cluster_start(g, range->start);

	for (uint64_t i = 0; i < to->clusters; i++) {
		uint64_t at = i << g->cluster_bits;
		uint64_t from = QCF_MAX(range->span_start, start + at);
		uint64_t end =
			QCF_MIN(range->span_end, start + at + g->cluster_size);

		entries[i] = qcf_written_entry(
			g, to->action, qcf_slice_get(slice, i),
			to->host_offset + at, from - start - at,
			end - start - at);
	}
	qcf_map_publish(meta, slice, entries, to->clusters, freed);
}

/* Write head, data and tail to the target. */
static int fill_clusters(struct qcf_request *request,
                         const struct qcf_payload *p, const struct target *to,
                         const struct qcf_cow_range *range,
                         struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = qcf_image_top(request->image);
	const struct qcf_geometry *g = &layer->meta->geometry;
	bool read_as_zeros = to->action == QCF_WRITE_FILL && !g->extended_l2;
	struct qcf_payload part = *p;
	struct qcf_cow cow;
	int ret = qcf_cow_prepare(request->image, range, read_as_zeros, &cow,
	                          errp);

	if (ret < 0)
		return ret;
	part.len = range->end - range->start;
	ret = qcf_host_write(layer, &cow, &part,
	                     to->host_offset +
	                             qcf_offset_in_cluster(g, p->guest_offset),
	                     to->fresh, errp);
	qcf_cow_fini(&cow);
	return ret;
}

/* Write to a target and publish it; *len gets what it took of the payload. */
static int write_to(struct qcf_request *request, const struct qcf_payload *p,
                    const struct qcf_slice *slice, const struct target *to,
                    uint64_t *len, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(request);
	struct qcf_cow_range range = range_to_write(meta, slice, to, p);
	struct qcf_freed_batch *freed = NULL;
	int ret = 0;

	if (to->action == QCF_WRITE_ALLOCATE)
		ret = qcf_write_freed_by_entries(&meta->geometry, slice,
		                                 to->clusters, &freed, errp);
	if (ret == 0)
		ret = fill_clusters(request, p, to, &range, errp);
	if (ret < 0) {
		free(freed);
		return ret;
	}
	publish_data(meta, slice, to, &range, freed);
	*len = range.end - range.start;
	return 0;
}

static int allocate_and_write(struct qcf_request *request,
                              const struct qcf_payload *p,
                              const struct qcf_slice *slice, uint64_t clusters,
                              uint64_t *len, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(request);
	struct qcf_reservation reservation;
	struct target to = { .action = QCF_WRITE_ALLOCATE };
	int ret = qcf_alloc_reserve(meta, clusters, &reservation, errp);

	if (ret < 0)
		return ret;
	to.host_offset =
		qcf_host_offset(&meta->geometry, reservation.host_cluster);
	to.clusters = reservation.count;
	to.fresh = reservation.fresh;
	ret = write_to(request, p, slice, &to, len, errp);
	if (ret < 0)
		qcf_alloc_abandon(meta, &reservation);
	return ret;
}

static int fill_and_write(struct qcf_request *request,
                          const struct qcf_payload *p,
                          const struct qcf_slice *slice,
                          const struct qcf_write_plan *plan, uint64_t *len,
                          struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(request);
	const struct qcf_geometry *g = &meta->geometry;
	struct target to = {
		.action = QCF_WRITE_FILL,
		.host_offset = plan->host_offset,
		.clusters = plan->clusters,
	};

	if (g->data_file)
		return write_to(request, p, slice, &to, len, errp);
	if (!qcf_meta_is_cluster_offset(meta, plan->host_offset))
		return qcf_meta_corrupt(meta, QCF_CHECK_DATA_OFFSET,
		                        plan->host_offset, errp);
	if (qcf_meta_is_metadata(meta, plan->host_offset,
	                         plan->clusters << g->cluster_bits))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP,
		                        plan->host_offset, errp);
	return write_to(request, p, slice, &to, len, errp);
}

/* With a data file a cluster has its place from the start. */
static int write_to_data_file(struct qcf_request *request,
                              const struct qcf_payload *p,
                              const struct qcf_slice *slice, uint64_t clusters,
                              uint64_t *len, struct qcowfmt_error **errp)
{
	struct target to = {
		.action = QCF_WRITE_ALLOCATE,
		.host_offset = qcf_cluster_start(&meta_of(request)->geometry,
		                                 p->guest_offset),
		.clusters = clusters,
	};

	return write_to(request, p, slice, &to, len, errp);
}

static int write_planned(struct qcf_request *request,
                         const struct qcf_payload *p,
                         const struct qcf_slice *slice,
                         const struct qcf_write_plan *plan, uint64_t *len,
                         struct qcowfmt_error **errp)
{
	switch (plan->action) {
	case QCF_WRITE_IN_PLACE:
		*len = 0;
		return 0;
	case QCF_WRITE_FILL:
		return fill_and_write(request, p, slice, plan, len, errp);
	case QCF_WRITE_ALLOCATE:
		if (meta_of(request)->geometry.data_file)
			return write_to_data_file(request, p, slice,
			                          plan->clusters, len, errp);
		return allocate_and_write(request, p, slice, plan->clusters,
		                          len, errp);
	}
	return -EINVAL;
}

/* One step under a claim; *len is 0 if there is nothing to change any more. */
static int write_claimed(struct qcf_request *request,
                         const struct qcf_payload *p, uint64_t *len,
                         struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = meta_of(request);
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_l2_raw entries[QCF_STEP_CLUSTERS];
	struct qcf_write_plan plan;
	struct qcf_slice slice;
	uint64_t count = qcf_clusters_for(
		g, qcf_offset_in_cluster(g, p->guest_offset) + p->len);
	int ret = qcf_map_pin(meta, p->guest_offset, &slice, errp);

	if (ret < 0)
		return ret;
	count = QCF_MIN(count, slice.count);
	for (uint64_t i = 0; i < count; i++)
		entries[i] = qcf_slice_get(&slice, i);
	plan = qcf_write_plan(g, entries, count);
	ret = qcf_map_check(meta, &slice, p->guest_offset, plan.clusters, errp);
	if (ret == 0)
		ret = write_planned(request, p, &slice, &plan, len, errp);
	qcf_map_unpin(meta, &slice);
	return ret;
}

static int write_changing(struct qcf_request *request,
                          const struct qcf_payload *p, uint64_t *len,
                          struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta_of(request)->geometry;
	struct qcf_payload step = *p;
	struct qcf_claim claim;
	int ret = qcf_request_breathe(request, errp);

	if (ret < 0)
		return ret;
	step.len = QCF_MIN(p->len, qcf_left_in_slice(g, p->guest_offset));
	qcf_inflight_claim(
		&request->image->inflight, &claim,
		qcf_cluster_start(g, step.guest_offset),
		qcf_align_up(step.guest_offset + step.len, g->cluster_size));
	ret = write_claimed(request, &step, len, errp);
	qcf_inflight_release(&request->image->inflight, &claim);
	return ret;
}

/* -------------------------------------------------------------- the request */

/* Write what is mapped and private; *len is 0 if the first byte is not. */
static int write_private(struct qcf_request *request,
                         const struct qcf_payload *p, uint64_t *len,
                         struct qcowfmt_error **errp)
{
	struct qcf_run run;
	int ret = qcf_map_lookup(meta_of(request), p->guest_offset, p->len,
	                         &run, errp);

	*len = 0;
	if (ret < 0 || run.kind != QCF_DATA || !run.copied)
		return ret;
	ret = write_in_place(request, p, &run, errp);
	*len = run.length;
	return ret;
}

/*
 * The same in an encrypted image.  A sector that is written in part is
 * decrypted, changed and encrypted again, so nobody else may be writing to it.
 */
static int write_private_sectors(struct qcf_request *request,
                                 const struct qcf_payload *p, uint64_t *len,
                                 struct qcowfmt_error **errp)
{
	struct qcf_inflight *inflight = &request->image->inflight;
	struct qcf_claim claim;
	int ret;

	qcf_inflight_claim(
		inflight, &claim,
		qcf_align_down(p->guest_offset, QCF_SECTOR_SIZE),
		qcf_align_up(p->guest_offset + p->len, QCF_SECTOR_SIZE));
	ret = write_private(request, p, len, errp);
	qcf_inflight_release(inflight, &claim);
	return ret;
}

static int write_step(struct qcf_request *request, const struct qcf_payload *p,
                      uint64_t *len, struct qcowfmt_error **errp)
{
	int ret = meta_of(request)->crypto != NULL
	                  ? write_private_sectors(request, p, len, errp)
	                  : write_private(request, p, len, errp);

	if (ret < 0 || *len > 0)
		return ret;
	return write_changing(request, p, len, errp);
}

bool qcf_write_make_space(struct qcf_request *request)
{
	struct qcf_meta *meta = meta_of(request);

	if (qcf_quarantine_unlinked(&meta->quarantine) == 0 ||
	    qcf_writeback_commit(meta, NULL) < 0)
		return false;
	qcf_request_renew(request);
	return qcf_alloc_reclaim(meta, NULL) == 0;
}

static int write_qcow2(struct qcf_request *request, struct qcf_payload *p,
                       struct qcowfmt_error **errp)
{
	bool tried_space = false;

	while (p->len > 0) {
		struct qcowfmt_error *failure = NULL;
		uint64_t len = 0;
		int ret = write_step(request, p, &len, &failure);

		if (ret == -ENOSPC && !tried_space &&
		    qcf_write_make_space(request)) {
			qcowfmt_error_free(failure);
			tried_space = true;
			continue;
		}
		if (ret < 0) {
			qcf_error_at_guest(&failure, p->guest_offset);
			qcf_error_move(errp, failure);
			return ret;
		}
		p->skip += len;
		p->guest_offset += len;
		p->len -= len;
	}
	return 0;
}

/*
 * A guest must not turn its raw disk, which was recognised as raw by its
 * content, into something that is recognised as another format.
 */
static int guard_probed(struct qcf_layer *layer, const struct qcf_payload *p,
                        struct qcowfmt_error **errp)
{
	uint8_t sector[QCOWFMT_PROBE_SIZE];
	int64_t got;

	if (!layer->probed || p->guest_offset >= sizeof(sector))
		return 0;
	got = qcf_storage_pread_padded(layer->storage, sector, sizeof(sector),
	                               0, errp);
	if (got < 0)
		return (int)got;
	qcf_iov_to_buffer(p->iov, p->iovcnt, p->skip, sector + p->guest_offset,
	                  QCF_MIN(p->len, sizeof(sector) - p->guest_offset));
	if (qcf_probe(sector, sizeof(sector)) == QCOWFMT_FORMAT_RAW)
		return 0;
	return qcf_fail(errp, EPERM, QCOWFMT_ERR_REFUSED,
	                "%s: the write would make a raw image that was opened "
	                "without stating its format look like another format; "
	                "open it as raw to allow this",
	                layer->storage->name);
}

int qcf_write(struct qcf_request *request, const struct iovec *iov, int iovcnt,
              uint64_t guest_offset, uint64_t len, struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = qcf_image_top(request->image);
	struct qcf_payload p = {
		.iov = iov,
		.iovcnt = iovcnt,
		.guest_offset = guest_offset,
		.len = len,
	};
	int ret;

	if (len == 0)
		return 0;
	if (layer->meta != NULL) {
		ret = qcf_bitmaps_track(layer->meta, guest_offset, len, errp);
		return ret < 0 ? ret : write_qcow2(request, &p, errp);
	}
	ret = guard_probed(layer, &p, errp);
	return ret < 0 ? ret : write_host(layer, &p, guest_offset, len, errp);
}

int qcf_write_zero_data(struct qcf_request *request, uint64_t guest_offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	struct iovec iov[QCF_ZERO_IOV(UINT64_C(1) << 20)];

	while (len > 0) {
		uint64_t part = QCF_MIN(len, UINT64_C(1) << 20);
		int count = qcf_zero_iov(iov, part);
		int ret = qcf_write(request, iov, count, guest_offset, part,
		                    errp);

		if (ret < 0)
			return ret;
		guest_offset += part;
		len -= part;
	}
	return 0;
}
