/* SPDX-License-Identifier: MIT */
/* rate.c - not moving more bytes in a second than allowed */
#include <errno.h>

#include "rate.h"

#define NSEC UINT64_C(1000000000)

struct qcf_rate qcf_rate_begin(uint64_t limit)
{
	struct qcf_rate rate = { .limit = limit };

	(void)clock_gettime(CLOCK_MONOTONIC, &rate.started);
	return rate;
}

void qcf_rate_wait(struct qcf_rate *rate, uint64_t len)
{
	struct timespec due = rate->started;
	double rest;

	rate->moved += len;
	if (rate->limit == 0)
		return;
	rest = (double)(rate->moved % rate->limit) / (double)rate->limit;
	due.tv_sec += (time_t)(rate->moved / rate->limit);
	due.tv_nsec += (long)(rest * (double)NSEC);
	if (due.tv_nsec >= (long)NSEC) {
		due.tv_nsec -= (long)NSEC;
		due.tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) ==
	       EINTR)
		continue;
}
