/* SPDX-License-Identifier: MIT */
/*
 * img_convert.c - "qcow-img convert": copy images into a new one
 *
 * Options and the target are dealt with here; img_convert_source.c reads and
 * img_convert_copy.c moves the data.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img_command.h"
#include "img_convert_copy.h"
#include "img_create_options.h"
#include "tool_error.h"
#include "tool_options.h"
#include "tool_secret.h"
#include "tool_size.h"

#define MAX_PARALLEL      16
#define DEFAULT_PARALLEL  8
#define DEFAULT_HOLE_SIZE 4096
#define MAX_HOLE_SIZE     (16 * MIB)

/* File systems do not make smaller holes. */
#define RAW_HOLE_UNIT 4096

/* Of a cluster with an extended L2 entry. */
#define SUBCLUSTERS 32

#define OPTION_OBJECT              (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS          (QCF_OPTION_LONG + 2)
#define OPTION_TARGET_IMAGE_OPTS   (QCF_OPTION_LONG + 3)
#define OPTION_BITMAPS             (QCF_OPTION_LONG + 4)
#define OPTION_SKIP_BROKEN_BITMAPS (QCF_OPTION_LONG + 5)
#define OPTION_SALVAGE             (QCF_OPTION_LONG + 6)
#define OPTION_TARGET_IS_ZERO      (QCF_OPTION_LONG + 7)

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
	{ 'r', "rate-limit", "RATE", "bytes per second at most", false },
	{ 'U', "force-share", NULL, "open sources that others may change",
	  false },
	{ 'p', "progress", NULL, "show how far it has come", false },
	{ 'q', "quiet", NULL, "print nothing but errors", false },
	{ 'l', "snapshot", "SNAPSHOT", NULL, true },
	{ 'C', "copy-range-offloading", NULL, NULL, true },
	{ OPTION_BITMAPS, "bitmaps", NULL, NULL, true },
	{ OPTION_SKIP_BROKEN_BITMAPS, "skip-broken-bitmaps", NULL, NULL, true },
	{ OPTION_SALVAGE, "salvage", NULL, NULL, true },
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

struct request {
	struct qcf_tool_open source; /* how to open the sources */
	struct qcf_tool_open target;
	struct qcf_image_opts target_opts;
	const char *target_format; /* NULL: raw, or what the target is */
	const char *target_path;
	struct qcf_keyval_list list;
	const char *backing;
	const char *backing_format;
	bool has_backing;   /* the target, by -b or -o */
	uint64_t hole_size; /* 0: no holes */
	uint64_t rate_limit;
	unsigned int parallel;
	bool no_create;
	bool image_opts;
	bool target_image_opts;
	bool compress;
	bool is_preallocated; /* the target is new, and no part of it missing */
	bool target_is_zero;
	bool out_of_order;
	bool show_progress;
	bool quiet;
	char **sources;
	size_t source_count;
};

/* ----------------------------------------------------------------- options */

static bool take_hole_size(const char *text, struct request *r)
{
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

static bool take_parallel(const char *text, struct request *r)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

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

static bool take_list(const char *text, struct request *r)
{
	if (!qcf_keyval_is_valid(text)) {
		qcf_tool_error("Invalid option list: %s", text);
		return false;
	}
	qcf_keyval_append(&r->list, text);
	return true;
}

/* Options that cannot fail. */
static void take_simple(int option, struct request *r)
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
	case 'U':
		r->source.flags |= QCOWFMT_OPEN_NO_LOCK;
		break;
	case 'p':
		r->show_progress = true;
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
	struct request *r = opaque;

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
	case OPTION_OBJECT:
		return qcf_secret_define(optarg);
	default:
		take_simple(option, r);
		return true;
	}
}

