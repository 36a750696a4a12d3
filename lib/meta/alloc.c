/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - reserving host clusters and giving them back
 *
 * First fit from the lowest cluster that may be free.  Requests that follow
 * each other get clusters that follow each other.
 *
 * Bytes for compressed data are handed out at a cursor, pack_offset.  Its
 * cluster has a count above 0 as long as the cursor is in it, so nobody else is
 * given that cluster.  When the count falls to 0, or is about to and the host
 * space is being discarded, the cursor leaves.
 */
#include <errno.h>
#include <inttypes.h>

#include "alloc.h"
#include "checked.h"
#include "image_flags.h"
#include "refcount.h"

static uint64_t cluster_limit(const struct qcf_meta *meta)
{
	return QCF_HOST_OFFSET_LIMIT >> meta->geometry.cluster_bits;
}

static int check_room(struct qcf_meta *meta, uint64_t first, uint64_t count,
                      struct qcowfmt_error **errp)
{
	uint64_t limit = cluster_limit(meta);

	if (first > limit || count > limit - first)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
		                "no host offset below 2^56 is free");
	if (qcf_overlap_hits(&meta->overlap, first, count))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP,
		                        qcf_host_offset(&meta->geometry, first),
		                        errp);
	return 0;
}

/* The first free run in existing or, for this purpose, new refcount blocks. */
static int find_run(struct qcf_meta *meta, uint64_t max, uint64_t *first,
                    uint64_t *run, struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;

	for (;;) {
		bool has_block = false;
		int ret = qcf_refcount_find_free(meta, r->first_free, max,
		                                 first, run, &has_block, errp);

		if (ret == 0)
			ret = check_room(meta, *first, *run, errp);
		if (ret < 0 || has_block)
			return ret;
		ret = qcf_refcount_add_block(meta, *first, errp);
		if (ret < 0)
			return ret;
		r->first_free = *first + 1;
	}
}

static int reserve_locked(struct qcf_meta *meta, uint64_t max,
                          struct qcf_reservation *reservation,
                          struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t first = 0;
	uint64_t run = 0;
	uint64_t done = 0;
	int ret = find_run(meta, max, &first, &run, errp);

	if (ret == 0)
		ret = qcf_refcount_increase(meta, first, run, &done, errp);
	if (ret < 0)
		return qcf_wrap(errp, "allocating a cluster", ret);
	r->first_free = first + run;
	*reservation = (struct qcf_reservation){
		.host_cluster = first,
		.count = run,
		.fresh = r->growing_zeroes && first >= r->fresh_from,
	};
	r->fresh_from = QCF_MAX(r->fresh_from, first + run);
	return 0;
}

/* Version 1: take len bytes behind everything that is in use. */
static int append_locked(struct qcf_meta *meta, uint64_t len,
                         uint64_t alignment, uint64_t limit,
                         uint64_t *host_offset, struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t start = qcf_align_up(r->append_at, alignment);

	if (start < r->append_at || !qcf_range_within(start, len, limit))
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
		                "no host offset below 0x%" PRIx64 " is free",
		                limit);
	r->append_at = start + len;
	*host_offset = start;
	return 0;
}

static int append_clusters_locked(struct qcf_meta *meta, uint64_t count,
                                  struct qcf_reservation *reservation,
                                  struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t start = 0;
	int ret;

	count = QCF_MIN(count, cluster_limit(meta));
	ret = append_locked(meta, count << g->cluster_bits, g->cluster_size,
	                    QCF_HOST_OFFSET_LIMIT, &start, errp);
	if (ret < 0)
		return qcf_wrap(errp, "allocating a cluster", ret);
	/* Never fresh, so that the file reaches to the end of its last cluster:
	 * others append at the next sector. */
	*reservation = (struct qcf_reservation){
		.host_cluster = qcf_host_cluster(g, start),
		.count = count,
	};
	return 0;
}

