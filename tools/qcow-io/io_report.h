/* SPDX-License-Identifier: MIT */
/* io_report.h - numbers that commands take, and the lines they print */
#ifndef QCF_IO_REPORT_H
#define QCF_IO_REPORT_H

#include <stdbool.h>
#include <time.h>

#include "tool_util.h"

/* The most that one request may move: 2 GiB less one sector. */
#define IO_MAX_REQUEST ((uint64_t)INT32_MAX / 512 * 512)

/* A size or offset; false with a message if it is none. */
bool qcf_io_parse_number(const char *text, uint64_t *value);

/* A byte value; false with a message. */
bool qcf_io_parse_pattern(const char *text, int *pattern);

/* How a request is reported, from its options. */
struct io_report {
	const char *verb; /* "read", "wrote", "discard" */
	bool for_programs;
	bool quiet;
	struct timespec started;
	double seconds; /* it took; 0 as long as it was not stopped */
};

void qcf_io_report_start(struct io_report *report);

/* The request is over, though it is reported later. */
void qcf_io_report_stop(struct io_report *report);

/* Print the statistics of a request that succeeded. */
void qcf_io_report_end(const struct io_report *report, uint64_t offset,
                       uint64_t length);

/*
 * Print that a request failed: the plain line that scripts look for, and on
 * standard error what the library has to say.
 */
void qcf_io_report_failure(const char *command, int ret,
                           const struct qcowfmt_error *error);

/* Dump bytes the way debuggers do. */
void qcf_io_dump(const unsigned char *bytes, uint64_t length, uint64_t offset);

#endif
