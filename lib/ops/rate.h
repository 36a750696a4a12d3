/* SPDX-License-Identifier: MIT */
/* rate.h - not moving more bytes in a second than allowed */
#ifndef QCF_RATE_H
#define QCF_RATE_H

#include <stdint.h>
#include <time.h>

struct qcf_rate {
	uint64_t limit; /* bytes a second; 0 = none */
	uint64_t moved; /* since started */
	struct timespec started;
};

struct qcf_rate qcf_rate_begin(uint64_t limit);

/* len more bytes were moved: wait until they may have been. */
void qcf_rate_wait(struct qcf_rate *rate, uint64_t len);

#endif
