/* SPDX-License-Identifier: MIT */
/*
 * meta.c - opening and closing the metadata of one qcow2 image
 *
 * An image opens for reading with as little as that takes; what only writing
 * relies on is read for writers, and may make no sense to one who repairs.
 */
#include <errno.h>

#include "append.h"
#include "bitmap_draft.h"
#include "checked.h"
#include "compress.h"
#include "image_flags.h"
#include "l1_table.h"
#include "meta.h"
#include "meta_protect.h"
#include "meta_tables.h"
#include "writeback.h"

bool qcf_meta_is_cluster_offset(const struct qcf_meta *meta,
                                uint64_t host_offset)
{
	return host_offset != 0 && host_offset < QCF_HOST_OFFSET_LIMIT &&
	       qcf_is_aligned(host_offset, meta->geometry.host_alignment);
}

int qcf_meta_flush(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	int ret = 0;

	if (meta->data != NULL && meta->data != meta->storage)
		ret = qcf_flush_or_poison(meta->data, &meta->poison, errp);
	return ret < 0 ? ret
	               : qcf_flush_or_poison(meta->storage, &meta->poison,
	                                     errp);
}

/* The method must be there even if no cluster uses it: one may, later. */
static int check_compression(const struct qcf_header *h,
                             struct qcowfmt_error **errp)
{
	const char *name = qcf_compression_name(h->compression_type);

	if (qcf_compression_is_built_in(h->compression_type))
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "compression type %u (%s) is not supported by this "
	                "build",
	                h->compression_type, name == NULL ? "unknown" : name);
}

/* ------------------------------------------------------------------ caches */

static int load_l2_slice(void *owner, uint64_t host_offset, void *buffer,
                         size_t len, struct qcowfmt_error **errp)
{
	int ret = qcf_meta_read_table(owner, host_offset, buffer, len, errp);

	if (ret == 0)
		qcf_l2_note_zeros(owner, host_offset, buffer, len);
	return qcf_wrap(errp, "reading an L2 table", ret);
}

static int load_refcount_slice(void *owner, uint64_t host_offset, void *buffer,
                               size_t len, struct qcowfmt_error **errp)
{
	return qcf_wrap(
		errp, "reading a refcount block",
		qcf_meta_read_table(owner, host_offset, buffer, len, errp));
}

/* How many slices of L2 tables there can be.  Those of an image that does not
 * change are in its file. */
static int most_slices(const struct qcf_meta *meta, uint64_t *count,
                       struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t file_size = 0;
	int ret = 0;

	*count = (meta->header.virtual_size >> g->cluster_bits) /
	                 g->slice_entry_count +
	         1;
	if (!meta->writable)
		ret = qcf_storage_get_size(meta->storage, &file_size, errp);
	if (ret == 0 && !meta->writable)
		*count = QCF_MIN(*count, file_size / g->slice_size + 1);
	return ret;
}

static int init_caches(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint64_t slice_size = meta->geometry.slice_size;
	uint64_t slices = 0;
	int ret = most_slices(meta, &slices, errp);

	if (ret == 0)
		ret = qcf_cache_init(&meta->l2_cache, slice_size, slices,
		                     meta->budget, load_l2_slice, meta, errp);
	/* Who only reads needs no counts. */
	if (ret < 0 || !meta->writable)
		return ret;
	return qcf_cache_init(&meta->refcount_cache, slice_size, slices,
	                      meta->budget, load_refcount_slice, meta, errp);
}

/* ----------------------------------------------------------- open and close */

static void init_members(struct qcf_meta *meta, struct qcowfmt_storage *storage,
                         const struct qcf_meta_options *options)
{
	*meta = (struct qcf_meta){
		.storage = storage,
		.data = storage,
		.writable = options->writable,
		.gate = options->gate,
		.budget = options->budget,
	};
	qcf_mutex_init(&meta->refcounts.lock, QCF_RANK_ALLOC);
	qcf_mutex_init(&meta->l1.lock, QCF_RANK_L1);
	qcf_mutex_init(&meta->map_lock, QCF_RANK_MAP);
	qcf_mutex_init(&meta->commit.lock, QCF_RANK_COMMIT);
	qcf_quarantine_init(&meta->quarantine);
	qcf_overlap_init(&meta->overlap);
	qcf_poison_init(&meta->poison);
	qcf_bitmaps_init(&meta->bitmaps, options->max_table_size);
}

static void fini_members(struct qcf_meta *meta)
{
	qcf_bitmaps_fini(&meta->bitmaps);
	qcf_cache_fini(&meta->l2_cache);
	qcf_cache_fini(&meta->refcount_cache);
	free(meta->refcounts.table);
	qcf_l1_fini(meta);
	qcf_mutex_fini(&meta->refcounts.lock);
	qcf_mutex_fini(&meta->l1.lock);
	qcf_mutex_fini(&meta->map_lock);
	qcf_mutex_fini(&meta->commit.lock);
	qcf_quarantine_fini(&meta->quarantine);
	qcf_overlap_fini(&meta->overlap);
	qcf_poison_fini(&meta->poison);
	qcf_crypto_free(meta->crypto);
	qcf_header_fini(&meta->header);
}

/* Facts about storage and flags that only a writer needs. */
static int prepare_writing(struct qcf_meta *meta,
                           const struct qcf_meta_options *options,
                           struct qcowfmt_error **errp)
{
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	meta->refcounts.fresh_from =
		qcf_clusters_for(&meta->geometry, file_size);
	meta->refcounts.old_end = meta->refcounts.fresh_from;
	meta->refcounts.growing_zeroes = meta->storage->reads_zero_when_grown;
	if (meta->header.version == 1)
		return qcf_append_prepare(meta, file_size, errp);
	meta->lazy_refcounts = meta->header.version >= 3 &&
	                       (options->lazy_refcounts >= 0
	                                ? options->lazy_refcounts > 0
	                                : (meta->header.compatible_features &
	                                   QCF_COMPAT_LAZY_REFCOUNTS) != 0);
	meta->commit.dirty_bit_set =
		(meta->header.incompatible_features & QCF_INCOMPAT_DIRTY) != 0;
	return 0;
}

