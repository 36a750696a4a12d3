/* SPDX-License-Identifier: MIT */
/* img_create_options.c - the options of -o for "create" and "convert" */
#include "img_create_options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tool_driver.h"
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
#define FOR_QCOW  0x8u
#define LEADS     0x10u /* printed first, but for qcow2 */

struct create_option {
	const char *name;
	enum option_kind kind;
	unsigned int flags;
	const char *initial; /* default for qcow2 that is printed, or NULL */
	const char *help;
	const char *other_help; /* for other formats; NULL: the same */
};

/* In the order of the "Formatting" line. */
static const struct create_option table[] = {
	{ "encryption", KIND_SWITCH, FOR_QCOW2 | FOR_QCOW, NULL,
	  "Encrypt the image with format 'aes'. (Deprecated in favor of "
	  "encrypt.format=aes)",
	  NULL },
	{ "encrypt.format", KIND_TEXT, FOR_QCOW2 | FOR_QCOW, NULL,
	  "Encrypt the image, format choices: 'aes', 'luks'",
	  "Encrypt the image, format choices: 'aes'" },
	{ "encrypt.key-secret", KIND_TEXT, FOR_QCOW2 | FOR_QCOW, NULL,
	  "ID of secret providing qcow AES key or LUKS passphrase",
	  "ID of the secret that provides the AES encryption key" },
	{ "encrypt.cipher-alg", KIND_TEXT, FOR_QCOW2, NULL,
	  "Name of encryption cipher algorithm", NULL },
	{ "encrypt.cipher-mode", KIND_TEXT, FOR_QCOW2, NULL,
	  "Name of encryption cipher mode", NULL },
	{ "encrypt.ivgen-alg", KIND_TEXT, FOR_QCOW2, NULL,
	  "Name of IV generator algorithm", NULL },
	{ "encrypt.ivgen-hash-alg", KIND_TEXT, FOR_QCOW2, NULL,
	  "Name of IV generator hash algorithm", NULL },
	{ "encrypt.hash-alg", KIND_TEXT, FOR_QCOW2, NULL,
	  "Name of encryption hash algorithm", NULL },
	{ "encrypt.iter-time", KIND_NUMBER, FOR_QCOW2, NULL,
	  "Time to spend in PBKDF in milliseconds", NULL },
	{ "cluster_size", KIND_SIZE, FOR_QCOW2, "65536", "qcow2 cluster size",
	  NULL },
	{ "extended_l2", KIND_SWITCH, FOR_QCOW2, "off", "Extended L2 tables",
	  NULL },
	{ "preallocation", KIND_TEXT, FOR_QCOW2 | FOR_FILE, NULL,
	  "Preallocation mode (allowed values: off, metadata, falloc, full)",
	  "Preallocation mode (allowed values: off, falloc, full)" },
	{ "compression_type", KIND_TEXT, FOR_QCOW2, "zlib",
	  "Compression method used for image cluster compression", NULL },
	{ "size", KIND_SIZE, FOR_QCOW2 | FOR_QCOW | FOR_RAW | LEADS, NULL,
	  "Virtual disk size", NULL },
	{ "compat", KIND_TEXT, FOR_QCOW2, NULL,
	  "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
	{ "backing_file", KIND_TEXT, FOR_QCOW2 | FOR_QCOW | LEADS, NULL,
	  "File name of a base image", NULL },
	{ "backing_fmt", KIND_TEXT, FOR_QCOW2 | FOR_QCOW | LEADS, NULL,
	  "Image format of the base image", "Format of the backing image" },
	{ "data_file", KIND_TEXT, FOR_QCOW2, NULL,
	  "File name of an external data file", NULL },
	{ "data_file_raw", KIND_SWITCH, FOR_QCOW2, NULL,
	  "The external data file must stay valid as a raw image", NULL },
	{ "lazy_refcounts", KIND_SWITCH, FOR_QCOW2, "off",
	  "Postpone refcount updates", NULL },
	{ "refcount_bits", KIND_NUMBER, FOR_QCOW2, "16",
	  "Width of a reference count entry in bits", NULL },
	{ "nocow", KIND_SWITCH, FOR_FILE, NULL,
	  "Turn off copy-on-write (valid only on btrfs)", NULL },
	{ "extent_size_hint", KIND_SIZE, FOR_FILE, NULL,
	  "Extent size hint for the image file, 0 to disable", NULL },
};

_Static_assert(QCF_ARRAY_LEN(table) <= IMG_MAX_CREATE_OPTIONS,
               "one value per option");

static unsigned int flag_of_format(int format)
{
	switch (format) {
	case QCOWFMT_FORMAT_QCOW2:
		return FOR_QCOW2;
	case QCOWFMT_FORMAT_QCOW:
		return FOR_QCOW;
	default:
		return FOR_RAW;
	}
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

static char *unknown_format(const char *name)
{
	if (qcf_is_known_driver(name))
		return qcf_tool_printf("Images of format '%s' are not "
		                       "supported by this version",
		                       name);
	return qcf_tool_printf("Unknown file format '%s'", name);
}

char *qcf_create_values_init(struct img_create_values *values,
                             const char *format_name)
{
	size_t i;

	memset(values, 0, sizeof(*values));
	values->format = qcowfmt_format_from_name(format_name);
	if (values->format < 0)
		return unknown_format(format_name);
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
	*values = (struct img_create_values){ 0 };
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

/* Those that lead, or those that do not. */
static void print_values(const struct img_create_values *values, bool leading)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
		if (values->values[i].is_set &&
		    ((table[i].flags & LEADS) != 0) == leading)
			print_value(&table[i], &values->values[i]);
	}
}

void qcf_create_values_print(const struct img_create_values *values,
                             const char *filename)
{
	size_t i;

	printf("Formatting '%s', fmt=%s", filename,
	       qcowfmt_format_name(values->format));
	if (values->format != QCOWFMT_FORMAT_QCOW2) {
		print_values(values, true);
		print_values(values, false);
	} else {
		for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
			if (values->values[i].is_set)
				print_value(&table[i], &values->values[i]);
		}
	}
	putchar('\n');
}

