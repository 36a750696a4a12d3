/* SPDX-License-Identifier: MIT */
/*
 * measure.c - how large an image would be
 *
 * The numbers are those of QEMU, which counts for each cluster that holds data
 * one host cluster, whether it will be compressed or not, and all tables as if
 * the disk were full.
 */
#include <errno.h>

#include "bitmap_entry.h"
#include "check_id.h"
#include "checked.h"
#include "create.h"
#include "create_options.h"
#include "crypto.h"
#include "measure.h"
#include "meta_tables.h"
#include "scan.h"

/* ------------------------------------------------------------------- the source */

/* Bytes of the clusters that hold data of the source. */
static int count_data(struct qcf_scan *scan, struct qcf_request *request,
                      uint64_t cluster_size, uint64_t *bytes,
                      struct qcowfmt_error **errp)
{
	uint64_t at = 0;

	while (at < scan->size) {
		struct qcf_piece piece;
		uint64_t end;
		int ret;

		qcf_request_renew(request);
		ret = qcf_scan_piece(scan, at, scan->size - at, &piece, errp);
		if (ret < 0)
			return ret;
		end = at + piece.length;
		if (piece.content == QCF_CONTENT_DATA) {
			end = qcf_align_up(end, cluster_size);
			*bytes += end - qcf_align_down(at, cluster_size);
		}
		at = end;
	}
	return 0;
}

static int data_of_source(struct qcowfmt_image *source, uint64_t cluster_size,
                          uint64_t *bytes, struct qcowfmt_error **errp)
{
	struct qcf_request request;
	struct qcf_scan scan;
	int ret;

	qcf_request_begin_read(&request, source);
	ret = qcf_scan_init(&scan, source, errp);
	if (ret == 0) {
		ret = count_data(&scan, &request, cluster_size, bytes, errp);
		qcf_scan_fini(&scan);
	}
	qcf_request_end(&request);
	return ret;
}

/* -------------------------------------------------------------------- bitmaps */

/* Bytes for a bitmap that can be kept, in clusters of the new image. */
static uint64_t bitmap_bytes(const struct qcf_bitmap_entry *entry,
                             uint64_t virtual_size, uint64_t cluster_size)
{
	uint64_t bits =
		qcf_bitmap_bits_for(virtual_size, entry->granularity_bits);
	uint64_t bytes = qcf_align_up(qcf_div_ceil(bits, 8), cluster_size);

	return bytes + qcf_align_up(bytes / cluster_size * sizeof(uint64_t),
	                            cluster_size);
}

static int add_bitmap(struct qcf_meta *meta, struct qcf_reader *reader,
                      uint64_t cluster_size, uint64_t *bytes,
                      uint64_t *directory, struct qcowfmt_error **errp)
{
	struct qcf_bitmap_entry entry;
	int ret = qcf_bitmap_entry_decode(&entry, reader, errp);

	if (ret < 0)
		return ret;
	/* What was left in use cannot be trusted, and is not kept. */
	if ((entry.flags & QCF_BITMAP_IN_USE) == 0 &&
	    qcf_bitmap_entry_check(&entry, &meta->geometry,
	                           meta->header.virtual_size, NULL) == 0) {
		*bytes += bitmap_bytes(&entry, meta->header.virtual_size,
		                       cluster_size);
		entry.extra_len = 0;
		*directory += qcf_bitmap_entry_size(&entry);
	}
	qcf_bitmap_entry_fini(&entry);
	return 0;
}

static int add_bitmaps(struct qcf_meta *meta, const struct qcf_bitmap_ext *ext,
                       uint64_t cluster_size, uint64_t *bytes,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *entries = NULL;
	struct qcf_reader reader;
	uint64_t directory = 0;
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret == 0 && !qcf_range_within(ext->directory_offset,
	                                  ext->directory_size, file_size))
		ret = qcf_corrupt(errp, QCF_CHECK_TABLE_TRUNCATED,
		                  ext->directory_offset);
	if (ret < 0)
		return ret;
	entries = malloc(ext->directory_size);
	if (entries == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(meta, ext->directory_offset, entries,
	                          ext->directory_size, errp);
	reader = qcf_reader_init(entries, ext->directory_size);
	for (uint32_t i = 0; ret == 0 && i < ext->count; i++)
		ret = add_bitmap(meta, &reader, cluster_size, bytes, &directory,
		                 errp);
	*bytes += qcf_align_up(directory, cluster_size);
	return ret;
}

/* Version 3 can keep the bitmaps of version 3. */
static int measure_bitmaps_inside(struct qcowfmt_image *source,
                                  const struct qcowfmt_create_options *o,
                                  struct qcowfmt_measure_result *result,
                                  struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = qcf_image_top(source)->meta;
	const struct qcf_extension *raw;
	struct qcf_bitmap_ext ext;
	int ret;

	if (meta == NULL || meta->geometry.version < 3 ||
	    qcf_create_version(o) < 3)
		return 0;
	result->has_bitmaps = 1;
	raw = qcf_header_extension(&meta->header, QCF_EXT_BITMAPS);
	if (raw == NULL ||
	    (meta->header.autoclear_features & QCF_AUTOCLEAR_BITMAPS) == 0)
		return 0;
	ret = qcf_bitmap_ext_decode(&ext, raw, &meta->geometry, errp);
	if (ret == 0)
		ret = add_bitmaps(meta, &ext, qcf_create_cluster_size(o),
		                  &result->bitmaps, errp);
	return qcf_wrap(errp, "measuring dirty bitmaps", ret);
}

