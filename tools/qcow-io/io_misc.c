/* SPDX-License-Identifier: MIT */
/* io_misc.c - the commands that move no data and open nothing */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "io_command.h"
#include "io_report.h"
#include "io_request.h"
#include "tool_error.h"
#include "tool_format_info.h"
#include "tool_size.h"

/* ------------------------------------------------------- flush and discard */

bool qcf_io_cmd_flush(struct io_session *session, int argc, char **argv)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_flush(session->image, &error);

	(void)argc;
	if (ret < 0)
		qcf_io_report_failure(argv[0], ret, error);
	return ret == 0;
}

/* They are complete before any such command starts. */
bool qcf_io_cmd_aio_flush(struct io_session *session, int argc, char **argv)
{
	(void)session;
	(void)argc;
	(void)argv;
	return true;
}

static bool take_discard_option(int option, void *opaque)
{
	struct io_report *report = opaque;

	if (option == 'C')
		report->for_programs = true;
	else
		report->quiet = true;
	return true;
}

static const struct io_options discard_letters = { "Cq", "",
	                                           take_discard_option };

bool qcf_io_cmd_discard(struct io_session *session, int argc, char **argv)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct io_report report = { .verb = "discard" };
	uint64_t offset;
	uint64_t length;
	int ret;

	if (!qcf_io_parse_options(&discard_letters, argc, argv, &report))
		return false;
	if (optind != argc - 2)
		return qcf_io_usage(argv[0]);
	if (!qcf_io_parse_number(argv[optind], &offset) ||
	    !qcf_io_parse_number(argv[optind + 1], &length))
		return false;
	if (length > IO_MAX_REQUEST) {
		printf("length cannot exceed %" PRIu64 ", given %s\n",
		       IO_MAX_REQUEST, argv[optind + 1]);
		return false;
	}
	qcf_io_report_start(&report);
	ret = qcf_io_discard(session, offset, length, &error);
	if (ret < 0)
		qcf_io_report_failure("discard", ret, error);
	else
		qcf_io_report_end(&report, offset, length);
	return ret == 0;
}

/* ------------------------------------------------------------------- facts */

bool qcf_io_cmd_length(struct io_session *session, int argc, char **argv)
{
	char text[QCF_SIZE_TEXT];

	(void)argc;
	(void)argv;
	puts(qcf_format_size_long(text, (double)session->size));
	return true;
}

/* Where the state of a virtual machine would lie: behind what the L1 entries
 * of the disk cover. */
static uint64_t vm_state_offset(const struct qcowfmt_info *info)
{
	bool has_subclusters = (info->flags & QCOWFMT_INFO_EXTENDED_L2) != 0;
	uint64_t entries = info->cluster_size / (has_subclusters ? 16 : 8);
	uint64_t covered = info->cluster_size * entries;

	if (info->format != QCOWFMT_FORMAT_QCOW2)
		return 0;
	return qcf_round_up(info->virtual_size, covered);
}

bool qcf_io_cmd_info(struct io_session *session, int argc, char **argv)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcf_image_facts facts;
	const struct qcowfmt_info *info = &facts.info;
	char text[QCF_SIZE_TEXT];
	int ret = qcf_get_facts(session->image, &facts, &error);

	(void)argc;
	if (ret < 0) {
		qcf_free_facts(&facts);
		qcf_io_report_failure(argv[0], ret, error);
		return false;
	}
	printf("format name: %s\n", qcowfmt_format_name(info->format));
	printf("cluster size: %s\n",
	       qcf_format_size_long(text, (double)info->cluster_size));
	printf("vm state offset: %s\n",
	       qcf_format_size_long(text, (double)vm_state_offset(info)));
	qcf_print_format_info(&facts);
	qcf_free_facts(&facts);
	return true;
}

/*
 * Whether the top image holds the bytes from offset itself, and how many of
 * the length bytes share that.
 */
