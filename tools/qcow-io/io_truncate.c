/* SPDX-License-Identifier: MIT */
/* io_truncate.c - the command truncate */
#include <stdio.h>

#include "io_command.h"
#include "io_report.h"
#include "tool_error.h"
#include "tool_preallocation.h"

static bool take_option(int option, void *opaque)
{
	int32_t *mode = opaque;

	(void)option;
	*mode = qcf_find_preallocation(optarg);
	if (*mode < 0)
		qcf_tool_error("Invalid preallocation mode '%s'", optarg);
	return *mode >= 0;
}

static const struct io_options letters = { "m:", "", take_option };

static int find_format(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(image, 0, &info, NULL) < 0 ? -1 : info.format;
}

/* What QEMU's program says; NULL: the library may try. */
static const char *find_problem(struct io_session *session, uint64_t size,
                                int32_t mode)
{
	int format = find_format(session->image);

	if (format == QCOWFMT_FORMAT_QCOW)
		return "Image format driver does not support resize";
	if (format == QCOWFMT_FORMAT_RAW &&
	    mode == QCOWFMT_PREALLOCATION_METADATA)
		return "Unsupported preallocation mode: metadata";
	if (format != QCOWFMT_FORMAT_RAW && size % 512 != 0)
		return "The new size must be a multiple of 512";
	if (size >= session->size || mode == QCOWFMT_PREALLOCATION_OFF)
		return NULL;
	return format == QCOWFMT_FORMAT_RAW
	               ? "Cannot use preallocation for shrinking files"
	               : "Preallocation can't be used for shrinking an image";
}

bool qcf_io_cmd_truncate(struct io_session *session, int argc, char **argv)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_resize_options how = {
		.struct_size = sizeof(how),
		.preallocation = QCOWFMT_PREALLOCATION_OFF,
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	const char *problem;
	uint64_t size;

	if (!qcf_io_parse_options(&letters, argc, argv, &how.preallocation))
		return false;
	if (optind == argc)
		return qcf_io_usage(argv[0]);
	if (!qcf_io_parse_number(argv[optind], &size))
		return false;
	problem = find_problem(session, size, how.preallocation);
	if (problem == NULL &&
	    qcowfmt_resize(session->image, qcf_round_up(size, 512), &how,
	                   &error) < 0)
		problem = qcowfmt_error_message(error);
	session->size = qcowfmt_get_size(session->image);
	if (problem != NULL)
		qcf_tool_error("%s", problem);
	return problem == NULL;
}
