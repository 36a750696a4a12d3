/* SPDX-License-Identifier: MIT */
/* img_create_options.c - the options of -o for "create" and "convert" */
#include "img_create_options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"
#include "tool_size.h"

enum option_kind {
	KIND_TEXT,
	KIND_SIZE,
	KIND_NUMBER,
	KIND_SWITCH,
};

#define FOR_QCOW2 0x1u /* an option of the format */
#define FOR_RAW   0x2u
#define FOR_FILE  0x4u /* an option of the file below any format */
#define REFUSED   0x8u /* known, but not supported by this version */

struct create_option {
	const char *name;
	enum option_kind kind;
	unsigned int flags;
	const char *initial; /* default that is printed, or NULL */
	const char *help;
};

/* In the order of the "Formatting" line. */
static const struct create_option table[] = {
	{ "encryption", KIND_SWITCH, FOR_QCOW2, NULL,
	  "Encrypt the image (allowed value: off)" },
	{ "encrypt.format", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "encrypt.key-secret", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "encrypt.cipher-alg", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "encrypt.cipher-mode", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "encrypt.ivgen-alg", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "encrypt.ivgen-hash-alg", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL,
	  NULL },
	{ "encrypt.hash-alg", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "encrypt.iter-time", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "cluster_size", KIND_SIZE, FOR_QCOW2, "65536", "qcow2 cluster size" },
	{ "extended_l2", KIND_SWITCH, FOR_QCOW2, "off",
	  "Extended L2 tables (allowed value: off)" },
	{ "preallocation", KIND_TEXT, FOR_QCOW2 | FOR_FILE, NULL,
	  "Preallocation mode (allowed value: off)" },
	{ "compression_type", KIND_TEXT, FOR_QCOW2, "zlib",
	  "Compression method used for image cluster compression (allowed "
	  "value: zlib)" },
	{ "size", KIND_SIZE, FOR_QCOW2 | FOR_RAW, NULL, "Virtual disk size" },
	{ "compat", KIND_TEXT, FOR_QCOW2, NULL,
	  "Compatibility level (v2 [0.10] or v3 [1.1])" },
	{ "backing_file", KIND_TEXT, FOR_QCOW2, NULL,
	  "File name of a base image" },
	{ "backing_fmt", KIND_TEXT, FOR_QCOW2, NULL,
	  "Image format of the base image" },
	{ "data_file", KIND_TEXT, FOR_QCOW2 | REFUSED, NULL, NULL },
	{ "data_file_raw", KIND_SWITCH, FOR_QCOW2, NULL,
	  "The external data file must stay valid as a raw image (allowed "
	  "value: off)" },
	{ "lazy_refcounts", KIND_SWITCH, FOR_QCOW2, "off",
	  "Postpone refcount updates" },
	{ "refcount_bits", KIND_NUMBER, FOR_QCOW2, "16",
	  "Width of a reference count entry in bits" },
	{ "nocow", KIND_SWITCH, FOR_FILE, NULL,
	  "Turn off copy-on-write (allowed value: off)" },
	{ "extent_size_hint", KIND_SIZE, FOR_FILE, NULL,
	  "Extent size hint for the image file, 0 to disable (allowed value: "
	  "0)" },
};

_Static_assert(QCF_ARRAY_LEN(table) <= IMG_MAX_CREATE_OPTIONS,
               "one value per option");

static unsigned int flag_of_format(int format)
{
	return format == QCOWFMT_FORMAT_QCOW2 ? FOR_QCOW2 : FOR_RAW;
}

static bool applies(const struct create_option *option, int format)
{
	return (option->flags & (flag_of_format(format) | FOR_FILE)) != 0;
}

