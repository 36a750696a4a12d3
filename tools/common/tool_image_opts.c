/* SPDX-License-Identifier: MIT */
/*
 * tool_image_opts.c - images described by options instead of a name
 *
 * A key is "backing." once for every level, then "file." for what describes the
 * file of the image, then a name from one of the tables.  Between an image and
 * its file there may be nodes of the driver "raw", each of which is a window
 * into what is below.
 */
#include "tool_image_opts.h"

#include <string.h>

#include "tool_driver.h"
#include "tool_error.h"
#include "tool_json_parse.h"
#include "tool_size.h"

#define MAX_NODES   256
#define MAX_WINDOWS 16

/* How the formats stand in struct qcf_image_node. */
#define RAW   (1u << QCOWFMT_FORMAT_RAW)
#define QCOW  (1u << QCOWFMT_FORMAT_QCOW)
#define QCOW2 (1u << QCOWFMT_FORMAT_QCOW2)
#define ALL   (RAW | QCOW | QCOW2)

static const char backing_prefix[] = "backing.";
static const char file_prefix[] = "file.";

/* -------------------------------------------------------------- single keys */

/* One option, on its way into a node. */
struct pair {
	const char *key; /* all of it, for messages */
	const char *value;
	struct qcf_image_node *node;
};

static char *not_supported(const char *key)
{
	return qcf_tool_printf("Option '%s' is not supported by this version",
	                       key);
}

static char *value_not_supported(const struct pair *pair)
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

/* The last part of a key, by which QEMU names it. */
static const char *last_part(const char *key)
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

static char *parse_switch(const struct pair *pair, enum qcf_choice *choice)
{
	if (strcmp(pair->value, "on") == 0)
		*choice = QCF_CHOICE_ON;
	else if (strcmp(pair->value, "off") == 0)
		*choice = QCF_CHOICE_OFF;
	else
		return qcf_tool_printf("Parameter '%s' expects 'on' or 'off'",
		                       last_part(pair->key));
	return NULL;
}

static char *parse_bool(const struct pair *pair, bool *value)
{
	enum qcf_choice choice = QCF_CHOICE_NONE;
	char *reason = parse_switch(pair, &choice);

	*value = choice == QCF_CHOICE_ON;
	return reason;
}

static char *parse_size(const struct pair *pair, uint64_t *size)
{
	if (qcf_parse_size(pair->value, size) == 0)
		return NULL;
	return qcf_tool_printf("Parameter '%s' expects a non-negative number "
	                       "below 2^64\n"
	                       "Optional suffix k, M, G, T, P or E means "
	                       "kilo-, mega-, giga-, tera-, peta-\n"
	                       "and exabytes, respectively.",
	                       last_part(pair->key));
}

static char *take_driver(const struct pair *pair)
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
static char *take_file_driver(const struct pair *pair)
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

static char *take_filename(const struct pair *pair)
{
	pair->node->path = pair->value;
	return NULL;
}

/* A name for a node means nothing to anybody else. */
static char *take_node_name(const struct pair *pair)
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

static char *take_read_only(const struct pair *pair)
{
	return parse_bool(pair, &pair->node->read_only);
}

static char *take_force_share(const struct pair *pair)
{
	return parse_bool(pair, &pair->node->force_share);
}

static char *take_discard(const struct pair *pair)
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
static char *take_file_discard(const struct pair *pair)
{
	struct qcf_image_node scratch = { 0 };
	struct pair below = { pair->key, pair->value, &scratch };
	char *reason = take_discard(&below);

	pair->node->pass_discard = scratch.discard;
	return reason;
}

static char *take_direct(const struct pair *pair)
{
	return parse_switch(pair, &pair->node->direct);
}

static char *take_no_flush(const struct pair *pair)
{
	return parse_switch(pair, &pair->node->no_flush);
}

