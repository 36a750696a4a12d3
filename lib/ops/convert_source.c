/* SPDX-License-Identifier: MIT */
/*
 * convert_source.c - the disk that convert reads
 *
 * The size of every disk is a whole number of sectors, so each starts at one.
 */
#include <errno.h>

#include "checked.h"
#include "convert_source.h"
#include "describe.h"
#include "holes.h"
#include "read.h"

static int add_image(struct qcf_source *source, struct qcowfmt_image *image,
                     bool top_only, struct qcowfmt_error **errp)
{
	struct qcf_source_image *new_image = &source->images[source->count];
	uint64_t size = qcf_image_top(image)->virtual_size;

	if (size > INT64_MAX - source->size)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "the images are too large together");
	*new_image = (struct qcf_source_image){
		.image = image,
		.start = source->size,
		.size = size,
		.map_flags = qcf_hole_map_flags(image),
	};
	if (top_only)
		new_image->map_flags |= QCOWFMT_MAP_TOP;
	if (top_only && image->incomplete)
		new_image->left_below = UINT64_MAX;
	else if (top_only && image->layer_count > 1)
		new_image->left_below = image->layers[1]->virtual_size;
	source->size += size;
	source->count++;
	return 0;
}

int qcf_source_init(struct qcf_source *source,
                    struct qcowfmt_image *const *images, size_t count,
                    bool top_only, struct qcowfmt_error **errp)
{
	int ret = 0;

	*source = (struct qcf_source){
		.images = calloc(count, sizeof(*source->images)),
	};
	if (source->images == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = add_image(source, images[i], top_only, errp);
	if (ret < 0)
		qcf_source_fini(source);
	return ret;
}

void qcf_source_init_input(struct qcf_source *source, struct qcf_input *input,
                           uint64_t size)
{
	*source = (struct qcf_source){ .input = input, .size = size };
}

void qcf_source_fini(struct qcf_source *source)
{
	free(source->images);
	source->images = NULL;
}

const struct qcf_source_image *qcf_source_image_at(
	const struct qcf_source *source, uint64_t offset)
{
	size_t first = 0;
	size_t end = source->count;

	/* The last one that starts at or before offset; empty ones in front of
	 * it start there, too. */
	while (end - first > 1) {
		size_t middle = first + (end - first) / 2;

		if (source->images[middle].start <= offset)
			first = middle;
		else
			end = middle;
	}
	return &source->images[first];
}

/* ----------------------------------------------------------------- content */

static enum qcf_source_content classify(const struct qcf_source_image *image,
                                        const struct qcowfmt_extent *extent)
{
	switch (extent->kind) {
	case QCOWFMT_EXTENT_UNALLOCATED:
		if (extent->guest_offset < image->left_below)
			return QCF_SOURCE_LEFT;
		/* What a file has that was not opened cannot be read, which
		 * reading will say. */
		return image->image->incomplete ? QCF_SOURCE_DATA
		                                : QCF_SOURCE_ZERO;
	case QCOWFMT_EXTENT_ZERO:
		return QCF_SOURCE_ZERO;
	default:
		/* A hole in ciphertext is noise. */
		return (extent->flags &
		        (QCOWFMT_EXTENT_HOLE | QCOWFMT_EXTENT_ENCRYPTED)) ==
		                       QCOWFMT_EXTENT_HOLE
		               ? QCF_SOURCE_ZERO
		               : QCF_SOURCE_DATA;
	}
}

static int load_extents(struct qcf_source *source,
                        const struct qcf_source_image *image, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	struct qcf_request request;
	int count;

	qcf_request_begin_read(&request, image->image);
	count = qcf_describe_map(image->image, offset, image->size - offset,
	                         image->map_flags, source->extents,
	                         QCF_SOURCE_EXTENTS, errp);
	qcf_request_end(&request);
	if (count < 0)
		return count;
	source->extents_of = image;
	source->extent_count = count;
	source->extent_next = 0;
	return 0;
}

/* Look for an offset among the extents that were read ahead. */
static bool find_loaded(struct qcf_source *source,
                        const struct qcf_source_image *image, uint64_t offset)
{
	if (source->extents_of != image ||
	    offset < source->extents[0].guest_offset)
		return false;
	while (source->extent_next > 0 &&
	       offset < source->extents[source->extent_next].guest_offset)
		source->extent_next--;
	for (; source->extent_next < source->extent_count;
	     source->extent_next++) {
		const struct qcowfmt_extent *e =
			&source->extents[source->extent_next];

		if (offset - e->guest_offset < e->length)
			return true;
	}
	source->extent_next = source->extent_count - 1;
	return false;
}

int qcf_source_content(struct qcf_source *source, uint64_t offset,
                       enum qcf_source_content *content, uint64_t *end,
                       struct qcowfmt_error **errp)
{
	const struct qcf_source_image *image =
		qcf_source_image_at(source, offset);
	uint64_t inner = offset - image->start;
	struct qcowfmt_extent extent;
	uint64_t extent_end;

	if (!find_loaded(source, image, inner)) {
		int ret = load_extents(source, image, inner, errp);

		if (ret < 0)
			return ret;
	}
	extent = source->extents[source->extent_next];
	extent_end = extent.guest_offset + extent.length;
	/* The part behind the end of the backing file counts on its own. */
	extent.guest_offset = inner;
	*content = classify(image, &extent);
	if (*content == QCF_SOURCE_LEFT)
		extent_end = QCF_MIN(extent_end, image->left_below);
	*end = image->start + extent_end;
	return 0;
}

/* ----------------------------------------------------------------- reading */

static int read_image(struct qcowfmt_image *image, void *buffer, uint64_t len,
                      uint64_t offset, struct qcowfmt_error **errp)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = len };
	struct qcf_request request;
	int ret;

	qcf_request_begin_read(&request, image);
	ret = qcf_image_check_range(image, offset, len, errp);
	if (ret == 0)
		ret = qcf_read_request(image, &iov, 1, offset, len, errp);
	qcf_request_end(&request);
	return ret;
}

int qcf_source_read(const struct qcf_source *source, void *buffer, uint64_t len,
                    uint64_t offset, struct qcowfmt_error **errp)
{
	uint8_t *to = buffer;
	int ret = 0;

	while (ret == 0 && len > 0) {
		const struct qcf_source_image *image =
			qcf_source_image_at(source, offset);
		uint64_t inner = offset - image->start;
		uint64_t part = QCF_MIN(len, image->size - inner);

		ret = read_image(image->image, to, part, inner, errp);
		to += part;
		offset += part;
		len -= part;
	}
	return ret;
}
