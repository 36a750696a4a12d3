/* SPDX-License-Identifier: MIT */
/*
 * extent.c - guest range to extent, through the backing chain
 *
 * Each layer either answers or hands the range, cut to the part it is silent
 * about, to the next one below, or to the one that is known to be the next to have
 * something (chain_skip.h).  VM state, behind the disk, is in the first layer only.
 * A loop, not a recursion: chains can be long.
 */
#include <errno.h>

#include "checked.h"
#include "extent.h"
#include "map.h"

static int lookup_in_layer(struct qcf_layer *layer, uint64_t guest_offset,
                           uint64_t len, struct qcf_run *run,
                           struct qcowfmt_error **errp)
{
	if (layer->meta != NULL)
		return qcf_map_lookup(layer->meta, guest_offset, len, run,
		                      errp);
	*run = (struct qcf_run){
		.kind = QCF_DATA,
		.length = len,
		.host_offset = guest_offset,
		.copied = layer->writable,
	};
	return 0;
}

/*
 * The layer to be asked after one that has nothing for a range; known is set to it
 * when that was the first one.
 */
static inline uint32_t next_layer(const struct qcowfmt_image *image,
                                  uint32_t depth, uint64_t guest_offset,
                                  uint64_t len, uint32_t *known)
{
	if (depth > 0 || !qcf_chain_skip_is_used(&image->skip))
		return depth + 1;
	*known = qcf_chain_skip_first(&image->skip, guest_offset, len);
	return *known;
}

/* Remember how deep an extent is, if more was asked than what was known. */
static inline void note_depth(struct qcowfmt_image *image,
                              uint64_t guest_offset,
                              const struct qcf_extent *extent, uint32_t known)
{
	if (extent->depth > known)
		qcf_chain_skip_note(&image->skip, image->layers, guest_offset,
		                    extent->run.length, extent->depth);
}

bool qcf_extent_peek(struct qcowfmt_image *image, uint64_t guest_offset,
                     uint64_t len, struct qcf_extent *extent)
{
	uint32_t known = 1;

	extent->depth = 0;
	extent->run = (struct qcf_run){ .length = len };
	for (uint32_t i = 0; i < image->layer_count;) {
		struct qcf_layer *layer = image->layers[i];
		uint64_t size = layer->virtual_size;

		if (guest_offset >= size)
			break;
		if (!qcf_range_within(guest_offset, len, size))
			return false;
		if (layer->meta == NULL)
			(void)lookup_in_layer(layer, guest_offset, len,
			                      &extent->run, NULL);
		else if (!qcf_map_peek(layer->meta, guest_offset, len,
		                       &extent->run))
			return false;
		extent->depth = i;
		if (extent->run.kind != QCF_UNALLOCATED ||
		    extent->run.length < len)
			break;
		i = next_layer(image, i, guest_offset, len, &known);
	}
	note_depth(image, guest_offset, extent, known);
	return extent->run.length == len &&
	       !qcf_extent_is_left_out(image, extent);
}

int qcf_extent_lookup(struct qcowfmt_image *image, uint64_t guest_offset,
                      uint64_t len, uint32_t last, struct qcf_extent *extent,
                      struct qcowfmt_error **errp)
{
	uint32_t known = 1;

	extent->depth = 0;
	extent->run = (struct qcf_run){ .length = len };
	if (qcf_layer_is_vm_state(qcf_image_top(image), guest_offset))
		return lookup_in_layer(qcf_image_top(image), guest_offset, len,
		                       &extent->run, errp);
	for (uint32_t i = 0; i < image->layer_count && i <= last;) {
		struct qcf_layer *layer = image->layers[i];
		int ret;

		if (guest_offset >= layer->virtual_size)
			break;
		len = QCF_MIN(extent->run.length,
		              layer->virtual_size - guest_offset);
		ret = lookup_in_layer(layer, guest_offset, len, &extent->run,
		                      errp);
		if (ret < 0)
			return qcf_wrap(errp, layer->storage->name, ret);
		extent->depth = i;
		if (extent->run.kind != QCF_UNALLOCATED)
			break;
		i = next_layer(image, i, guest_offset, extent->run.length,
		               &known);
	}
	note_depth(image, guest_offset, extent, known);
	return 0;
}

bool qcf_extent_is_left_out(const struct qcowfmt_image *image,
                            const struct qcf_extent *extent)
{
	return image->incomplete && extent->run.kind == QCF_UNALLOCATED &&
	       extent->depth + 1 == image->layer_count;
}

int qcf_extent_lookup_chain(struct qcowfmt_image *image, uint64_t guest_offset,
                            uint64_t len, struct qcf_extent *extent,
                            struct qcowfmt_error **errp)
{
	int ret = qcf_extent_lookup(image, guest_offset, len, UINT32_MAX,
	                            extent, errp);

	if (ret == 0 && qcf_extent_is_left_out(image, extent) &&
	    !qcf_layer_is_vm_state(qcf_image_top(image), guest_offset)) {
		ret = qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_REFUSED,
		               "%s: the range comes from the backing file, "
		               "which was left out when the image was opened",
		               image->layers[extent->depth]->storage->name);
		qcf_error_at_guest(errp, guest_offset);
	}
	return ret;
}

int qcf_extent_is_zero(struct qcowfmt_image *image, uint64_t guest_offset,
                       uint64_t len, bool *is_zero, struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);
	uint64_t end = guest_offset + len;

	if (!qcf_layer_is_vm_state(top, guest_offset))
		end = QCF_MIN(end, top->virtual_size);
	*is_zero = true;
	while (guest_offset < end) {
		struct qcf_extent extent;
		int ret = qcf_extent_lookup_chain(
			image, guest_offset, end - guest_offset, &extent, errp);

		if (ret < 0)
			return ret;
		if (extent.run.kind == QCF_DATA ||
		    extent.run.kind == QCF_COMPRESSED) {
			*is_zero = false;
			return 0;
		}
		guest_offset += extent.run.length;
	}
	return 0;
}
