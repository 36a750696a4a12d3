/* SPDX-License-Identifier: MIT */
/* img_create.c - "qcow-img create": make a new image */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img_command.h"
#include "img_create_file.h"
#include "img_create_options.h"
#include "tool_error.h"
#include "tool_open.h"
#include "tool_options.h"
#include "tool_secret.h"
#include "tool_size.h"

#define OPTION_OBJECT (QCF_OPTION_LONG + 1)

static const struct qcf_tool_option options[] = {
	{ 'f', "format", "FMT", "format of the image (default: raw)", false },
	{ 'o', "options", "OPTS",
	  "options of the format, as in key=value,...; 'help' lists them",
	  false },
	{ 'b', "backing", "FILE", "make it an overlay of FILE", false },
	{ 'B', "backing-format", "FMT", "format of the backing file", false },
	{ 'F', NULL, "FMT", NULL, false },
	{ 'u', "backing-unsafe", NULL, "do not open the backing file", false },
	{ 'q', "quiet", NULL, "print nothing but errors", false },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = { "FILE [SIZE]",
	                                           "Make a new image.",
	                                           options };

struct request {
	const char *format;
	const char *backing;
	const char *backing_format;
	bool backing_unsafe;
	bool quiet;
	struct qcf_keyval_list list;
	const char *filename;
	char *size; /* NULL: from -o or the backing file */
};

static bool take_list(const char *text, struct request *r)
{
	if (!qcf_keyval_is_valid(text)) {
		qcf_tool_error("Invalid option list: %s", text);
		return false;
	}
	qcf_keyval_append(&r->list, text);
	return true;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'f':
		r->format = optarg;
		break;
	case 'o':
		return take_list(optarg, r);
	case 'b':
		r->backing = optarg;
		break;
	case 'B':
	case 'F':
		r->backing_format = optarg;
		break;
	case 'u':
		r->backing_unsafe = true;
		break;
	case 'q':
		r->quiet = true;
		break;
	case OPTION_OBJECT:
		return qcf_secret_define(optarg);
	default:
		break;
	}
	return true;
}

static bool parse_operands(int argc, char **argv, struct request *r)
{
	char **operands = argv + optind;
	int count = argc - optind;

	if (r->list.wants_help) {
		r->filename = count > 0 ? operands[0] : NULL;
		return true;
	}
	if (count < 1) {
		qcf_tool_usage_error("Expecting image file name");
		return false;
	}
	if (count > 2) {
		qcf_tool_usage_error("Unexpected argument: %s", operands[2]);
		return false;
	}
	r->filename = operands[0];
	r->size = count > 1 ? operands[1] : NULL;
	return true;
}

/* ------------------------------------------------------------ backing file */

static bool is_same_file(const char *a, const char *b)
{
	struct stat x;
	struct stat y;

	return strcmp(a, b) == 0 ||
	       (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	        x.st_ino == y.st_ino);
}

static char *check_backing_name(const char *filename, const char *backing)
{
	QCF_AUTO_FREE char *path = qcf_resolve_reference(filename, backing);

	if (*backing == '\0')
		return qcf_tool_printf("Expected backing file name, got empty "
		                       "string");
	if (strcmp(filename, backing) == 0 || is_same_file(filename, path))
		return qcf_tool_printf("Error: Trying to create an image with "
		                       "the same filename as the backing file");
	return NULL;
}

/* Open the backing file as the new image will see it, for its size. */
static char *look_at_backing(const char *filename, const char *backing,
                             const char *format, uint64_t *size,
                             const char **detected)
{
	QCF_AUTO_FREE char *path = qcf_resolve_reference(filename, backing);
	QCF_AUTO_IMAGE struct qcowfmt_image *image = NULL;
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcf_tool_open open = { .path = path,
		                      .format = format,
		                      .flags = QCOWFMT_OPEN_NO_DATA |
		                               QCOWFMT_OPEN_NO_LOCK };
	QCF_AUTO_FREE char *reason = NULL;

	if (qcf_tool_open(&open, &image, &reason) < 0 ||
	    qcowfmt_get_info(image, 0, &info, NULL) < 0)
		return qcf_tool_printf("%s\nCould not open backing image.",
		                       reason != NULL ? reason : "");
	*size = qcowfmt_get_size(image);
	*detected = qcowfmt_format_name(info.format);
	return NULL;
}

