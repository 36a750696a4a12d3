/* SPDX-License-Identifier: MIT */
/* io_report.c - numbers that commands take, and the lines they print */
#include "io_report.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"
#include "tool_size.h"

#define BYTES_PER_LINE 16

bool qcf_io_parse_number(const char *text, uint64_t *value)
{
	int ret = qcf_parse_size(text, value);

	if (ret == 0 && *value > INT64_MAX)
		ret = -ERANGE;
	if (ret == 0)
		return true;
	printf("Parsing error: %s -- %s\n",
	       ret == -ERANGE ? "argument too large"
	                      : "non-numeric argument, or "
	                        "extraneous/unrecognized suffix",
	       text);
	return false;
}

bool qcf_io_parse_pattern(const char *text, int *pattern)
{
	char *end;
	long value = strtol(text, &end, 0);

	if (end == text || *end != '\0' || value < 0 || value > 0xff) {
		printf("%s is not a valid pattern byte\n", text);
		return false;
	}
	*pattern = (int)value;
	return true;
}

/* -------------------------------------------------------------- statistics */

void qcf_io_report_start(struct io_report *report)
{
	clock_gettime(CLOCK_MONOTONIC, &report->started);
}

static double seconds_since(const struct timespec *started)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - started->tv_sec) +
	       (double)(now.tv_nsec - started->tv_nsec) / 1e9;
}

void qcf_io_report_stop(struct io_report *report)
{
	report->seconds = seconds_since(&report->started);
}

/* Hours and minutes only where there are any, unless all are wanted. */
static void format_time(char text[QCF_SIZE_TEXT], double seconds, bool all)
{
	unsigned long whole = (unsigned long)seconds;
	unsigned int hundredths =
		(unsigned int)((seconds - (double)whole) * 100);

	if (all || whole >= 60)
		snprintf(text, QCF_SIZE_TEXT, "%lu:%02lu:%02lu.%02u",
		         whole / 3600, whole / 60 % 60, whole % 60, hundredths);
	else
		snprintf(text, QCF_SIZE_TEXT, "%02lu.%02u sec", whole,
		         hundredths);
}

void qcf_io_report_end(const struct io_report *report, uint64_t offset,
                       uint64_t length)
{
	double seconds = report->seconds > 0 ? report->seconds
	                                     : seconds_since(&report->started);
	char time_text[QCF_SIZE_TEXT];
	char size_text[QCF_SIZE_TEXT];
	char rate_text[QCF_SIZE_TEXT];

	if (report->quiet)
		return;
	/* A clock that stood still must not divide by zero. */
	if (seconds <= 0)
		seconds = 1e-9;
	format_time(time_text, seconds, report->for_programs);
	if (report->for_programs) {
		printf("%" PRIu64 ",1,%s,%.3f,%.3f\n", length, time_text,
		       (double)length / seconds, 1 / seconds);
		return;
	}
	printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n",
	       report->verb, length, length, offset);
	printf("%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n",
	       qcf_format_size_long(size_text, (double)length), time_text,
	       qcf_format_size_long(rate_text, (double)length / seconds),
	       1 / seconds);
}

void qcf_io_report_failure(const char *command, int ret,
                           const struct qcowfmt_error *error)
{
	printf("%s failed: %s\n", command, strerror(-ret));
	if (error != NULL)
		qcf_tool_error("%s", qcowfmt_error_message(error));
}

/* -------------------------------------------------------------------- dump */

static void dump_line(const unsigned char *bytes, uint64_t count)
{
	uint64_t i;

	for (i = 0; i < count; i++)
		printf("%02x ", bytes[i]);
	putchar(' ');
	for (i = 0; i < count; i++)
		putchar(isalnum(bytes[i]) ? bytes[i] : '.');
	putchar('\n');
}

void qcf_io_dump(const unsigned char *bytes, uint64_t length, uint64_t offset)
{
	uint64_t done;

	for (done = 0; done < length; done += BYTES_PER_LINE) {
		printf("%08" PRIx64 ":  ", offset + done);
		dump_line(bytes + done, qcf_min(length - done, BYTES_PER_LINE));
	}
}
