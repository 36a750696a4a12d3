/* SPDX-License-Identifier: MIT */
/* tool_image_opts.c - images described by options instead of a name */
#include "tool_image_opts.h"

#include <string.h>

#include "tool_driver.h"
#include "tool_error.h"

static const char backing_prefix[] = "backing.";
static const char secret_key[] = "encrypt.key-secret";

/* The key without its "backing." prefixes; *depth: how many there were. */
static const char *skip_backing(const char *key, uint32_t *depth)
{
	size_t len = strlen(backing_prefix);

	*depth = 0;
	while (strncmp(key, backing_prefix, len) == 0) {
		key += len;
		(*depth)++;
	}
	return key;
}

static bool is_image_driver(const char *name)
{
	return qcowfmt_format_from_name(name) > QCOWFMT_FORMAT_PROBE;
}

static char *take_driver(struct qcf_image_opts *opts, const char *value)
{
	opts->driver = value;
	if (is_image_driver(value))
		return NULL;
	if (qcf_is_known_driver(value))
		return qcf_tool_printf("Driver '%s' is not supported by this "
		                       "version",
		                       value);
	return qcf_tool_printf("Unknown driver '%s'", value);
}

/* The driver of a file, which is always "file". */
static char *take_file_driver(const char *value)
{
	if (strcmp(value, "file") == 0)
		return NULL;
	if (qcf_is_known_driver(value))
		return qcf_tool_printf("Driver '%s' is not supported by this "
		                       "version",
		                       value);
	return qcf_tool_printf("Unknown driver '%s'", value);
}

static char *not_supported(const char *key)
{
	return qcf_tool_printf("Option '%s' is not supported by this version",
	                       key);
}

static char *take_pair(struct qcf_image_opts *opts,
                       const struct qcf_keyval *pair)
{
	uint32_t depth;
	const char *key = skip_backing(pair->key, &depth);
	const char *value = pair->value;

	if (value == NULL)
		return not_supported(pair->key);
	if (strcmp(key, secret_key) == 0)
		return NULL;
	if (depth > 0)
		return not_supported(pair->key);
	if (strcmp(key, "driver") == 0)
		return take_driver(opts, value);
	if (strcmp(key, "file.driver") == 0 ||
	    strcmp(key, "data-file.driver") == 0)
		return take_file_driver(value);
	if (strcmp(key, "file.filename") == 0)
		opts->path = value;
	else if (strcmp(key, "data-file.filename") == 0)
		opts->data_path = value;
	else if (strcmp(key, "encrypt.format") == 0)
		opts->encrypt_format = value;
	else
		return not_supported(pair->key);
	return NULL;
}

/* Raw images have neither keys nor data files, version 1 no data files. */
static char *check_driver(const struct qcf_image_opts *opts)
{
	const char *key = NULL;

	if (opts->driver == NULL || strcmp(opts->driver, "qcow2") == 0)
		return NULL;
	if (opts->data_path != NULL)
		key = "data-file.filename";
	if (strcmp(opts->driver, "raw") == 0) {
		if (opts->encrypt_format != NULL)
			key = "encrypt.format";
		if (qcf_image_opts_secret(opts, 0) != NULL)
			key = secret_key;
	}
	if (key == NULL)
		return NULL;
	return qcf_tool_printf("Block format '%s' does not support the option "
	                       "'%s'",
	                       opts->driver, key);
}

char *qcf_image_opts_add(struct qcf_image_opts *opts, const char *text)
{
	size_t known = opts->list.count;
	char *reason = NULL;
	size_t i;

	if (*text != '\0' && !qcf_keyval_is_valid(text))
		return qcf_tool_printf("Invalid option list: %s", text);
	qcf_keyval_append(&opts->list, text);
	for (i = known; i < opts->list.count && reason == NULL; i++)
		reason = take_pair(opts, &opts->list.items[i]);
	return reason != NULL ? reason : check_driver(opts);
}

char *qcf_image_opts_check_path(const struct qcf_image_opts *opts)
{
	if (opts->path != NULL)
		return NULL;
	if (opts->driver == NULL)
		return qcf_tool_printf("Must specify either driver or file");
	return qcf_tool_printf("A block device must be specified for \"file\"");
}

void qcf_image_opts_fini(struct qcf_image_opts *opts)
{
	qcf_keyval_fini(&opts->list);
	*opts = (struct qcf_image_opts){ 0 };
}

const char *qcf_image_opts_secret(const struct qcf_image_opts *opts,
                                  uint32_t depth)
{
	size_t i;

	for (i = opts->list.count; i > 0; i--) {
		const struct qcf_keyval *pair = &opts->list.items[i - 1];
		uint32_t below;
		const char *key = skip_backing(pair->key, &below);

		if (below == depth && strcmp(key, secret_key) == 0)
			return pair->value;
	}
	return NULL;
}
