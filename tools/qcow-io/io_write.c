/* SPDX-License-Identifier: MIT */
/* io_write.c - the commands write, writev and aio_write */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io_command.h"
#include "io_report.h"
#include "io_request.h"
#include "tool_error.h"

#define DEFAULT_PATTERN 0xcd

struct write_options {
	struct io_report report;
	bool compress;
	bool vm_state; /* behind the disk */
	bool flush;
	bool zero;
	bool may_unmap;
	bool has_pattern;
	int pattern;
	const char *source;
};

static bool take_option(int option, void *opaque)
{
	struct write_options *o = opaque;

	switch (option) {
	case 'b':
		o->vm_state = true;
		break;
	case 'C':
		o->report.for_programs = true;
		break;
	case 'q':
		o->report.quiet = true;
		break;
	case 'c':
		o->compress = true;
		break;
	case 'f':
		o->flush = true;
		break;
	case 'z':
		o->zero = true;
		break;
	case 'u':
		o->may_unmap = true;
		break;
	case 'P':
		o->has_pattern = true;
		return qcf_io_parse_pattern(optarg, &o->pattern);
	case 's':
		o->source = optarg;
		break;
	default: /* -p, which does nothing */
		break;
	}
	return true;
}

static const struct io_options write_letters = { "bcCfnpP:qrs:uz", "nr",
	                                         take_option };
static const struct io_options writev_letters = { "CfP:qr", "r", take_option };
static const struct io_options aio_write_letters = { "CfiP:qruz", "ir",
	                                             take_option };

static const struct write_options no_options = { .report = { .verb = "wrote" },
	                                         .pattern = DEFAULT_PATTERN };

static bool check_combination(const struct write_options *o)
{
	const char *problem = NULL;

	if (o->vm_state && o->zero)
		problem = "-b and -z cannot be specified at the same time";
	else if (o->flush && (o->compress || o->vm_state))
		problem = "-f and -b or -c cannot be specified at the same "
			  "time";
	else if (o->may_unmap && !o->zero)
		problem = "-u requires -z to be specified";
	else if (o->zero + o->has_pattern + (o->source != NULL) > 1)
		problem = "Only one of -z, -P, and -s can be specified at the "
			  "same time";
	if (problem != NULL)
		puts(problem);
	return problem == NULL;
}

static bool do_write(struct io_session *session, struct write_options *o,
                     const struct io_buffer *buffer, uint64_t offset,
                     const char *name)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	qcf_io_report_start(&o->report);
	if (o->vm_state)
		ret = qcf_io_write_vm_state(session, buffer, offset, &error);
	else if (o->compress)
		ret = qcf_io_write_compressed(session, buffer, offset, &error);
	else
		ret = qcf_io_write(session, buffer, offset, o->flush, &error);
	if (ret < 0) {
		qcf_io_report_failure(name, ret, error);
		return false;
	}
	qcf_io_report_end(&o->report, offset, buffer->length);
	return true;
}

static bool do_write_zeroes(struct io_session *session, struct write_options *o,
                            uint64_t offset, uint64_t length, const char *name)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct io_zero zero = { offset, length, o->may_unmap, o->flush };
	int ret;

	qcf_io_report_start(&o->report);
	ret = qcf_io_write_zeroes(session, &zero, &error);
	if (ret < 0) {
		qcf_io_report_failure(name, ret, error);
		return false;
	}
	qcf_io_report_end(&o->report, offset, length);
	return true;
}

static bool write_filled(struct io_session *session, struct write_options *o,
                         uint64_t offset, uint64_t length)
{
	struct io_buffer buffer;
	bool ok = true;

	qcf_io_buffer_init(session, &buffer, length, o->pattern);
	if (o->source != NULL)
		ok = qcf_io_buffer_fill_from_file(&buffer, o->source);
	ok = ok && do_write(session, o, &buffer, offset, "write");
	qcf_io_buffer_fini(&buffer);
	return ok;
}

bool qcf_io_cmd_write(struct io_session *session, int argc, char **argv)
{
	struct write_options o = no_options;
	uint64_t offset;
	uint64_t length;

	if (!qcf_io_parse_options(&write_letters, argc, argv, &o))
		return false;
	if (optind != argc - 2)
		return qcf_io_usage(argv[0]);
	if (!check_combination(&o) ||
	    !qcf_io_parse_number(argv[optind], &offset) ||
	    !qcf_io_parse_number(argv[optind + 1], &length))
		return false;
	if (length > IO_MAX_REQUEST) {
		printf("length cannot exceed %" PRIu64 " without -n, given "
		       "%s\n",
		       IO_MAX_REQUEST, argv[optind + 1]);
		return false;
	}
	if ((o.compress || o.vm_state) &&
	    (!qcf_io_is_whole_sectors(offset, "offset") ||
	     !qcf_io_is_whole_sectors(length, "count")))
		return false;
	if (o.zero)
		return do_write_zeroes(session, &o, offset, length, "write");
	return write_filled(session, &o, offset, length);
}

static bool write_pieces(struct io_session *session, struct write_options *o,
                         int argc, char **argv, const char *name, bool *ok)
{
	struct io_buffer buffer;
	uint64_t offset;

	if (!qcf_io_parse_number(argv[optind], &offset) ||
	    !qcf_io_buffer_init_pieces(session, &buffer, argv + optind + 1,
	                               argc - optind - 1, o->pattern))
		return false;
	*ok = do_write(session, o, &buffer, offset, name);
	qcf_io_buffer_fini(&buffer);
	return true;
}

bool qcf_io_cmd_writev(struct io_session *session, int argc, char **argv)
{
	struct write_options o = no_options;
	bool ok = false;

	if (!qcf_io_parse_options(&writev_letters, argc, argv, &o))
		return false;
	if (optind > argc - 2)
		return qcf_io_usage(argv[0]);
	return write_pieces(session, &o, argc, argv, "writev", &ok) && ok;
}

bool qcf_io_cmd_aio_write(struct io_session *session, int argc, char **argv)
{
	struct write_options o = no_options;
	uint64_t offset;
	uint64_t length;
	bool ok;

	if (!qcf_io_parse_options(&aio_write_letters, argc, argv, &o))
		return false;
	if (optind > argc - 2)
		return qcf_io_usage(argv[0]);
	if (o.zero && optind != argc - 2) {
		printf("-z supports only a single length parameter\n");
		return false;
	}
	if (o.may_unmap && !o.zero) {
		printf("-u requires -z to be specified\n");
		return false;
	}
	if (o.zero && o.has_pattern) {
		printf("-z and -P cannot be specified at the same time\n");
		return false;
	}
	if (!o.zero)
		return write_pieces(session, &o, argc, argv, "aio_write", &ok);
	if (!qcf_io_parse_number(argv[optind], &offset) ||
	    !qcf_io_parse_number(argv[optind + 1], &length))
		return false;
	(void)do_write_zeroes(session, &o, offset, length, "aio_write");
	return true;
}