/* Index of an option of the format, or -1. */
static int find(int format, const char *name)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
		if (applies(&table[i], format) &&
		    strcmp(table[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

/* ----------------------------------------------------------------- parsing */

static char *parse_switch(const char *name, const char *text, uint64_t *number)
{
	static const char *const on[] = { "on", "yes", "true", "y" };
	static const char *const off[] = { "off", "no", "false", "n" };
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(on); i++) {
		*number = strcmp(text, on[i]) == 0;
		if (*number != 0 || strcmp(text, off[i]) == 0)
			return NULL;
	}
	return qcf_tool_printf("Parameter '%s' expects 'on' or 'off'", name);
}

static char *parse_size(const char *name, const char *text, uint64_t *number)
{
	int ret = qcf_parse_size(text, number);

	if (ret == -EINVAL)
		return qcf_tool_printf(
			"Parameter '%s' expects a non-negative number below "
			"2^64\n"
			"Optional suffix k, M, G, T, P or E means kilo-, "
			"mega-, giga-, tera-, peta-\n"
			"and exabytes, respectively.",
			name);
	if (ret < 0)
		return qcf_tool_printf(
			"Value '%s' is out of range for parameter '%s'", text,
			name);
	return NULL;
}

static char *parse_number(const char *name, const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	if (end == text || *end != '\0')
		return qcf_tool_printf("Parameter '%s' expects a number", name);
	if (errno == ERANGE)
		return qcf_tool_printf("Value '%s' is too large for parameter "
		                       "'%s'",
		                       text, name);
	return NULL;
}

static char *set_value(struct img_create_values *values, size_t index,
                       const char *text)
{
	const struct create_option *option = &table[index];
	struct img_create_value *value = &values->values[index];
	uint64_t number = 0;
	char *reason = NULL;

	if ((option->flags & REFUSED) != 0)
		return qcf_tool_printf("Option '%s' is not supported by this "
		                       "version",
		                       option->name);
	if (option->kind == KIND_SWITCH)
		reason = parse_switch(option->name, text, &number);
	else if (option->kind == KIND_SIZE)
		reason = parse_size(option->name, text, &number);
	else if (option->kind == KIND_NUMBER)
		reason = parse_number(option->name, text, &number);
	if (reason != NULL)
		return reason;
	free(value->text);
	value->text = qcf_tool_printf("%s", text);
	value->number = number;
	value->is_set = true;
	return NULL;
}

static char *parse_pair(struct img_create_values *values,
                        const struct qcf_keyval *pair)
{
	const char *text = pair->value != NULL ? pair->value : "on";
	const char *name = pair->key;
	int index = find(values->format, name);

	if (index < 0 && pair->value == NULL && strncmp(name, "no", 2) == 0) {
		name += 2;
		text = "off";
		index = find(values->format, name);
	}
	if (index < 0)
		return qcf_tool_printf("Invalid parameter '%s'", name);
	return set_value(values, (size_t)index, text);
}

char *qcf_create_values_parse(struct img_create_values *values,
                              const struct qcf_keyval_list *list)
{
	char *reason = NULL;
	size_t i;

	for (i = 0; i < list->count && reason == NULL; i++)
		reason = parse_pair(values, &list->items[i]);
	return reason;
}

char *qcf_create_values_init(struct img_create_values *values,
                             const char *format_name)
{
	size_t i;

	memset(values, 0, sizeof(*values));
	values->format = qcowfmt_format_from_name(format_name);
	if (values->format == QCOWFMT_FORMAT_QCOW)
		return qcf_tool_printf("Creating images of format '%s' is not "
		                       "supported by this version",
		                       format_name);
	if (values->format < 0)
		return qcf_tool_printf("Unknown file format '%s'", format_name);
	for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
		if (applies(&table[i], values->format) &&
		    table[i].initial != NULL)
			free(set_value(values, i, table[i].initial));
	}
	return NULL;
}

void qcf_create_values_fini(struct img_create_values *values)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(table); i++)
		free(values->values[i].text);
	memset(values, 0, sizeof(*values));
}

bool qcf_create_values_set(struct img_create_values *values, const char *name,
                           const char *text)
{
	int index = find(values->format, name);

	if (index >= 0)
		free(set_value(values, (size_t)index, text));
	return index >= 0;
}

const struct img_create_value *qcf_create_value(
	const struct img_create_values *values, const char *name)
{
	int index = find(values->format, name);

	if (index < 0 || !values->values[index].is_set)
		return NULL;
	return &values->values[index];
}

