/* SPDX-License-Identifier: MIT */
/* img_convert_copy.h - moving the data of "convert" from source to target */
#ifndef QCF_IMG_CONVERT_COPY_H
#define QCF_IMG_CONVERT_COPY_H

#include "img_convert_source.h"
#include "img_progress.h"

struct img_copy {
	struct img_source *source;
	struct qcowfmt_image *target;
	uint64_t unit;        /* holes are whole aligned units of this size */
	uint64_t zeros_below; /* from here on the target reads as zeros where
			       * nothing is written */
	bool write_all;       /* leave no holes */
	bool compress;        /* units are clusters then */
	bool out_of_order;    /* write in whatever order data arrives */
	bool write_through;
	bool show_progress;
	uint64_t rate_limit; /* bytes per second, 0 = none */
	unsigned int parallel;
	/* Set on failure: what could not be done. */
	const char *failed_at; /* "reading" or "writing" */
	uint64_t failed_offset;
};

/* Copy everything.  The target holds at least the size of the source. */
int qcf_copy(struct img_copy *copy, struct qcowfmt_error **errp);

#endif