/* Only the default, because nothing here does anything else. */
static char *take_off(const struct pair *pair)
{
	enum qcf_choice choice = QCF_CHOICE_NONE;
	char *reason = parse_switch(pair, &choice);

	if (reason == NULL && choice == QCF_CHOICE_ON)
		return value_not_supported(pair);
	return reason;
}

/* Both settings come to the same here. */
static char *take_any_switch(const struct pair *pair)
{
	enum qcf_choice choice;

	return parse_switch(pair, &choice);
}

static char *take_detect_zeroes(const struct pair *pair)
{
	if (strcmp(pair->value, "off") == 0)
		return NULL;
	return value_not_supported(pair);
}

static char *take_locking(const struct pair *pair)
{
	static const char *const on[] = { "on", "auto", NULL };

	pair->node->no_lock = strcmp(pair->value, "off") == 0;
	if (pair->node->no_lock || is_one_of(pair->value, on))
		return NULL;
	return qcf_tool_printf("invalid parameter value: %s", pair->value);
}

/* Requests are made in the same way in all modes. */
static char *take_aio(const struct pair *pair)
{
	static const char *const modes[] = { "threads", "io_uring", "native",
		                             NULL };

	if (!is_one_of(pair->value, modes))
		return qcf_tool_printf("invalid parameter value: %s",
		                       pair->value);
	return NULL;
}

static char *take_any_number(const struct pair *pair)
{
	uint64_t number;

	return parse_size(pair, &number);
}

static char *take_encrypt_format(const struct pair *pair)
{
	pair->node->encrypt_format = pair->value;
	return NULL;
}

static char *take_secret(const struct pair *pair)
{
	pair->node->secret = pair->value;
	return NULL;
}

static char *take_lazy_refcounts(const struct pair *pair)
{
	return parse_switch(pair, &pair->node->lazy_refcounts);
}

static char *take_pass_discard(const struct pair *pair)
{
	return parse_switch(pair, &pair->node->pass_discard);
}

/*
 * The library always keeps guest data and metadata apart, so less than that
 * cannot be had; more than "cached" neither.
 */
static char *take_overlap_check(const struct pair *pair)
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
	                       pair->value, last_part(pair->key));
}

static char *take_cache_size(const struct pair *pair)
{
	return parse_size(pair, &pair->node->cache_size);
}

static char *take_l2_cache_size(const struct pair *pair)
{
	return parse_size(pair, &pair->node->l2_cache_size);
}

static char *take_refcount_cache_size(const struct pair *pair)
{
	return parse_size(pair, &pair->node->refcount_cache_size);
}

static char *take_l2_entry_size(const struct pair *pair)
{
	return parse_size(pair, &pair->node->l2_entry_size);
}

/* The cache is bounded at all times; it is not emptied by a clock. */
static char *take_clean_interval(const struct pair *pair)
{
	uint64_t seconds = 0;
	char *reason = *pair->value == '-' ? NULL : parse_size(pair, &seconds);

	if (reason == NULL && (*pair->value == '-' || seconds > UINT32_MAX))
		return qcf_tool_printf("Cache clean interval too big");
	return reason;
}

static char *take_data_driver(const struct pair *pair)
{
	return take_file_driver(pair);
}

static char *take_data_filename(const struct pair *pair)
{
	pair->node->data_path = pair->value;
	return NULL;
}

/* Windows are taken before the other keys. */
static char *take_nothing(const struct pair *pair)
{
	(void)pair;
	return NULL;
}

static char *take_reference(const struct pair *pair)
{
	bool is_backing = strcmp(last_part(pair->key), "backing") == 0;

	return qcf_tool_printf("%sCannot find device='%s' nor node-name='%s'",
	                       is_backing ? "Could not open backing file: "
	                                  : "",
	                       pair->value, pair->value);
}

/* ------------------------------------------------------------------- tables */

