/* SPDX-License-Identifier: MIT */
/* io_write.c - the commands write, writev and aio_write */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io_aio.h"
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
	bool only_fast;  /* -n: zeros, without writing them */
	bool is_invalid; /* -i: count it as such, and do not make it */
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
	case 'n':
		o->only_fast = true;
		break;
	case 'i':
		o->is_invalid = true;
		break;
	case 'P':
		o->has_pattern = true;
		return qcf_io_parse_pattern(optarg, &o->pattern);
	case 's':
		o->source = optarg;
		break;
	default: /* -p, which does nothing; -r, as no buffer is registered */
		break;
	}
	return true;
}

static const struct io_options write_letters = { "bcCfnpP:qrs:uz", "",
	                                         take_option };
static const struct io_options writev_letters = { "CfP:qr", "", take_option };
static const struct io_options aio_write_letters = { "CfiP:qruz", "",
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
	else if (o->only_fast && !o->zero)
		problem = "-n requires -z to be specified";
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
	struct io_zero zero = { offset, length, o->may_unmap, o->only_fast,
		                o->flush };
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
	if (length > IO_MAX_REQUEST && !o.only_fast) {
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

/* The operands of a write from one buffer per length. */
static bool take_pieces(struct io_session *session,
                        const struct write_options *o, int argc, char **argv,
                        struct io_buffer *buffer, uint64_t *offset)
{
	return qcf_io_parse_number(argv[optind], offset) &&
	       qcf_io_buffer_init_pieces(session, buffer, argv + optind + 1,
	                                 argc - optind - 1, o->pattern);
}

bool qcf_io_cmd_writev(struct io_session *session, int argc, char **argv)
{
	struct write_options o = no_options;
	struct io_buffer buffer;
	uint64_t offset;
	bool ok;

	if (!qcf_io_parse_options(&writev_letters, argc, argv, &o))
		return false;
	if (optind > argc - 2)
		return qcf_io_usage(argv[0]);
	if (!take_pieces(session, &o, argc, argv, &buffer, &offset))
		return false;
	ok = do_write(session, &o, &buffer, offset, "writev");
	qcf_io_buffer_fini(&buffer);
	return ok;
}

/* -------------------------------------------------------------------- later */

struct aio_write {
	struct io_aio_request request;
	struct io_session *session;
	struct write_options o;
	struct io_buffer buffer; /* none with -z */
	uint64_t offset;
	uint64_t length;
};

static int run_aio(struct io_aio_request *request, struct qcowfmt_error **errp)
{
	struct aio_write *write = (struct aio_write *)request;
	const struct write_options *o = &write->o;
	struct io_zero zero = { write->offset, write->length, o->may_unmap,
		                false, o->flush };
	int ret;

	if (o->zero)
		ret = qcf_io_write_zeroes(write->session, &zero, errp);
	else
		ret = qcf_io_write(write->session, &write->buffer,
		                   write->offset, o->flush, errp);
	qcf_io_report_stop(&write->o.report);
	return ret;
}

static void finish_aio(struct io_aio_request *request, int ret,
                       const struct qcowfmt_error *error)
{
	struct aio_write *write = (struct aio_write *)request;

	if (ret < 0)
		qcf_io_report_failure("aio_write", ret, error);
	else
		qcf_io_report_end(&write->o.report, write->offset,
		                  write->length);
	if (!write->o.zero)
		qcf_io_buffer_fini(&write->buffer);
	free(write);
}

/* Unlike "write", "aio_write" takes a pattern with -z, which has no use. */
static bool check_aio_combination(const struct write_options *o, int lengths)
{
	const char *problem = NULL;

	if (o->zero && lengths != 1)
		problem = "-z supports only a single length parameter";
	else if (o->may_unmap && !o->zero)
		problem = "-u requires -z to be specified";
	if (problem != NULL)
		puts(problem);
	return problem == NULL;
}

static bool take_aio_operands(struct aio_write *write, int argc, char **argv)
{
	if (optind > argc - 2)
		return qcf_io_usage(argv[0]);
	if (!check_aio_combination(&write->o, argc - optind - 1))
		return false;
	if (write->o.zero)
		return qcf_io_parse_number(argv[optind], &write->offset) &&
		       qcf_io_parse_number(argv[optind + 1], &write->length);
	if (!take_pieces(write->session, &write->o, argc, argv, &write->buffer,
	                 &write->offset))
		return false;
	write->length = write->buffer.length;
	return true;
}

bool qcf_io_cmd_aio_write(struct io_session *session, int argc, char **argv)
{
	struct aio_write *write = qcf_tool_alloc(sizeof(*write));
	bool ok;

	*write = (struct aio_write){
		.request = { .run = run_aio, .finish = finish_aio },
		.session = session,
		.o = no_options,
	};
	ok = qcf_io_parse_options(&aio_write_letters, argc, argv, &write->o);
	if (!ok || write->o.is_invalid) {
		if (ok)
			puts("injecting invalid write request");
		free(write);
		return ok;
	}
	if (!take_aio_operands(write, argc, argv)) {
		free(write);
		return false;
	}
	qcf_io_report_start(&write->o.report);
	qcf_io_aio_submit(session, &write->request);
	return true;
}
