/* SPDX-License-Identifier: MIT */
/*
 * img_compare.c - "qcow-img compare": whether two images hold the same disk
 *
 * The exit code tells: 0 the same, 1 different, and 2, 3 or 4 for what went
 * wrong.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_progress.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_secret.h"

enum {
	EXIT_DIFFERENT = 1,
	EXIT_USAGE = 1,
	EXIT_NOT_OPENED = 2,
	EXIT_NOT_MAPPED = 3,
	EXIT_NOT_READ = 4,
};

struct request {
	struct qcf_image_args image; /* the first; what take functions get */
	struct qcf_image_opts second_opts;
	const char *second_format;
	const char *names[2];
	const char *cache;
	bool strict;
	bool bad_value; /* an option was known, what it said was not */
	int progress_mode;
	struct img_progress progress;
};

static bool take_object(char *argument, void *shared)
{
	struct request *r = shared;

	r->bad_value = !qcf_secret_define(argument);
	return !r->bad_value;
}

static const struct qcf_tool_option options[] = {
	{ 'f', "a-format", "FMT", "format of FILE1 (default: probed)", false,
	  qcf_take_format },
	{ 'F', "b-format", "FMT", "format of FILE2 (default: probed)", false,
	  NULL },
	{ 's', "strict", NULL,
	  "sizes and what is allocated have to be the same, too", false, NULL },
	{ 'T', "cache", "MODE", QCF_CACHE_HELP, false, NULL },
	QCF_OPTION_FORCE_SHARE,
	{ 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false, NULL },
	QCF_OPTION_QUIET,
	{ QCF_OPTION_SHARED_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false,
	  take_object },
	{ QCF_OPTION_SHARED_IMAGE_OPTS, "image-opts", NULL,
	  "FILEs are lists of options, as in driver=FMT,file.filename=NAME,...",
	  false, qcf_take_image_opts },
	QCF_OPTIONS_END
};

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'F':
		r->second_format = optarg;
		break;
	case 's':
		r->strict = true;
		break;
	case 'p':
		return qcf_progress_parse(optarg, &r->progress_mode);
	default:
		r->cache = optarg;
		break;
	}
	return true;
}

static const struct qcf_image_command command = {
	{ "FILE1 FILE2", "Compare the disks of two images.", options },
	take_option,
	NULL,
};

/* ------------------------------------------------------------------ comparing */

static void say(const struct request *r, const char *text)
{
	if (!r->image.quiet)
		puts(text);
}

static int report_failure(const struct request *r,
                          const struct qcowfmt_compare_result *result, int ret,
                          const struct qcowfmt_error *error)
{
	const char *name;

	if (result->failed_image == 0) {
		qcf_tool_error("%s", qcowfmt_error_message(error));
		return EXIT_NOT_READ;
	}
	name = r->names[result->failed_image - 1];
	if (result->failed_step == QCOWFMT_COMPARE_MAPPING) {
		qcf_tool_error("Sector allocation test failed for %s: %s", name,
		               qcowfmt_error_message(error));
		return EXIT_NOT_MAPPED;
	}
	qcf_tool_error("Error while reading offset %" PRIu64 " of %s: %s",
	               result->guest_offset, name, strerror(-ret));
	return EXIT_NOT_READ;
}

static int report_difference(const struct request *r,
                             const struct qcowfmt_compare_result *result)
{
	if (r->image.quiet)
		return EXIT_DIFFERENT;
	if (result->difference == QCOWFMT_DIFFERENT_SIZE)
		puts("Strict mode: Image size mismatch!");
	else if (result->difference == QCOWFMT_DIFFERENT_ALLOCATION)
		printf("Strict mode: Offset %" PRIu64
		       " block status mismatch!\n",
		       result->guest_offset);
	else
		printf("Content mismatch at offset %" PRIu64 "!\n",
		       result->guest_offset);
	return EXIT_DIFFERENT;
}