/* What the header says of them may be replaced by a change of bitmaps. */
static int measure_bitmaps(struct qcowfmt_image *source,
                           const struct qcowfmt_create_options *o,
                           struct qcowfmt_measure_result *result,
                           struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int ret;

	if (source == NULL)
		return 0;
	qcf_request_begin_read(&request, source);
	ret = measure_bitmaps_inside(source, o, result, errp);
	qcf_request_end(&request);
	return ret;
}

/* ------------------------------------------------------------ versions 2 and 3 */

/* Bytes of refcount table and blocks for a number of clusters, which they count
 * together with themselves. */
static uint64_t refcount_bytes(uint64_t clusters, uint64_t cluster_size,
                               uint32_t refcount_bits)
{
	uint64_t per_block = cluster_size * 8 / refcount_bits;
	uint64_t blocks = 0;
	uint64_t table = 0;
	uint64_t total = 0;
	uint64_t last;

	do {
		last = total;
		blocks = qcf_div_ceil(clusters + table + blocks, per_block);
		table = qcf_div_ceil(blocks, cluster_size / 8);
		total = clusters + blocks + table;
	} while (total != last);
	return (blocks + table) * cluster_size;
}

/* Bytes of a full disk's clusters and everything that belongs to them; sizes are
 * below 2^62, so no sum overflows. */
static uint64_t full_size(const struct qcf_geometry *g, uint64_t data_bytes)
{
	uint64_t per_table = g->l2_entry_count;
	uint64_t entries =
		qcf_align_up(data_bytes >> g->cluster_bits, per_table);
	uint64_t tables = qcf_align_up(entries / per_table,
	                               g->cluster_size / sizeof(uint64_t));
	uint64_t bytes = g->cluster_size + entries * g->l2_entry_size +
	                 tables * sizeof(uint64_t) + data_bytes;

	return bytes + refcount_bytes(bytes >> g->cluster_bits, g->cluster_size,
	                              g->refcount_bits);
}

static int luks_bytes(const struct qcowfmt_create_options *o,
                      const struct qcf_geometry *g, uint64_t *bytes,
                      struct qcowfmt_error **errp)
{
	uint64_t len = 0;
	int ret = 0;

	if (o->encryption != NULL)
		ret = qcf_crypto_area_size(o->encryption, &len, errp);
	*bytes = qcf_align_up(len, g->cluster_size);
	return ret;
}

static int measure_qcow2(struct qcowfmt_image *source,
                         const struct qcowfmt_create_options *o,
                         struct qcowfmt_measure_result *result,
                         struct qcowfmt_error **errp)
{
	struct qcf_geometry g;
	uint64_t luks = 0;
	uint64_t all;
	uint64_t data = 0;
	int ret = qcf_geometry_init(
		&g, qcf_create_version(o), qcf_log2(qcf_create_cluster_size(o)),
		qcf_log2(qcf_create_refcount_bits(o)),
		(o->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0, errp);

	if (ret == 0)
		ret = luks_bytes(o, &g, &luks, errp);
	if (ret < 0)
		return ret;
	all = qcf_align_up(o->virtual_size, g.cluster_size);
	if (o->preallocation == QCOWFMT_PREALLOCATION_FULL ||
	    o->preallocation == QCOWFMT_PREALLOCATION_FALLOC ||
	    (source != NULL && o->backing_filename != NULL))
		data = all;
	else if (source != NULL)
		ret = data_of_source(source, g.cluster_size, &data, errp);
	result->fully_allocated = full_size(&g, all) + luks;
	result->required = result->fully_allocated - all + data;
	return ret < 0 ? ret : measure_bitmaps(source, o, result, errp);
}

/* ----------------------------------------------------------------- the operation */

int qcf_measure(struct qcowfmt_image *source,
                const struct qcowfmt_create_options *options,
                struct qcowfmt_measure_result *result,
                struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options o = *options;
	int ret;

	*result = (struct qcowfmt_measure_result){ 0 };
	if (source != NULL)
		o.virtual_size = qcf_image_top(source)->virtual_size;
	if (o.format == QCOWFMT_FORMAT_QCOW)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "images of version 1 cannot be measured");
	ret = qcf_create_check(&o, errp);
	if (ret < 0)
		return ret;
	if (o.format != QCOWFMT_FORMAT_RAW)
		return measure_qcow2(source, &o, result, errp);
	result->required = o.virtual_size;
	result->fully_allocated = o.virtual_size;
	return 0;
}
