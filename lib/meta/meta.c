/* SPDX-License-Identifier: MIT */
/*
 * meta.c - opening and closing the metadata of one qcow2 image
 *
 * Everything that is held in memory as a whole (header, L1 table, refcount
 * table) is bounded by the format's limits, by the open options and by what
 * the file can hold, in that order, before memory is allocated.
 */
#include <errno.h>
#include <inttypes.h>

#include "append.h"
#include "bitmap_draft.h"
#include "checked.h"
#include "compress.h"
#include "image_flags.h"
#include "meta.h"
#include "snapshot_table.h"
#include "writeback.h"

bool qcf_meta_is_cluster_offset(const struct qcf_meta *meta,
                                uint64_t host_offset)
{
	return host_offset != 0 && host_offset < QCF_HOST_OFFSET_LIMIT &&
	       qcf_is_aligned(host_offset, meta->geometry.host_alignment);
}

bool qcf_meta_is_metadata(const struct qcf_meta *meta, uint64_t host_offset,
                          uint64_t len)
{
	uint32_t bits = meta->geometry.guard_bits;
	uint64_t first = host_offset >> bits;

	return len > 0 &&
	       qcf_overlap_hits(&meta->overlap, first,
	                        ((host_offset + len - 1) >> bits) - first + 1);
}

/* The units of an L2 table: one, but for version 1. */
static uint64_t l2_units(const struct qcf_geometry *g)
{
	return g->l2_table_size >> g->guard_bits;
}

int qcf_meta_protect_l2(struct qcf_meta *meta, uint64_t l2_offset,
                        struct qcowfmt_error **errp)
{
	return qcf_overlap_add(&meta->overlap, QCF_OVERLAP_L2,
	                       l2_offset >> meta->geometry.guard_bits, errp);
}

bool qcf_meta_is_not_only_l2(const struct qcf_meta *meta, uint64_t l2_offset)
{
	uint64_t first = l2_offset >> meta->geometry.guard_bits;

	for (uint64_t i = 0; i < l2_units(&meta->geometry); i++) {
		if (qcf_overlap_is_not_only(&meta->overlap, QCF_OVERLAP_L2,
		                            first + i))
			return true;
	}
	return false;
}

int qcf_meta_read_table(struct qcf_meta *meta, uint64_t host_offset,
                        void *table, size_t len, struct qcowfmt_error **errp)
{
	uint64_t file_size = 0;
	int64_t got = qcf_storage_pread_padded(meta->storage, table, len,
	                                       host_offset, errp);
	int ret;

	if (got < 0)
		return (int)got;
	if ((size_t)got == len)
		return 0;
	ret = qcf_storage_get_size(meta->storage, &file_size, errp);
	if (ret < 0)
		return ret;
	if (host_offset + len >
	    qcf_align_up(file_size, meta->geometry.cluster_size))
		return qcf_corrupt(errp, QCF_CHECK_BEYOND_END, host_offset);
	return 0;
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

/* ----------------------------------------------------------------- header */

static int read_header(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint8_t sector[QCF_SECTOR_SIZE];
	QCF_AUTO_FREE uint8_t *cluster = NULL;
	uint64_t cluster_size = 0;
	int64_t len = qcf_storage_pread_padded(meta->storage, sector,
	                                       sizeof(sector), 0, errp);
	int ret;

	if (len < 0)
		return (int)len;
	ret = qcf_header_peek_cluster_size(sector, (size_t)len, &cluster_size,
	                                   errp);
	if (ret < 0)
		return ret;
	cluster = malloc(cluster_size);
	if (cluster == NULL)
		return qcf_fail_oom(errp);
	len = qcf_storage_pread_padded(meta->storage, cluster, cluster_size, 0,
	                               errp);
	if (len < 0)
		return (int)len;
	return qcf_header_decode(&meta->header, cluster, (size_t)len, errp);
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

/* -------------------------------------------------------------- L1 table */

static int check_ceiling(const char *what, uint64_t size, uint64_t ceiling,
                         struct qcowfmt_error **errp)
{
	if (size <= ceiling)
		return 0;
	return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
	                "%s takes %" PRIu64
	                " bytes, max_metadata_size allows %" PRIu64,
	                what, size, ceiling);
}

/* A table the header points to must lie in the file, which also bounds the
 * memory for it. */
static int check_in_file(struct qcf_meta *meta, enum qcf_check id,
                         uint64_t host_offset, uint64_t size,
                         struct qcowfmt_error **errp)
{
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	if (!qcf_range_within(
		    host_offset, size,
		    qcf_align_up(file_size, meta->geometry.cluster_size)))
		return qcf_corruptf(errp, id, host_offset,
		                    "it ends at %" PRIu64
		                    ", the file at %" PRIu64,
		                    host_offset + size, file_size);
	return 0;
}

/* Units that the table shares with something else are protected, too: in
 * version 1 with the header in front of it. */
static void protect_l1(struct qcf_meta *meta, uint64_t offset, uint64_t size)
{
	uint32_t bits = meta->geometry.guard_bits;
	uint64_t first = offset >> bits;

	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_L1, first,
	                      ((offset + size - 1) >> bits) - first + 1);
}

