/* SPDX-License-Identifier: MIT */
/*
 * tool_image_keys.c - the single options that describe an image or its file
 *
 * One table for each.  What an option does, if anything, is a member of struct
 * qcf_image_node; tool_open.c acts on it.
 */
#include "tool_image_keys.h"

#include <string.h>

#include "tool_driver.h"
#include "tool_error.h"
#include "tool_size.h"

/* How the formats stand in struct qcf_image_node. */
#define RAW   (1u << QCOWFMT_FORMAT_RAW)
#define QCOW  (1u << QCOWFMT_FORMAT_QCOW)
#define QCOW2 (1u << QCOWFMT_FORMAT_QCOW2)
#define ALL   (RAW | QCOW | QCOW2)

static const char backing_prefix[] = "backing.";
static const char file_prefix[] = "file.";

/* ------------------------------------------------------------------- values */

static char *value_not_supported(const struct qcf_image_pair *pair)
{
	return qcf_tool_printf("Option '%s=%s' is not supported by this "
	                       "version",
	                       pair->key, pair->value);
}

static bool is_one_of(const char *text, const char *const *list)
{
	for (; *list != NULL; list++) {
		if (strcmp(text, *list) == 0)
			return true;
	}
	return false;
}

const char *qcf_image_key_name(const char *key)
{
	size_t len;

	for (;;) {
		if (strncmp(key, backing_prefix, strlen(backing_prefix)) == 0)
			len = strlen(backing_prefix);
		else if (strncmp(key, file_prefix, strlen(file_prefix)) == 0)
			len = strlen(file_prefix);
		else
			return key;
		key += len;
	}
}

static char *parse_switch(const struct qcf_image_pair *pair,
                          enum qcf_choice *choice)
{
	if (strcmp(pair->value, "on") == 0)
		*choice = QCF_CHOICE_ON;
	else if (strcmp(pair->value, "off") == 0)
		*choice = QCF_CHOICE_OFF;
	else
		return qcf_tool_printf("Parameter '%s' expects 'on' or 'off'",
		                       qcf_image_key_name(pair->key));
	return NULL;
}

static char *parse_bool(const struct qcf_image_pair *pair, bool *value)
{
	enum qcf_choice choice = QCF_CHOICE_NONE;
	char *reason = parse_switch(pair, &choice);

	*value = choice == QCF_CHOICE_ON;
	return reason;
}

char *qcf_image_key_size(const struct qcf_image_pair *pair, uint64_t *size)
{
	if (qcf_parse_size(pair->value, size) == 0)
		return NULL;
	return qcf_tool_printf("Parameter '%s' expects a non-negative number "
	                       "below 2^64\n"
	                       "Optional suffix k, M, G, T, P or E means "
	                       "kilo-, mega-, giga-, tera-, peta-\n"
	                       "and exabytes, respectively.",
	                       qcf_image_key_name(pair->key));
}

static char *take_driver(const struct qcf_image_pair *pair)
{
	pair->node->driver = pair->value;
	if (strcmp(pair->value, "file") == 0 ||
	    qcowfmt_format_from_name(pair->value) > QCOWFMT_FORMAT_PROBE)
		return NULL;
	if (qcf_is_known_driver(pair->value))
		return qcf_tool_printf("Driver '%s' is not supported by this "
		                       "version",
		                       pair->value);
	return qcf_tool_printf("Unknown driver '%s'", pair->value);
}

/* The driver of a file, which is always "file". */
static char *take_file_driver(const struct qcf_image_pair *pair)
{
	static const char *const drivers[] = { "file", "host_device", NULL };

	if (is_one_of(pair->value, drivers))
		return NULL;
	if (qcf_is_known_driver(pair->value))
		return qcf_tool_printf("Driver '%s' is not supported by this "
		                       "version",
		                       pair->value);
	return qcf_tool_printf("Unknown driver '%s'", pair->value);
}

static char *take_filename(const struct qcf_image_pair *pair)
{
	pair->node->path = pair->value;
	return NULL;
}

