/* SPDX-License-Identifier: MIT */
/* img_convert_source.c - the disk that "convert" reads */
#include "img_convert_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "img_holes.h"
#include "tool_error.h"

static bool open_image(struct img_source *source,
                       const struct qcf_tool_open *request, bool image_opts,
                       const char *name)
{
	struct img_source_image *image = &source->images[source->count];
	struct qcowfmt_info below = { .struct_size = sizeof(below) };
	struct qcf_tool_open open = *request;
	QCF_AUTO_FREE char *reason = NULL;

	source->count++;
	if (!qcf_tool_take_image(&open, &image->opts, image_opts, name))
		return false;
	if (qcf_tool_open(&open, &image->image, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", name, reason);
		return false;
	}
	image->size = qcowfmt_get_size(image->image);
	image->start = source->size;
	image->hole_flags = qcf_hole_flags(image->image);
	if (image->size > INT64_MAX - source->size) {
		qcf_tool_error("The images are too large together");
		return false;
	}
	source->size += image->size;
	if (qcowfmt_get_info(image->image, 1, &below, NULL) == 0)
		image->backing_size = below.virtual_size;
	return true;
}

bool qcf_source_open(struct img_source *source,
                     const struct qcf_tool_open *request, bool image_opts,
                     char **names, size_t count)
{
	size_t i;

	source->images = qcf_tool_alloc(count * sizeof(*source->images));
	for (i = 0; i < count; i++) {
		if (!open_image(source, request, image_opts, names[i]))
			return false;
	}
	return true;
}

void qcf_source_close(struct img_source *source)
{
	size_t i;

	for (i = 0; i < source->count; i++) {
		(void)qcowfmt_close(source->images[i].image, NULL);
		qcf_image_opts_fini(&source->images[i].opts);
	}
	free(source->images);
	source->images = NULL;
	source->count = 0;
}

static bool is_file(const char *path, const struct stat *st)
{
	struct stat used;

	return path != NULL && stat(path, &used) == 0 &&
	       used.st_dev == st->st_dev && used.st_ino == st->st_ino;
}

static bool chain_uses_file(struct qcowfmt_image *image, const struct stat *st)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint32_t depth;

	for (depth = 0; qcowfmt_get_info(image, depth, &info, NULL) == 0;
	     depth++) {
		if (is_file(info.filename, st) ||
		    is_file(info.data_filename, st))
			return true;
	}
	return false;
}

bool qcf_source_uses_file(const struct img_source *source, const char *path)
{
	struct stat st;
	size_t i;

	if (stat(path, &st) < 0)
		return false;
	for (i = 0; i < source->count; i++) {
		if (chain_uses_file(source->images[i].image, &st) ||
		    is_file(source->images[i].opts.data_path, &st))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------- content */

/* The image that an offset of the disk lies in. */
static const struct img_source_image *find_image(const struct img_source *s,
                                                 uint64_t offset)
{
	size_t i = 0;

	while (offset - s->images[i].start >= s->images[i].size)
		i++;
	return &s->images[i];
}

static enum img_content classify(const struct img_source *s,
                                 const struct img_source_image *image,
                                 const struct qcowfmt_extent *extent)
{
	switch (extent->kind) {
	case QCOWFMT_EXTENT_UNALLOCATED:
		return s->keep_base && extent->guest_offset <
		                               image->backing_size
		               ? CONTENT_BASE
		               : CONTENT_ZERO;
	case QCOWFMT_EXTENT_ZERO:
		return CONTENT_ZERO;
	default:
		/* A hole in ciphertext is noise. */
		return (extent->flags &
		        (QCOWFMT_EXTENT_HOLE | QCOWFMT_EXTENT_ENCRYPTED)) ==
		                       QCOWFMT_EXTENT_HOLE
		               ? CONTENT_ZERO
		               : CONTENT_DATA;
	}
}

/* What is left to the backing file ends where that one ends. */
static uint64_t extent_end(const struct img_source *s,
                           const struct img_source_image *image,
                           const struct qcowfmt_extent *extent)
{
	uint64_t end = extent->guest_offset + extent->length;

	if (classify(s, image, extent) == CONTENT_BASE)
		end = qcf_min(end, image->backing_size);
	return end;
}

static int load_extents(struct img_source *s,
                        const struct img_source_image *image, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	uint32_t flags =
		image->hole_flags | (s->keep_base ? QCOWFMT_MAP_TOP : 0);
	int count = qcowfmt_map(image->image, offset, image->size - offset,
	                        flags, s->extents, EXTENTS_PER_CALL, errp);

	if (count < 0)
		return count;
	s->extents_of = image;
	s->extent_count = count;
	s->extent_next = 0;
	return 0;
}

/* Look for an offset among the extents that were read ahead. */
static bool find_loaded(struct img_source *s,
                        const struct img_source_image *image, uint64_t offset)
{
	if (s->extents_of != image || offset < s->extents[0].guest_offset)
		return false;
	while (s->extent_next > 0 &&
	       offset < s->extents[s->extent_next].guest_offset)
		s->extent_next--;
	for (; s->extent_next < s->extent_count; s->extent_next++) {
		const struct qcowfmt_extent *e = &s->extents[s->extent_next];

		if (offset - e->guest_offset < e->length)
			return true;
	}
	s->extent_next = s->extent_count - 1;
	return false;
}

/* The extent that holds an offset of an image. */
static int find_extent(struct img_source *s,
                       const struct img_source_image *image, uint64_t offset,
                       struct qcowfmt_extent *extent,
                       struct qcowfmt_error **errp)
{
	int ret = 0;

	if (!find_loaded(s, image, offset))
		ret = load_extents(s, image, offset, errp);
	if (ret == 0)
		*extent = s->extents[s->extent_next];
	return ret;
}

int qcf_source_content(struct img_source *source, uint64_t offset,
                       enum img_content *content, uint64_t *end,
                       struct qcowfmt_error **errp)
{
	const struct img_source_image *image = find_image(source, offset);
	uint64_t inner = offset - image->start;
	struct qcowfmt_extent extent;
	int ret;

	ret = find_extent(source, image, inner, &extent, errp);
	if (ret < 0)
		return ret;
	/* The part behind the end of the backing file counts on its own. */
	extent.length -= inner - extent.guest_offset;
	extent.guest_offset = inner;
	*content = classify(source, image, &extent);
	*end = image->start + extent_end(source, image, &extent);
	return 0;
}

int qcf_source_read(const struct img_source *source, void *buffer, size_t len,
                    uint64_t offset, struct qcowfmt_error **errp)
{
	char *to = buffer;
	int ret = 0;

	while (ret == 0 && len > 0) {
		const struct img_source_image *image =
			find_image(source, offset);
		uint64_t inner = offset - image->start;
		size_t part = (size_t)qcf_min(len, image->size - inner);

		ret = qcowfmt_pread(image->image, to, part, inner, errp);
		to += part;
		offset += part;
		len -= part;
	}
	return ret;
}