static bool check_combination(const struct request *r)
{
	const char *problem = NULL;

	if ((r->image_opts && r->source.format != NULL) ||
	    (r->target_image_opts && r->target_format != NULL))
		problem = "--image-opts and --format are mutually exclusive";
	else if (r->target_image_opts && !r->no_create)
		problem = "--target-image-opts requires use of -n flag";
	else if (r->target_is_zero && !r->no_create)
		problem = "--target-is-zero requires use of -n flag";
	else if (r->no_create && r->list.count > 0)
		problem = "-o has no effect when skipping image creation";
	else if (r->source_count > 1 && r->backing != NULL)
		problem = "Having a backing file for the target makes no sense "
			  "when concatenating multiple input images";
	if (problem != NULL)
		qcf_tool_error("%s", problem);
	return problem == NULL;
}

static bool parse_operands(int argc, char **argv, struct request *r)
{
	int count = argc - optind;

	if (r->list.wants_help) {
		r->target.path = count > 0 ? argv[argc - 1] : NULL;
		return true;
	}
	if (count < 2) {
		qcf_tool_error("Must specify image file name");
		return false;
	}
	r->sources = argv + optind;
	r->source_count = (size_t)count - 1;
	r->target.path = argv[argc - 1];
	return check_combination(r);
}

/* ------------------------------------------------------------------ target */

/* What cannot be had together with compression. */
static char *check_compression(const struct img_create_values *values)
{
	const struct img_create_value *old =
		qcf_create_value(values, "encryption");
	const char *mode = qcf_create_text(values, "preallocation");

	if (values->format == QCOWFMT_FORMAT_RAW)
		return qcf_tool_printf("Compression not supported for this "
		                       "file format");
	if ((old != NULL && old->number != 0) ||
	    qcf_create_text(values, "encrypt.format") != NULL)
		return qcf_tool_printf("Compression and encryption not "
		                       "supported at the same time");
	if (mode != NULL && strcmp(mode, "off") != 0)
		return qcf_tool_printf("Compression and preallocation not "
		                       "supported at the same time");
	return NULL;
}

/* -b and -F are options of the target, too. */
static char *add_backing(struct request *r, struct img_create_values *values)
{
	if ((r->backing != NULL &&
	     !qcf_create_values_set(values, "backing_file", r->backing)) ||
	    (r->backing_format != NULL &&
	     !qcf_create_values_set(values, "backing_fmt", r->backing_format)))
		return qcf_tool_printf("Backing file not supported for file "
		                       "format '%s'",
		                       r->target_format);
	r->has_backing = qcf_create_text(values, "backing_file") != NULL;
	if (r->has_backing && !r->no_create &&
	    qcf_create_text(values, "backing_fmt") == NULL)
		return qcf_tool_printf("Use of backing file requires explicit "
		                       "backing format");
	return NULL;
}

/* The values of -o and of -b and -F together. */
static char *target_values(struct request *r, const struct img_source *source,
                           struct img_create_values *values)
{
	const struct img_create_value *size;
	char *reason = qcf_create_values_init(values, r->target_format);

	if (reason == NULL)
		reason = qcf_create_values_parse(values, &r->list);
	if (reason == NULL)
		reason = add_backing(r, values);
	if (reason == NULL && r->compress)
		reason = check_compression(values);
	if (reason != NULL)
		return reason;
	size = qcf_create_value(values, "size");
	if (size != NULL && size->number != source->size)
		return qcf_tool_printf("Option 'size' must be the size of the "
		                       "source");
	return NULL;
}

/* The secret of the new image is needed to open it, too. */
static char *keep_secret(struct request *r,
                         const struct img_create_values *values)
{
	const char *id = qcf_create_text(values, "encrypt.key-secret");
	QCF_AUTO_FREE char *text = NULL;

	if (values->encryption.encryption == QCOWFMT_ENCRYPTION_NONE)
		return NULL;
	text = qcf_tool_printf("encrypt.key-secret=%s", id);
	r->target.opts = &r->target_opts;
	return qcf_image_opts_add(&r->target_opts, text);
}

