/* SPDX-License-Identifier: MIT */
/*
 * img_measure.c - "qcow-img measure": how large an image would be
 *
 * Of the options of -o only those count that change the size, and only they are
 * checked as a whole; QEMU's program does the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_create_encryption.h"
#include "img_create_options.h"
#include "img_snapshot_choice.h"
#include "tool_driver.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_json.h"
#include "tool_preallocation.h"
#include "tool_size.h"

#define SECTOR 512

static const struct qcf_tool_option options[] = {
	{ 'f', "format", "FMT", "format of FILE (default: probed)", false,
	  qcf_take_format },
	{ 'l', "snapshot", "SNAPSHOT",
	  "measure a snapshot of FILE: ID, NAME, or "
	  "snapshot.id=ID,snapshot.name=NAME",
	  false, NULL },
	{ 'O', "target-format", "FMT", "format of the image (default: raw)",
	  false, NULL },
	{ 'o', "options", "OPTS", "options of the image, as for create", false,
	  NULL },
	{ 's', "size", "SIZE", "measure an empty disk of this size", false,
	  NULL },
	QCF_OPTION_OUTPUT,
	QCF_OPTION_FORCE_SHARE,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	struct qcf_keyval_list list; /* of -o */
	struct img_snapshot_choice snapshot;
	const char *target_format;
	bool has_size;
	uint64_t size;
	uint32_t version;
	struct img_create_values values;
	struct qcowfmt_create_options target;
};

/* -------------------------------------------------------------------- options */

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
	case 'l':
		return qcf_snapshot_choice_parse(&r->snapshot, optarg);
	case 'O':
		r->target_format = optarg;
		break;
	case 'o':
		return take_list(optarg, r);
	default:
		r->has_size = true;
		return qcf_parse_size_argument(optarg, "image size", &r->size);
	}
	return true;
}

static const struct qcf_image_command command = {
	{ "[FILE]", "Say how large an image would be.", options },
	take_option,
	NULL,
};

static bool check_operands(const struct request *r, int count)
{
	const char *problem = NULL;

	if (count > 1)
		problem = "At most one filename argument is allowed.";
	else if (count == 0 && (r->image.image_opts || r->snapshot.is_set ||
	                        r->image.open.format))
		problem = "--image-opts, -f, and -l require a filename "
			  "argument.";
	else if (count == 0 && !r->has_size)
		problem = "Either --size N or one filename must be specified.";
	else if (count == 1 && r->has_size)
		problem = "--size N cannot be used together with a filename.";
	if (problem != NULL)
		qcf_tool_error("%s", problem);
	return problem == NULL;
}

/* ----------------------------------------------------------------- the target */

static bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static char *resolve_version(struct request *r)
{
	const char *compat = qcf_create_text(&r->values, "compat");

	r->version = 3;
	if (compat == NULL || strcmp(compat, "1.1") == 0 ||
	    strcmp(compat, "v3") == 0)
		return NULL;
	r->version = 2;
	if (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0)
		return NULL;
	return qcf_tool_printf("Invalid compatibility level: '%s'", compat);
}

static char *resolve_numbers(struct request *r)
{
	uint64_t size = qcf_create_value(&r->values, "cluster_size")->number;
	uint64_t bits = qcf_create_value(&r->values, "refcount_bits")->number;
	bool extended = qcf_create_value(&r->values, "extended_l2")->number;
	char *reason;

	if (!is_power_of_two(size) || size < SECTOR || size > 2 * MIB)
		return qcf_tool_printf("Cluster size must be a power of two "
		                       "between 512 and 2048k");
	if (extended && size < 16 * KIB)
		return qcf_tool_printf(
			"Extended L2 entries are only supported with cluster "
			"sizes of at least 16384 bytes");
	reason = resolve_version(r);
	if (reason != NULL)
		return reason;
	if (!is_power_of_two(bits) || bits > 64)
		return qcf_tool_printf("Refcount width must be a power of two "
		                       "and may not exceed 64 bits");
	if (bits != 16 && r->version < 3)
		return qcf_tool_printf(
			"Different refcount widths than 16 bits require "
			"compatibility level 1.1 or above (use compat=1.1 or "
			"greater)");
	r->target.cluster_size = size;
	r->target.refcount_bits = (uint32_t)bits;
	r->target.flags = extended ? QCOWFMT_CREATE_EXTENDED_L2 : 0;
	return NULL;
}

static char *resolve_preallocation(struct request *r)
{
	const char *text = qcf_create_text(&r->values, "preallocation");
	int mode = text == NULL ? QCOWFMT_PREALLOCATION_OFF
	                        : qcf_find_preallocation(text);

	if (mode < 0)
		return qcf_tool_printf("invalid parameter value: %s", text);
	r->target.preallocation = mode;
	/* Together they mean no more than preallocation alone. */
	if (mode == QCOWFMT_PREALLOCATION_OFF ||
	    mode == QCOWFMT_PREALLOCATION_METADATA)
		r->target.backing_filename =
			qcf_create_text(&r->values, "backing_file");
	if (r->target.backing_filename != NULL)
		r->target.preallocation = QCOWFMT_PREALLOCATION_OFF;
	return NULL;
}

