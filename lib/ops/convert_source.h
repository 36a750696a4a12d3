/* SPDX-License-Identifier: MIT */
/*
 * convert_source.h - the disk that convert reads: one image, or several one
 * behind the other
 */
#ifndef QCF_CONVERT_SOURCE_H
#define QCF_CONVERT_SOURCE_H

#include "convert_input.h"
#include "image.h"

/* What has to be done about a range. */
enum qcf_source_content {
	QCF_SOURCE_DATA, /* has to be read */
	QCF_SOURCE_ZERO, /* reads as zeros */
	QCF_SOURCE_LEFT, /* is not to be copied */
};

#define QCF_SOURCE_EXTENTS 128 /* looked up at once */

struct qcf_source_image {
	struct qcowfmt_image *image;
	uint64_t start; /* in the whole disk */
	uint64_t size;
	uint64_t left_below; /* what the top image leaves to its backing file is
			      * not copied below this offset */
	uint32_t map_flags;
};

struct qcf_source {
	struct qcf_source_image *images; /* owned */
	size_t count;
	struct qcf_input *input; /* in place of images; NULL: there is none */
	uint64_t size;           /* with input, no more than that */
	/* Extents read ahead of the last question; for the planner. */
	struct qcowfmt_extent extents[QCF_SOURCE_EXTENTS];
	const struct qcf_source_image *extents_of;
	int extent_count;
	int extent_next;
};

/*
 * The images stay the caller's.  With top_only, what the top image of each
 * leaves to its backing file is not to be copied.
 */
int qcf_source_init(struct qcf_source *source,
                    struct qcowfmt_image *const *images, size_t count,
                    bool top_only, struct qcowfmt_error **errp);
/* A source of unknown length, of at most size bytes. */
void qcf_source_init_input(struct qcf_source *source, struct qcf_input *input,
                           uint64_t size);
void qcf_source_fini(struct qcf_source *source);

/*
 * What lies at offset, and up to where all is the same.  Best asked in order
 * of offsets.  Not for several threads at once.
 */
int qcf_source_content(struct qcf_source *source, uint64_t offset,
                       enum qcf_source_content *content, uint64_t *end,
                       struct qcowfmt_error **errp);

/* The image that an offset of the disk lies in; for any number of threads, as
 * the next. */
const struct qcf_source_image *qcf_source_image_at(
	const struct qcf_source *source, uint64_t offset);

int qcf_source_read(const struct qcf_source *source, void *buffer, uint64_t len,
                    uint64_t offset, struct qcowfmt_error **errp);

#endif