static char *create_target(struct request *r, struct img_create_values *values,
                           const struct img_source *source)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_create_options create;
	char *reason = qcf_create_values_resolve(values, &create);
	int ret;

	if (reason != NULL)
		return reason;
	if (create.data_filename != NULL &&
	    qcf_source_uses_file(source, create.data_filename))
		return qcf_tool_reason(-EAGAIN, NULL, create.data_filename,
		                       true);
	create.virtual_size = source->size;
	r->is_preallocated =
		create.preallocation != QCOWFMT_PREALLOCATION_OFF ||
		(create.flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0;
	ret = qcowfmt_create_file(r->target_path, &create, &error);
	if (ret < 0)
		return qcf_create_reason(ret, error, r->target_path,
		                         values->format);
	return keep_secret(r, values);
}

/* Returns whether the target can be opened now; *created: it is new. */
static bool prepare_target(struct request *r, const struct img_source *source,
                           bool *created)
{
	struct img_create_values values = { 0 };
	const char *path = r->target_path;
	QCF_AUTO_FREE char *reason = NULL;
	bool with_context = false;
	struct stat st;

	if (!r->target_image_opts)
		reason = target_values(r, source, &values);
	if (reason == NULL) {
		with_context = true;
		if (qcf_source_uses_file(source, path))
			reason = qcf_tool_reason(-EAGAIN, NULL, path, true);
	}
	if (reason == NULL && !r->no_create) {
		*created = stat(path, &st) < 0 && errno == ENOENT;
		reason = create_target(r, &values, source);
		*created = *created && reason == NULL;
	}
	qcf_create_values_fini(&values);
	if (reason != NULL && with_context && r->no_create)
		qcf_tool_error("Could not open '%s': %s", r->target.path,
		               reason);
	else if (reason != NULL && with_context)
		qcf_tool_error("%s: error while converting %s: %s",
		               r->target.path, r->target_format, reason);
	else if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL;
}

static bool is_block_device(const char *path)
{
	struct stat st;

	return path != NULL && stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/*
 * Whether what is not written may be anything.  Clusters that are allocated
 * already are noise once they are decrypted.
 */
static bool is_undefined(const struct request *r,
                         const struct qcowfmt_info *info)
{
	if (r->is_preallocated && info->encryption != QCOWFMT_ENCRYPTION_NONE)
		return true;
	if (r->target_is_zero)
		return false;
	if (r->is_preallocated && is_block_device(info->data_filename))
		return true;
	return info->format == QCOWFMT_FORMAT_RAW &&
	       is_block_device(r->target_path);
}

/* From where on the target reads as zeros if nothing is written. */
static uint64_t zeros_below(const struct request *r,
                            struct qcowfmt_image *target)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_info below = { .struct_size = sizeof(below) };

	if (r->no_create && !r->target_is_zero)
		return UINT64_MAX;
	if (qcowfmt_get_info(target, 0, &info, NULL) < 0 ||
	    is_undefined(r, &info))
		return UINT64_MAX;
	if (qcowfmt_get_info(target, 1, &below, NULL) == 0)
		return below.virtual_size;
	return 0;
}

/*
 * Holes are whole clusters, or parts of them where those are told apart.  What
 * is compressed is whole clusters whatever the size of holes.
 */
static uint64_t hole_unit(const struct request *r, struct qcowfmt_image *target)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint64_t unit = RAW_HOLE_UNIT;

	if (qcowfmt_get_info(target, 0, &info, NULL) == 0 &&
	    info.cluster_size != 0)
		unit = info.cluster_size;
	if (r->compress)
		return unit;
	if ((info.flags & QCOWFMT_INFO_EXTENDED_L2) != 0)
		unit /= SUBCLUSTERS;
	return qcf_round_up(qcf_max(r->hole_size, 1), unit);
}

/* -------------------------------------------------------------------- copy */