int qcf_alloc_reserve(struct qcf_meta *meta, uint64_t max,
                      struct qcf_reservation *reservation,
                      struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);

	*reservation = (struct qcf_reservation){ 0 };
	return meta->geometry.version == 1
	               ? append_clusters_locked(meta, max, reservation, errp)
	               : reserve_locked(meta, max, reservation, errp);
}

/* The cursor leaves a cluster that somebody else may be given. */
static void update_cursor(struct qcf_meta *meta, uint64_t first, uint64_t count)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t at = qcf_host_cluster(&meta->geometry, r->pack_offset);
	uint64_t references = 0;

	if (r->pack_offset == 0 || at < first || at - first >= count)
		return;
	if (qcf_refcount_read(meta, at, &references, NULL) < 0 ||
	    references == 0)
		r->pack_offset = 0;
}

int qcf_alloc_free_locked(struct qcf_meta *meta, uint64_t first, uint64_t count,
                          struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t done = 0;
	int ret;

	if (meta->geometry.version == 1)
		return 0;
	ret = qcf_refcount_decrease(meta, first, count, &done, errp);
	if (done > 0)
		r->first_free = QCF_MIN(r->first_free, first);
	update_cursor(meta, first, done);
	return ret;
}

/*
 * Give back a range that was just reserved.  If a count cannot be lowered the
 * cluster leaks, which harms nothing.  Version 1 takes back only what was
 * appended last, so that trying again and again does not move the end on.
 */
static void abandon_range(struct qcf_meta *meta, uint64_t host_offset,
                          uint64_t len)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_refcounts *r = &meta->refcounts;
	QCF_GUARD(&r->lock);
	uint64_t first = qcf_host_cluster(g, host_offset);
	uint64_t last = qcf_host_cluster(g, host_offset + len - 1);

	if (g->version > 1)
		(void)qcf_alloc_free_locked(meta, first, last - first + 1,
		                            NULL);
	else if (r->append_at == host_offset + len)
		r->append_at = host_offset;
	/* If the storage is full here, trying again must go elsewhere. */
	r->pack_offset = 0;
}

void qcf_alloc_abandon(struct qcf_meta *meta,
                       const struct qcf_reservation *reservation)
{
	const struct qcf_geometry *g = &meta->geometry;

	if (reservation->count > 0)
		abandon_range(meta,
		              qcf_host_offset(g, reservation->host_cluster),
		              reservation->count << g->cluster_bits);
}

/* ---------------------------------------------------------- compressed bytes */

/* How many bytes the cluster of the cursor can still take. */
static int room_at_cursor(struct qcf_meta *meta, uint64_t *room,
                          struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t at = meta->refcounts.pack_offset;
	uint64_t references = 0;
	int ret;

	*room = 0;
	if (at == 0)
		return 0;
	ret = qcf_refcount_read(meta, qcf_host_cluster(g, at), &references,
	                        errp);
	if (ret == 0 && references > 0 && references < g->refcount_max)
		*room = g->cluster_size - qcf_offset_in_cluster(g, at);
	return ret;
}

static int new_packed_cluster(struct qcf_meta *meta, uint64_t *host_offset,
                              struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t limit = qcf_compressed_offset_limit(g);
	struct qcf_reservation reservation = { 0 };
	int ret = reserve_locked(meta, 1, &reservation, errp);

	*host_offset = qcf_host_offset(g, reservation.host_cluster);
	if (ret < 0 || *host_offset < limit)
		return ret;
	(void)qcf_alloc_free_locked(meta, reservation.host_cluster, 1, NULL);
	*host_offset = 0;
	return qcf_fail(errp, EFBIG, QCOWFMT_ERR_NO_SPACE,
	                "no host offset for compressed data is free below "
	                "0x%" PRIx64,
	                limit);
}

/*
 * Behind the cursor if the bytes end in its cluster, or in a new one that
 * follows it directly; else at the start of a new one.
 */