/* The common part is the same; what is longer may still be only zeros. */
static void warn_of_sizes(const struct request *r,
                          struct qcowfmt_image *const images[2],
                          const struct qcowfmt_compare_result *result)
{
	uint64_t first = qcowfmt_get_size(images[0]);
	uint64_t second = qcowfmt_get_size(images[1]);

	if (r->strict || first == second ||
	    (result->difference != QCOWFMT_SAME &&
	     result->guest_offset < qcf_min(first, second)))
		return;
	say(r, "Warning: Image size mismatch!");
}

static int compare(struct request *r, struct qcowfmt_image *const images[2])
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_compare_result result = { .struct_size =
		                                         sizeof(result) };
	struct qcowfmt_compare_options how = {
		.struct_size = sizeof(how),
		.flags = r->strict ? QCOWFMT_COMPARE_STRICT : 0,
		.progress = qcf_progress_callback,
		.progress_opaque = &r->progress,
	};
	int ret = qcowfmt_compare(images[0], images[1], &how, &result, &error);

	if (ret < 0)
		return report_failure(r, &result, ret, error);
	warn_of_sizes(r, images, &result);
	if (result.difference != QCOWFMT_SAME)
		return report_difference(r, &result);
	say(r, "Images are identical.");
	return EXIT_SUCCESS;
}

/* -------------------------------------------------------------------- opening */

static bool open_one(const struct qcf_tool_open *open,
                     struct qcowfmt_image **image)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (qcf_tool_open(open, image, &reason) == 0)
		return true;
	qcf_tool_error("Could not open '%s': %s", open->path, reason);
	return false;
}

static int open_and_compare(struct request *r,
                            const struct qcf_tool_open *second)
{
	QCF_AUTO_IMAGE struct qcowfmt_image *a = NULL;
	QCF_AUTO_IMAGE struct qcowfmt_image *b = NULL;
	struct qcowfmt_image *images[2];
	int status;

	if (!open_one(&r->image.open, &a) || !open_one(second, &b))
		return EXIT_NOT_OPENED;
	images[0] = a;
	images[1] = b;
	qcf_progress_begin(&r->progress,
	                   r->image.quiet ? IMG_PROGRESS_NONE
	                                  : r->progress_mode,
	                   qcf_max(qcowfmt_get_size(a), qcowfmt_get_size(b)));
	r->progress.step = 2;
	status = compare(r, images);
	qcf_progress_end(&r->progress, false);
	return status;
}

static int run(struct request *r, char **names)
{
	struct qcf_tool_open second;

	r->names[0] = names[0];
	r->names[1] = names[1];
	if (r->cache != NULL &&
	    !qcf_parse_cache_mode(r->cache, &r->image.open.cache)) {
		qcf_tool_error("Invalid source cache option: %s", r->cache);
		return EXIT_NOT_OPENED;
	}
	second = r->image.open;
	if (r->image.image_opts && r->second_format != NULL) {
		qcf_tool_error("--image-opts and --format are mutually "
		               "exclusive");
		return EXIT_NOT_OPENED;
	}
	second.format = r->second_format;
	if (!qcf_image_args_take(&r->image, names[0]) ||
	    !qcf_tool_take_image(&second, &r->second_opts, r->image.image_opts,
	                         names[1]))
		return EXIT_NOT_OPENED;
	return open_and_compare(r, &second);
}

int qcf_img_compare(int argc, char **argv)
{
	struct request r = { .bad_value = false };
	int status;

	if (!qcf_image_args_parse(&r.image, &command, &r, argc, argv,
	                          &status)) {
		if (r.bad_value)
			status = EXIT_NOT_OPENED;
	} else if (argc - optind != 2) {
		qcf_tool_usage_error("Expecting two image file names");
		status = EXIT_USAGE;
	} else {
		status = run(&r, argv + optind);
	}
	qcf_image_opts_fini(&r.second_opts);
	qcf_image_args_fini(&r.image);
	return status;
}
