/* SPDX-License-Identifier: MIT */
/* io_read.c - the commands read, readv and aio_read */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io_aio.h"
#include "io_command.h"
#include "io_report.h"
#include "io_request.h"
#include "tool_error.h"

#define NO_PATTERN (-1)

/* What unread memory holds, so that a short read shows. */
#define FILL 0xab

struct read_options {
	struct io_report report;
	bool dump;
	bool vm_state;   /* of what is behind the disk */
	int pattern;     /* NO_PATTERN: do not verify */
	bool is_invalid; /* -i: count it as such, and do not make it */
	bool has_start;
	bool has_length;
	uint64_t verify_start; /* in the data that was read */
	uint64_t verify_length;
};

static bool take_option(int option, void *opaque)
{
	struct read_options *o = opaque;

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
	case 'v':
		o->dump = true;
		break;
	case 'i':
		o->is_invalid = true;
		break;
	case 'P':
		return qcf_io_parse_pattern(optarg, &o->pattern);
	case 's':
		o->has_start = true;
		return qcf_io_parse_number(optarg, &o->verify_start);
	case 'l':
		o->has_length = true;
		return qcf_io_parse_number(optarg, &o->verify_length);
	default: /* -p, which does nothing; -r, as no buffer is registered */
		break;
	}
	return true;
}

static const struct io_options read_letters = { "bCl:pP:qrs:v", "",
	                                        take_option };
static const struct io_options readv_letters = { "CP:qrv", "", take_option };
static const struct io_options aio_read_letters = { "CiP:qrv", "",
	                                            take_option };

static const struct read_options no_options = { .report = { .verb = "read" },
	                                        .pattern = NO_PATTERN };

/* Whether every byte of the part to verify is the pattern. */
static bool verify(const struct read_options *o, const unsigned char *bytes,
                   uint64_t offset)
{
	const unsigned char *part = bytes + o->verify_start;
	uint64_t i;

	if (o->pattern == NO_PATTERN)
		return true;
	for (i = 0; i < o->verify_length; i++) {
		if (part[i] == o->pattern)
			continue;
		printf("Pattern verification failed at offset %" PRIu64
		       ", %" PRIu64 " bytes\n",
		       offset + o->verify_start, o->verify_length);
		return false;
	}
	return true;
}

/* Report a read that is over; false if it failed or read something else. */
static bool end_read(const struct read_options *o,
                     const struct io_buffer *buffer, uint64_t offset,
                     const char *name, int ret,
                     const struct qcowfmt_error *error)
{
	bool ok;

	if (ret < 0) {
		qcf_io_report_failure(name, ret, error);
		return false;
	}
	ok = verify(o, buffer->bytes, offset);
	if (o->dump && !o->report.quiet)
		qcf_io_dump(buffer->bytes, buffer->length, offset);
	qcf_io_report_end(&o->report, offset, buffer->length);
	return ok;
}

/* What every kind of read does once its buffer is there. */
static bool do_read(struct io_session *session, struct read_options *o,
                    const struct io_buffer *buffer, uint64_t offset,
                    const char *name)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	qcf_io_report_start(&o->report);
	ret = o->vm_state
	              ? qcf_io_read_vm_state(session, buffer, offset, &error)
	              : qcf_io_read(session, buffer, offset, &error);
	return end_read(o, buffer, offset, name, ret, error);
}

static bool check_verify_range(struct read_options *o, uint64_t length)
{
	if (o->pattern == NO_PATTERN)
		return true;
	if (!o->has_length && o->verify_start <= length)
		o->verify_length = length - o->verify_start;
	if (o->verify_start <= length &&
	    o->verify_length <= length - o->verify_start)
		return true;
	printf("pattern verification range exceeds end of read data\n");
	return false;
}

bool qcf_io_cmd_read(struct io_session *session, int argc, char **argv)
{
	struct read_options o = no_options;
	struct io_buffer buffer;
	uint64_t offset;
	uint64_t length;
	bool ok;

	if (!qcf_io_parse_options(&read_letters, argc, argv, &o))
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
	if (o.pattern == NO_PATTERN && (o.has_start || o.has_length))
		return qcf_io_usage(argv[0]);
	if (!check_verify_range(&o, length))
		return false;
	if (o.vm_state && (!qcf_io_is_whole_sectors(offset, "offset") ||
	                   !qcf_io_is_whole_sectors(length, "count")))
		return false;
	qcf_io_buffer_init(session, &buffer, length, FILL);
	ok = do_read(session, &o, &buffer, offset, "read");
	qcf_io_buffer_fini(&buffer);
	return ok;
}

/* The operands of a read into one buffer per length. */
static bool take_pieces(struct io_session *session, struct read_options *o,
                        int argc, char **argv, struct io_buffer *buffer,
                        uint64_t *offset)
{
	if (optind > argc - 2)
		return qcf_io_usage(argv[0]);
	if (!qcf_io_parse_number(argv[optind], offset) ||
	    !qcf_io_buffer_init_pieces(session, buffer, argv + optind + 1,
	                               argc - optind - 1, FILL))
		return false;
	o->verify_length = buffer->length;
	return true;
}

bool qcf_io_cmd_readv(struct io_session *session, int argc, char **argv)
{
	struct read_options o = no_options;
	struct io_buffer buffer;
	uint64_t offset;
	bool ok;

	if (!qcf_io_parse_options(&readv_letters, argc, argv, &o) ||
	    !take_pieces(session, &o, argc, argv, &buffer, &offset))
		return false;
	ok = do_read(session, &o, &buffer, offset, "readv");
	qcf_io_buffer_fini(&buffer);
	return ok;
}

/* -------------------------------------------------------------------- later */

struct aio_read {
	struct io_aio_request request;
	struct io_session *session;
	struct read_options o;
	struct io_buffer buffer;
	uint64_t offset;
};

static int run_aio(struct io_aio_request *request, struct qcowfmt_error **errp)
{
	struct aio_read *read = (struct aio_read *)request;
	int ret = qcf_io_read(read->session, &read->buffer, read->offset, errp);

	qcf_io_report_stop(&read->o.report);
	return ret;
}

static void finish_aio(struct io_aio_request *request, int ret,
                       const struct qcowfmt_error *error)
{
	struct aio_read *read = (struct aio_read *)request;

	/* The command was a success when it was made.  QEMU calls it readv. */
	(void)end_read(&read->o, &read->buffer, read->offset, "readv", ret,
	               error);
	qcf_io_buffer_fini(&read->buffer);
	free(read);
}

bool qcf_io_cmd_aio_read(struct io_session *session, int argc, char **argv)
{
	struct aio_read *read = qcf_tool_alloc(sizeof(*read));
	bool ok;

	*read = (struct aio_read){
		.request = { .run = run_aio, .finish = finish_aio },
		.session = session,
		.o = no_options,
	};
	ok = qcf_io_parse_options(&aio_read_letters, argc, argv, &read->o);
	if (!ok || read->o.is_invalid) {
		if (ok)
			puts("injecting invalid read request");
		free(read);
		return ok;
	}
	if (!take_pieces(session, &read->o, argc, argv, &read->buffer,
	                 &read->offset)) {
		free(read);
		return false;
	}
	qcf_io_report_start(&read->o.report);
	qcf_io_aio_submit(session, &read->request);
	return true;
}