static bool copy(const struct request *r, struct img_source *source,
                 struct qcowfmt_image *target)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct img_copy c = {
		.source = source,
		.target = target,
		.unit = hole_unit(r, target),
		.zeros_below = zeros_below(r, target),
		.compress = r->compress,
		.write_all = r->hole_size == 0,
		.out_of_order = r->out_of_order,
		.write_through = r->target.cache.write_through,
		.show_progress = r->show_progress && !r->quiet,
		.rate_limit = r->rate_limit,
		.parallel = r->parallel,
	};
	int ret;

	if (qcowfmt_get_size(target) < source->size) {
		qcf_tool_error("output file is smaller than input file");
		return false;
	}
	ret = qcf_copy(&c, &error);
	if (ret < 0)
		qcf_tool_error("error while %s at byte %" PRIu64 ": %s",
		               c.failed_at, c.failed_offset,
		               error != NULL ? qcowfmt_error_message(error)
		                             : strerror(-ret));
	return ret == 0;
}

/* Compression is refused before anything is written, if it can be. */
static bool check_target(const struct request *r, struct qcowfmt_image *target)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (!r->compress || qcowfmt_get_info(target, 0, &info, NULL) < 0 ||
	    info.format != QCOWFMT_FORMAT_RAW)
		return true;
	qcf_tool_error("Compression not supported for this file format");
	return false;
}

/*
 * Let the file end at a sector, as QEMU's programs do after compression.  This
 * only ever adds to the file, whoever writes to it meanwhile.
 */
static bool pad_file(const char *path)
{
	QCF_AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	off_t missing;

	if (fd < 0 || fstat(fd, &st) < 0) {
		qcf_tool_error("Could not open '%s': %s", path,
		               strerror(errno));
		return false;
	}
	missing = (512 - st.st_size % 512) % 512;
	if (!S_ISREG(st.st_mode) || missing == 0 ||
	    fallocate(fd, 0, st.st_size, missing) == 0)
		return true;
	/* Readers take what lies behind the end for zeros: without support by
	 * the file system it stays as it is. */
	if (errno == EOPNOTSUPP)
		return true;
	qcf_tool_error("error while writing '%s': %s", path, strerror(errno));
	return false;
}

static bool write_target(const struct request *r, struct img_source *source)
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
	ok = check_target(r, target) && copy(r, source, target);
	if (qcowfmt_close(target, &error) < 0 && ok) {
		qcf_tool_error("error while writing '%s': %s", r->target.path,
		               qcowfmt_error_message(error));
		ok = false;
	}
	return ok && (!r->compress || pad_file(r->target_path));
}

/* Find out where the target is; false with a message. */
static bool name_target(struct request *r)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (r->target_image_opts) {
		if (!qcf_tool_take_image(&r->target, &r->target_opts, true,
		                         r->target.path))
			return false;
		r->target_path = r->target_opts.path;
		return true;
	}
	if (r->target_format == NULL)
		r->target_format = "raw";
	r->target.format = r->target_format;
	r->target_path = qcf_tool_path(r->target.path, &reason);
	if (r->target_path == NULL)
		qcf_tool_error("%s: error while converting %s: %s",
		               r->target.path, r->target_format, reason);
	return r->target_path != NULL;
}

static bool convert(struct request *r, struct img_source *source)
{
	bool created = false;
	bool ok;

	if (!name_target(r))
		return false;
	if (!qcf_source_open(source, &r->source, r->image_opts, r->sources,
	                     r->source_count) ||
	    !prepare_target(r, source, &created))
		return false;
	source->keep_base = r->has_backing;
	r->target.flags = QCOWFMT_OPEN_READ_WRITE;
	ok = write_target(r, source);
	/* Nobody should take half a copy for a whole one. */
	if (!ok && created)
		(void)unlink(r->target_path);
	return ok;
}

static int run(struct request *r)
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
	qcf_source_close(&source);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int qcf_img_convert(int argc, char **argv)
{
	struct request r = {
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
	return status;
}
