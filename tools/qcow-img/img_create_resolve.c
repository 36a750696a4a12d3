/* SPDX-License-Identifier: MIT */
/*
 * img_create_resolve.c - from the values of -o to what the library is told
 *
 * What is checked here is what QEMU's programs check, in their order, so that
 * of several mistakes the same one is named.
 */
#include <errno.h>
#include <string.h>

#include "img_create_encryption.h"
#include "img_create_options.h"
#include "tool_driver.h"
#include "tool_error.h"
#include "tool_open.h"
#include "tool_preallocation.h"

static char *not_accepted(const char *name, const char *text)
{
	return qcf_tool_printf("Parameter '%s' does not accept value '%s'",
	                       name, text);
}

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strcmp(text, list[i]) == 0)
			return true;
	}
	return false;
}

static char *check_file_options(const struct img_create_values *values)
{
	const struct img_create_value *hint =
		qcf_create_value(values, "extent_size_hint");

	if (hint != NULL && hint->number > UINT32_MAX)
		return qcf_tool_printf("Extent size hint is too large");
	return NULL;
}

/* Preallocation of a file, which has no metadata. */
static char *resolve_file_preallocation(const struct img_create_values *values,
                                        struct qcowfmt_create_options *options)
{
	const char *text = qcf_create_text(values, "preallocation");
	int mode = text == NULL ? QCOWFMT_PREALLOCATION_OFF
	                        : qcf_find_preallocation(text);

	if (mode < 0)
		return qcf_tool_printf("invalid parameter value: %s", text);
	if (mode == QCOWFMT_PREALLOCATION_METADATA)
		return qcf_tool_printf("Unsupported preallocation mode: %s",
		                       text);
	/* The file of version 1 is empty when it is made: nothing to reserve. */
	if (values->format == QCOWFMT_FORMAT_RAW)
		options->preallocation = mode;
	return NULL;
}

static bool is_on(const struct img_create_values *values, const char *name)
{
	const struct img_create_value *value = qcf_create_value(values, name);

	return value != NULL && value->number != 0;
}

/* What each value can be, in the order in which QEMU looks at them. */
static char *parse_values(struct img_create_values *values,
                          struct qcowfmt_create_options *options)
{
	static const char *const v2[] = { "0.10", "v2" };
	static const char *const v3[] = { "1.1", "v3" };
	const char *compat = qcf_create_text(values, "compat");
	const char *mode = qcf_create_text(values, "preallocation");
	const char *compression = qcf_create_text(values, "compression_type");
	char *reason;

	options->version = 3;
	if (compat != NULL && is_one_of(compat, v2, QCF_ARRAY_LEN(v2)))
		options->version = 2;
	else if (compat != NULL && !is_one_of(compat, v3, QCF_ARRAY_LEN(v3)))
		return not_accepted("version", compat);
	if (options->backing_format != NULL &&
	    !qcf_is_known_driver(options->backing_format))
		return not_accepted("backing-fmt", options->backing_format);
	reason = qcf_create_encryption_parse(values);
	if (reason != NULL)
		return reason;
	if (mode != NULL && qcf_find_preallocation(mode) < 0)
		return not_accepted("preallocation", mode);
	options->preallocation = mode == NULL ? QCOWFMT_PREALLOCATION_OFF
	                                      : qcf_find_preallocation(mode);
	options->compression_type = strcmp(compression, "zstd") == 0;
	if (options->compression_type == 0 && strcmp(compression, "zlib") != 0)
		return not_accepted("compression-type", compression);
	return NULL;
}

static bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static char *needs_version_3(const char *what, const char *verb,
                             const char *version)
{
	return qcf_tool_printf("%s %s compatibility level 1.1 %s above (use "
	                       "version=v3 or greater)",
	                       what, verb, version);
}

