/* SPDX-License-Identifier: MIT */
/*
 * resize.c - changing the virtual size
 *
 * The size in the header is one write, and that is when the change happens: a
 * power cut leaves the old size or the new one.
 *
 *   growing     everything the new range needs is stable before: a longer L1
 *               table, zeros where the backing file or an earlier, longer life
 *               of the image would show through, preallocated clusters
 *   shrinking   what is cut off is dropped after; if that does not happen, the
 *               next growing clears it
 *
 * The gate is closed meanwhile: guest requests wait.
 */
#include <errno.h>
#include <inttypes.h>

#include "alloc.h"
#include "bitmap_draft.h"
#include "bitmap_ops.h"
#include "checked.h"
#include "cut_file.h"
#include "exclusive.h"
#include "extent.h"
#include "l1_table.h"
#include "reserve.h"
#include "resize.h"
#include "write.h"
#include "writeback.h"
#include "zero_discard.h"

struct resizing {
	struct qcf_request request;
	struct qcf_layer *layer;
	uint64_t old_size;
	uint64_t new_size;
	int preallocation;
};

/* ------------------------------------------------------------- what is allowed */

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

static int check_options(const struct resizing *r,
                         const struct qcowfmt_resize_options *o,
                         struct qcowfmt_error **errp)
{
	bool shrinks = r->new_size < r->old_size;

	if ((o->flags & ~QCOWFMT_RESIZE_SHRINK) != 0)
		return usage(errp, "unknown resize flags");
	if (o->preallocation < QCOWFMT_PREALLOCATION_OFF ||
	    o->preallocation > QCOWFMT_PREALLOCATION_FULL)
		return usage(errp, "unknown preallocation mode");
	if (r->layer->meta != NULL &&
	    !qcf_is_aligned(r->new_size, QCF_SECTOR_SIZE))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64
		                " is not a multiple of 512",
		                r->new_size);
	if (shrinks && (o->flags & QCOWFMT_RESIZE_SHRINK) == 0)
		return usage(errp, "shrinking loses data and needs "
		                   "QCOWFMT_RESIZE_SHRINK");
	if (shrinks && o->preallocation != QCOWFMT_PREALLOCATION_OFF)
		return usage(errp, "preallocation is for growing only");
	return 0;
}

static int check_raw(const struct resizing *r, struct qcowfmt_error **errp)
{
	if (r->layer->storage->fixed_size)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "a device cannot be resized");
	if (r->new_size > INT64_MAX - QCF_SECTOR_SIZE)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64 " is too large",
		                r->new_size);
	if (r->preallocation == QCOWFMT_PREALLOCATION_METADATA)
		return usage(errp, "a raw image has no metadata");
	return 0;
}

static int check_qcow(const struct resizing *r, struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = r->layer->meta;

	if (meta->header.version == 1)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "version 1 images cannot be resized");
	if (meta->header.version == 2 && meta->header.snapshot_count > 0)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "version 2 images with snapshots cannot be "
		                "resized");
	if (r->new_size > meta->geometry.max_virtual_size)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64
		                " is too large for this cluster size, which "
		                "allows %" PRIu64,
		                r->new_size, meta->geometry.max_virtual_size);
	return 0;
}

/* They change with the disk, so what they say must be known. */
static int check_bitmaps(const struct resizing *r, struct qcowfmt_error **errp)
{
	const struct qcf_bitmaps *b = &r->layer->meta->bitmaps;

	if (b->count > 0 && r->new_size == 0)
		return usage(errp, "a disk of 0 bytes cannot have bitmaps");
	for (uint32_t i = 0; i < b->count; i++) {
		if (!qcf_bitmap_is_good(b->items[i]))
			return qcf_bitmap_unusable(b->items[i]->entry.name,
			                           errp);
	}
	return 0;
}

/* -------------------------------------------------------------------- the size */

static int store_size(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = r->layer->meta;
	struct qcf_be64 raw = qcf_be64_encode(r->new_size);
	int ret;

	if (meta->bitmaps.count > 0)
		return qcf_bitmaps_resize(meta, r->new_size, errp);
	ret = qcf_storage_pwrite(meta->storage, &raw, sizeof(raw),
	                         QCF_HEADER_AT_VIRTUAL_SIZE, errp);
	if (ret == 0)
		ret = qcf_meta_flush(meta, errp);
	if (ret == 0)
		meta->header.virtual_size = r->new_size;
	return ret;
}

static void set_size(struct resizing *r, uint64_t size)
{
	atomic_store(&r->layer->virtual_size, size);
}

