/* SPDX-License-Identifier: MIT */
/*
 * img_convert.c - "qcow-img convert": copy images into a new one
 *
 * Options are dealt with here; img_convert_source.c reads, img_convert_copy.c
 * moves the data, and img_convert_target.c makes what it is written to.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img_command.h"
#include "img_convert_copy.h"
#include "img_convert_keep.h"
#include "img_convert_stream.h"
#include "img_convert_target.h"
#include "img_create_options.h"
#include "img_progress.h"
#include "img_spool.h"
#include "tool_error.h"
#include "tool_options.h"
#include "tool_secret.h"
#include "tool_size.h"

#define MAX_PARALLEL      16
#define DEFAULT_PARALLEL  8
#define DEFAULT_HOLE_SIZE 4096
#define MAX_HOLE_SIZE     (16 * MIB)

#define OPTION_OBJECT              (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS          (QCF_OPTION_LONG + 2)
#define OPTION_TARGET_IMAGE_OPTS   (QCF_OPTION_LONG + 3)
#define OPTION_BITMAPS             (QCF_OPTION_LONG + 4)
#define OPTION_SKIP_BROKEN_BITMAPS (QCF_OPTION_LONG + 5)
#define OPTION_SALVAGE             (QCF_OPTION_LONG + 6)
#define OPTION_TARGET_IS_ZERO      (QCF_OPTION_LONG + 7)
#define OPTION_SNAPSHOTS           (QCF_OPTION_LONG + 8)

static const struct qcf_tool_option options[] = {
	{ 'f', "source-format", "FMT", "format of the source (default: probed)",
	  false },
	{ 'T', "source-cache", "MODE",
	  "cache mode of the source (default: writeback)", false },
	{ 'O', "target-format", "FMT", "format of the target (default: raw)",
	  false },
	{ 'o', "target-format-options", "OPTS",
	  "options of the target, as in key=value,...; 'help' lists them",
	  false },
	{ 't', "target-cache", "MODE",
	  "cache mode of the target (default: unsafe)", false },
	{ 'b', "backing", "FILE", "make the target an overlay of FILE", false },
	{ 'B', NULL, "FILE", NULL, false },
	{ 'F', "backing-format", "FMT", "format of the backing file", false },
	{ 'S', "sparse-size", "SIZE",
	  "shortest run of zeros that becomes a hole (default: 4k; 0: no "
	  "holes)",
	  false },
	{ 'n', "no-create", NULL, "write into an image that exists", false },
	{ OPTION_TARGET_IS_ZERO, "target-is-zero", NULL,
	  "with -n: the target reads as zeros", false },
	{ 'c', "compress", NULL, "write compressed clusters", false },
	{ 'm', "parallel", "NUMBER", "requests at the same time (default: 8)",
	  false },
	{ 'W', "oob-writes", NULL, "write in any order", false },
	{ 'C', "copy-range-offloading", NULL,
	  "let the file system copy or share data", false },
	{ OPTION_SALVAGE, "salvage", NULL, "what cannot be read becomes zeros",
	  false },
	{ 'r', "rate-limit", "RATE", "bytes per second at most", false },
	{ 'U', "force-share", NULL, "open sources that others may change",
	  false },
	{ 'p', "progress", QCF_PROGRESS_ARG, QCF_PROGRESS_HELP, false },
	{ 'q', "quiet", NULL, "print nothing but errors", false },
	{ 'l', "snapshot", "SNAPSHOT",
	  "copy a snapshot: ID, NAME, or snapshot.id=ID,snapshot.name=NAME",
	  false },
	{ OPTION_SNAPSHOTS, "snapshots", NULL,
	  "copy the internal snapshots, too", false },
	{ OPTION_BITMAPS, "bitmaps", NULL, "copy the dirty bitmaps, too",
	  false },
	{ OPTION_SKIP_BROKEN_BITMAPS, "skip-broken-bitmaps", NULL,
	  "but not those that are inconsistent", false },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL,
	  "FILEs are lists of options, as in driver=FMT,file.filename=NAME,...",
	  false },
	{ OPTION_TARGET_IMAGE_OPTS, "target-image-opts", NULL,
	  "with -n: the same for TARGET", false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"FILE... TARGET",
	"Copy images, one behind the other, into a new one.",
	options,
};

/* ----------------------------------------------------------------- options */

static bool take_hole_size(const char *text, struct img_convert_request *r)
{
	r->has_hole_size = true;
	if (!qcf_parse_size_argument(text, "buffer size for sparse output",
	                             &r->hole_size))
		return false;
	if (r->hole_size % 512 == 0 && r->hole_size <= MAX_HOLE_SIZE)
		return true;
	qcf_tool_error("Invalid buffer size for sparse output specified. Valid "
	               "sizes are multiples of 512 up to %" PRIu64 ". Select 0 "
	               "to disable sparse detection (fully allocates output).",
	               MAX_HOLE_SIZE);
	return false;
}

