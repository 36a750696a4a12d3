/* SPDX-License-Identifier: MIT */
/*
 * img_dd.c - "qcow-img dd": copy a part of an image into a new one
 *
 * The part is an image of its own for the rest of the program: a raw one in a
 * storage that reads the source from an offset on.  Copying it is what "convert"
 * does.
 *
 * count= counts from the beginning of the input, not from where skip= leads to:
 * so do the QEMU programs whose place this one takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "img_command.h"
#include "img_convert_copy.h"
#include "img_convert_stream.h"
#include "img_spool.h"
#include "tool_error.h"
#include "tool_options.h"
#include "tool_secret.h"
#include "tool_size.h"

#define DEFAULT_BLOCK_SIZE 512
#define MAX_PARALLEL       2

#define OPTION_OBJECT     (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS (QCF_OPTION_LONG + 2)

static const struct qcf_tool_option options[] = {
	{ 'f', "format", "FMT", "format of the input (default: probed)",
	  false },
	{ 'O', "output-format", "FMT", "format of the output (default: raw)",
	  false },
	{ 'U', "force-share", NULL, "open an input that others may change",
	  false },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL,
	  "if= is a list of options, as in driver=FMT,file.filename=NAME,...",
	  false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"[bs=SIZE] [count=N] [skip=N] if=FILE of=FILE",
	"Copy a part of an image into a new one; \"-\" is standard input or "
	"output.",
	options,
};

struct dd_request {
	struct img_convert_request convert;
	const char *input;
	const char *output;
	uint64_t block_size;
	uint64_t count; /* blocks, UINT64_MAX = all */
	uint64_t skip;
};

/* -------------------------------------------------------------- arguments */

static bool take_option(int option, void *opaque)
{
	struct dd_request *r = opaque;

	switch (option) {
	case 'f':
		r->convert.source.format = optarg;
		return true;
	case 'O':
		r->convert.target_format = optarg;
		return true;
	case 'U':
		r->convert.source.flags |= QCOWFMT_OPEN_NO_LOCK;
		return true;
	case OPTION_OBJECT:
		return qcf_secret_define(optarg);
	default:
		r->convert.image_opts = true;
		return true;
	}
}

static bool take_block_size(const char *text, struct dd_request *r)
{
	if (!qcf_parse_size_argument(text, "bs", &r->block_size))
		return false;
	if (r->block_size >= 1 && r->block_size <= INT_MAX)
		return true;
	qcf_tool_error("Invalid bs specified. Must be between 1 and %d.",
	               INT_MAX);
	return false;
}

static bool take_operand(struct dd_request *r, const char *operand)
{
	size_t name_len = strcspn(operand, "=");
	const char *value = operand + name_len + (operand[name_len] == '=');

	if (operand[name_len] == '=' && name_len == 2 &&
	    strncmp(operand, "if", 2) == 0)
		r->input = value;
	else if (operand[name_len] == '=' && name_len == 2 &&
	         strncmp(operand, "of", 2) == 0)
		r->output = value;
	else if (operand[name_len] == '=' && name_len == 2 &&
	         strncmp(operand, "bs", 2) == 0)
		return take_block_size(value, r);
	else if (operand[name_len] == '=' && name_len == 5 &&
	         strncmp(operand, "count", 5) == 0)
		return qcf_parse_size_argument(value, "count", &r->count);
	else if (operand[name_len] == '=' && name_len == 4 &&
	         strncmp(operand, "skip", 4) == 0)
		return qcf_parse_size_argument(value, "skip", &r->skip);
	else {
		qcf_tool_error("unrecognized operand %.*s", (int)name_len,
		               operand);
		return false;
	}
	return true;
}

static bool parse_operands(struct dd_request *r, int argc, char **argv)
{
	int i;

	for (i = optind; i < argc; i++) {
		if (!take_operand(r, argv[i]))
			return false;
	}
	if (r->input == NULL || r->output == NULL) {
		qcf_tool_error("Must specify both input and output files");
		return false;
	}
	if (r->convert.image_opts && r->convert.source.format != NULL) {
		qcf_tool_error("--image-opts and --format are mutually "
		               "exclusive");
		return false;
	}
	return true;
}

/* ----------------------------------------------------------------- the part */

struct part {
	struct qcowfmt_image *image;
	uint64_t start;
	uint64_t len;
};

static int64_t part_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	const struct part *part = opaque;
	uint64_t left = offset < part->len ? part->len - offset : 0;
	int ret;

	len = (size_t)qcf_min(len, left);
	ret = qcowfmt_pread(part->image, buffer, len, part->start + offset,
	                    NULL);
	return ret < 0 ? ret : (int64_t)len;
}

static int part_get_size(void *opaque, uint64_t *size)
{
	*size = ((const struct part *)opaque)->len;
	return 0;
}

static int part_extent(void *opaque, uint64_t offset, uint64_t len,
                       uint64_t *run)
{
	const struct part *part = opaque;
	struct qcowfmt_extent extent;
	int ret;

	/* The last sector may be there in part. */
	*run = len;
	if (offset >= part->len)
		return QCOWFMT_STORAGE_HOLE;
	ret = qcowfmt_map(part->image, part->start + offset,
	                  qcf_min(len, part->len - offset), QCOWFMT_MAP_HOLES,
	                  &extent, 1, NULL);
	if (ret < 0)
		return ret;
	*run = extent.length;
	if (extent.kind == QCOWFMT_EXTENT_UNALLOCATED ||
	    extent.kind == QCOWFMT_EXTENT_ZERO ||
	    (extent.flags & QCOWFMT_EXTENT_HOLE) != 0)
		return QCOWFMT_STORAGE_HOLE;
	return QCOWFMT_STORAGE_DATA;
}