/* --------------------------------------------------------------------- growing */

/* The new range must read as zeros. */
static int clear_exposed(struct resizing *r, struct qcowfmt_error **errp)
{
	uint64_t at = r->old_size;
	int ret = 0;

	while (at < r->new_size && ret == 0) {
		struct qcf_extent extent;

		ret = qcf_extent_lookup_chain(r->request.image, at,
		                              r->new_size - at, &extent, errp);
		if (ret == 0 && (extent.run.kind == QCF_DATA ||
		                 extent.run.kind == QCF_COMPRESSED))
			ret = qcf_write_zeroes(&r->request, at,
			                       extent.run.length, true, errp);
		at += extent.run.length;
	}
	return ret;
}

static int preallocate(struct resizing *r, struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = r->layer->meta;
	uint64_t cluster_size = meta->geometry.cluster_size;
	uint64_t start = qcf_align_up(r->old_size, cluster_size);
	int mode = r->preallocation;

	if (mode == QCOWFMT_PREALLOCATION_OFF &&
	    (meta->header.autoclear_features & QCF_AUTOCLEAR_RAW_DATA_FILE) !=
	            0)
		mode = QCOWFMT_PREALLOCATION_METADATA;
	if (mode == QCOWFMT_PREALLOCATION_OFF)
		return 0;
	/* Version 2 has no way to say that an encrypted cluster reads as zeros
	 * but to encrypt them. */
	if (meta->crypto != NULL && meta->header.version < 3)
		return qcf_write_zero_data(&r->request, start,
		                           QCF_MAX(start, r->new_size) - start,
		                           errp);
	return qcf_reserve_clusters(&r->request, start,
	                            qcf_align_up(r->new_size, cluster_size),
	                            mode, errp);
}

/* The data file gets the length of the disk; what it may have had there before
 * is not part of it. */
static int grow_data_file(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *data = r->layer->data;
	uint64_t size = 0;
	int ret;

	if (!qcf_layer_has_data_file(r->layer) || data->fixed_size)
		return 0;
	ret = qcf_storage_get_size(data, &size, errp);
	if (ret == 0 && size > r->old_size)
		ret = qcf_storage_truncate(data, r->old_size, errp);
	if (ret == 0)
		ret = qcf_storage_truncate(data, r->new_size, errp);
	return ret;
}

/* Preallocated clusters may end behind the end of the file. */
static int cover_clusters(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = r->layer->meta;
	uint64_t end =
		qcf_host_offset(&meta->geometry, meta->refcounts.fresh_from);
	uint64_t size = 0;
	int ret;

	if (r->preallocation == QCOWFMT_PREALLOCATION_OFF ||
	    meta->storage->fixed_size)
		return 0;
	ret = qcf_storage_get_size(meta->storage, &size, errp);
	if (ret == 0 && size < end)
		ret = qcf_storage_truncate(meta->storage, end, errp);
	return ret;
}