static bool take_parallel(const char *text, struct img_convert_request *r)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	r->parallel = (unsigned int)value;
	if (end != text && *end == '\0' && value >= 1 && value <= MAX_PARALLEL)
		return true;
	qcf_tool_error("Invalid number of coroutines. Allowed number of "
	               "coroutines is between 1 and %d",
	               MAX_PARALLEL);
	return false;
}

static bool take_cache(const char *text, const char *what,
                       struct qcf_cache_mode *mode)
{
	if (qcf_parse_cache_mode(text, mode))
		return true;
	qcf_tool_error("Invalid %scache option: %s", what, text);
	return false;
}

static bool take_list(const char *text, struct img_convert_request *r)
{
	if (!qcf_keyval_is_valid(text)) {
		qcf_tool_error("Invalid option list: %s", text);
		return false;
	}
	qcf_keyval_append(&r->list, text);
	return true;
}

/* Options that cannot fail. */
static void take_simple(int option, struct img_convert_request *r)
{
	switch (option) {
	case 'f':
		r->source.format = optarg;
		break;
	case 'O':
		r->target_format = optarg;
		break;
	case 'b':
	case 'B':
		r->backing = optarg;
		break;
	case 'F':
		r->backing_format = optarg;
		break;
	case 'n':
		r->no_create = true;
		break;
	case 'c':
		r->compress = true;
		break;
	case OPTION_IMAGE_OPTS:
		r->image_opts = true;
		break;
	case OPTION_TARGET_IMAGE_OPTS:
		r->target_image_opts = true;
		break;
	case OPTION_TARGET_IS_ZERO:
		r->target_is_zero = true;
		break;
	case 'W':
		r->out_of_order = true;
		break;
	case 'C':
		r->copy_range = true;
		break;
	case OPTION_SNAPSHOTS:
		r->keep_snapshots = true;
		break;
	case OPTION_BITMAPS:
		r->keep_bitmaps = true;
		break;
	case OPTION_SKIP_BROKEN_BITMAPS:
		r->skip_broken_bitmaps = true;
		break;
	case OPTION_SALVAGE:
		r->salvage = true;
		break;
	case 'U':
		r->source.flags |= QCOWFMT_OPEN_NO_LOCK;
		break;
	case 'q':
		r->quiet = true;
		break;
	default:
		break;
	}
}

static bool take_option(int option, void *opaque)
{
	struct img_convert_request *r = opaque;

	switch (option) {
	case 'T':
		return take_cache(optarg, "source ", &r->source.cache);
	case 't':
		return take_cache(optarg, "", &r->target.cache);
	case 'o':
		return take_list(optarg, r);
	case 'S':
		return take_hole_size(optarg, r);
	case 'm':
		return take_parallel(optarg, r);
	case 'r':
		return qcf_parse_size_argument(optarg, "rate limit",
		                               &r->rate_limit);
	case 'l':
		return qcf_snapshot_choice_parse(&r->snapshot, optarg);
	case 'p':
		return qcf_progress_parse(optarg, &r->progress);
	case OPTION_OBJECT:
		return qcf_secret_define(optarg);
	default:
		take_simple(option, r);
		return true;
	}
}

/* Checked before operands are looked at. */
static bool check_options(const struct img_convert_request *r)
{
	const char *problem = NULL;

	if (r->skip_broken_bitmaps && !r->keep_bitmaps)
		problem = "Use of --skip-broken-bitmaps requires --bitmaps";
	else if (r->copy_range && r->compress)
		problem = "Cannot enable copy offloading when -c is used";
	else if (r->copy_range && r->has_hole_size)
		problem = "Cannot enable copy offloading when -S is used";
	else if (r->copy_range && r->salvage)
		problem = "Cannot use copy offloading in salvaging mode";
	if (problem != NULL)
		qcf_tool_error("%s", problem);
	return problem == NULL;
}

/* What works with one source only, or not together. */
static const char *check_sources(const struct img_convert_request *r)
{
	bool several = r->source_count > 1;

	if (several && r->backing != NULL)
		return "Having a backing file for the target makes no sense "
		       "when concatenating multiple input images";
	if (several && r->snapshot.is_set)
		return "No support for concatenating multiple snapshot";
	if (several && r->keep_bitmaps)
		return "Copying bitmaps only possible with single source";
	if (several && r->keep_snapshots)
		return "Copying snapshots only possible with single source";
	if (!r->keep_snapshots)
		return NULL;
	if (r->no_create)
		return "Copying snapshots needs a new target";
	if (r->snapshot.is_set)
		return "Either one snapshot or all of them can be copied";
	if (r->backing != NULL)
		return "Copying snapshots is not possible onto a backing file";
	return NULL;
}

