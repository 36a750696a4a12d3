/* SPDX-License-Identifier: MIT */
/*
 * img_bitmap.c - "qcow-img bitmap": change and show dirty bitmaps
 *
 * All actions of a command line are carried out at once.  Should that fail, they
 * are carried out one by one up to the one that fails: so much qemu-img would
 * have done, too, and that one is named in the message.
 *
 * --list and --extents are not in qemu-img.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_json.h"
#include "tool_size.h"

#define OPTION_ADD     (QCF_OPTION_LONG + QCOWFMT_BITMAP_ADD)
#define OPTION_REMOVE  (QCF_OPTION_LONG + QCOWFMT_BITMAP_REMOVE)
#define OPTION_CLEAR   (QCF_OPTION_LONG + QCOWFMT_BITMAP_CLEAR)
#define OPTION_ENABLE  (QCF_OPTION_LONG + QCOWFMT_BITMAP_ENABLE)
#define OPTION_DISABLE (QCF_OPTION_LONG + QCOWFMT_BITMAP_DISABLE)
#define OPTION_MERGE   (QCF_OPTION_LONG + QCOWFMT_BITMAP_MERGE)
#define OPTION_LIST    (QCF_OPTION_LONG + 20)
#define OPTION_EXTENTS (QCF_OPTION_LONG + 21)

static const struct qcf_tool_option options[] = {
	{ OPTION_ADD, "add", NULL, "make a new bitmap, which records writes",
	  false },
	{ OPTION_REMOVE, "remove", NULL, "remove the bitmap", false },
	{ OPTION_CLEAR, "clear", NULL, "make all of the bitmap clean", false },
	{ OPTION_ENABLE, "enable", NULL, "let the bitmap record writes",
	  false },
	/* Else --extents, which QEMU's program has not, would forbid it. */
	{ OPTION_ENABLE, "e", NULL, NULL, false },
	{ OPTION_DISABLE, "disable", NULL, "keep the bitmap as it is", false },
	{ OPTION_MERGE, "merge", "SOURCE",
	  "add what is dirty in another bitmap", false },
	{ 'g', "granularity", "SIZE",
	  "bytes that one bit of a new bitmap stands for", false },
	{ 'b', "source-file", "FILE", "image that bitmaps are merged from",
	  false },
	{ 'F', "source-format", "FMT", "format of that image", false },
	{ OPTION_LIST, "list", NULL, "show the bitmaps of FILE", false },
	{ OPTION_EXTENTS, "extents", NULL, "show what is dirty in the bitmap",
	  false },
	QCF_OPTION_OUTPUT,
	QCF_OPTION_FORMAT,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

#define MAX_ACTIONS 1024

struct request {
	struct qcf_image_args image;
	const char *name; /* of the bitmap */
	struct qcowfmt_bitmap_action actions[MAX_ACTIONS];
	size_t action_count;
	bool adds;
	bool merges;
	uint64_t granularity; /* 0: not given */
	const char *source_file;
	const char *source_format;
	bool list;
	bool extents;
};

/* ------------------------------------------------------------------ options */

static bool take_action(int kind, struct request *r)
{
	if (r->action_count == MAX_ACTIONS) {
		qcf_tool_error("Too many actions, at most %d can be given",
		               MAX_ACTIONS);
		return false;
	}
	r->actions[r->action_count++] = (struct qcowfmt_bitmap_action){
		.struct_size = sizeof(r->actions[0]),
		.kind = kind,
		.source_name = kind == QCOWFMT_BITMAP_MERGE ? optarg : NULL,
	};
	r->adds |= kind == QCOWFMT_BITMAP_ADD;
	r->merges |= kind == QCOWFMT_BITMAP_MERGE;
	return true;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'g':
		return qcf_parse_size_argument(optarg, "granularity",
		                               &r->granularity);
	case 'b':
		r->source_file = optarg;
		return true;
	case 'F':
		r->source_format = optarg;
		return true;
	case OPTION_LIST:
		r->list = true;
		return true;
	case OPTION_EXTENTS:
		r->extents = true;
		return true;
	default:
		return take_action(option - QCF_OPTION_LONG, r);
	}
}