static char *check_cluster_size(const struct qcowfmt_create_options *options)
{
	bool has_subclusters =
		(options->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0;

	if (has_subclusters && options->version < 3)
		return needs_version_3("Extended L2 entries are",
		                       "only supported with", "and");
	if (!is_power_of_two(options->cluster_size) ||
	    options->cluster_size < 512 || options->cluster_size > 2 * MIB)
		return qcf_tool_printf("Cluster size must be a power of two "
		                       "between 512 and 2048k");
	if (has_subclusters && options->cluster_size < 16 * KIB)
		return qcf_tool_printf(
			"Extended L2 entries are only supported with cluster "
			"sizes of at least 16384 bytes");
	if (options->preallocation != QCOWFMT_PREALLOCATION_OFF &&
	    options->backing_filename != NULL && !has_subclusters)
		return qcf_tool_printf(
			"Backing file and preallocation can only be used at "
			"the same time if extended_l2 is on");
	return NULL;
}

static char *check_refcounts(const struct img_create_values *values,
                             struct qcowfmt_create_options *options)
{
	uint64_t bits = qcf_create_value(values, "refcount_bits")->number;

	if (options->backing_format != NULL &&
	    options->backing_filename == NULL)
		return qcf_tool_printf("Backing format cannot be used without "
		                       "backing file");
	if ((options->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0 &&
	    options->version < 3)
		return needs_version_3("Lazy refcounts", "only supported with",
		                       "and");
	if (!is_power_of_two(bits) || bits > 64)
		return qcf_tool_printf("Refcount width must be a power of two "
		                       "and may not exceed 64 bits");
	if (bits != 16 && options->version < 3)
		return needs_version_3("Different refcount widths than 16 bits",
		                       "require", "or");
	options->refcount_bits = (uint32_t)bits;
	return NULL;
}

static char *check_data_file(const struct qcowfmt_create_options *options)
{
	bool is_raw = (options->flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0;

	if (is_raw && options->data_filename == NULL)
		return qcf_tool_printf("data-file-raw requires data-file");
	if (is_raw && options->backing_filename != NULL)
		return qcf_tool_printf("Backing file and data-file-raw cannot "
		                       "be used at the same time");
	if (options->data_filename != NULL && options->version < 3)
		return needs_version_3("External data files are",
		                       "only supported with", "and");
	if (options->compression_type != 0 && options->version < 3)
		return needs_version_3("Non-zlib compression type is",
		                       "only supported with", "and");
	if (options->data_filename != NULL && *options->data_filename == '\0')
		return qcf_tool_printf("Could not create '': %s",
		                       strerror(ENOENT));
	return NULL;
}

static char *resolve_qcow2(struct img_create_values *values,
                           struct qcowfmt_create_options *options)
{
	char *reason = NULL;

	options->cluster_size =
		qcf_create_value(values, "cluster_size")->number;
	if (qcf_create_text(values, "data_file") != NULL)
		/* What is stored is a path. */
		options->data_filename = qcf_tool_path(
			qcf_create_text(values, "data_file"), &reason);
	if (reason != NULL)
		return reason;
	if (is_on(values, "lazy_refcounts"))
		options->flags |= QCOWFMT_CREATE_LAZY_REFCOUNTS;
	if (is_on(values, "extended_l2"))
		options->flags |= QCOWFMT_CREATE_EXTENDED_L2;
	if (is_on(values, "data_file_raw"))
		options->flags |= QCOWFMT_CREATE_DATA_FILE_RAW;
	reason = parse_values(values, options);
	if (reason == NULL)
		reason = check_cluster_size(options);
	if (reason == NULL)
		reason = check_refcounts(values, options);
	if (reason == NULL)
		reason = check_data_file(options);
	return reason;
}

static char *resolve_qcow(struct img_create_values *values,
                          struct qcowfmt_create_options *options)
{
	char *reason = qcf_create_encryption_parse(values);

	if (reason == NULL && options->backing_format != NULL &&
	    !qcf_is_known_driver(options->backing_format))
		reason = qcf_tool_printf("unrecognized backing format '%s'",
		                         options->backing_format);
	if (reason == NULL)
		reason = resolve_file_preallocation(values, options);
	/* The format has no place for it. */
	options->backing_format = NULL;
	return reason;
}

char *qcf_create_values_resolve(struct img_create_values *values,
                                struct qcowfmt_create_options *options)
{
	char *reason;

	*options = (struct qcowfmt_create_options){
		.struct_size = sizeof(*options),
		.format = values->format,
		.backing_filename = qcf_create_text(values, "backing_file"),
		.backing_format = qcf_create_text(values, "backing_fmt"),
	};
	reason = check_file_options(values);
	if (reason != NULL)
		return reason;
	if (values->format == QCOWFMT_FORMAT_RAW)
		return resolve_file_preallocation(values, options);
	reason = qcf_create_encryption_check(values);
	if (reason != NULL)
		return reason;
	reason = values->format == QCOWFMT_FORMAT_QCOW
	                 ? resolve_qcow(values, options)
	                 : resolve_qcow2(values, options);
	if (reason == NULL)
		reason = qcf_create_encryption_secret(values);
	if (values->encryption.encryption != QCOWFMT_ENCRYPTION_NONE)
		options->encryption = &values->encryption;
	return reason;
}