static int pack_locked(struct qcf_meta *meta, uint64_t len,
                       uint64_t *host_offset, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t at = meta->refcounts.pack_offset;
	uint64_t added = 0;
	uint64_t done = 0;
	uint64_t room = 0;
	int ret = room_at_cursor(meta, &room, errp);

	if (ret == 0 && room < len) {
		ret = new_packed_cluster(meta, &added, errp);
		if (added != at + room)
			room = 0;
	}
	if (ret == 0 && room > 0)
		ret = qcf_refcount_increase(meta, qcf_host_cluster(g, at), 1,
		                            &done, errp);
	if (ret < 0) {
		if (added != 0)
			(void)qcf_alloc_free_locked(
				meta, qcf_host_cluster(g, added), 1, NULL);
		return ret;
	}
	*host_offset = room > 0 ? at : added;
	return 0;
}

int qcf_alloc_reserve_bytes(struct qcf_meta *meta, uint64_t len,
                            uint64_t *host_offset, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_refcounts *r = &meta->refcounts;
	QCF_GUARD(&r->lock);
	int ret;

	if (len == 0 || len >= g->cluster_size)
		return qcf_fail(
			errp, EINVAL, QCOWFMT_ERR_USAGE,
			"%" PRIu64 " bytes are not a compressed cluster", len);
	if (g->version == 1)
		return append_locked(meta, len, QCF_SECTOR_SIZE,
		                     qcf_compressed_offset_limit(g),
		                     host_offset, errp);
	ret = pack_locked(meta, len, host_offset, errp);
	if (ret < 0)
		return qcf_wrap(errp, "allocating compressed space", ret);
	r->packed_end = *host_offset + len;
	r->pack_offset = *host_offset + len;
	if (qcf_offset_in_cluster(g, r->pack_offset) == 0)
		r->pack_offset = 0;
	return 0;
}

void qcf_alloc_abandon_bytes(struct qcf_meta *meta, uint64_t host_offset,
                             uint64_t len)
{
	abandon_range(meta, host_offset, len);
}

/* ----------------------------------------------------------- runs of a length */

/* Look for a long run inside existing refcount blocks; *first is UINT64_MAX if
 * there is none. */
static int find_long_run(struct qcf_meta *meta, uint64_t count, uint64_t *first,
                         struct qcowfmt_error **errp)
{
	uint64_t at = meta->refcounts.first_free;
	uint64_t start = at;

	*first = UINT64_MAX;
	for (;;) {
		bool has_block = false;
		uint64_t found = 0;
		uint64_t run = 0;
		int ret =
			qcf_refcount_find_free(meta, at, count - (at - start),
		                               &found, &run, &has_block, errp);

		if (ret < 0 || !has_block)
			return ret;
		if (at == meta->refcounts.first_free)
			meta->refcounts.first_free = found;
		if (found != at)
			start = found;
		at = found + run;
		if (at - start >= count) {
			*first = start;
			return 0;
		}
	}
}

int qcf_alloc_reserve_exact_locked(struct qcf_meta *meta, uint64_t count,
                                   uint64_t *first, struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t done = 0;
	int ret = find_long_run(meta, count, first, errp);

	if (ret < 0)
		return ret;
	if (*first == UINT64_MAX)
		return qcf_refcount_add_area(meta, count, first, errp);
	ret = check_room(meta, *first, count, errp);
	if (ret == 0)
		ret = qcf_refcount_increase(meta, *first, count, &done, errp);
	if (ret < 0)
		return ret;
	r->fresh_from = QCF_MAX(r->fresh_from, *first + count);
	if (r->first_free == *first)
		r->first_free = *first + count;
	return 0;
}

int qcf_alloc_end(struct qcf_meta *meta, uint64_t *host_end,
                  struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	QCF_GUARD(&meta->refcounts.lock);
	uint64_t size = 0;
	uint64_t clusters;
	int ret = qcf_storage_get_size(meta->storage, &size, errp);

	for (clusters = qcf_clusters_for(g, size); ret == 0 && clusters > 0;
	     clusters--) {
		uint64_t count = 0;

		ret = qcf_refcount_read(meta, clusters - 1, &count, errp);
		if (count > 0)
			break;
	}
	*host_end = qcf_host_offset(g, clusters);
	return ret;
}