/* Whoever wants to repair an image may open it although a table that only writing
 * relies on makes no sense. */
static int unless_repair(struct qcf_meta *meta,
                         const struct qcf_meta_options *options, int ret,
                         struct qcowfmt_error *error,
                         struct qcowfmt_error **errp)
{
	if (ret < 0 && options->repair &&
	    qcowfmt_error_code(error) == QCOWFMT_ERR_CORRUPT) {
		atomic_store(&meta->unusable, true);
		qcowfmt_error_free(error);
		return 0;
	}
	if (ret < 0)
		qcf_error_move(errp, error);
	return ret;
}

static int read_counts(struct qcf_meta *meta,
                       const struct qcf_meta_options *options,
                       struct qcowfmt_error **errp)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_meta_read_reftable(meta, options->max_table_size, &error);

	return unless_repair(meta, options, ret, error, errp);
}

static int protect_tables(struct qcf_meta *meta,
                          const struct qcf_meta_options *options,
                          struct qcowfmt_error **errp)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_meta_protect_tables(meta, errp);

	if (ret < 0)
		return ret;
	ret = qcf_meta_protect_keys(meta, errp);
	if (ret < 0)
		return ret;
	ret = qcf_meta_protect_snapshots(meta, &error);
	if (ret == 0)
		ret = qcf_meta_check_l1_place(meta, &error);
	return unless_repair(meta, options, ret, error, errp);
}

int qcf_meta_check_usable(const struct qcf_meta *meta,
                          struct qcowfmt_error **errp)
{
	if (!atomic_load(&meta->unusable))
		return 0;
	return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
	                "%s has to be repaired before it is written to",
	                meta->storage->name);
}

int qcf_meta_now_usable(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	int ret;

	if (!atomic_load(&meta->unusable))
		return 0;
	ret = qcf_meta_protect_snapshots(meta, errp);
	if (ret == 0)
		ret = qcf_meta_check_l1_place(meta, errp);
	if (ret == 0)
		atomic_store(&meta->unusable, false);
	return ret;
}

static int read_tables(struct qcf_meta *meta,
                       const struct qcf_meta_options *options,
                       struct qcowfmt_error **errp)
{
	int ret = qcf_header_geometry(&meta->header, &meta->geometry, errp);

	if (ret == 0)
		ret = qcf_feature_check(&meta->header, options->writable,
		                        options->repair, errp);
	if (ret == 0)
		ret = check_compression(&meta->header, errp);
	meta->has_backing = meta->header.backing_name != NULL;
	atomic_store(&meta->incompatible, meta->header.incompatible_features);
	if (ret == 0)
		ret = qcf_meta_read_l1(meta, options->max_table_size, errp);
	if (ret == 0 && meta->header.version > 1)
		ret = read_counts(meta, options, errp);
	if (ret == 0 && meta->header.crypt_method != 0)
		ret = qcf_crypto_open(meta->storage, &meta->header,
		                      &meta->geometry, options->secrets,
		                      &meta->crypto, errp);
	if (ret == 0)
		ret = init_caches(meta, errp);
	if (ret == 0 && meta->writable)
		ret = protect_tables(meta, options, errp);
	if (ret == 0 && meta->writable)
		ret = prepare_writing(meta, options, errp);
	if (ret == 0 && meta->writable)
		ret = qcf_bitmaps_open(meta, options->repair, errp);
	return ret;
}

int qcf_meta_open(struct qcf_meta *meta, struct qcowfmt_storage *storage,
                  const struct qcf_meta_options *options,
                  struct qcowfmt_error **errp)
{
	int ret;

	init_members(meta, storage, options);
	ret = qcf_meta_read_header(meta, errp);
	if (ret == 0)
		ret = read_tables(meta, options, errp);
	if (ret < 0)
		fini_members(meta);
	return ret;
}

void qcf_meta_abandon(struct qcf_meta *meta)
{
	fini_members(meta);
}

/*
 * The zeros at the end of the last cluster are not written, and readers know
 * that a file may end early, but not all of them.
 */
static void cover_last_cluster(struct qcf_meta *meta)
{
	const struct qcf_geometry *g = &meta->geometry;
	const struct qcf_refcounts *r = &meta->refcounts;
	uint64_t end = qcf_host_offset(g, r->fresh_from);
	uint64_t packed = qcf_align_up(r->packed_end, QCF_SECTOR_SIZE);
	uint64_t size = 0;

	if (r->fresh_from <= r->old_end || meta->storage->fixed_size)
		return;
	/* Compressed data need not fill its last cluster. */
	if (packed <= end && end - packed < g->cluster_size)
		end = packed;
	if (qcf_storage_get_size(meta->storage, &size, NULL) < 0 || size >= end)
		return;
	/* Without space for it the image is as good as before. */
	if (qcf_storage_truncate(meta->storage, end, NULL) < 0)
		return;
}

int qcf_meta_close(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	int ret = qcf_bitmaps_settle(meta, &failure);
	int finished = meta->writable ? qcf_writeback_finish(meta, errp) : 0;

	if (finished == 0)
		qcf_error_move(errp, failure);
	else
		qcowfmt_error_free(failure);
	ret = finished < 0 ? finished : ret;
	if (ret == 0 && meta->writable)
		cover_last_cluster(meta);
	fini_members(meta);
	return ret;
}
