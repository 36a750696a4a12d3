/* SPDX-License-Identifier: MIT */
/*
 * queue_place.c - where the data of a request is, if that is plain to see
 *
 * The same decisions as those of read.c and write.c, cut down to what needs
 * neither storage nor a claim.  Whatever is in doubt is for them.
 */
#include "queue_place.h"
#include "checked.h"
#include "extent.h"
#include "map.h"
#include "meta_protect.h"

/* The file is known to hold the range: to ask for its length takes a call. */
static bool is_in_file(const struct qcf_layer *layer, uint64_t host_offset,
                       uint64_t len)
{
	return layer->meta == NULL || qcf_layer_has_data_file(layer) ||
	       qcf_range_within(host_offset, len,
	                        atomic_load_explicit(&layer->known_size,
	                                             memory_order_relaxed));
}

static enum qcf_queue_place place_to_read(struct qcowfmt_image *image,
                                          const struct qcf_queue_request *r,
                                          struct qcowfmt_storage **storage,
                                          uint64_t *host_offset)
{
	const struct qcf_layer *top = qcf_image_top(image);
	const struct qcf_layer *layer;
	struct qcf_extent extent;

	/* Reads of encrypted images that change claim their sectors. */
	if (qcf_layer_crypto(top) != NULL ||
	    !qcf_extent_peek(image, r->guest_offset, r->len, &extent))
		return QCF_PLACE_UNKNOWN;
	if (extent.run.kind == QCF_COMPRESSED)
		return QCF_PLACE_UNKNOWN;
	if (extent.run.kind != QCF_DATA)
		return QCF_PLACE_ZEROS;
	layer = image->layers[extent.depth];
	if (layer->data == NULL || qcf_layer_crypto(layer) != NULL ||
	    !is_in_file(layer, extent.run.host_offset, r->len))
		return QCF_PLACE_UNKNOWN;
	*storage = layer->data;
	*host_offset = extent.run.host_offset;
	return QCF_PLACE_HOST;
}

static enum qcf_queue_place place_in_qcow(struct qcf_layer *layer,
                                          const struct qcf_queue_request *r,
                                          struct qcowfmt_storage **storage,
                                          uint64_t *host_offset)
{
	struct qcf_meta *meta = layer->meta;
	struct qcf_run run;

	if (meta->crypto != NULL || meta->bitmaps.count != 0 ||
	    meta->bitmaps.damaged || layer->data == NULL ||
	    !qcf_map_peek(meta, r->guest_offset, r->len, &run))
		return QCF_PLACE_UNKNOWN;
	if (run.kind != QCF_DATA || !run.copied || run.length != r->len ||
	    !is_in_file(layer, run.host_offset, run.length))
		return QCF_PLACE_UNKNOWN;
	if (!meta->geometry.data_file &&
	    qcf_meta_is_metadata(meta, run.host_offset, run.length))
		return QCF_PLACE_UNKNOWN;
	*storage = layer->data;
	*host_offset = run.host_offset;
	return QCF_PLACE_HOST;
}

static enum qcf_queue_place place_to_write(struct qcowfmt_image *image,
                                           const struct qcf_queue_request *r,
                                           struct qcowfmt_storage **storage,
                                           uint64_t *host_offset)
{
	struct qcf_layer *top = qcf_image_top(image);

	if (!qcf_image_takes_writes(image))
		return QCF_PLACE_UNKNOWN;
	if (top->meta != NULL)
		return place_in_qcow(top, r, storage, host_offset);
	/* What a write may make of it has to be looked at. */
	if (top->probed)
		return QCF_PLACE_UNKNOWN;
	*storage = top->data;
	*host_offset = r->guest_offset;
	return QCF_PLACE_HOST;
}

enum qcf_queue_place qcf_queue_find_place(struct qcowfmt_image *image,
                                          const struct qcf_queue_request *r,
                                          struct qcowfmt_storage **storage,
                                          uint64_t *host_offset)
{
	if (image->no_data || r->len == 0 ||
	    !qcf_range_within(r->guest_offset, r->len,
	                      qcf_image_top(image)->virtual_size))
		return QCF_PLACE_UNKNOWN;
	switch (r->operation) {
	case QCF_QUEUE_READ:
		return place_to_read(image, r, storage, host_offset);
	case QCF_QUEUE_WRITE:
		return place_to_write(image, r, storage, host_offset);
	case QCF_QUEUE_ZERO:
	case QCF_QUEUE_DISCARD:
	case QCF_QUEUE_FLUSH:
		break;
	}
	return QCF_PLACE_UNKNOWN;
}