static char *resolve_backing(const struct request *r,
                             struct img_create_values *values)
{
	const char *backing = qcf_create_text(values, "backing_file");
	const char *format = qcf_create_text(values, "backing_fmt");
	const char *detected = NULL;
	uint64_t size = 0;
	char *reason;

	if (backing == NULL)
		return NULL;
	reason = check_backing_name(r->filename, backing);
	if (reason == NULL && !r->backing_unsafe)
		reason = look_at_backing(r->filename, backing, format, &size,
		                         &detected);
	if (reason == NULL && format == NULL)
		reason = qcf_tool_printf(
			"Backing file specified without backing format%s%s%s",
			detected != NULL ? "\nDetected format of " : "",
			detected != NULL ? detected : "",
			detected != NULL ? "." : "");
	if (reason == NULL && detected != NULL &&
	    qcf_create_value(values, "size") == NULL) {
		QCF_AUTO_FREE char *text = qcf_tool_printf("%" PRIu64, size);

		qcf_create_values_set(values, "size", text);
	}
	return reason;
}

/* ------------------------------------------------------------------ create */

static char *apply_options(struct request *r, struct img_create_values *values)
{
	char *reason = qcf_create_values_init(values, r->format);

	if (reason == NULL)
		reason = qcf_create_values_parse(values, &r->list);
	if (reason != NULL)
		return reason;
	if (r->size != NULL && qcf_create_value(values, "size") != NULL)
		return qcf_tool_printf("The image size must be specified only "
		                       "once");
	if (r->size != NULL)
		qcf_create_values_set(values, "size", r->size);
	if (r->backing != NULL &&
	    !qcf_create_values_set(values, "backing_file", r->backing))
		return qcf_tool_printf("Backing file not supported for file "
		                       "format '%s'",
		                       r->format);
	if (r->backing_format != NULL &&
	    !qcf_create_values_set(values, "backing_fmt", r->backing_format))
		return qcf_tool_printf("Backing file format not supported for "
		                       "file format '%s'",
		                       r->format);
	reason = resolve_backing(r, values);
	if (reason == NULL && qcf_create_value(values, "size") == NULL)
		reason = qcf_tool_printf("Image creation needs a size "
		                         "parameter");
	return reason;
}

static char *create_image(struct img_create_values *values, const char *path)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	uint64_t size = qcf_create_value(values, "size")->number;
	struct qcowfmt_create_options create;
	char *reason = qcf_create_values_resolve(values, &create);
	int ret;

	if (reason != NULL)
		return reason;
	if (size > INT64_MAX - 511)
		return qcf_create_reason(-EFBIG, NULL, path, values->format);
	create.virtual_size = qcf_round_up(size, 512);
	ret = qcf_create_image_file(path, values, &create, &error);
	return ret < 0 ? qcf_create_reason(ret, error, path, values->format)
	               : NULL;
}

static char *create(struct request *r)
{
	struct img_create_values values = { 0 };
	const char *path;
	char *reason = apply_options(r, &values);

	if (reason == NULL) {
		path = qcf_tool_path(r->filename, &reason);
		if (path != NULL && !r->quiet)
			qcf_create_values_print(&values, r->filename);
		if (path != NULL)
			reason = create_image(&values, path);
	}
	qcf_create_values_fini(&values);
	return reason;
}

static int run(struct request *r)
{
	QCF_AUTO_FREE char *decimal = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	uint64_t size;

	if (r->list.wants_help) {
		reason = qcf_create_print_help(r->format, r->filename != NULL);
		if (reason != NULL)
			qcf_tool_error("%s", reason);
		return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	if (r->size != NULL) {
		if (!qcf_parse_size_argument(r->size, "image size", &size))
			return EXIT_FAILURE;
		decimal = qcf_tool_printf("%" PRIu64, size);
		r->size = decimal;
	}
	reason = create(r);
	if (reason == NULL)
		return EXIT_SUCCESS;
	qcf_tool_error("%s: %s", r->filename, reason);
	return EXIT_FAILURE;
}

int qcf_img_create(int argc, char **argv)
{
	struct request r = { .format = "raw" };
	int option = qcf_options_parse(&help, argc, argv, take_option, &r);
	int status = EXIT_FAILURE;

	if (option == QCF_OPTION_HELP)
		status = EXIT_SUCCESS;
	else if (option == QCF_OPTION_DONE && parse_operands(argc, argv, &r))
		status = run(&r);
	qcf_keyval_fini(&r.list);
	return status;
}
