/* SPDX-License-Identifier: MIT */
/* describe.c - what an image is, and where its guest data lives */
#include "describe.h"
#include "extent.h"
#include "host_data.h"

/* -------------------------------------------------------------------- info */

static void describe_meta(struct qcf_meta *meta, struct qcowfmt_info *info)
{
	const struct qcf_header *h = &meta->header;
	uint64_t incompatible = atomic_load(&meta->incompatible);

	info->cluster_size = meta->geometry.cluster_size;
	info->version = h->version;
	info->refcount_bits = meta->geometry.refcount_bits;
	info->incompatible_features = incompatible;
	info->compatible_features = h->compatible_features;
	info->autoclear_features = h->autoclear_features;
	info->compression_type = h->compression_type;
	info->snapshot_count = h->snapshot_count;
	info->backing_filename = h->backing_name;
	info->backing_format = h->backing_format;
	if ((incompatible & QCF_INCOMPAT_DIRTY) != 0)
		info->flags |= QCOWFMT_INFO_DIRTY;
	if ((incompatible & QCF_INCOMPAT_CORRUPT) != 0)
		info->flags |= QCOWFMT_INFO_CORRUPT;
	if ((incompatible & QCF_INCOMPAT_EXTENDED_L2) != 0)
		info->flags |= QCOWFMT_INFO_EXTENDED_L2;
	if ((h->compatible_features & QCF_COMPAT_LAZY_REFCOUNTS) != 0)
		info->flags |= QCOWFMT_INFO_LAZY_REFCOUNTS;
	if (h->crypt_method != 0)
		info->flags |= QCOWFMT_INFO_ENCRYPTED;
	info->encryption = (int32_t)h->crypt_method;
	if ((incompatible & QCF_INCOMPAT_DATA_FILE) == 0)
		return;
	info->flags |= QCOWFMT_INFO_DATA_FILE;
	info->data_filename = h->data_file_name;
	if ((h->autoclear_features & QCF_AUTOCLEAR_RAW_DATA_FILE) != 0)
		info->flags |= QCOWFMT_INFO_DATA_FILE_RAW;
}

static int describe_layer(const struct qcowfmt_image *image,
                          struct qcf_layer *layer, struct qcowfmt_info *info,
                          struct qcowfmt_error **errp)
{
	int ret;

	*info = (struct qcowfmt_info){
		.struct_size = info->struct_size,
		.virtual_size = layer->virtual_size,
		.format = layer->format,
		.filename = layer->storage->name,
		.full_backing_filename = layer->backing_path,
		.chain_depth = image->layer_count,
		.flags = layer->writable ? 0 : QCOWFMT_INFO_READ_ONLY,
	};
	if (layer->meta != NULL)
		describe_meta(layer->meta, info);
	ret = qcf_storage_get_size(layer->storage, &info->file_size, errp);
	return ret < 0 ? ret
	               : qcf_storage_get_allocated(layer->storage,
	                                           &info->allocated_size, errp);
}

/* As a request, because an operation on the whole image may change its header. */
int qcf_describe(struct qcowfmt_image *image, uint32_t depth,
                 struct qcowfmt_info *info, struct qcowfmt_error **errp)
{
	struct qcf_request request;
	struct qcf_layer *layer;
	int ret = qcf_image_layer(image, depth, &layer, errp);

	if (ret < 0)
		return ret;
	qcf_request_begin_read(&request, image);
	ret = describe_layer(image, layer, info, errp);
	qcf_request_end(&request);
	return ret;
}

/* --------------------------------------------------------------------- map */

static int extent_kind(enum qcf_kind kind)
{
	switch (kind) {
	case QCF_UNALLOCATED:
		return QCOWFMT_EXTENT_UNALLOCATED;
	case QCF_DATA:
		return QCOWFMT_EXTENT_DATA;
	case QCF_ZERO_PLAIN:
	case QCF_ZERO_ALLOCATED:
		return QCOWFMT_EXTENT_ZERO;
	case QCF_COMPRESSED:
		return QCOWFMT_EXTENT_COMPRESSED;
	}
	return QCOWFMT_EXTENT_UNALLOCATED;
}

/* Compressed clusters are never encrypted. */
static bool is_encrypted(const struct qcf_layer *layer,
                         const struct qcf_run *run)
{
	return run->kind == QCF_DATA && layer->meta != NULL &&
	       layer->meta->header.crypt_method != 0;
}

static struct qcowfmt_extent public_extent(const struct qcf_layer *layer,
                                           const struct qcf_extent *extent,
                                           uint64_t guest_offset)
{
	const struct qcf_run *run = &extent->run;
	struct qcowfmt_extent out = {
		.guest_offset = guest_offset,
		.length = run->length,
		.host_offset = QCOWFMT_NO_OFFSET,
		.kind = extent_kind(run->kind),
		.depth = extent->depth,
	};

	if (run->kind == QCF_DATA || run->kind == QCF_ZERO_ALLOCATED) {
		out.host_offset = run->host_offset;
		out.flags |= QCOWFMT_EXTENT_HOST_OFFSET;
	}
	if (run->kind == QCF_DATA && run->copied && extent->depth == 0)
		out.flags |= QCOWFMT_EXTENT_IN_PLACE;
	if (is_encrypted(layer, run))
		out.flags |= QCOWFMT_EXTENT_ENCRYPTED;
	return out;
}

/* Zeros in the file are not zeros for the guest if they are to be decrypted. */
static bool can_be_hole(const struct qcowfmt_extent *extent)
{
	return extent->kind == QCOWFMT_EXTENT_DATA &&
	       (extent->flags & QCOWFMT_EXTENT_ENCRYPTED) == 0;
}

/* Cut a data extent to where the host file changes between data and hole. */
static int look_for_hole(struct qcf_layer *layer, struct qcowfmt_extent *extent,
                         struct qcowfmt_error **errp)
{
	bool is_hole = false;
	int ret = qcf_host_find_hole(layer, extent->host_offset,
	                             &extent->length, &is_hole, errp);

	if (is_hole)
		extent->flags |= QCOWFMT_EXTENT_HOLE;
	return ret;
}

static int check_repeats(struct qcowfmt_image *image,
                         struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < image->layer_count; i++) {
		struct qcf_meta *meta = image->layers[i]->meta;

		ret = meta == NULL ? 0 : qcf_l2_check_repeats(meta, errp);
	}
	return ret;
}

int qcf_describe_map(struct qcowfmt_image *image, uint64_t guest_offset,
                     uint64_t len, uint32_t flags,
                     struct qcowfmt_extent *extents, int max,
                     struct qcowfmt_error **errp)
{
	uint32_t last = (flags & QCOWFMT_MAP_TOP) != 0 ? 0 : UINT32_MAX;
	int count = 0;
	int ret = check_repeats(image, errp);

	if (ret < 0)
		return ret;
	while (count < max && len > 0) {
		struct qcf_extent extent;
		struct qcf_layer *layer;
		struct qcowfmt_extent *out = &extents[count];

		ret = qcf_extent_lookup(image, guest_offset, len, last, &extent,
		                        errp);
		if (ret < 0)
			return ret;
		layer = image->layers[extent.depth];
		*out = public_extent(layer, &extent, guest_offset);
		if ((flags & QCOWFMT_MAP_HOLES) != 0 && can_be_hole(out) &&
		    layer->data != NULL)
			ret = look_for_hole(layer, out, errp);
		if (ret < 0)
			return ret;
		guest_offset += out->length;
		len -= out->length;
		count++;
	}
	return count;
}
