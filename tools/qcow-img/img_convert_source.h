/* SPDX-License-Identifier: MIT */
/*
 * img_convert_source.h - the disk that "convert" reads: one image, or several
 * one behind the other
 */
#ifndef QCF_IMG_CONVERT_SOURCE_H
#define QCF_IMG_CONVERT_SOURCE_H

#include <stdbool.h>

#include "img_pipe.h"
#include "tool_open.h"
#include "tool_util.h"

struct img_source {
	struct qcowfmt_image **handles;
	struct qcf_tool_open *requests; /* how each was opened */
	struct qcf_image_opts *opts;
	size_t count;
	uint64_t size; /* of all together */
	/* Standard input: */
	char *spooled; /* where it can be opened; NULL: it cannot */
	struct img_pipe pipe;
	bool may_move;  /* set by the caller: an image in it may be read once */
	bool may_take;  /* the same for a raw one, whatever its length */
	bool has_pipe;  /* pipe is in use */
	bool is_moving; /* the only image has to be read in order, once */
	bool is_input;  /* there are no images: all comes from pipe */
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