/* A name for a node means nothing to anybody else. */
static char *take_node_name(const struct qcf_image_pair *pair)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] = "0123456789-._";
	const char *rest = pair->value;

	if (*rest != '\0' && strchr(letters, *rest) != NULL) {
		while (*rest != '\0' && (strchr(letters, *rest) != NULL ||
		                         strchr(others, *rest) != NULL))
			rest++;
		if (*rest == '\0' && strlen(pair->value) < 32)
			return NULL;
	}
	return qcf_tool_printf("Invalid node-name: '%s'", pair->value);
}

static char *take_read_only(const struct qcf_image_pair *pair)
{
	return parse_bool(pair, &pair->node->read_only);
}

static char *take_force_share(const struct qcf_image_pair *pair)
{
	return parse_bool(pair, &pair->node->force_share);
}

static char *take_discard(const struct qcf_image_pair *pair)
{
	static const char *const on[] = { "unmap", "on", NULL };
	static const char *const off[] = { "ignore", "off", NULL };

	if (is_one_of(pair->value, on))
		pair->node->discard = QCF_CHOICE_ON;
	else if (is_one_of(pair->value, off))
		pair->node->discard = QCF_CHOICE_OFF;
	else
		return qcf_tool_printf("Invalid discard option");
	return NULL;
}

/* The file does not do what the image asks for. */
static char *take_file_discard(const struct qcf_image_pair *pair)
{
	struct qcf_image_node scratch = { 0 };
	struct qcf_image_pair below = { pair->key, pair->value, &scratch };
	char *reason = take_discard(&below);

	pair->node->file_discard = scratch.discard;
	return reason;
}

static char *take_direct(const struct qcf_image_pair *pair)
{
	return parse_switch(pair, &pair->node->direct);
}

static char *take_no_flush(const struct qcf_image_pair *pair)
{
	return parse_switch(pair, &pair->node->no_flush);
}

/* Only the default, because nothing here does anything else. */
static char *take_off(const struct qcf_image_pair *pair)
{
	enum qcf_choice choice = QCF_CHOICE_NONE;
	char *reason = parse_switch(pair, &choice);

	if (reason == NULL && choice == QCF_CHOICE_ON)
		return value_not_supported(pair);
	return reason;
}

/* Both settings come to the same here. */
static char *take_any_switch(const struct qcf_image_pair *pair)
{
	enum qcf_choice choice;

	return parse_switch(pair, &choice);
}

static char *take_detect_zeroes(const struct qcf_image_pair *pair)
{
	if (strcmp(pair->value, "off") == 0)
		return NULL;
	return value_not_supported(pair);
}

static char *take_locking(const struct qcf_image_pair *pair)
{
	static const char *const on[] = { "on", "auto", NULL };

	pair->node->no_lock = strcmp(pair->value, "off") == 0;
	if (pair->node->no_lock || is_one_of(pair->value, on))
		return NULL;
	return qcf_tool_printf("invalid parameter value: %s", pair->value);
}

/* Requests are made in the same way in all modes. */
static char *take_aio(const struct qcf_image_pair *pair)
{
	static const char *const modes[] = { "threads", "io_uring", "native",
		                             NULL };

	if (!is_one_of(pair->value, modes))
		return qcf_tool_printf("invalid parameter value: %s",
		                       pair->value);
	pair->node->native = strcmp(pair->value, "native") == 0;
	return NULL;
}

static char *take_any_number(const struct qcf_image_pair *pair)
{
	uint64_t number;

	return qcf_image_key_size(pair, &number);
}

static char *take_encrypt_format(const struct qcf_image_pair *pair)
{
	pair->node->encrypt_format = pair->value;
	return NULL;
}

static char *take_secret(const struct qcf_image_pair *pair)
{
	pair->node->secret = pair->value;
	return NULL;
}

static char *take_lazy_refcounts(const struct qcf_image_pair *pair)
{
	return parse_switch(pair, &pair->node->lazy_refcounts);
}

