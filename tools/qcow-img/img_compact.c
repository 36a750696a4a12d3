/* SPDX-License-Identifier: MIT */
/*
 * img_compact.c - "qcow-img compact": make an image file shorter, in place
 *
 * QEMU's program has nothing like it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "img_command.h"
#include "img_progress.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_json.h"
#include "tool_size.h"

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	QCF_OPTION_CACHE,
	QCF_OPTION_OUTPUT,
	{ 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false },
	QCF_OPTION_QUIET,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	struct img_progress progress;
	int mode; /* enum img_progress_mode */
};

/* The only option of the command's own. */
static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	(void)option;
	return qcf_progress_parse(optarg, &r->mode);
}

static void print_json(const struct qcowfmt_compact_result *result,
                       const char *name)
{
	struct qcf_json json = { 0 };

	qcf_json_begin_object(&json, NULL);
	qcf_json_string(&json, "filename", name);
	qcf_json_number(&json, "old-size", result->old_size);
	qcf_json_number(&json, "new-size", result->new_size);
	qcf_json_number(&json, "clusters-moved", result->clusters_moved);
	qcf_json_number(&json, "clusters-punched", result->clusters_punched);
	qcf_json_end_object(&json);
}

static void print_text(const struct qcowfmt_compact_result *result)
{
	char old_size[QCF_SIZE_TEXT];
	char new_size[QCF_SIZE_TEXT];

	printf("Image compacted: file size %s, was %s; %" PRIu64
	       " clusters moved, space of %" PRIu64 " free ones given back.\n",
	       qcf_format_size(new_size, result->new_size),
	       qcf_format_size(old_size, result->old_size),
	       result->clusters_moved, result->clusters_punched);
}

static int work(struct qcowfmt_image *image, void *opaque)
{
	struct request *r = opaque;
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_compact_options o = {
		.struct_size = sizeof(o),
		.progress = qcf_progress_callback,
		.progress_opaque = &r->progress,
	};
	struct qcowfmt_compact_result result = { .struct_size =
		                                         sizeof(result) };
	int ret;

	/* Standard output is for the result where that is to be parsed. */
	qcf_progress_begin_on(&r->progress,
	                      r->image.quiet ? IMG_PROGRESS_NONE : r->mode, 1,
	                      r->image.json ? stderr : stdout);
	ret = qcowfmt_compact(image, &o, &result, &error);
	qcf_progress_end(&r->progress, ret == 0);
	if (ret < 0) {
		qcf_tool_error("%s", qcowfmt_error_message(error));
		return EXIT_FAILURE;
	}
	if (r->image.json)
		print_json(&result, r->image.open.path);
	else if (!r->image.quiet)
		print_text(&result);
	return EXIT_SUCCESS;
}

static const struct qcf_image_command command = {
	{ "FILE", "Make the file of an image shorter, in place.", options },
	take_option,
	work
};

int qcf_img_compact(int argc, char **argv)
{
	struct request r = {
		.image = { .open = { .flags = QCOWFMT_OPEN_READ_WRITE } },
	};

	return qcf_image_command_run(&command, &r.image, &r, argc, argv);
}