/* What is wrong with the options; NULL if nothing is. */
static const char *check_actions(const struct request *r)
{
	if (r->action_count == 0)
		return "Need at least one of --add, --remove, --clear, "
		       "--enable, --disable, or --merge";
	if (r->granularity != 0 && !r->adds)
		return "granularity only supported with --add";
	if (r->source_format != NULL && r->source_file == NULL)
		return "-F only supported with -b";
	if (r->source_file != NULL && !r->merges)
		return "Merge bitmap source file only supported with --merge";
	return NULL;
}

static const char *check_showing(const struct request *r)
{
	if (r->list && r->extents)
		return "--list and --extents are mutually exclusive";
	if (r->action_count > 0 || r->granularity != 0 ||
	    r->source_file != NULL || r->source_format != NULL)
		return "--list and --extents only show, and take no actions";
	return NULL;
}

static bool shows(const struct request *r)
{
	return r->list || r->extents;
}

static bool check_request(const struct request *r, int operands)
{
	const char *wrong = shows(r) ? check_showing(r) : check_actions(r);

	if (wrong == NULL && r->image.json && !shows(r))
		wrong = "--output only supported with --list and --extents";
	if (wrong == NULL && r->list && operands != 1)
		wrong = "Expecting filename";
	if (wrong == NULL && !r->list && operands != 2)
		wrong = "Expecting filename and bitmap name";
	if (wrong != NULL)
		qcf_tool_error("%s", wrong);
	return wrong == NULL;
}

/* ------------------------------------------------------------------- showing */

static void print_flags(uint32_t flags)
{
	const char *separator = "";

	if ((flags & QCOWFMT_BITMAP_IN_USE) != 0) {
		fputs("in-use", stdout);
		separator = ",";
	}
	if ((flags & QCOWFMT_BITMAP_INCONSISTENT) != 0) {
		printf("%sinconsistent", separator);
		separator = ",";
	}
	if ((flags & QCOWFMT_BITMAP_ENABLED) != 0) {
		printf("%sauto", separator);
		separator = ",";
	}
	if (*separator == '\0')
		putchar('-');
}

static void print_bitmap(const struct qcowfmt_bitmap *bitmap)
{
	printf("%-16" PRIu64, bitmap->granularity);
	print_flags(bitmap->flags);
	putchar('\t');
	qcf_json_print_string(bitmap->name);
	putchar('\n');
}

static void json_bitmap(struct qcf_json *json,
                        const struct qcowfmt_bitmap *bitmap)
{
	qcf_json_begin_object(json, NULL);
	qcf_json_string(json, "name", bitmap->name);
	qcf_json_number(json, "granularity", bitmap->granularity);
	qcf_json_bool(json, "auto",
	              (bitmap->flags & QCOWFMT_BITMAP_ENABLED) != 0);
	qcf_json_bool(json, "in-use",
	              (bitmap->flags & QCOWFMT_BITMAP_IN_USE) != 0);
	qcf_json_bool(json, "inconsistent",
	              (bitmap->flags & QCOWFMT_BITMAP_INCONSISTENT) != 0);
	qcf_json_end_object(json);
}

static int show_list(struct qcowfmt_image *image, bool as_json)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcf_json json = { 0 };
	uint32_t i;

	if (qcowfmt_bitmap_list(image, 0, &list, &error) < 0) {
		qcf_tool_error("%s", qcowfmt_error_message(error));
		return EXIT_FAILURE;
	}
	if (as_json)
		qcf_json_begin_array(&json, NULL);
	else if (qcowfmt_bitmap_list_count(list) > 0)
		printf("%-16s%s\t%s\n", "Granularity", "Flags", "Name");
	for (i = 0; qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) == 0; i++) {
		if (as_json)
			json_bitmap(&json, &bitmap);
		else
			print_bitmap(&bitmap);
	}
	if (as_json)
		qcf_json_end_array(&json);
	qcowfmt_bitmap_list_free(list);
	return EXIT_SUCCESS;
}

static void print_extent(bool as_json, bool first, uint64_t start, uint64_t len)
{
	if (!as_json)
		printf("%#-16" PRIx64 "%#-16" PRIx64 "\n", start, len);
	else
		printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 "}",
		       first ? "" : ",\n", start, len);
}

