/* SPDX-License-Identifier: MIT */
/*
 * img_convert_source.h - the disk that "convert" reads: one image, or several
 * one behind the other
 */
#ifndef QCF_IMG_CONVERT_SOURCE_H
#define QCF_IMG_CONVERT_SOURCE_H

#include <stdbool.h>

#include "tool_open.h"
#include "tool_util.h"

struct img_source {
	struct qcowfmt_image **handles;
	struct qcf_tool_open *requests; /* how each was opened */
	struct qcf_image_opts *opts;
	char *pipe; /* where standard input can be opened; NULL: not used */
	size_t count;
	uint64_t size; /* of all together */
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

#endif
