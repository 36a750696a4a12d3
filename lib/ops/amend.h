/* SPDX-License-Identifier: MIT */
/* amend.h - changing properties of an image */
#ifndef QCF_AMEND_H
#define QCF_AMEND_H

#include "image.h"

/* An amendment that is under way; the gate is closed. */
struct qcf_amending {
	struct qcf_layer *layer;
	struct qcf_meta *meta;
	const struct qcowfmt_amend_options *options;
	uint64_t done; /* units of work, for the progress callback */
	uint64_t total;
};

/* As qcowfmt_amend(), options copied. */
int qcf_amend(struct qcowfmt_image *image,
              const struct qcowfmt_amend_options *options,
              struct qcowfmt_error **errp);

/* So much more has been done: tell the callback; -ECANCELED if it says so. */
int qcf_amend_progress(struct qcf_amending *a, uint64_t amount,
                       struct qcowfmt_error **errp);

#endif
