/* SPDX-License-Identifier: MIT */
/* progress.h - telling the caller how far a long operation has come */
#ifndef QCF_PROGRESS_H
#define QCF_PROGRESS_H

#include "error.h"

struct qcf_progress {
	qcowfmt_progress_callback callback; /* NULL: nobody asks */
	void *opaque;
	uint64_t done;
	uint64_t total;
};

/*
 * Report that done units are over.  -ECANCELED and CANCELLED if the caller does
 * not want to go on.
 */
static inline int qcf_progress_to(struct qcf_progress *progress, uint64_t done,
                                  struct qcowfmt_error **errp)
{
	progress->done = done;
	if (progress->callback == NULL ||
	    progress->callback(progress->opaque, done, progress->total) == 0)
		return 0;
	return qcf_fail(errp, ECANCELED, QCOWFMT_ERR_CANCELLED,
	                "the progress callback asked to stop");
}

#endif