static bool check_combination(const struct img_convert_request *r)
{
	const char *problem = NULL;

	if ((r->image_opts && r->source.format != NULL) ||
	    (r->target_image_opts && r->target_format != NULL))
		problem = "--image-opts and --format are mutually exclusive";
	else if (r->target_image_opts && !r->no_create)
		problem = "--target-image-opts requires use of -n flag";
	else if (r->target_is_zero && !r->no_create)
		problem = "--target-is-zero requires use of -n flag";
	else if (r->target_is_zero && r->backing != NULL)
		problem = "Cannot use --target-is-zero when the destination "
			  "image has a backing file";
	else if (r->no_create && r->list.count > 0)
		problem = "-o has no effect when skipping image creation";
	else
		problem = check_sources(r);
	if (problem != NULL)
		qcf_tool_error("%s", problem);
	return problem == NULL;
}

static bool parse_operands(int argc, char **argv, struct img_convert_request *r)
{
	int count = argc - optind;

	if (r->list.wants_help && !r->no_create) {
		r->target.path = count > 0 ? argv[argc - 1] : NULL;
		return true;
	}
	if (!check_options(r))
		return false;
	if (count < 2 && r->list.wants_help)
		return check_combination(r);
	if (count < 2) {
		qcf_tool_error("Must specify image file name");
		return false;
	}
	r->sources = argv + optind;
	r->source_count = (size_t)count - 1;
	r->target.path = argv[argc - 1];
	return check_combination(r);
}

/* -------------------------------------------------------------------- copy */

/* What cannot work is refused before anything is written. */
static bool check_target(const struct img_convert_request *r,
                         const struct img_source *source,
                         struct qcowfmt_image *target)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (qcowfmt_get_size(target) < source->size) {
		qcf_tool_error("output file is smaller than input file");
		return false;
	}
	if (r->keep_bitmaps &&
	    !qcf_keep_bitmaps_check(r, source->handles[0], target))
		return false;
	if (!r->compress || qcowfmt_get_info(target, 0, &info, NULL) < 0 ||
	    info.format != QCOWFMT_FORMAT_RAW)
		return true;
	qcf_tool_error("Compression not supported for this file format");
	return false;
}

static bool fill_target(const struct img_convert_request *r,
                        const struct img_source *source,
                        struct qcowfmt_image *target)
{
	bool ok = r->keep_snapshots ? qcf_keep_snapshots(r, source, target)
	                            : qcf_copy(r, source, target);

	return ok && (!r->keep_bitmaps ||
	              qcf_keep_bitmaps(r, source->handles[0], target));
}

static bool write_target(const struct img_convert_request *r,
                         struct img_source *source)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	struct qcowfmt_image *target;
	bool ok;

	if (qcf_tool_open(&r->target, &target, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", r->target.path,
		               reason);
		return false;
	}
	ok = check_target(r, source, target) && fill_target(r, source, target);
	if (ok)
		qcf_target_trim(r);
	if (qcowfmt_close(target, &error) < 0 && ok) {
		qcf_tool_error("error while writing '%s': %s", r->target.path,
		               qcowfmt_error_message(error));
		ok = false;
	}
	return ok && (!r->compress || qcf_target_pad(r->target_path));
}

/* Find out where the target is; false with a message. */
static bool name_target(struct img_convert_request *r)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (r->target_format == NULL && !r->target_image_opts)
		r->target_format = "raw";
	r->target.format = r->target_format;
	if (r->target_image_opts ||
	    (r->no_create && qcf_is_json_name(r->target.path))) {
		if (!qcf_tool_take_image(&r->target, &r->target_opts,
		                         r->target_image_opts, r->target.path))
			return false;
		r->target_path = r->target_opts.path;
		return true;
	}
	r->to_pipe = qcf_is_pipe_name(r->target.path);
	r->target_path = qcf_tool_path(r->target.path, &reason);
	if (r->target_path == NULL && r->no_create)
		qcf_tool_error("Could not open '%s': %s", r->target.path,
		               reason);
	else if (r->target_path == NULL &&
	         strncmp(reason, "Unknown", strlen("Unknown")) == 0)
		qcf_tool_error("%s", reason);
	else if (r->target_path == NULL)
		qcf_tool_error("%s: error while converting %s: %s",
		               r->target.path, r->target_format, reason);
	return r->target_path != NULL;
}

