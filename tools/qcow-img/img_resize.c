/* SPDX-License-Identifier: MIT */
/*
 * img_resize.c - "qcow-img resize": change the virtual size of an image
 *
 * The size is the last argument and taken off before options are looked at, so
 * that "-1G" is not one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_preallocation.h"
#include "tool_size.h"

#define OPTION_SHRINK        (QCF_OPTION_LONG + 1)
#define OPTION_PREALLOCATION (QCF_OPTION_LONG + 2)

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	{ OPTION_SHRINK, "shrink", NULL, "allow to cut off data", false },
	{ OPTION_PREALLOCATION, "preallocation", "MODE",
	  "what to reserve for the new space (off, metadata, falloc, full)",
	  false },
	QCF_OPTION_QUIET,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	bool shrink;
	int32_t preallocation;
	char sign;     /* '+', '-', or 0: the size itself */
	uint64_t size; /* bytes; a difference with a sign */
};

/* ----------------------------------------------------------------- options */

static bool take_preallocation(const char *name, struct request *r)
{
	r->preallocation = qcf_find_preallocation(name);
	if (r->preallocation < 0)
		qcf_tool_error("Invalid preallocation mode '%s'", name);
	return r->preallocation >= 0;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	if (option == OPTION_PREALLOCATION)
		return take_preallocation(optarg, r);
	r->shrink = true;
	return true;
}

static bool take_size(const char *text, struct request *r)
{
	int ret;

	if (*text == '+' || *text == '-')
		r->sign = *text++;
	ret = qcf_parse_size(text, &r->size);
	if (ret == -ERANGE)
		qcf_tool_error("Value '%s' is out of range for parameter "
		               "'size'",
		               text);
	else if (ret < 0)
		qcf_tool_error("Parameter 'size' expects a non-negative number "
		               "below 2^64\n"
		               "Optional suffix k, M, G, T, P or E means "
		               "kilo-, mega-, giga-, tera-, peta-\n"
		               "and exabytes, respectively.");
	return ret == 0;
}

/* ------------------------------------------------------------------- resize */

/* The new size; NULL, or why there is none. */
static char *new_size(const struct request *r, uint64_t old, uint64_t *size)
{
	bool wraps = r->sign == '+' && r->size > UINT64_MAX - old;

	*size = r->size;
	if (r->sign == '+')
		*size = old + r->size;
	if (r->sign == '-')
		*size = r->size > old ? 0 : old - r->size;
	if (wraps || *size == 0 || *size > INT64_MAX)
		return qcf_tool_printf("New image size must be positive");
	return NULL;
}

static int32_t find_format(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(image, 0, &info, NULL) < 0 ? -1 : info.format;
}

/* What some formats cannot do; NULL, or why. */
static char *check_format(const struct request *r, int32_t format,
                          uint64_t size)
{
	const struct qcf_image_node *node =
		qcf_image_opts_node(&r->image.opts, 0);

	if (format == QCOWFMT_FORMAT_QCOW)
		return qcf_tool_printf("Image format driver does not support "
		                       "resize");
	if (format == QCOWFMT_FORMAT_RAW && node != NULL &&
	    node->window.has_size)
		return qcf_tool_printf("Cannot resize fixed-size raw disks");
	if (format != QCOWFMT_FORMAT_RAW && size % 512 != 0)
		return qcf_tool_printf("The new size must be a multiple of "
		                       "512");
	return NULL;
}

static char *check_change(const struct request *r, uint64_t old, uint64_t size)
{
	if (size <= old && r->preallocation != QCOWFMT_PREALLOCATION_OFF)
		return qcf_tool_printf("Preallocation can only be used for "
		                       "growing images");
	if (size >= old || r->shrink)
		return NULL;
	qcf_tool_error("Use the --shrink option to perform a shrink "
	               "operation.");
	qcf_tool_warning("Shrinking an image will delete all data beyond the "
	                 "shrunken image's end. Before performing such an "
	                 "operation, make sure there is no important data "
	                 "there.");
	return qcf_tool_printf("%s", "");
}

static char *failure_reason(const struct request *r, int32_t format,
                            const struct qcowfmt_error *error)
{
	if (format == QCOWFMT_FORMAT_RAW &&
	    r->preallocation == QCOWFMT_PREALLOCATION_METADATA)
		return qcf_tool_printf("Unsupported preallocation mode: "
		                       "metadata");
	return qcf_tool_printf("%s", qcowfmt_error_message(error));
}

static char *resize(const struct request *r, struct qcowfmt_image *image)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_resize_options how = {
		.struct_size = sizeof(how),
		.preallocation = r->preallocation,
		.flags = r->shrink ? QCOWFMT_RESIZE_SHRINK : 0,
	};
	int32_t format = find_format(image);
	uint64_t old = qcowfmt_get_size(image);
	uint64_t size = 0;
	char *reason = new_size(r, old, &size);

	if (reason == NULL)
		reason = check_change(r, old, size);
	if (reason == NULL)
		reason = check_format(r, format, size);
	if (reason != NULL)
		return reason;
	if (qcowfmt_resize(image, size, &how, &error) < 0)
		return failure_reason(r, format, error);
	if (!r->image.quiet)
		puts("Image resized.");
	return NULL;
}

static int run(struct qcowfmt_image *image, void *opaque)
{
	const struct request *r = opaque;
	QCF_AUTO_FREE char *reason = resize(r, image);

	if (reason != NULL && *reason != '\0')
		qcf_tool_error("%s", reason);
	return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct qcf_image_command command = {
	{ "FILE [+|-]SIZE", "Change the virtual size of an image.", options },
	take_option,
	run,
};

static int resize_file(struct request *r, const char *size, int argc,
                       char **argv)
{
	if (argc - optind != 1) {
		qcf_tool_usage_error("Expecting image file name and size");
		return EXIT_FAILURE;
	}
	if (!take_size(size, r) ||
	    !qcf_image_args_take(&r->image, argv[optind]))
		return EXIT_FAILURE;
	return qcf_image_args_work(&r->image, command.work, r);
}

int qcf_img_resize(int argc, char **argv)
{
	struct request r = {
		.image.open = { .flags = QCOWFMT_OPEN_READ_WRITE,
		                .in_order = true },
	};
	bool only_help = argc == 2 && (strcmp(argv[1], "--help") == 0 ||
	                               strcmp(argv[1], "-h") == 0);
	const char *size = argv[argc - 1];
	int status;

	if (argc < 3 && !only_help) {
		qcf_tool_usage_error("Not enough arguments");
		return EXIT_FAILURE;
	}
	if (!only_help)
		argv[--argc] = NULL;
	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status))
		status = resize_file(&r, size, argc, argv);
	qcf_image_args_fini(&r.image);
	return status;
}