static int show_extents(struct qcowfmt_image *image, const char *name,
                        bool as_json)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	uint64_t at = 0;
	uint64_t start = 0;
	uint64_t len = 0;
	int found = qcowfmt_bitmap_next(image, name, at, &start, &len, &error);

	if (found >= 0)
		fputs(as_json ? "[" : "Offset          Length\n", stdout);
	while (found > 0) {
		print_extent(as_json, at == 0, start, len);
		at = start + len;
		found = qcowfmt_bitmap_next(image, name, at, &start, &len,
		                            &error);
	}
	if (found < 0) {
		qcf_tool_error("%s", qcowfmt_error_message(error));
		return EXIT_FAILURE;
	}
	if (as_json)
		puts("]");
	return EXIT_SUCCESS;
}

static int show(struct qcowfmt_image *image, void *opaque)
{
	const struct request *r = opaque;

	return r->list ? show_list(image, r->image.json)
	               : show_extents(image, r->name, r->image.json);
}

/* ------------------------------------------------------------------ changing */

static const char *action_name(int kind)
{
	switch (kind) {
	case QCOWFMT_BITMAP_ADD:
		return "add";
	case QCOWFMT_BITMAP_REMOVE:
		return "remove";
	case QCOWFMT_BITMAP_CLEAR:
		return "clear";
	case QCOWFMT_BITMAP_ENABLE:
		return "enable";
	case QCOWFMT_BITMAP_DISABLE:
		return "disable";
	default:
		return "merge";
	}
}

static bool has_bitmap(struct qcowfmt_image *image, const char *name,
                       uint32_t *flags)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;
	bool found = false;
	uint32_t i;

	if (qcowfmt_bitmap_list(image, 0, &list, NULL) < 0)
		return false;
	for (i = 0;
	     !found && qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) == 0;
	     i++)
		found = strcmp(bitmap.name, name) == 0;
	*flags = bitmap.flags;
	qcowfmt_bitmap_list_free(list);
	return found;
}

/* Why a bitmap that is there cannot be used, or that it is not; NULL if it is
 * good. */
static char *bitmap_reason(struct qcowfmt_image *image, const char *name)
{
	uint32_t flags = 0;

	if (!has_bitmap(image, name, &flags))
		return qcf_tool_printf("Dirty bitmap '%s' not found", name);
	if ((flags & QCOWFMT_BITMAP_INCONSISTENT) != 0)
		return qcf_tool_printf(
			"Bitmap '%s' is inconsistent and cannot be used\n"
			"Try block-dirty-bitmap-remove to delete this bitmap "
			"from disk",
			name);
	return NULL;
}

static char *add_reason(const struct qcowfmt_bitmap_action *a, const char *file,
                        const struct qcowfmt_error *error)
{
	switch (qcowfmt_error_errno(error)) {
	case EEXIST:
		return qcf_tool_printf("Bitmap already exists: %s", a->name);
	case EFBIG:
		return qcf_tool_printf(
			"Can't make bitmap '%s' persistent in '%s': Too much "
			"space will be occupied by the bitmap. Use larger "
			"granularity",
			a->name, file);
	case EINVAL:
		if (*a->name == '\0')
			return qcf_tool_printf("Bitmap name cannot be empty");
		if (strlen(a->name) > 1023)
			return qcf_tool_printf("Can't make bitmap '%s' "
			                       "persistent in '%s': Name "
			                       "length exceeds maximum (1023 "
			                       "characters)",
			                       a->name, file);
		return qcf_tool_printf("Granularity must be power of 2 and at "
		                       "least 512");
	default:
		return qcf_tool_printf("%s", qcowfmt_error_message(error));
	}
}

/* Only version 3 has bitmaps. */
static char *version_reason(const struct qcowfmt_bitmap_action *a,
                            const char *file)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (a->kind != QCOWFMT_BITMAP_ADD)
		return qcf_tool_printf("Dirty bitmap '%s' not found", a->name);
	if (qcowfmt_get_info(a->image, 0, &info, NULL) == 0 &&
	    info.format == QCOWFMT_FORMAT_QCOW2)
		return qcf_tool_printf("Can't make bitmap '%s' persistent in "
		                       "'%s': Cannot store dirty bitmaps in "
		                       "qcow2 v2 files",
		                       a->name, file);
	return qcf_tool_printf("Can't store persistent bitmaps to %s: "
	                       "Operation not supported",
	                       file);
}