static bool open_sources(const struct img_convert_request *r,
                         struct img_source *source)
{
	if (!qcf_source_open(source, &r->source, r->image_opts, r->sources,
	                     r->source_count))
		return false;
	if (!r->snapshot.is_set)
		return true;
	if (!qcf_snapshot_choice_open(&r->snapshot, &source->requests[0],
	                              &source->handles[0]))
		return false;
	source->size = qcowfmt_get_size(source->handles[0]);
	return true;
}

/*
 * Whether standard input can be read once, from first byte to last.  A qcow2
 * image for a pipe begins with tables, which say what will come.
 */
static void plan_input(const struct img_convert_request *r,
                       struct img_source *source)
{
	bool to_qcow2 = r->target_format != NULL &&
	                strcmp(r->target_format, "qcow2") == 0;
	bool is_sized = qcf_keyval_find(&r->list, "size") != NULL;
	bool grows = r->no_create || to_qcow2 ||
	             (r->target_format != NULL &&
	              strcmp(r->target_format, "raw") == 0);

	source->may_move = r->source_count == 1 && !r->snapshot.is_set &&
	                   !r->keep_snapshots && !r->keep_bitmaps &&
	                   !r->salvage &&
	                   !(r->to_pipe && to_qcow2 && r->compress);
	source->may_take =
		source->may_move && grows && r->backing == NULL &&
		qcf_keyval_find(&r->list, "backing_file") == NULL &&
		qcf_keyval_find(&r->list, "preallocation") == NULL &&
		(!r->to_pipe || !to_qcow2 || (is_sized && r->hole_size == 0));
}

/* A file that is made for input of unknown length gets it in the end. */
static void plan_size(struct img_convert_request *r,
                      const struct img_source *source)
{
	struct stat st;

	r->resize = source->is_input && !r->no_create && source->size == 0 &&
	            qcf_keyval_find(&r->list, "size") == NULL &&
	            stat(r->target_path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The length of input that was said before must be the one it has. */
static bool check_length(const struct img_convert_request *r,
                         const struct img_source *source)
{
	if (!source->is_input || r->resize || r->no_create ||
	    qcf_round_up(source->pipe.position, 512) == source->size)
		return true;
	qcf_tool_error("Option 'size' must be the size of the source");
	return false;
}

static bool convert(struct img_convert_request *r, struct img_source *source)
{
	bool created = false;
	bool ok;

	if (!name_target(r))
		return false;
	plan_input(r, source);
	if (!open_sources(r, source) ||
	    (r->keep_bitmaps &&
	     !qcf_keep_bitmaps_has_source(source->handles[0])))
		return false;
	if (r->to_pipe)
		return qcf_convert_stream(r, source);
	if (!qcf_target_prepare(r, source, &created))
		return false;
	plan_size(r, source);
	r->target.flags = QCOWFMT_OPEN_READ_WRITE;
	ok = write_target(r, source) && check_length(r, source);
	/* Nobody should take half a copy for a whole one. */
	if (!ok && created)
		(void)unlink(r->target_path);
	qcf_tool_making(NULL);
	return ok;
}

static int run(struct img_convert_request *r)
{
	struct img_source source = { 0 };
	QCF_AUTO_FREE char *reason = NULL;
	bool ok;

	if (r->list.wants_help) {
		reason = qcf_create_print_help(
			r->target_format != NULL ? r->target_format : "raw",
			r->target.path != NULL);
		if (reason != NULL)
			qcf_tool_error("%s", reason);
		return reason == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	ok = convert(r, &source);
	if (!ok && !r->to_pipe)
		qcf_progress_fail(r->quiet ? IMG_PROGRESS_NONE : r->progress);
	if (ok && source.is_moving)
		qcf_pipe_drain(&source.pipe);
	qcf_source_close(&source);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int qcf_img_convert(int argc, char **argv)
{
	struct img_convert_request r = {
		.target = { .cache = { .no_flush = true },
		            .punch_zeros = true },
		.hole_size = DEFAULT_HOLE_SIZE,
		.parallel = DEFAULT_PARALLEL,
	};
	int option = qcf_options_parse(&help, argc, argv, take_option, &r);
	int status = EXIT_FAILURE;

	if (option == QCF_OPTION_HELP)
		status = EXIT_SUCCESS;
	else if (option == QCF_OPTION_DONE && parse_operands(argc, argv, &r))
		status = run(&r);
	qcf_keyval_fini(&r.list);
	qcf_image_opts_fini(&r.target_opts);
	qcf_snapshot_choice_fini(&r.snapshot);
	return status;
}