void qcf_alloc_file_cut(struct qcf_meta *meta, uint64_t host_end)
{
	QCF_GUARD(&meta->refcounts.lock);

	meta->refcounts.fresh_from =
		qcf_clusters_for(&meta->geometry, host_end);
	meta->refcounts.old_end =
		QCF_MIN(meta->refcounts.old_end, meta->refcounts.fresh_from);
}

/* ---------------------------------------------------------- after quarantine */

static int release_run(struct qcf_meta *meta,
                       const struct qcf_freed_batch *batch,
                       const struct qcf_cluster_run *run,
                       struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t offset = qcf_host_offset(g, run->host_cluster);
	uint64_t len = run->count << g->cluster_bits;

	if (batch->metadata) {
		qcf_cache_drop(&meta->l2_cache, offset, len);
		for (uint64_t i = 0; i < run->count; i++)
			qcf_overlap_remove(&meta->overlap, QCF_OVERLAP_L2,
			                   run->host_cluster + i);
	}
	QCF_GUARD(&meta->refcounts.lock);
	return qcf_alloc_free_locked(meta, run->host_cluster, run->count, errp);
}

/*
 * Whether the reference that was dropped was the only one.  If so nobody may
 * pack more data into the cluster, which is about to be discarded.
 */
static bool was_last_reference(struct qcf_meta *meta, uint64_t host_cluster)
{
	struct qcf_refcounts *r = &meta->refcounts;
	QCF_GUARD(&r->lock);
	uint64_t count = 0;

	if (qcf_refcount_read(meta, host_cluster, &count, NULL) < 0 ||
	    count != 1 || qcf_overlap_hits(&meta->overlap, host_cluster, 1))
		return false;
	if (qcf_host_cluster(&meta->geometry, r->pack_offset) == host_cluster)
		r->pack_offset = 0;
	return true;
}

/*
 * Give back the host space of a run.  It is a hint: a failure leaves the space
 * allocated.
 */
static void discard_run(struct qcf_meta *meta,
                        const struct qcf_cluster_run *run)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t start = 0;

	for (uint64_t i = 0; i <= run->count; i++) {
		if (i < run->count &&
		    was_last_reference(meta, run->host_cluster + i))
			continue;
		if (i > start)
			(void)qcf_storage_discard(
				meta->storage,
				qcf_host_offset(g, run->host_cluster + start),
				(i - start) << g->cluster_bits, NULL);
		start = i + 1;
	}
}

void qcf_alloc_discard_other(struct qcf_meta *meta, uint64_t first,
                             uint64_t count)
{
	const struct qcf_cluster_run run = {
		.host_cluster = first,
		.count = count,
	};

	if (meta->discard_other && meta->geometry.version > 1)
		discard_run(meta, &run);
}

int qcf_alloc_free(struct qcf_meta *meta, uint64_t first, uint64_t count,
                   struct qcowfmt_error **errp)
{
	qcf_alloc_discard_other(meta, first, count);
	QCF_GUARD(&meta->refcounts.lock);
	return qcf_alloc_free_locked(meta, first, count, errp);
}

int qcf_alloc_reclaim(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcf_freed_batch *batch;
	int ret = 0;

	if (!qcf_quarantine_has_stable(&meta->quarantine))
		return 0;
	batch = qcf_quarantine_take(&meta->quarantine,
	                            qcf_gate_oldest(meta->gate));
	if (batch != NULL)
		atomic_fetch_add(&meta->reclaims, 1);
	while (batch != NULL) {
		struct qcf_freed_batch *next = batch->next;

		for (size_t i = 0; i < batch->run_count && ret == 0; i++) {
			if (batch->discard)
				discard_run(meta, &batch->runs[i]);
			ret = release_run(meta, batch, &batch->runs[i], errp);
		}
		free(batch);
		batch = next;
	}
	return ret;
}
