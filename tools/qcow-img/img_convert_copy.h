/* SPDX-License-Identifier: MIT */
/* img_convert_copy.h - moving the data of "convert" from source to target */
#ifndef QCF_IMG_CONVERT_COPY_H
#define QCF_IMG_CONVERT_COPY_H

#include "img_convert_target.h"
#include "img_progress.h"

/* A copy that is going on. */
struct img_copy {
	const struct img_convert_request *request;
	struct qcowfmt_convert_options options;
	struct qcowfmt_convert_result result;
	struct img_progress progress;
	struct qcowfmt_error *error;
};

/* Fill in the options, with additional flags, and begin to show progress.  The
 * structure must stay where it is. */
void qcf_copy_begin(struct img_copy *copy, const struct img_convert_request *r,
                    const struct img_source *source, uint32_t flags);

/* ret is how it ended; false, with a message, if it failed. */
bool qcf_copy_end(struct img_copy *copy, int ret);

/* Copy everything into a target; false with a message. */
bool qcf_copy(const struct img_convert_request *r,
              const struct img_source *source, struct qcowfmt_image *target);

#endif