struct known_key {
	const char *name;
	unsigned int formats; /* that have it */
	char *(*take)(const struct pair *pair);
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
	{ "pass-discard-other", QCOW2, take_off },
	{ "pass-discard-request", QCOW2, take_pass_discard },
	{ "pass-discard-snapshot", QCOW2, take_any_switch },
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

/* ---------------------------------------------------------------- one image */

/* The value of a key that begins with a prefix; NULL if there is none. */
static const char *find_value(const struct qcf_keyval_list *list,
                              const char *prefix, const char *name)
{
	QCF_AUTO_FREE char *key = qcf_tool_printf("%s%s", prefix, name);

	return qcf_keyval_find(list, key);
}

/* The window of a raw node within the one that is below it. */
static char *add_window(const struct qcf_keyval_list *list, const char *prefix,
                        struct qcf_image_node *node)
{
	struct pair offset = { "offset", find_value(list, prefix, "offset"),
		               node };
	struct pair size = { "size", find_value(list, prefix, "size"), node };
	struct qcf_window *window = &node->window;
	uint64_t number = 0;
	char *reason = NULL;

	if (offset.value != NULL)
		reason = parse_size(&offset, &number);
	if (reason == NULL && number > INT64_MAX - window->offset)
		return qcf_tool_printf("The offset is too large");
	window->offset += number;
	if (reason != NULL || size.value == NULL)
		return reason;
	reason = parse_size(&size, &number);
	window->size =
		window->has_size ? qcf_min(window->size, number) : number;
	window->has_size = true;
	return reason;
}

/* What follows a prefix of text; NULL if text does not start with it. */
static const char *after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

/*
 * Find the prefix of the keys that describe the file, and take over all the
 * windows on the way there.
 */
static char *find_file(const struct qcf_keyval_list *list, const char *prefix,
                       struct qcf_image_node *node, char **result)
{
	const char *driver = find_value(list, prefix, "driver");
	char *at = qcf_tool_printf("%s", prefix);
	char *reason = NULL;
	int depth;