static int compare_names(const void *a, const void *b)
{
	const struct create_option *const *x = a;
	const struct create_option *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void print_help_line(const struct create_option *option, int format)
{
	static const char *const kinds[] = {
		[KIND_TEXT] = "<str>",
		[KIND_SIZE] = "<size>",
		[KIND_NUMBER] = "<num>",
		[KIND_SWITCH] = "<bool (on/off)>",
	};
	int width = printf("  %s=%s", option->name, kinds[option->kind]);
	const char *help = option->help;

	if (format != QCOWFMT_FORMAT_QCOW2 && option->other_help != NULL)
		help = option->other_help;
	printf("%*s - %s\n", width < 24 ? 24 - width : 0, "", help);
}

char *qcf_create_print_help(const char *format_name, bool with_file_options)
{
	const struct create_option *options[QCF_ARRAY_LEN(table)];
	int format = qcowfmt_format_from_name(format_name);
	unsigned int wanted;
	size_t count = 0;
	size_t i;

	if (format < 0)
		return unknown_format(format_name);
	wanted = flag_of_format(format) | (with_file_options ? FOR_FILE : 0);
	for (i = 0; i < QCF_ARRAY_LEN(table); i++) {
		if ((table[i].flags & wanted) != 0)
			options[count++] = &table[i];
	}
	qsort(options, count, sizeof(const struct create_option *),
	      compare_names);
	if (with_file_options)
		puts("Supported options:");
	else
		printf("Supported %s options:\n", format_name);
	for (i = 0; i < count; i++)
		print_help_line(options[i], format);
	if (!with_file_options)
		puts("\nThe protocol level may support further options.\n"
		     "Specify the target filename to include those options.");
	return NULL;
}

/* ----------------------------------------------------------------- failure */

/* Which of the files of an image it was stands in quotes in the message. */
static char *named_file(const struct qcowfmt_error *error, const char *path)
{
	const char *message = qcowfmt_error_message(error);
	const char *start = strchr(message, '\'');
	const char *end = strrchr(message, '\'');

	if (start != NULL && end > start + 1)
		return qcf_tool_printf("%.*s", (int)(end - start - 1),
		                       start + 1);
	return qcf_tool_printf("%s", path);
}

/* Nothing that an image can be written to. */
static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *qcf_create_reason(int ret, const struct qcowfmt_error *error,
                        const char *path, int format)
{
	QCF_AUTO_FREE char *file = named_file(error, path);

	if (ret == -EFBIG)
		return qcf_tool_printf(
			"The image size is too large for file format '%s'%s",
			qcowfmt_format_name(format),
			format == QCOWFMT_FORMAT_QCOW2
				? " (try using a larger cluster size)"
				: "");
	if (qcowfmt_error_code(error) == QCOWFMT_ERR_SYSTEM)
		return qcf_tool_printf("Could not create '%s': %s", file,
		                       strerror(qcowfmt_error_errno(error)));
	if (is_directory(file))
		return qcf_tool_printf("Could not create '%s': %s", file,
		                       strerror(EISDIR));
	return qcf_tool_reason(ret, error, path, true);
}
