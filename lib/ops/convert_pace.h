/* SPDX-License-Identifier: MIT */
/* convert_pace.h - how far a long operation has come, and how fast it may go */
#ifndef QCF_CONVERT_PACE_H
#define QCF_CONVERT_PACE_H

#include <time.h>

#include "error.h"

/* Used by the thread that the caller called from, and by no other. */
struct qcf_pace {
	qcowfmt_progress_callback progress; /* NULL: nobody wants to know */
	void *opaque;
	uint64_t done;
	uint64_t total;
	uint64_t rate_limit; /* bytes a second; 0 = none */
	uint64_t moved;      /* bytes so far */
	struct timespec started;
};

void qcf_pace_init(struct qcf_pace *pace, qcowfmt_progress_callback progress,
                   void *opaque, uint64_t rate_limit);

/* Report; -ECANCELED if the callback says so. */
int qcf_pace_poll(struct qcf_pace *pace, struct qcowfmt_error **errp);

/*
 * So much of the total is done, and so many bytes were moved.  Waits until as
 * much time has gone by as they may take.
 */
int qcf_pace_add(struct qcf_pace *pace, uint64_t done, uint64_t moved,
                 struct qcowfmt_error **errp);

/* The same where nothing was moved, and done is all that is done by now. */
static inline int qcf_pace_to(struct qcf_pace *pace, uint64_t done,
                              struct qcowfmt_error **errp)
{
	return qcf_pace_add(pace, done - pace->done, 0, errp);
}

#endif
