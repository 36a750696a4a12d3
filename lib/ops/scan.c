/* SPDX-License-Identifier: MIT */
/* scan.c - going through a disk, piece by piece */
#include <string.h>

#include "checked.h"
#include "host_data.h"
#include "read.h"
#include "scan.h"

/*
 * Holes in the file of a raw image are what is not allocated.  In the file of a
 * qcow2 image they are rare, and asking costs system calls, unless much of the
 * file is missing, as after preallocation: two clusters and a tenth of it.
 */
static int shows_holes(struct qcf_layer *layer, bool *shows,
                       struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	uint64_t used = 0;
	uint64_t clusters;
	int ret;

	*shows = layer->meta == NULL;
	if (layer->meta == NULL || layer->format != QCOWFMT_FORMAT_QCOW2 ||
	    layer->meta->header.crypt_method != 0 ||
	    qcf_layer_has_data_file(layer))
		return 0;
	ret = qcf_storage_get_size(layer->storage, &size, errp);
	if (ret == 0)
		ret = qcf_storage_get_allocated(layer->storage, &used, errp);
	if (ret < 0)
		return ret;
	clusters = qcf_clusters_for(&layer->meta->geometry, size);
	used >>= layer->meta->geometry.cluster_bits;
	*shows = clusters >= used + 2 && clusters >= used + used / 9;
	return 0;
}

static int init_layer(struct qcf_layer *layer, bool *shows,
                      struct qcowfmt_error **errp)
{
	int ret = layer->meta == NULL ? 0
	                              : qcf_l2_check_repeats(layer->meta, errp);

	return ret < 0 ? ret : shows_holes(layer, shows, errp);
}

uint64_t qcf_scan_chunk(const struct qcowfmt_image *image)
{
	return qcf_image_top(image)->storage->alignment > 1
	               ? QCF_SCAN_DIRECT_CHUNK
	               : QCF_SCAN_CHUNK;
}

int qcf_scan_init(struct qcf_scan *scan, struct qcowfmt_image *image,
                  struct qcowfmt_error **errp)
{
	int ret = 0;

	*scan = (struct qcf_scan){ .image = image };
	if (image == NULL)
		return 0;
	scan->size = qcf_image_top(image)->virtual_size;
	scan->shows_holes = calloc(image->layer_count, sizeof(bool));
	if (scan->shows_holes == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; i < image->layer_count && ret == 0; i++)
		ret = init_layer(image->layers[i], &scan->shows_holes[i], errp);
	if (ret < 0)
		qcf_scan_fini(scan);
	return ret;
}

void qcf_scan_fini(struct qcf_scan *scan)
{
	free(scan->shows_holes);
	scan->shows_holes = NULL;
}

static enum qcf_content content_of(const struct qcf_scan *scan,
                                   const struct qcf_extent *extent)
{
	switch (extent->run.kind) {
	case QCF_DATA:
	case QCF_COMPRESSED:
		return QCF_CONTENT_DATA;
	case QCF_UNALLOCATED:
		return qcf_extent_is_left_out(scan->image, extent)
		               ? QCF_CONTENT_BELOW
		               : QCF_CONTENT_ZEROS;
	default:
		return QCF_CONTENT_ZEROS;
	}
}

static int look_for_hole(const struct qcf_scan *scan, struct qcf_piece *piece,
                         struct qcowfmt_error **errp)
{
	uint32_t depth = piece->extent.depth;
	struct qcf_layer *layer = scan->image->layers[depth];

	if (piece->extent.run.kind != QCF_DATA || !scan->shows_holes[depth] ||
	    layer->data == NULL)
		return 0;
	return qcf_host_find_hole(layer, piece->extent.run.host_offset,
	                          &piece->length, &piece->is_hole, errp);
}

static int look_up(const struct qcf_scan *scan, uint64_t guest_offset,
                   uint64_t len, struct qcf_piece *piece,
                   struct qcowfmt_error **errp)
{
	int ret;

	*piece = (struct qcf_piece){ .content = QCF_CONTENT_ZEROS,
		                     .length = len };
	if (guest_offset >= scan->size)
		return 0;
	ret = qcf_extent_lookup(scan->image, guest_offset,
	                        QCF_MIN(len, scan->size - guest_offset),
	                        UINT32_MAX, &piece->extent, errp);
	if (ret < 0)
		return ret;
	piece->length = piece->extent.run.length;
	piece->content = content_of(scan, &piece->extent);
	ret = look_for_hole(scan, piece, errp);
	if (piece->is_hole)
		piece->content = QCF_CONTENT_ZEROS;
	return ret;
}

/* What is left of a piece behind its first bytes. */
static struct qcf_piece rest_of(struct qcf_piece piece, uint64_t skip)
{
	piece.length -= skip;
	if (piece.extent.run.kind == QCF_DATA ||
	    piece.extent.run.kind == QCF_ZERO_ALLOCATED)
		piece.extent.run.host_offset += skip;
	return piece;
}

int qcf_scan_piece(struct qcf_scan *scan, uint64_t guest_offset, uint64_t len,
                   struct qcf_piece *piece, struct qcowfmt_error **errp)
{
	int ret = 0;

	if (guest_offset < scan->last_at ||
	    guest_offset - scan->last_at >= scan->last.length) {
		ret = look_up(scan, guest_offset, len, &scan->last, errp);
		scan->last_at = guest_offset;
		if (ret < 0)
			scan->last.length = 0;
	}
	*piece =
		rest_of(scan->last, ret < 0 ? 0 : guest_offset - scan->last_at);
	piece->length = QCF_MIN(piece->length, len);
	return ret;
}

bool qcf_scan_same_place(const struct qcf_scan *a,
                         const struct qcf_piece *piece_a,
                         const struct qcf_scan *b,
                         const struct qcf_piece *piece_b)
{
	const struct qcf_run *run_a = &piece_a->extent.run;
	const struct qcf_run *run_b = &piece_b->extent.run;
	const struct qcf_layer *layer_a;
	const struct qcf_layer *layer_b;

	if (piece_a->content != QCF_CONTENT_DATA ||
	    piece_b->content != QCF_CONTENT_DATA ||
	    run_a->kind != run_b->kind ||
	    run_a->host_offset != run_b->host_offset)
		return false;
	layer_a = a->image->layers[piece_a->extent.depth];
	layer_b = b->image->layers[piece_b->extent.depth];
	/* The same bytes mean the same only by the same rules: format, cluster
	 * size, keys. */
	return layer_a->format == layer_b->format && layer_a->data != NULL &&
	       layer_b->data != NULL &&
	       qcf_storage_is_same(layer_a->data, layer_b->data) &&
	       qcf_storage_is_same(layer_a->storage, layer_b->storage);
}

int qcf_scan_read(const struct qcf_scan *scan, void *buffer,
                  uint64_t guest_offset, uint64_t len,
                  struct qcowfmt_error **errp)
{
	uint64_t inside = guest_offset >= scan->size
	                          ? 0
	                          : QCF_MIN(len, scan->size - guest_offset);
	struct iovec iov = { .iov_base = buffer, .iov_len = inside };

	memset((uint8_t *)buffer + inside, 0, len - inside);
	if (inside == 0)
		return 0;
	return qcf_read_request(scan->image, &iov, 1, guest_offset, inside,
	                        errp);
}