static int prepare_growing(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = r->layer->meta;
	uint64_t entries = qcf_l1_entries_for(&meta->geometry, r->new_size);
	int ret = 0;

	if (entries > meta->l1.entry_count)
		ret = qcf_l1_grow(meta, entries, errp);
	if (ret == 0)
		ret = grow_data_file(r, errp);
	if (ret == 0)
		ret = clear_exposed(r, errp);
	if (ret == 0)
		ret = preallocate(r, errp);
	if (ret == 0)
		ret = cover_clusters(r, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

static int grow(struct resizing *r, struct qcowfmt_error **errp)
{
	int ret;

	set_size(r, r->new_size);
	ret = prepare_growing(r, errp);
	if (ret == 0)
		ret = store_size(r, errp);
	if (ret < 0)
		set_size(r, r->old_size);
	return ret;
}

/* ------------------------------------------------------------------- shrinking */

/* Drop what one L1 entry maps from start on, and its table if that is all. */
static int drop_table(struct resizing *r, uint64_t l1_index, uint64_t start,
                      struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = r->layer->meta;
	uint64_t span = UINT64_C(1) << meta->geometry.l1_shift;
	uint64_t first = l1_index << meta->geometry.l1_shift;
	uint64_t l2_offset = 0;
	int ret = qcf_l1_lookup(meta, l1_index, &l2_offset, errp);

	if (ret < 0 || l2_offset == 0)
		return ret;
	ret = qcf_drop_clusters(&r->request, QCF_MAX(start, first),
	                        first + span, errp);
	if (ret == 0 && first >= start)
		ret = qcf_l1_drop_table(meta, l1_index, errp);
	return ret;
}

static int drop_tail(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = r->layer->meta;
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t start = qcf_align_up(r->new_size, g->cluster_size);
	uint64_t tail = QCF_MIN(start, r->old_size) - r->new_size;
	uint64_t end = QCF_MIN(qcf_l1_entries_for(g, r->old_size),
	                       meta->l1.entry_count);
	int ret = qcf_write_zeroes(&r->request, r->new_size, tail, true, errp);

	for (uint64_t i = qcf_l1_index(g, start); ret == 0 && i < end; i++)
		ret = drop_table(r, i, start, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

/* Give back the end of the files that nothing uses any more. */
static int cut_files(struct resizing *r, struct qcowfmt_error **errp)
{
	int ret = 0;

	if (qcf_layer_has_data_file(r->layer) && !r->layer->data->fixed_size)
		ret = qcf_storage_truncate(r->layer->data, r->new_size, errp);
	return ret < 0 ? ret : qcf_cut_file(r->layer, errp);
}

static int shrink(struct resizing *r, struct qcowfmt_error **errp)
{
	int ret = store_size(r, errp);

	if (ret < 0)
		return ret;
	ret = drop_tail(r, errp);
	set_size(r, r->new_size);
	return ret < 0 ? ret : cut_files(r, errp);
}

/* -------------------------------------------------------------------- VM state */

/*
 * VM state begins with the first L1 entry behind the disk.  Where that moves, it
 * would become part of the disk, or be looked for in the wrong place.
 */
static int drop_vm_state(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = r->layer->meta;
	const struct qcf_geometry *g = &meta->geometry;
	uint64_t first = qcf_l1_entries_for(g, r->old_size);
	int ret = 0;

	if (first == qcf_l1_entries_for(g, r->new_size) ||
	    first >= meta->l1.entry_count)
		return 0;
	for (uint64_t i = first; ret == 0 && i < meta->l1.entry_count; i++)
		ret = drop_table(r, i, first << g->l1_shift, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

/* ---------------------------------------------------------------- the operation */

/* The file need not have whole sectors; the disk has, and reads as zeros there. */
static int resize_raw(struct resizing *r, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *storage = r->layer->storage;
	uint64_t more =
		r->new_size > r->old_size ? r->new_size - r->old_size : 0;
	int ret = check_raw(r, errp);

	if (ret == 0)
		ret = qcf_storage_truncate(storage, r->new_size, errp);
	if (ret == 0 && r->preallocation == QCOWFMT_PREALLOCATION_FALLOC)
		ret = qcf_storage_allocate(storage, r->old_size, more, errp);
	if (ret == 0)
		set_size(r, qcf_align_up(r->new_size, QCF_SECTOR_SIZE));
	if (ret == 0 && r->preallocation == QCOWFMT_PREALLOCATION_FULL)
		ret = qcf_write_zero_data(&r->request, r->old_size, more, errp);
	return ret < 0 ? ret
	               : qcf_flush_or_poison(storage, &r->layer->raw_poison,
	                                     errp);
}

static int resize_qcow(struct resizing *r, struct qcowfmt_error **errp)
{
	int ret = check_qcow(r, errp);

	if (ret < 0 || r->new_size == r->old_size)
		return ret;
	ret = check_bitmaps(r, errp);
	if (ret == 0)
		ret = drop_vm_state(r, errp);
	if (ret < 0)
		return ret;
	return r->new_size > r->old_size ? grow(r, errp) : shrink(r, errp);
}

static int resize(struct resizing *r,
                  const struct qcowfmt_resize_options *options,
                  struct qcowfmt_error **errp)
{
	int ret;

	r->old_size = atomic_load(&r->layer->virtual_size);
	r->preallocation = options->preallocation;
	ret = check_options(r, options, errp);
	if (ret < 0)
		return ret;
	return r->layer->meta == NULL ? resize_raw(r, errp)
	                              : resize_qcow(r, errp);
}

int qcf_resize(struct qcowfmt_image *image, uint64_t virtual_size,
               const struct qcowfmt_resize_options *options,
               struct qcowfmt_error **errp)
{
	struct resizing r = {
		.request = { .image = image },
		.layer = qcf_image_top(image),
		.new_size = virtual_size,
	};
	int ret = qcf_exclusive_begin(image, errp);

	if (ret < 0)
		return ret;
	ret = resize(&r, options, errp);
	qcf_exclusive_end(image);
	return qcf_wrap(errp, r.layer->storage->name, ret);
}
