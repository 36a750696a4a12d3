/* SPDX-License-Identifier: MIT */
/*
 * img_commit.c - "qcow-img commit": copy an overlay into the image below it
 *
 * The chain is opened as a whole first, to find the base and to say what is
 * wrong with any of its images; then again in two parts, the overlays and what
 * is below them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img_command.h"
#include "img_progress.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_size.h"

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	{ 'b', "base", "NAME",
	  "commit down to this image of the chain; implies -d", false, NULL },
	{ 'd', "drop", NULL, "do not empty FILE, which will not be needed",
	  false, NULL },
	{ 'r', "rate-limit", "RATE", "copy at most so many bytes a second",
	  false, NULL },
	QCF_OPTION_CACHE,
	{ 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false, NULL },
	QCF_OPTION_QUIET,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	struct qcf_image_opts base_opts;
	const char *base_name;
	bool drop;
	uint64_t rate_limit;
	/* Found out from the chain. */
	uint32_t depth; /* of the base */
	char *base_path;
	const char *base_format; /* NULL: to be probed */
	int progress_mode;
	struct img_progress progress;
};

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'b':
		r->base_name = optarg;
		r->drop = true;
		break;
	case 'd':
		r->drop = true;
		break;
	case 'p':
		return qcf_progress_parse(optarg, &r->progress_mode);
	default:
		return qcf_parse_size_argument(optarg, "rate limit",
		                               &r->rate_limit);
	}
	return true;
}

/* -------------------------------------------------------------------- the base */

static bool is_same_file(const char *a, const char *b)
{
	struct stat first;
	struct stat second;

	return stat(a, &first) == 0 && stat(b, &second) == 0 &&
	       first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* Whether a name means the backing file of an image: as the image has it, or
 * from where the image is. */
static bool is_called(const char *name, const struct qcowfmt_info *above,
                      const struct qcowfmt_info *info)
{
	QCF_AUTO_FREE char *path = qcf_resolve_reference(above->filename, name);

	return (above->backing_filename != NULL &&
	        strcmp(above->backing_filename, name) == 0) ||
	       is_same_file(path, info->filename);
}

/* The first image below the top one that has the name; 0 if there is none. */
static uint32_t find_base(const struct request *r, struct qcowfmt_image *image)
{
	struct qcowfmt_info above = { .struct_size = sizeof(above) };
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint32_t depth;

	if (r->base_name == NULL)
		return 1;
	for (depth = 1; qcowfmt_get_info(image, depth - 1, &above, NULL) == 0 &&
	                qcowfmt_get_info(image, depth, &info, NULL) == 0;
	     depth++) {
		if (is_called(r->base_name, &above, &info))
			return depth;
	}
	return 0;
}

/* What stands in for a backing file that was left out is none. */
static bool has_backing(const struct request *r, struct qcowfmt_image *image)
{
	struct qcowfmt_info base = { .struct_size = sizeof(base) };
	const struct qcf_image_opts *opts = r->image.open.opts;
	const struct qcf_image_node *top =
		opts != NULL ? qcf_image_opts_node(opts, 0) : NULL;

	return qcowfmt_get_info(image, 1, &base, NULL) == 0 &&
	       (top == NULL || !top->no_backing);
}

static int progress_mode(const struct request *r)
{
	return r->image.quiet ? IMG_PROGRESS_NONE : r->progress_mode;
}

static int look_at_chain(struct qcowfmt_image *image, void *opaque)
{
	struct request *r = opaque;
	struct qcowfmt_info above = { .struct_size = sizeof(above) };
	struct qcowfmt_info base = { .struct_size = sizeof(base) };

	if (!has_backing(r, image)) {
		qcf_progress_fail(progress_mode(r));
		qcf_tool_error("Image does not have a backing file");
		return EXIT_FAILURE;
	}
	r->depth = find_base(r, image);
	if (r->depth == 0 ||
	    qcowfmt_get_info(image, r->depth - 1, &above, NULL) < 0 ||
	    qcowfmt_get_info(image, r->depth, &base, NULL) < 0) {
		qcf_progress_fail(progress_mode(r));
		qcf_tool_error("Did not find '%s' in the backing chain of '%s'",
		               r->base_name, r->image.open.path);
		return EXIT_FAILURE;
	}
	r->base_path = qcf_tool_printf("%s", base.filename);
	/* What was only probed has to be probed again: a raw image must not
	 * become something else. */
	if (above.backing_format != NULL || base.format != QCOWFMT_FORMAT_RAW)
		r->base_format = qcowfmt_format_name(base.format);
	return EXIT_SUCCESS;
}

/* -------------------------------------------------------------------- opening */

/* The key without "backing." once for each level, or NULL. */
static const char *below(const char *key, uint32_t depth)
{
	static const char prefix[] = "backing.";

	for (; depth > 0; depth--) {
		if (strncmp(key, prefix, strlen(prefix)) != 0)
			return NULL;
		key += strlen(prefix);
	}
	return key;
}

/* A value for a list of options: with its commas doubled. */
static char *quote(const char *value)
{
	char *text = qcf_tool_alloc(2 * strlen(value) + 1);
	char *to = text;

	for (; *value != '\0'; value++) {
		if (*value == ',')
			*to++ = ',';
		*to++ = *value;
	}
	return text;
}

static char *add_pair(struct qcf_image_opts *opts, const char *key,
                      const char *value)
{
	QCF_AUTO_FREE char *quoted = quote(value);
	QCF_AUTO_FREE char *text = qcf_tool_printf("%s=%s", key, quoted);

	return qcf_image_opts_add(opts, text);
}

/* What was said of the base as a part of the chain, for the base alone. */
static char *describe_base(struct request *r)
{
	const struct qcf_keyval_list *list = &r->image.opts.list;
	char *reason = add_pair(&r->base_opts, "file.filename", r->base_path);
	size_t i;

	if (reason == NULL && r->base_format != NULL)
		reason = add_pair(&r->base_opts, "driver", r->base_format);
	for (i = 0; i < list->count && reason == NULL; i++) {
		const struct qcf_keyval *pair = &list->items[i];
		const char *key = below(pair->key, r->depth);

		if (key != NULL && pair->value != NULL)
			reason = add_pair(&r->base_opts, key, pair->value);
	}
	return reason;
}

static bool open_part(const struct qcf_tool_open *open,
                      struct qcowfmt_image **image)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (qcf_tool_open(open, image, &reason) == 0)
		return true;
	qcf_tool_error("Could not open '%s': %s", open->path, reason);
	return false;
}