static char *take_pass_snapshot(const struct qcf_image_pair *pair)
{
	return parse_switch(pair, &pair->node->pass_snapshot);
}

static char *take_pass_other(const struct qcf_image_pair *pair)
{
	return parse_switch(pair, &pair->node->pass_other);
}

static char *take_pass_discard(const struct qcf_image_pair *pair)
{
	return parse_switch(pair, &pair->node->pass_discard);
}

/*
 * The library always keeps guest data and metadata apart, so less than that
 * cannot be had; more than "cached" neither.
 */
static char *take_overlap_check(const struct qcf_image_pair *pair)
{
	static const char *const levels[] = { "none", "constant", "cached",
		                              NULL };

	if (is_one_of(pair->value, levels))
		return NULL;
	if (strcmp(pair->value, "all") == 0)
		return value_not_supported(pair);
	return qcf_tool_printf("Unsupported value '%s' for qcow2 option "
	                       "'%s'. Allowed are any of the following: "
	                       "none, constant, cached, all",
	                       pair->value, qcf_image_key_name(pair->key));
}

static char *take_cache_size(const struct qcf_image_pair *pair)
{
	return qcf_image_key_size(pair, &pair->node->cache_size);
}

static char *take_l2_cache_size(const struct qcf_image_pair *pair)
{
	return qcf_image_key_size(pair, &pair->node->l2_cache_size);
}

static char *take_refcount_cache_size(const struct qcf_image_pair *pair)
{
	return qcf_image_key_size(pair, &pair->node->refcount_cache_size);
}

static char *take_l2_entry_size(const struct qcf_image_pair *pair)
{
	return qcf_image_key_size(pair, &pair->node->l2_entry_size);
}

/* The cache is bounded at all times; it is not emptied by a clock. */
static char *take_clean_interval(const struct qcf_image_pair *pair)
{
	uint64_t seconds = 0;
	char *reason =
		*pair->value == '-' ? NULL : qcf_image_key_size(pair, &seconds);

	if (reason == NULL && (*pair->value == '-' || seconds > UINT32_MAX))
		return qcf_tool_printf("Cache clean interval too big");
	return reason;
}

static char *take_data_driver(const struct qcf_image_pair *pair)
{
	return take_file_driver(pair);
}

static char *take_data_filename(const struct qcf_image_pair *pair)
{
	pair->node->data_path = pair->value;
	return NULL;
}

/* Windows are taken before the other keys. */
static char *take_nothing(const struct qcf_image_pair *pair)
{
	(void)pair;
	return NULL;
}

static char *take_reference(const struct qcf_image_pair *pair)
{
	bool is_backing = strcmp(qcf_image_key_name(pair->key), "backing") == 0;

	return qcf_tool_printf("%sCannot find device='%s' nor node-name='%s'",
	                       is_backing ? "Could not open backing file: "
	                                  : "",
	                       pair->value, pair->value);
}

/* ------------------------------------------------------------------- tables */

struct known_key {
	const char *name;
	unsigned int formats; /* that have it */
	char *(*take)(const struct qcf_image_pair *pair);
};