static int read_l1(struct qcf_meta *meta, uint64_t ceiling,
                   struct qcowfmt_error **errp)
{
	uint64_t size = (uint64_t)meta->header.l1_size * 8;
	uint64_t offset = meta->header.l1_table_offset;
	int ret = check_ceiling("the L1 table", size, ceiling, errp);

	if (ret == 0 && size > 0)
		ret = check_in_file(meta, QCF_CHECK_TABLE_TRUNCATED, offset,
		                    size, errp);
	if (ret < 0)
		return ret;
	meta->l1.entry_count = meta->header.l1_size;
	meta->l1.entries = calloc(size / 8 + 1, 8);
	if (meta->l1.entries == NULL)
		return qcf_fail_oom(errp);
	if (size == 0)
		return 0;
	protect_l1(meta, offset, size);
	return qcf_wrap(errp, "reading the L1 table",
	                qcf_meta_read_table(meta, offset,
	                                    (void *)(uintptr_t)meta->l1.entries,
	                                    size, errp));
}

/* --------------------------------------------------------- refcount table */

/* One without clusters is let through when the header is decoded, because such an
 * image can be repaired. */
static int check_has_reftable(const struct qcf_header *h,
                              struct qcowfmt_error **errp)
{
	if (h->refcount_table_clusters > 0)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_REFTABLE_SIZE,
	                    QCF_HEADER_AT_REFTABLE,
	                    "refcount_table_clusters, have 0, want 1 or more");
}

static int read_reftable(struct qcf_meta *meta, uint64_t ceiling,
                         struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t offset = meta->header.refcount_table_offset;
	uint64_t size = (uint64_t)meta->header.refcount_table_clusters
	                << meta->geometry.cluster_bits;
	int ret = check_ceiling("the refcount table", size, ceiling, errp);

	if (ret == 0)
		ret = check_has_reftable(&meta->header, errp);
	if (ret == 0)
		ret = check_in_file(meta, QCF_CHECK_TABLE_TRUNCATED, offset,
		                    size, errp);
	if (ret < 0)
		return ret;
	r->table = malloc(size);
	if (r->table == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(meta, offset, r->table, size, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the refcount table", ret);
	r->entry_count = size / 8;
	for (uint64_t i = 0; i < r->entry_count; i++)
		r->table[i] = qcf_reftable_entry_decode(
			(struct qcf_be64){ r->table[i] });
	r->stored_offset = offset;
	r->stored_entry_count = r->entry_count;
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_REFTABLE,
	                      qcf_host_cluster(&meta->geometry, offset),
	                      meta->header.refcount_table_clusters);
	return 0;
}

/* ---------------------------------------------------------------- overlap */

static int protect_l2_tables(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	size_t count = 0;
	int ret;

	for (uint64_t i = 0; i < meta->l1.entry_count; i++)
		count += meta->l1.entries[i] != 0;
	meta->overlap.l2_count = l2_units(&meta->geometry);
	ret = qcf_overlap_reserve(&meta->overlap, QCF_OVERLAP_L2, count, errp);
	for (uint64_t i = 0; ret == 0 && i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&meta->l1.entries[i]) };
		uint64_t offset =
			qcf_l1_entry_decode(&meta->geometry, raw).l2_offset;

		if (qcf_meta_is_cluster_offset(meta, offset))
			ret = qcf_meta_protect_l2(meta, offset, errp);
	}
	return ret;
}