static bool open_parts(struct request *r, struct qcowfmt_image **image,
                       struct qcowfmt_image **base)
{
	struct qcf_tool_open overlays = r->image.open;
	struct qcf_tool_open below_them = r->image.open;
	QCF_AUTO_FREE char *reason = describe_base(r);

	if (reason != NULL) {
		qcf_tool_error("Could not open '%s': %s", r->base_path, reason);
		return false;
	}
	overlays.chain_limit = r->depth;
	below_them.path = r->base_path;
	below_them.format = NULL;
	below_them.opts = &r->base_opts;
	return open_part(&overlays, image) && open_part(&below_them, base);
}

/* ----------------------------------------------------------------- committing */

static int commit(struct request *r, struct qcowfmt_image *image,
                  struct qcowfmt_image *base)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_commit_options how = {
		.struct_size = sizeof(how),
		.flags = r->drop ? QCOWFMT_COMMIT_KEEP_TOP : 0,
		.rate_limit = r->rate_limit,
		.progress = qcf_progress_callback,
		.progress_opaque = &r->progress,
	};
	int ret;

	qcf_progress_begin(&r->progress, progress_mode(r),
	                   qcowfmt_get_size(image));
	ret = qcowfmt_commit(image, base, &how, &error);
	qcf_progress_end(&r->progress, ret == 0);
	if (ret < 0)
		qcf_tool_error("Block job failed: %s (%s)", strerror(-ret),
		               qcowfmt_error_message(error));
	return ret;
}

/* Closing an image is part of the work; only its first failure is told. */
static int finish(struct qcowfmt_image *image, const char *name, int ret)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int closed = qcowfmt_close(image, &error);

	if (closed == 0 || ret < 0)
		return ret;
	qcf_tool_error("%s: %s", name, qcowfmt_error_message(error));
	return closed;
}

static int run(struct request *r)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_image *base = NULL;
	int ret = -EINVAL;

	if (open_parts(r, &image, &base))
		ret = commit(r, image, base);
	ret = finish(base, r->base_path, ret);
	ret = finish(image, r->image.open.path, ret);
	if (ret == 0 && !r->image.quiet)
		puts("Image committed.");
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct qcf_image_command command = {
	{ "FILE", "Copy what an overlay holds into its backing file.",
	  options },
	take_option,
	look_at_chain,
};

int qcf_img_commit(int argc, char **argv)
{
	struct request r = {
		.image.open.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status)) {
		status = EXIT_FAILURE;
		if (argc - optind != 1)
			qcf_tool_usage_error("Expecting one image file name");
		else if (qcf_image_args_take(&r.image, argv[optind]))
			status =
				qcf_image_args_work(&r.image, command.work, &r);
		if (r.depth > 0 && status == EXIT_SUCCESS)
			status = run(&r);
	}
	free(r.base_path);
	qcf_image_opts_fini(&r.base_opts);
	qcf_image_args_fini(&r.image);
	return status;
}