	for (depth = 0; depth < MAX_WINDOWS && reason == NULL; depth++) {
		char *below;

		if (driver != NULL && strcmp(driver, "raw") == 0)
			reason = add_window(list, at, node);
		else if (depth > 0)
			break;
		if (driver != NULL && strcmp(driver, "file") == 0)
			break;
		below = qcf_tool_printf("%s%s", at, file_prefix);
		free(at);
		at = below;
		driver = find_value(list, at, "driver");
	}
	if (depth == MAX_WINDOWS && reason == NULL)
		reason = qcf_tool_printf("Too many nodes of driver 'raw' lie "
		                         "on each other");
	*result = at;
	return reason;
}

static char *unknown_key(const struct qcf_image_node *node, const char *name,
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

/* A key of a raw node between the image and its file. */
static bool is_window_key(const char *name)
{
	static const char *const names[] = { "driver", "offset", "size",
		                             "node-name", NULL };

	while (after(name, file_prefix) != NULL)
		name = after(name, file_prefix);
	return is_one_of(name, names);
}

static char *take_image_key(struct pair *pair, const char *name)
{
	const struct known_key *known =
		find_key(image_keys, QCF_ARRAY_LEN(image_keys), name);
	struct qcf_image_node *node = pair->node;

	if (known == NULL)
		return unknown_key(node, name, false);
	if (known->formats != ALL) {
		node->only_some = known->name;
		node->some = node->some == 0 ? known->formats
		                             : node->some & known->formats;
	}
	return known->take(pair);
}

static char *take_pair(const struct qcf_keyval *item,
                       struct qcf_image_node *node, const char *prefix,
                       const char *file)
{
	const char *of_image = after(item->key, prefix);
	const char *of_file = after(item->key, file);
	struct pair pair = { item->key, item->value, node };
	const struct known_key *known;

	if (of_image == NULL || after(of_image, backing_prefix) != NULL)
		return NULL;
	if (strcmp(of_image, "backing") == 0 &&
	    (item->value == NULL || *item->value == '\0')) {
		node->no_backing = true;
		return NULL;
	}
	/* Not given, in JSON. */
	if (item->value == NULL)
		return NULL;
	if (of_file != NULL && strcmp(file, prefix) != 0) {
		known = find_key(file_keys, QCF_ARRAY_LEN(file_keys), of_file);
		return known == NULL ? unknown_key(node, of_file, true)
		                     : known->take(&pair);
	}
	if (of_file != NULL && strcmp(of_file, "driver") != 0) {
		known = find_key(file_keys, QCF_ARRAY_LEN(file_keys), of_file);
		if (known != NULL)
			return known->take(&pair);
	}
	if (after(of_image, file_prefix) != NULL)
		return is_window_key(of_image) ? NULL : not_supported(pair.key);
	return take_image_key(&pair, of_image);
}

static char *check_caches(const struct qcf_image_node *node)
{
	uint64_t total = node->cache_size;

	if (total != 0 && node->l2_cache_size != 0 &&
	    node->refcount_cache_size != 0)
		return qcf_tool_printf("cache-size, l2-cache-size and "
		                       "refcount-cache-size may not be set at "
		                       "the same time");
	if (total != 0 && node->l2_cache_size > total)
		return qcf_tool_printf("l2-cache-size may not exceed "
		                       "cache-size");
	if (total != 0 && node->refcount_cache_size > total)
		return qcf_tool_printf("refcount-cache-size may not exceed "
		                       "cache-size");
	return NULL;
}

static char *check_node(const struct qcf_image_node *node)
{
	int format = node->driver == NULL
	                     ? -1
	                     : qcowfmt_format_from_name(node->driver);

	if (node->driver != NULL && strcmp(node->driver, "file") == 0)
		format = QCOWFMT_FORMAT_RAW;
	if (format > 0 && node->only_some != NULL &&
	    (node->some & (1u << format)) == 0)
		return unknown_key(node, node->only_some, false);
	return check_caches(node);
}

/* Take the options of one image of the chain. */
static char *fill_node(const struct qcf_keyval_list *list, const char *prefix,
                       struct qcf_image_node *node)
{
	QCF_AUTO_FREE char *file = NULL;
	char *reason;
	size_t i;

	*node = (struct qcf_image_node){ 0 };
	node->driver = find_value(list, prefix, "driver");
	reason = find_file(list, prefix, node, &file);
	for (i = 0; i < list->count && reason == NULL; i++)
		reason = take_pair(&list->items[i], node, prefix, file);
	return reason != NULL ? reason : check_node(node);
}

/* ---------------------------------------------------------------- the chain */

static uint32_t count_nodes(const struct qcf_keyval_list *list)
{
	uint32_t most = 1;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const char *key = list->items[i].key;
		uint32_t count = 1;

		while ((key = after(key, backing_prefix)) != NULL)
			count++;
		most = count > most ? count : most;
	}
	return most;
}

static char *fill_nodes(struct qcf_image_opts *opts)
{
	char *prefix = qcf_tool_printf("%s", "");
	char *reason = NULL;
	uint32_t i;

	free(opts->nodes);
	opts->node_count = count_nodes(&opts->list);
	opts->nodes = qcf_tool_alloc(opts->node_count * sizeof(*opts->nodes));
	for (i = 0; i < opts->node_count && reason == NULL; i++) {
		char *below = qcf_tool_printf("%s%s", prefix, backing_prefix);

		reason = fill_node(&opts->list, prefix, &opts->nodes[i]);
		free(prefix);
		prefix = below;
	}
	free(prefix);
	return reason;
}

char *qcf_image_opts_renew(struct qcf_image_opts *opts)
{
	char *reason;

	if (count_nodes(&opts->list) > MAX_NODES)
		return qcf_tool_printf("The options describe more than %d "
		                       "images",
		                       MAX_NODES);
	reason = fill_nodes(opts);
	opts->driver = opts->nodes[0].driver;
	opts->path = opts->nodes[0].path;
	opts->data_path = opts->nodes[0].data_path;
	opts->encrypt_format = opts->nodes[0].encrypt_format;
	return reason;
}

/* An empty name for no backing file was once the way to say so. */
static void warn_empty_backing(const struct qcf_keyval_list *list, size_t from)
{
	for (; from < list->count; from++) {
		const struct qcf_keyval *item = &list->items[from];

		if (strcmp(last_part(item->key), "backing") == 0 &&
		    item->value != NULL && *item->value == '\0')
			qcf_tool_warning("Use of \"backing\": \"\" is "
			                 "deprecated; use \"backing\": null "
			                 "instead");
	}
}

/* A key that stands alone is a switch; "no" in front of it turns it off. */
static void complete_switches(struct qcf_keyval_list *list, size_t from)
{
	/* Standing first, it is a name. */
	if (from == 0 && list->count > 0 && list->items[0].value == NULL) {
		list->items[0].value = list->items[0].key;
		list->items[0].key = qcf_tool_printf("file");
	}
	for (; from < list->count; from++) {
		struct qcf_keyval *item = &list->items[from];
		bool off = strncmp(item->key, "no", 2) == 0;
		const char *name = off ? item->key + 2 : item->key;
		char *key;

		if (item->value != NULL)
			continue;
		qcf_tool_warning("short-form boolean option '%s' deprecated\n"
		                 "Please use %s=%s instead",
		                 item->key, name, off ? "off" : "on");
		key = qcf_tool_printf("%s", name);
		free(item->key);
		item->key = key;
		item->value = qcf_tool_printf(off ? "off" : "on");
	}
}

char *qcf_image_opts_add(struct qcf_image_opts *opts, const char *text)
{
	size_t known = opts->list.count;

	if (*text != '\0' && !qcf_keyval_is_valid(text))
		return qcf_tool_printf("Invalid option list: %s", text);
	qcf_keyval_append(&opts->list, text);
	complete_switches(&opts->list, known);
	warn_empty_backing(&opts->list, known);
	return qcf_image_opts_renew(opts);
}

static const char json_prefix[] = "json:";

bool qcf_is_json_name(const char *name)
{
	return after(name, json_prefix) != NULL;
}

char *qcf_image_opts_add_json(struct qcf_image_opts *opts, const char *name,
                              const char *format)
{
	size_t known = opts->list.count;
	char *reason = qcf_json_parse(after(name, json_prefix), &opts->list);

	warn_empty_backing(&opts->list, known);
	if (format != NULL)
		qcf_keyval_add(&opts->list, "driver", format);
	if (reason == NULL)
		reason = qcf_image_opts_renew(opts);
	return reason != NULL ? reason : qcf_image_opts_check_path(opts);
}

char *qcf_image_opts_check_path(const struct qcf_image_opts *opts)
{
	if (opts->path != NULL)
		return NULL;
	if (opts->driver == NULL)
		return qcf_tool_printf("Must specify either driver or file");
	if (strcmp(opts->driver, "file") == 0)
		return qcf_tool_printf(
			"The 'file' block driver requires a file "
			"name");
	return qcf_tool_printf("A block device must be specified for \"file\"");
}

void qcf_image_opts_fini(struct qcf_image_opts *opts)
{
	qcf_keyval_fini(&opts->list);
	free(opts->nodes);
	*opts = (struct qcf_image_opts){ 0 };
}

const struct qcf_image_node *qcf_image_opts_node(
	const struct qcf_image_opts *opts, uint32_t depth)
{
	return depth < opts->node_count ? &opts->nodes[depth] : NULL;
}

const char *qcf_image_opts_secret(const struct qcf_image_opts *opts,
                                  uint32_t depth)
{
	const struct qcf_image_node *node = qcf_image_opts_node(opts, depth);

	return node == NULL ? NULL : node->secret;
}