/* In the words of qemu-img, where it has words for it. */
static char *action_reason(const struct qcowfmt_bitmap_action *a,
                           const char *file, const struct qcowfmt_error *error)
{
	struct qcowfmt_image *source = a->source != NULL ? a->source : a->image;
	char *reason = NULL;

	if (qcowfmt_error_errno(error) == ENOTSUP)
		return version_reason(a, file);
	if (a->kind == QCOWFMT_BITMAP_ADD)
		return add_reason(a, file, error);
	reason = bitmap_reason(a->image, a->name);
	if (reason == NULL && a->kind == QCOWFMT_BITMAP_MERGE)
		reason = bitmap_reason(source, a->source_name);
	if (reason == NULL &&
	    qcowfmt_get_size(source) != qcowfmt_get_size(a->image))
		reason = qcf_tool_printf(
			"Bitmaps are of different sizes (destination size is "
			"%" PRIu64 ", source size is %" PRIu64 ") and can't be "
			"merged",
			qcowfmt_get_size(a->image), qcowfmt_get_size(source));
	return reason != NULL
	               ? reason
	               : qcf_tool_printf("%s", qcowfmt_error_message(error));
}

/* One by one, up to the one that fails. */
static int change_singly(const struct request *r)
{
	size_t i;

	for (i = 0; i < r->action_count; i++) {
		const struct qcowfmt_bitmap_action *a = &r->actions[i];
		QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
		QCF_AUTO_FREE char *reason = NULL;

		if (qcowfmt_bitmap_change(a, 1, NULL, &error) == 0)
			continue;
		reason = action_reason(a, r->image.open.path, error);
		qcf_tool_error("Operation %s on bitmap %s failed: %s",
		               action_name(a->kind), a->name, reason);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

static void complete_actions(struct request *r, struct qcowfmt_image *image,
                             struct qcowfmt_image *source)
{
	size_t i;

	for (i = 0; i < r->action_count; i++) {
		struct qcowfmt_bitmap_action *a = &r->actions[i];

		a->image = image;
		a->name = r->name;
		if (a->kind == QCOWFMT_BITMAP_ADD)
			a->granularity = r->granularity;
		if (a->kind == QCOWFMT_BITMAP_MERGE)
			a->source = source;
	}
}

static int open_source(const struct request *r, struct qcowfmt_image **source)
{
	QCF_AUTO_FREE char *reason = NULL;
	struct qcf_tool_open open = {
		.path = r->source_file,
		.format = r->source_format,
		.no_references = true,
		.flags = QCOWFMT_OPEN_NO_DATA,
	};

	if (r->source_file == NULL)
		return EXIT_SUCCESS;
	if (qcf_tool_open(&open, source, &reason) == 0)
		return EXIT_SUCCESS;
	qcf_tool_error("Could not open '%s': %s", r->source_file, reason);
	return EXIT_FAILURE;
}

static int change(struct qcowfmt_image *image, void *opaque)
{
	struct request *r = opaque;
	struct qcowfmt_image *source = NULL;
	int status = open_source(r, &source);

	if (status != EXIT_SUCCESS)
		return status;
	complete_actions(r, image, source);
	if (qcowfmt_bitmap_change(r->actions, r->action_count, NULL, NULL) < 0)
		status = change_singly(r);
	if (qcowfmt_close(source, NULL) < 0)
		status = EXIT_FAILURE;
	return status;
}

static const struct qcf_image_command command = {
	{ "FILE [BITMAP]", "Change or show the dirty bitmaps of an image.",
	  options },
	take_option,
	change,
};

static int run(struct request *r, int argc, char **argv)
{
	if (!check_request(r, argc - optind) ||
	    !qcf_image_args_take(&r->image, argv[optind]))
		return EXIT_FAILURE;
	r->name = argv[optind + 1];
	r->image.open.no_references = true;
	r->image.open.flags |= QCOWFMT_OPEN_NO_DATA;
	if (!shows(r))
		r->image.open.flags |= QCOWFMT_OPEN_READ_WRITE;
	return qcf_image_args_work(&r->image, shows(r) ? show : command.work,
	                           r);
}

int qcf_img_bitmap(int argc, char **argv)
{
	struct request *r = qcf_tool_alloc(sizeof(*r));
	int status;

	if (qcf_image_args_parse(&r->image, &command, r, argc, argv, &status))
		status = run(r, argc, argv);
	qcf_image_args_fini(&r->image);
	free(r);
	return status;
}
