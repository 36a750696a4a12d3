/* SPDX-License-Identifier: MIT */
/* img_rebase.c - "qcow-img rebase": put an image on another backing file */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_progress.h"
#include "tool_driver.h"
#include "tool_error.h"
#include "tool_image_command.h"

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	{ 'b', "backing", "NAME",
	  "the new backing file; an empty name for none", false, NULL },
	{ 'F', "backing-format", "FMT", "format of the new backing file", false,
	  NULL },
	{ 'B', "backing-format", "FMT", NULL, false, NULL },
	{ 'u', "backing-unsafe", NULL,
	  "change the name only: both backing files hold the same", false,
	  NULL },
	{ 'c', "compress", NULL, "store what is copied compressed", false,
	  NULL },
	QCF_OPTION_CACHE,
	{ 'T', "backing-cache", "MODE", "cache mode of the new backing file",
	  false, NULL },
	{ 'U', "force-share", NULL,
	  "open a new backing file that others may change", false, NULL },
	{ 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false, NULL },
	QCF_OPTION_QUIET,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	const char *backing; /* NULL: not given; "": none */
	const char *backing_format;
	struct qcf_cache_mode backing_cache;
	bool force_share;
	bool unsafe;
	bool compress;
	int progress_mode;
	struct img_progress progress;
};

static bool take_backing_cache(const char *name, struct request *r)
{
	if (qcf_parse_cache_mode(name, &r->backing_cache))
		return true;
	qcf_tool_error("Invalid source cache option: %s", name);
	return false;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'b':
		r->backing = optarg;
		break;
	case 'F':
	case 'B':
		r->backing_format = optarg;
		break;
	case 'u':
		r->unsafe = true;
		break;
	case 'c':
		r->compress = true;
		break;
	case 'U':
		r->force_share = true;
		break;
	case 'p':
		return qcf_progress_parse(optarg, &r->progress_mode);
	default:
		return take_backing_cache(optarg, r);
	}
	return true;
}

/* ------------------------------------------------------------------- rebasing */

static bool has_backing(const struct request *r)
{
	return r->backing != NULL && *r->backing != '\0';
}

static bool open_new_base(const struct request *r, struct qcowfmt_image *image,
                          struct qcowfmt_image **base)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *path = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	struct qcf_tool_open open = {
		.format = r->backing_format,
		.cache = r->backing_cache,
		.flags = r->force_share ? QCOWFMT_OPEN_NO_LOCK : 0,
	};

	if (qcowfmt_get_info(image, 0, &info, &error) < 0) {
		qcf_tool_error("%s", qcowfmt_error_message(error));
		return false;
	}
	path = qcf_resolve_reference(info.filename, r->backing);
	open.path = path;
	if (qcf_tool_open(&open, base, &reason) == 0)
		return true;
	qcf_tool_error("Could not open new backing file '%s': %s", r->backing,
	               reason);
	return false;
}

static void report_failure(const struct request *r, int ret,
                           const struct qcowfmt_error *error)
{
	const char *message = qcowfmt_error_message(error);
	bool no_room = ret == -ENOSPC && strstr(message, "the header") != NULL;

	qcf_tool_error("Could not change the backing file to '%s': %s (%s)",
	               r->backing != NULL ? r->backing : "",
	               no_room ? "No space left in the file header"
	                       : strerror(-ret),
	               message);
}

static int progress_mode(const struct request *r)
{
	return r->image.quiet ? IMG_PROGRESS_NONE : r->progress_mode;
}

static int rebase(struct request *r, struct qcowfmt_image *image,
                  struct qcowfmt_image *base)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_rebase_options how = {
		.struct_size = sizeof(how),
		.flags = (r->unsafe ? QCOWFMT_REBASE_UNSAFE : 0) |
		         (r->compress ? QCOWFMT_REBASE_COMPRESS : 0),
		.backing_filename = has_backing(r) ? r->backing : NULL,
		.backing_format = has_backing(r) ? r->backing_format : NULL,
		.progress = qcf_progress_callback,
		.progress_opaque = &r->progress,
	};
	int ret;

	qcf_progress_begin(&r->progress, progress_mode(r),
	                   qcowfmt_get_size(image));
	ret = qcowfmt_rebase(image, base, &how, &error);
	qcf_progress_end(&r->progress, ret == 0);
	if (ret < 0)
		report_failure(r, ret, error);
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct qcowfmt_image *image, void *opaque)
{
	QCF_AUTO_IMAGE struct qcowfmt_image *base = NULL;
	struct request *r = opaque;

	if (r->backing_format != NULL &&
	    !qcf_is_known_driver(r->backing_format)) {
		qcf_tool_error("Invalid format name: '%s'", r->backing_format);
		return EXIT_FAILURE;
	}
	if (!r->unsafe && has_backing(r) && !open_new_base(r, image, &base))
		return EXIT_FAILURE;
	if (has_backing(r) && r->backing_format == NULL) {
		qcf_tool_error("Could not change the backing file to '%s': "
		               "backing format must be specified",
		               r->backing);
		return EXIT_FAILURE;
	}
	return rebase(r, image, base);
}

static const struct qcf_image_command command = {
	{ "FILE", "Put an image on another backing file.", options },
	take_option,
	run,
};

static bool check(const struct request *r)
{
	if (r->backing == NULL && !r->unsafe) {
		qcf_tool_usage_error("Must specify backing file (-b) or use "
		                     "unsafe mode (-u)");
		return false;
	}
	if (r->unsafe && r->compress) {
		qcf_tool_error("Nothing is copied in unsafe mode that could be "
		               "compressed");
		return false;
	}
	return true;
}

static int work(struct request *r, const char *name)
{
	int status = EXIT_FAILURE;

	if (qcf_image_args_take(&r->image, name))
		status = qcf_image_args_work(&r->image, run, r);
	if (status != EXIT_SUCCESS)
		qcf_progress_fail(progress_mode(r));
	return status;
}

int qcf_img_rebase(int argc, char **argv)
{
	struct request r = {
		.image.open.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status)) {
		status = EXIT_FAILURE;
		/* The data file is a part of the image. */
		r.image.open.chain_limit = r.unsafe ? 1 : 0;
		if (argc - optind != 1)
			qcf_tool_usage_error("Expecting one image file name");
		else if (check(&r))
			status = work(&r, argv[optind]);
	}
	qcf_image_args_fini(&r.image);
	return status;
}