static int protect_blocks(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	const struct qcf_refcounts *r = &meta->refcounts;
	size_t count = 0;
	int ret;

	for (uint64_t i = 0; i < r->entry_count; i++)
		count += r->table[i] != 0;
	ret = qcf_overlap_reserve(&meta->overlap, QCF_OVERLAP_BLOCK, count,
	                          errp);
	for (uint64_t i = 0; ret == 0 && i < r->entry_count; i++) {
		if (qcf_meta_is_cluster_offset(meta, r->table[i]))
			ret = qcf_overlap_add(
				&meta->overlap, QCF_OVERLAP_BLOCK,
				qcf_host_cluster(&meta->geometry, r->table[i]),
				errp);
	}
	return ret;
}

int qcf_meta_read_snapshot_table(struct qcf_meta *meta, uint8_t **table,
                                 size_t *len, struct qcowfmt_error **errp)
{
	uint64_t offset = meta->header.snapshots_offset;
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	if (offset >= file_size)
		return qcf_corrupt(errp, QCF_CHECK_TABLE_TRUNCATED, offset);
	*len = QCF_MIN(file_size - offset, QCF_MAX_SNAPSHOT_TABLE);
	/* An entry is at most 40 bytes, 1 KiB of extra data and two names. */
	*len = QCF_MIN(*len, meta->header.snapshot_count * UINT64_C(132200));
	*table = malloc(*len);
	if (*table == NULL)
		return qcf_fail_oom(errp);
	return qcf_storage_pread_exact(meta->storage, *table, *len, offset,
	                               errp);
}

/* The snapshot table and the L1 tables it names. */
static int protect_snapshots(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table table;
	int ret = qcf_snapshot_table_load(meta, &table, errp);

	if (ret < 0 || table.count == 0)
		return ret;
	ret = qcf_snapshot_table_protect(meta, &table,
	                                 meta->header.snapshots_offset,
	                                 table.stored_len, errp);
	qcf_snapshot_table_fini(&table);
	return ret;
}

/* Key slots and key material, which stay where they are. */
static int protect_keys(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint32_t bits = meta->geometry.guard_bits;
	struct qcf_overlap_range *range;
	uint64_t offset = 0;
	uint64_t len = 0;

	qcf_crypto_area(&meta->header, &offset, &len);
	if (len == 0)
		return 0;
	range = malloc(sizeof(*range));
	if (range == NULL)
		return qcf_fail_oom(errp);
	range->first = offset >> bits;
	range->end = ((offset + len - 1) >> bits) + 1;
	qcf_overlap_set_ranges(&meta->overlap, QCF_OVERLAP_KEYS, range, 1);
	return 0;
}

/* ------------------------------------------------------------------ caches */

static int load_l2_slice(void *owner, uint64_t host_offset, void *buffer,
                         size_t len, struct qcowfmt_error **errp)
{
	return qcf_wrap(
		errp, "reading an L2 table",
		qcf_meta_read_table(owner, host_offset, buffer, len, errp));
}

static int load_refcount_slice(void *owner, uint64_t host_offset, void *buffer,
                               size_t len, struct qcowfmt_error **errp)
{
	return qcf_wrap(
		errp, "reading a refcount block",
		qcf_meta_read_table(owner, host_offset, buffer, len, errp));
}

static int init_caches(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t l2_slices = (meta->header.virtual_size >> g->cluster_bits) /
	                             g->slice_entry_count +
	                     1;
	int ret = qcf_cache_init(&meta->l2_cache, g->slice_size, l2_slices,
	                         meta->budget, load_l2_slice, meta, errp);

	if (ret < 0)
		return ret;
	return qcf_cache_init(&meta->refcount_cache, g->slice_size, l2_slices,
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
	free((void *)(uintptr_t)meta->l1.entries);
	free(meta->l1.dirty);
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
	int ret = read_reftable(meta, options->max_table_size, &error);

	return unless_repair(meta, options, ret, error, errp);
}

static int protect_tables(struct qcf_meta *meta,
                          const struct qcf_meta_options *options,
                          struct qcowfmt_error **errp)
{
	struct qcowfmt_error *error = NULL;
	int ret = protect_l2_tables(meta, errp);

	if (ret == 0)
		ret = protect_blocks(meta, errp);
	if (ret < 0)
		return ret;
	ret = protect_snapshots(meta, &error);
	ret = unless_repair(meta, options, ret, error, errp);
	return ret < 0 ? ret : protect_keys(meta, errp);
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
	ret = protect_snapshots(meta, errp);
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
		ret = read_l1(meta, options->max_table_size, errp);
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
	ret = read_header(meta, errp);
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
