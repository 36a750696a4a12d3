/* SPDX-License-Identifier: MIT */
/*
 * img_convert_source.h - the disk that "convert" reads: one image, or several
 * one behind the other
 *
 * The size of every disk is a whole number of sectors, so each starts at one.
 */
#ifndef QCF_IMG_CONVERT_SOURCE_H
#define QCF_IMG_CONVERT_SOURCE_H

#include <stdbool.h>

#include "tool_open.h"
#include "tool_util.h"

/* What has to be done about a range. */
enum img_content {
	CONTENT_DATA, /* has to be read */
	CONTENT_ZERO, /* reads as zeros */
	CONTENT_BASE, /* comes from below the top image of the source */
};

#define EXTENTS_PER_CALL 256

struct img_source_image {
	struct qcowfmt_image *image;
	struct qcf_image_opts opts;
	uint64_t start; /* in the whole disk */
	uint64_t size;
	uint64_t backing_size; /* 0 without a backing file */
	uint32_t hole_flags;   /* QCOWFMT_MAP_HOLES if it is worth asking */
};

struct img_source {
	struct img_source_image *images;
	size_t count;
	uint64_t size;
	bool keep_base; /* tell CONTENT_BASE apart, for a target whose backing
			 * file has the same content */
	/* Extents read ahead of the last question. */
	struct qcowfmt_extent extents[EXTENTS_PER_CALL];
	const struct img_source_image *extents_of;
	int extent_count;
	int extent_next;
};

/*
 * Open the images named, or with image_opts described, by names[0 ... count -
 * 1]; prints why if it cannot.
 */
bool qcf_source_open(struct img_source *source,
                     const struct qcf_tool_open *request, bool image_opts,
                     char **names, size_t count);
void qcf_source_close(struct img_source *source);

/* Whether a file is one of those that are open, backing and data files
 * included. */
bool qcf_source_uses_file(const struct img_source *source, const char *path);

/*
 * What lies at offset, and up to where all is the same.  Best asked in order
 * of offsets.  Not for several threads at once.
 */
int qcf_source_content(struct img_source *source, uint64_t offset,
                       enum img_content *content, uint64_t *end,
                       struct qcowfmt_error **errp);

/* Read a range; for any number of threads. */
int qcf_source_read(const struct img_source *source, void *buffer, size_t len,
                    uint64_t offset, struct qcowfmt_error **errp);

#endif
