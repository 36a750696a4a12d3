/* SPDX-License-Identifier: MIT */
/*
 * img_progress.h - how far a long command has come
 *
 * On request a line that is rewritten on standard output; and on SIGUSR1,
 * which would end the program otherwise, one line on standard error.
 */
#ifndef QCF_IMG_PROGRESS_H
#define QCF_IMG_PROGRESS_H

#include <stdbool.h>

#include "tool_util.h"

struct img_progress {
	bool is_shown;
	double shown; /* percentage printed last */
	uint64_t done;
	uint64_t total;
};

void qcf_progress_begin(struct img_progress *progress, bool is_shown,
                        uint64_t total);
void qcf_progress_add(struct img_progress *progress, uint64_t amount);

/* success: all is done, whatever was counted. */
void qcf_progress_end(struct img_progress *progress, bool success);

#endif