static int find_run(struct io_session *session, uint64_t offset,
                    uint64_t length, bool *is_allocated, uint64_t *run,
                    struct qcowfmt_error **errp)
{
	uint64_t end = offset + length;
	uint64_t at = offset;

	*is_allocated = true;
	while (at < end) {
		struct qcowfmt_extent extent = { 0 };
		int ret = qcowfmt_map(session->image, at, end - at,
		                      QCOWFMT_MAP_TOP, &extent, 1, errp);
		bool holds = extent.kind != QCOWFMT_EXTENT_UNALLOCATED;

		if (ret < 0)
			return ret;
		if (at == offset)
			*is_allocated = holds;
		if (holds != *is_allocated)
			break;
		at += extent.length;
	}
	*run = at - offset;
	return 0;
}

bool qcf_io_cmd_alloc(struct io_session *session, int argc, char **argv)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	char text[QCF_SIZE_TEXT];
	uint64_t allocated = 0;
	uint64_t count = 512;
	uint64_t offset;
	uint64_t done;

	if (!qcf_io_parse_number(argv[1], &offset) ||
	    (argc > 2 && !qcf_io_parse_number(argv[2], &count)))
		return false;
	count = offset < session->size ? qcf_min(count, session->size - offset)
	                               : 0;
	for (done = 0; done < count;) {
		bool is_allocated;
		uint64_t run;
		int ret = find_run(session, offset + done, count - done,
		                   &is_allocated, &run, &error);

		if (ret < 0) {
			qcf_io_report_failure(argv[0], ret, error);
			return false;
		}
		allocated += is_allocated ? run : 0;
		done += run;
	}
	printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n",
	       allocated, count, qcf_format_size_long(text, (double)offset));
	return true;
}

bool qcf_io_cmd_map(struct io_session *session, int argc, char **argv)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	char length_text[QCF_SIZE_TEXT];
	char offset_text[QCF_SIZE_TEXT];
	uint64_t offset = 0;

	(void)argc;
	while (offset < session->size) {
		bool is_allocated;
		uint64_t run;
		int ret = find_run(session, offset, session->size - offset,
		                   &is_allocated, &run, &error);

		if (ret < 0) {
			qcf_io_report_failure(argv[0], ret, error);
			return false;
		}
		printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s "
		       "(0x%" PRIx64 ")\n",
		       qcf_format_size_long(length_text, (double)run), run,
		       is_allocated ? "   " : "not",
		       qcf_format_size_long(offset_text, (double)offset),
		       offset);
		offset += run;
	}
	return true;
}

/* ----------------------------------------------------------------- process */

bool qcf_io_cmd_quit(struct io_session *session, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	session->has_quit = true;
	return true;
}

bool qcf_io_cmd_sleep(struct io_session *session, int argc, char **argv)
{
	struct timespec rest;
	char *end;
	long milliseconds;

	(void)session;
	(void)argc;
	errno = 0;
	milliseconds = strtol(argv[1], &end, 0);
	if (end == argv[1] || *end != '\0' || errno != 0 || milliseconds < 0) {
		printf("%s is not a valid number\n", argv[1]);
		return false;
	}
	rest = (struct timespec){ milliseconds / 1000,
		                  milliseconds % 1000 * 1000000 };
	while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
		continue;
	return true;
}

bool qcf_io_cmd_abort(struct io_session *session, int argc, char **argv)
{
	(void)session;
	(void)argc;
	(void)argv;
	(void)fflush(stdout);
	abort();
}

bool qcf_io_cmd_sigraise(struct io_session *session, int argc, char **argv)
{
	uint64_t number;

	(void)session;
	(void)argc;
	if (!qcf_io_parse_number(argv[1], &number))
		return false;
	if (number > NSIG) {
		printf("signal argument '%s' is too large to be a valid "
		       "signal\n",
		       argv[1]);
		return false;
	}
	(void)fflush(stdout);
	(void)raise((int)number);
	return true;
}
