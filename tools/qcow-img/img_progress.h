/* SPDX-License-Identifier: MIT */
/*
 * img_progress.h - how far a long command has come
 *
 * On request (-p, --progress): on a terminal a bar, elsewhere the lines of
 * QEMU's program, "    (12.34/100%)" and a carriage return.  With
 * --progress=json each report is a JSON object on a line of its own:
 *
 *     {"done": 1048576, "total": 4194304, "percent": 25.00}
 *     {"done": 4194304, "total": 4194304, "percent": 100.00, "finished": true}
 *
 * The last one has "finished", which is false after a failure; units are those
 * of the command, bytes for most.  A report is made when the percentage has
 * grown by one.  On SIGUSR1, which would end the program otherwise, one line
 * goes to standard error.
 *
 * A command with a progress option has in its table
 *     { 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false }
 * and calls qcf_progress_parse() when it meets it.
 */
#ifndef QCF_IMG_PROGRESS_H
#define QCF_IMG_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "tool_util.h"

enum img_progress_mode {
	IMG_PROGRESS_NONE = 0,
	IMG_PROGRESS_LINE = 1,
	IMG_PROGRESS_JSON = 2,
};

#define QCF_PROGRESS_ARG  "[=FORMAT]"
#define QCF_PROGRESS_HELP "show how far it has come; as human or json"

struct img_progress {
	int mode;
	FILE *out;
	bool bar;     /* out is a terminal */
	double shown; /* percentage printed last */
	double step;  /* what it grows by before it is printed again; 1
		       * unless set after the beginning */
	uint64_t done;
	uint64_t total;
};

/* What is behind --progress=, NULL without; false with a message. */
bool qcf_progress_parse(const char *format, int *mode);

/* Reports go to standard output. */
void qcf_progress_begin(struct img_progress *progress, int mode,
                        uint64_t total);

/* Reports go to a stream of the caller's. */
void qcf_progress_begin_on(struct img_progress *progress, int mode,
                           uint64_t total, FILE *out);

void qcf_progress_add(struct img_progress *progress, uint64_t amount);

/* A qcowfmt_progress_callback; opaque is the struct img_progress. */
int qcf_progress_callback(void *opaque, uint64_t done, uint64_t total);

/* success: all is done, whatever was counted. */
void qcf_progress_end(struct img_progress *progress, bool success);

/* What is to be seen of an operation that failed before its progress began. */
void qcf_progress_fail(int mode);

#endif