const char *qcf_create_text(const struct img_create_values *values,
                            const char *name)
{
	const struct img_create_value *value = qcf_create_value(values, name);

	return value == NULL ? NULL : value->text;
}

/* ---------------------------------------------------------------- printing */

static void print_value(const struct create_option *option,
                        const struct img_create_value *value)
{
	const char *text;

	printf(" %s=", option->name);
	if (option->kind == KIND_SIZE || option->kind == KIND_NUMBER) {
		printf("%" PRId64, (int64_t)value->number);
		return;
	}
	for (text = value->text; *text != '\0'; text++)
		printf(*text == ',' ? ",," : "%c", *text);
}

void qcf_create_values_print(const struct img_create_values *values,
                             const char *filename)
{
	size_t i;

	printf("Formatting '%s', fmt=%s", filename,
	       qcowfmt_format_name(values->format));
	/* A raw image names its size first, which is its only own option. */
	if (values->format == QCOWFMT_FORMAT_RAW)
		print_value(&table[find(values->format, "size")],
		            qcf_create_value(values, "size"));
	for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
		if (values->values[i].is_set &&
		    (values->format != QCOWFMT_FORMAT_RAW ||
		     strcmp(table[i].name, "size") != 0))
			print_value(&table[i], &values->values[i]);
	}
	putchar('\n');
}

static int compare_names(const void *a, const void *b)
{
	const struct create_option *const *x = a;
	const struct create_option *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void print_help_line(const struct create_option *option)
{
	static const char *const kinds[] = {
		[KIND_TEXT] = "<str>",
		[KIND_SIZE] = "<size>",
		[KIND_NUMBER] = "<num>",
		[KIND_SWITCH] = "<bool (on/off)>",
	};
	int width = printf("  %s=%s", option->name, kinds[option->kind]);

	printf("%*s - %s\n", width < 24 ? 24 - width : 0, "", option->help);
}

char *qcf_create_print_help(const char *format_name, bool with_file_options)
{
	const struct create_option *options[QCF_ARRAY_LEN(table)];
	int format = qcowfmt_format_from_name(format_name);
	unsigned int wanted;
	size_t count = 0;
	size_t i;

	if (format != QCOWFMT_FORMAT_QCOW2 && format != QCOWFMT_FORMAT_RAW)
		return qcf_tool_printf("Unknown file format '%s'", format_name);
	wanted = flag_of_format(format) | (with_file_options ? FOR_FILE : 0);
	for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
		if ((table[i].flags & wanted) != 0 && table[i].help != NULL)
			options[count++] = &table[i];
	}
	qsort(options, count, sizeof(const struct create_option *),
	      compare_names);
	if (with_file_options)
		puts("Supported options:");
	else
		printf("Supported %s options:\n", format_name);
	for (i = 0; i < count; i++)
		print_help_line(options[i]);
	if (!with_file_options)
		puts("\nThe protocol level may support further options.\n"
		     "Specify the target filename to include those options.");
	return NULL;
}

/* ------------------------------------------------------- what it comes to */

static char *unsupported(const char *name, const char *text)
{
	return qcf_tool_printf("Option '%s=%s' is not supported by this "
	                       "version",
	                       name, text);
}

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

/* Options with no other value than "off" or none yet. */
static char *check_unsupported(const struct img_create_values *values)
{
	static const char *const switches[] = { "encryption", "extended_l2",
		                                "data_file_raw", "nocow",
		                                "extent_size_hint" };
	static const char *const modes[] = { "metadata", "falloc", "full" };
	const char *preallocation = qcf_create_text(values, "preallocation");
	const char *compression = qcf_create_text(values, "compression_type");
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(switches); i++) {
		const struct img_create_value *value =
			qcf_create_value(values, switches[i]);

		if (value != NULL && value->number != 0)
			return unsupported(switches[i], value->text);
	}
	if (preallocation != NULL && strcmp(preallocation, "off") != 0)
		return is_one_of(preallocation, modes, QCF_ARRAY_LEN(modes))
		               ? unsupported("preallocation", preallocation)
		               : not_accepted("preallocation", preallocation);
	if (compression != NULL && strcmp(compression, "zlib") != 0)
		return strcmp(compression, "zstd") == 0
		               ? unsupported("compression_type", compression)
		               : not_accepted("compression-type", compression);
	return NULL;
}