static int open_part(struct part *part, struct qcowfmt_image **image,
                     struct qcowfmt_error **errp)
{
	static const struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = part_pread,
		.get_size = part_get_size,
		.extent = part_extent,
	};
	struct qcowfmt_open_options raw = {
		.struct_size = sizeof(raw),
		.format = QCOWFMT_FORMAT_RAW,
	};
	struct qcowfmt_storage *storage;
	int ret =
		qcowfmt_storage_new_custom(&ops, part, "input", &storage, errp);

	if (ret < 0)
		return ret;
	ret = qcowfmt_open(storage, &raw, image, errp);
	if (ret < 0)
		qcowfmt_storage_free(storage);
	return ret;
}

/* Where the part begins and how long it is. */
static void find_part(const struct dd_request *r, struct part *part)
{
	uint64_t end = qcowfmt_get_size(part->image);
	uint64_t skip;

	if (r->count < end / r->block_size)
		end = r->count * r->block_size;
	if (__builtin_mul_overflow(r->skip, r->block_size, &skip) ||
	    skip > end) {
		qcf_tool_error("%s: cannot skip to specified offset", r->input);
		return;
	}
	part->start = skip;
	part->len = end - skip;
}

/* ------------------------------------------------------------------ output */

static char *create_output(struct img_convert_request *r, uint64_t size)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct img_create_values values = { 0 };
	struct qcowfmt_create_options create;
	char *reason = qcf_create_values_init(&values, r->target_format);
	int ret = 0;

	if (reason == NULL)
		reason = qcf_create_values_resolve(&values, &create);
	if (reason == NULL) {
		create.virtual_size = size;
		ret = qcowfmt_create_file(r->target_path, &create, &error);
	}
	if (ret < 0)
		reason = qcf_create_reason(ret, error, r->target_path,
		                           values.format);
	qcf_create_values_fini(&values);
	return reason;
}

static bool copy_to_output(struct img_convert_request *r,
                           const struct img_source *source)
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
	ok = qcf_copy(r, source, target);
	if (qcowfmt_close(target, &error) < 0 && ok) {
		qcf_tool_error("error while writing '%s': %s", r->target.path,
		               qcowfmt_error_message(error));
		ok = false;
	}
	return ok;
}

static bool write_output(struct dd_request *r, struct img_source *source,
                         const struct img_source *whole)
{
	struct img_convert_request *c = &r->convert;
	QCF_AUTO_FREE char *reason = NULL;
	struct stat st;
	bool is_new;
	bool ok;

	c->target.path = r->output;
	c->target.format = c->target_format;
	c->target.flags = QCOWFMT_OPEN_READ_WRITE;
	c->to_pipe = qcf_is_pipe_name(r->output);
	if (c->to_pipe)
		return qcf_convert_stream(c, source);
	c->target_path = qcf_tool_path(r->output, &reason);
	if (reason == NULL && qcf_source_uses_file(whole, c->target_path))
		reason = qcf_tool_reason(-EAGAIN, NULL, c->target_path, true);
	is_new = reason == NULL && stat(c->target_path, &st) < 0;
	qcf_tool_making(is_new ? c->target_path : NULL);
	if (reason == NULL)
		reason = create_output(c, source->size);
	if (reason != NULL) {
		qcf_tool_error("%s: error while creating output image: %s",
		               r->output, reason);
		if (is_new)
			(void)unlink(c->target_path);
		return false;
	}
	ok = copy_to_output(c, source);
	if (!ok && is_new)
		(void)unlink(c->target_path);
	qcf_tool_making(NULL);
	return ok;
}

static bool copy_part(struct dd_request *r, const struct img_source *whole)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	QCF_AUTO_IMAGE struct qcowfmt_image *image = NULL;
	struct part part = { .image = whole->handles[0] };
	struct img_source source = { .handles = &image, .count = 1 };

	find_part(r, &part);
	if (open_part(&part, &image, &error) < 0) {
		qcf_tool_error("Could not open '%s': %s", r->input,
		               qcowfmt_error_message(error));
		return false;
	}
	source.size = qcowfmt_get_size(image);
	return write_output(r, &source, whole);
}

static int run(struct dd_request *r)
{
	struct img_source whole = { 0 };
	char *input = (char *)(uintptr_t)r->input;
	bool ok = false;

	if (r->convert.target_format == NULL)
		r->convert.target_format = "raw";
	if (qcowfmt_format_from_name(r->convert.target_format) < 0)
		qcf_tool_error("Unknown file format");
	else if (qcf_source_open(&whole, &r->convert.source,
	                         r->convert.image_opts, &input, 1))
		ok = copy_part(r, &whole);
	qcf_source_close(&whole);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int qcf_img_dd(int argc, char **argv)
{
	struct dd_request r = {
		.convert = { .target = { .punch_zeros = true },
		             .hole_size = 4096,
		             .parallel = MAX_PARALLEL },
		.block_size = DEFAULT_BLOCK_SIZE,
		.count = UINT64_MAX,
	};
	int option = qcf_options_parse(&help, argc, argv, take_option, &r);

	if (option == QCF_OPTION_HELP)
		return EXIT_SUCCESS;
	if (option != QCF_OPTION_DONE || !parse_operands(&r, argc, argv))
		return EXIT_FAILURE;
	return run(&r);
}
