/* SPDX-License-Identifier: MIT */
/* convert_pace.c - how far a long operation has come, and how fast it may go */
#include "convert_pace.h"

/* How long nobody is asked whether to go on. */
#define MAX_NAP_NSEC 100000000L

#define NSEC_PER_SEC 1000000000L

void qcf_pace_init(struct qcf_pace *pace, qcowfmt_progress_callback progress,
                   void *opaque, uint64_t rate_limit)
{
	*pace = (struct qcf_pace){
		.progress = progress,
		.opaque = opaque,
		.rate_limit = rate_limit,
	};
	clock_gettime(CLOCK_MONOTONIC, &pace->started);
}

int qcf_pace_poll(struct qcf_pace *pace, struct qcowfmt_error **errp)
{
	if (pace->progress == NULL ||
	    pace->progress(pace->opaque, pace->done, pace->total) == 0)
		return 0;
	return qcf_fail(errp, ECANCELED, QCOWFMT_ERR_CANCELLED,
	                "the operation was cancelled");
}

/* Nanoseconds until what was moved may have been moved; at most one nap. */
static long until_due(const struct qcf_pace *pace)
{
	struct timespec now;
	double due = (double)pace->moved / (double)pace->rate_limit;
	double gone;
	double left;

	clock_gettime(CLOCK_MONOTONIC, &now);
	gone = (double)(now.tv_sec - pace->started.tv_sec) +
	       (double)(now.tv_nsec - pace->started.tv_nsec) / 1e9;
	left = (due - gone) * (double)NSEC_PER_SEC;
	if (left <= 0)
		return 0;
	return left < (double)MAX_NAP_NSEC ? (long)left + 1 : MAX_NAP_NSEC;
}

int qcf_pace_add(struct qcf_pace *pace, uint64_t done, uint64_t moved,
                 struct qcowfmt_error **errp)
{
	int ret;

	pace->done += done;
	pace->moved += moved;
	ret = qcf_pace_poll(pace, errp);
	while (ret == 0 && pace->rate_limit > 0) {
		struct timespec nap = { .tv_nsec = until_due(pace) };

		if (nap.tv_nsec == 0)
			break;
		(void)nanosleep(&nap, NULL);
		ret = qcf_pace_poll(pace, errp);
	}
	return ret;
}