static char *resolve_version(const struct img_create_values *values,
                             struct qcowfmt_create_options *options)
{
	static const char *const v2[] = { "0.10", "v2" };
	static const char *const v3[] = { "1.1", "v3" };
	const char *compat = qcf_create_text(values, "compat");

	options->version = 3;
	if (compat == NULL || is_one_of(compat, v3, QCF_ARRAY_LEN(v3)))
		return NULL;
	if (!is_one_of(compat, v2, QCF_ARRAY_LEN(v2)))
		return not_accepted("version", compat);
	options->version = 2;
	if ((options->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		return qcf_tool_printf(
			"Lazy refcounts only supported with compatibility "
			"level 1.1 and above (use version=v3 or greater)");
	if (options->refcount_bits != 16)
		return qcf_tool_printf(
			"Different refcount widths than 16 bits require "
			"compatibility level 1.1 or above (use version=v3 or "
			"greater)");
	return NULL;
}

static bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static char *resolve_numbers(const struct img_create_values *values,
                             struct qcowfmt_create_options *options)
{
	uint64_t bits = qcf_create_value(values, "refcount_bits")->number;

	options->cluster_size =
		qcf_create_value(values, "cluster_size")->number;
	if (!is_power_of_two(options->cluster_size) ||
	    options->cluster_size < 512 || options->cluster_size > 2 * MIB)
		return qcf_tool_printf("Cluster size must be a power of two "
		                       "between 512 and 2048k");
	if (!is_power_of_two(bits) || bits > 64)
		return qcf_tool_printf("Refcount width must be a power of two "
		                       "and may not exceed 64 bits");
	options->refcount_bits = (uint32_t)bits;
	return NULL;
}

static char *resolve_backing(const struct img_create_values *values,
                             struct qcowfmt_create_options *options)
{
	options->backing_filename = qcf_create_text(values, "backing_file");
	options->backing_format = qcf_create_text(values, "backing_fmt");
	if (options->backing_format == NULL)
		return NULL;
	if (!qcf_is_known_driver(options->backing_format))
		return not_accepted("backing-fmt", options->backing_format);
	if (options->backing_filename == NULL)
		return qcf_tool_printf("Backing format cannot be used without "
		                       "backing file");
	return NULL;
}

char *qcf_create_values_resolve(const struct img_create_values *values,
                                struct qcowfmt_create_options *options)
{
	char *reason;

	*options = (struct qcowfmt_create_options){
		.struct_size = sizeof(*options),
		.format = values->format,
	};
	if (values->format == QCOWFMT_FORMAT_RAW)
		return check_unsupported(values);
	if (qcf_create_value(values, "lazy_refcounts")->number != 0)
		options->flags |= QCOWFMT_CREATE_LAZY_REFCOUNTS;
	reason = resolve_backing(values, options);
	if (reason == NULL)
		reason = check_unsupported(values);
	if (reason == NULL)
		reason = resolve_numbers(values, options);
	if (reason == NULL)
		reason = resolve_version(values, options);
	return reason;
}

char *qcf_create_reason(int ret, const struct qcowfmt_error *error,
                        const char *path, int format)
{
	if (ret == -EFBIG)
		return qcf_tool_printf(
			"The image size is too large for file format '%s'%s",
			qcowfmt_format_name(format),
			format == QCOWFMT_FORMAT_QCOW2
				? " (try using a larger cluster size)"
				: "");
	if (qcowfmt_error_code(error) == QCOWFMT_ERR_SYSTEM)
		return qcf_tool_printf("Could not create '%s': %s", path,
		                       strerror(qcowfmt_error_errno(error)));
	return qcf_tool_reason(ret, error, path, true);
}