/* What describes an image. */
static const struct known_key image_keys[] = {
	{ "auto-read-only", ALL, take_off },
	{ "backing", QCOW | QCOW2, take_reference },
	{ "cache-clean-interval", QCOW2, take_clean_interval },
	{ "cache-size", QCOW2, take_cache_size },
	{ "cache.direct", ALL, take_direct },
	{ "cache.no-flush", ALL, take_no_flush },
	{ "data-file", QCOW2, take_reference },
	{ "data-file.driver", QCOW2, take_data_driver },
	{ "data-file.filename", QCOW2, take_data_filename },
	{ "detect-zeroes", ALL, take_detect_zeroes },
	{ "discard", ALL, take_discard },
	{ "discard-no-unref", QCOW2, take_off },
	{ "driver", ALL, take_driver },
	{ "encrypt.format", QCOW | QCOW2, take_encrypt_format },
	{ "encrypt.key-secret", QCOW | QCOW2, take_secret },
	{ "file", ALL, take_reference },
	{ "force-share", ALL, take_force_share },
	{ "l2-cache-entry-size", QCOW2, take_l2_entry_size },
	{ "l2-cache-size", QCOW2, take_l2_cache_size },
	{ "lazy-refcounts", QCOW2, take_lazy_refcounts },
	{ "node-name", ALL, take_node_name },
	{ "offset", RAW, take_nothing },
	{ "overlap-check", QCOW2, take_overlap_check },
	{ "overlap-check.active-l1", QCOW2, take_any_switch },
	{ "overlap-check.active-l2", QCOW2, take_any_switch },
	{ "overlap-check.bitmap-directory", QCOW2, take_any_switch },
	{ "overlap-check.inactive-l1", QCOW2, take_any_switch },
	{ "overlap-check.inactive-l2", QCOW2, take_off },
	{ "overlap-check.main-header", QCOW2, take_any_switch },
	{ "overlap-check.refcount-block", QCOW2, take_any_switch },
	{ "overlap-check.refcount-table", QCOW2, take_any_switch },
	{ "overlap-check.snapshot-table", QCOW2, take_any_switch },
	{ "overlap-check.template", QCOW2, take_overlap_check },
	{ "pass-discard-other", QCOW2, take_pass_other },
	{ "pass-discard-request", QCOW2, take_pass_discard },
	{ "pass-discard-snapshot", QCOW2, take_pass_snapshot },
	{ "read-only", ALL, take_read_only },
	{ "refcount-cache-size", QCOW2, take_refcount_cache_size },
	{ "size", RAW, take_nothing },
};

/* What describes a file. */
static const struct known_key file_keys[] = {
	{ "aio", ALL, take_aio },
	{ "aio-max-batch", ALL, take_any_number },
	{ "auto-read-only", ALL, take_off },
	{ "cache.direct", ALL, take_direct },
	{ "cache.no-flush", ALL, take_no_flush },
	{ "detect-zeroes", ALL, take_detect_zeroes },
	{ "discard", ALL, take_file_discard },
	{ "driver", ALL, take_file_driver },
	{ "drop-cache", ALL, take_any_switch },
	{ "filename", ALL, take_filename },
	{ "force-share", ALL, take_force_share },
	{ "locking", ALL, take_locking },
	{ "node-name", ALL, take_node_name },
	{ "read-only", ALL, take_read_only },
	{ "x-check-cache-dropped", ALL, take_any_switch },
};

static const struct known_key *find_key(const struct known_key *keys,
                                        size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

/* ----------------------------------------------------------------- taking */

char *qcf_unknown_image_key(const struct qcf_image_node *node, const char *name,
                            bool of_file)
{
	if (of_file)
		return qcf_tool_printf("Block protocol 'file' doesn't support "
		                       "the option '%s'",
		                       name);
	return qcf_tool_printf("Block format '%s' does not support the option "
	                       "'%s'",
	                       node->driver != NULL ? node->driver : "qcow2",
	                       name);
}

char *qcf_take_image_key(const struct qcf_image_pair *pair, const char *name)
{
	const struct known_key *known =
		find_key(image_keys, QCF_ARRAY_LEN(image_keys), name);
	struct qcf_image_node *node = pair->node;

	if (known == NULL)
		return qcf_unknown_image_key(node, name, false);
	if (known->formats != ALL) {
		node->only_some = known->name;
		node->some = node->some == 0 ? known->formats
		                             : node->some & known->formats;
	}
	return known->take(pair);
}

bool qcf_is_file_key(const char *name)
{
	return find_key(file_keys, QCF_ARRAY_LEN(file_keys), name) != NULL;
}

char *qcf_take_file_key(const struct qcf_image_pair *pair, const char *name)
{
	const struct known_key *known =
		find_key(file_keys, QCF_ARRAY_LEN(file_keys), name);

	if (known == NULL)
		return qcf_unknown_image_key(pair->node, name, true);
	return known->take(pair);
}