/* Only LUKS takes space. */
static char *resolve_encryption(struct request *r)
{
	const char *format = qcf_create_text(&r->values, "encrypt.format");
	char *reason;

	if (format == NULL || strcmp(format, "luks") != 0)
		return NULL;
	reason = qcf_create_encryption_parse(&r->values);
	if (reason == NULL)
		reason = qcf_create_encryption_secret(&r->values);
	r->target.encryption = &r->values.encryption;
	return reason;
}

static char *resolve_qcow2(struct request *r)
{
	char *reason = resolve_numbers(r);

	if (reason == NULL)
		reason = resolve_preallocation(r);
	return reason != NULL ? reason : resolve_encryption(r);
}

/* False with a message. */
static bool resolve_target(struct request *r)
{
	QCF_AUTO_FREE char *reason =
		qcf_create_values_init(&r->values, r->target_format);

	if (reason == NULL && r->values.format == QCOWFMT_FORMAT_QCOW)
		reason = qcf_tool_printf("Block driver 'qcow' does not support "
		                         "size measurement");
	else if (reason != NULL && qcf_is_known_driver(r->target_format)) {
		free(reason);
		reason = qcf_tool_printf("Block driver '%s' does not support "
		                         "size measurement",
		                         r->target_format);
	}
	if (reason != NULL) {
		qcf_tool_error("%s", reason);
		return false;
	}
	reason = qcf_create_values_parse(&r->values, &r->list);
	if (reason != NULL) {
		qcf_tool_error("%s", reason);
		qcf_tool_error("Invalid options for file format '%s'",
		               r->target_format);
		return false;
	}
	r->target.format = r->values.format;
	return true;
}

/* The rest of the checks comes after the source was opened. */
static bool resolve_values(struct request *r)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (r->values.format == QCOWFMT_FORMAT_QCOW2)
		reason = resolve_qcow2(r);
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL;
}

/* ------------------------------------------------------------------ measuring */

static void print_result(const struct request *r,
                         const struct qcowfmt_measure_result *result)
{
	struct qcf_json json = { 0 };
	bool bitmaps = result->has_bitmaps != 0 && r->version >= 3;

	if (!r->image.json) {
		printf("required size: %" PRIu64
		       "\nfully allocated size: %" PRIu64 "\n",
		       result->required, result->fully_allocated);
		if (bitmaps)
			printf("bitmaps size: %" PRIu64 "\n", result->bitmaps);
		return;
	}
	qcf_json_begin_object(&json, NULL);
	if (bitmaps)
		qcf_json_number(&json, "bitmaps", result->bitmaps);
	qcf_json_number(&json, "required", result->required);
	qcf_json_number(&json, "fully-allocated", result->fully_allocated);
	qcf_json_end_object(&json);
}

static int measure(struct request *r, struct qcowfmt_image *source)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_measure_result result = { .struct_size =
		                                         sizeof(result) };
	int ret;

	if (!resolve_values(r))
		return EXIT_FAILURE;
	ret = qcowfmt_measure(source, &r->target, &result, &error);
	if (ret == 0) {
		print_result(r, &result);
		return EXIT_SUCCESS;
	}
	if (ret == -EFBIG)
		qcf_tool_error("The image size is too large (try using a "
		               "larger cluster size)");
	else
		qcf_tool_error("%s", qcowfmt_error_message(error));
	return EXIT_FAILURE;
}

static int measure_source(struct request *r)
{
	QCF_AUTO_IMAGE struct qcowfmt_image *source = NULL;
	QCF_AUTO_FREE char *reason = NULL;

	if (qcf_tool_open(&r->image.open, &source, &reason) < 0) {
		qcf_tool_error("Could not open '%s': %s", r->image.open.path,
		               reason);
		return EXIT_FAILURE;
	}
	if (r->snapshot.is_set &&
	    !qcf_snapshot_choice_open(&r->snapshot, &r->image.open, &source))
		return EXIT_FAILURE;
	return measure(r, source);
}

static int measure_size(struct request *r)
{
	if (r->size > INT64_MAX - SECTOR)
		r->size = INT64_MAX - SECTOR;
	r->target.virtual_size = qcf_round_up(r->size, SECTOR);
	return measure(r, NULL);
}

static int run(struct request *r, int argc, char **argv)
{
	if (!check_operands(r, argc - optind) || !resolve_target(r))
		return EXIT_FAILURE;
	if (argc == optind)
		return measure_size(r);
	if (!qcf_image_args_take(&r->image, argv[optind]))
		return EXIT_FAILURE;
	return measure_source(r);
}

int qcf_img_measure(int argc, char **argv)
{
	struct request r = {
		.target_format = "raw",
		.target = { .struct_size = sizeof(r.target) },
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status))
		status = run(&r, argc, argv);
	qcf_create_values_fini(&r.values);
	qcf_keyval_fini(&r.list);
	qcf_snapshot_choice_fini(&r.snapshot);
	qcf_image_args_fini(&r.image);
	return status;
}
