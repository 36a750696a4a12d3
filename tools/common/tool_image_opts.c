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

#include "tool_error.h"
#include "tool_image_keys.h"
#include "tool_json_parse.h"

#define MAX_NODES   256
#define MAX_WINDOWS 16

static const char backing_prefix[] = "backing.";
static const char file_prefix[] = "file.";

static bool is_one_of(const char *text, const char *const *list)
{
	for (; *list != NULL; list++) {
		if (strcmp(text, *list) == 0)
			return true;
	}
	return false;
}

static char *not_supported(const char *key)
{
	return qcf_tool_printf("Option '%s' is not supported by this version",
	                       key);
}

/* What follows a prefix of text; NULL if text does not start with it. */
static const char *after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
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
	struct qcf_image_pair offset = { "offset",
		                         find_value(list, prefix, "offset"),
		                         node };
	struct qcf_image_pair size = { "size", find_value(list, prefix, "size"),
		                       node };
	struct qcf_window *window = &node->window;
	uint64_t number = 0;
	char *reason = NULL;

	if (offset.value != NULL)
		reason = qcf_image_key_size(&offset, &number);
	if (reason == NULL && number > INT64_MAX - window->offset)
		return qcf_tool_printf("The offset is too large");
	window->offset += number;
	if (reason != NULL || size.value == NULL)
		return reason;
	reason = qcf_image_key_size(&size, &number);
	window->size =
		window->has_size ? qcf_min(window->size, number) : number;
	window->has_size = true;
	return reason;
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

/* A key of a raw node between the image and its file. */
static bool is_window_key(const char *name)
{
	static const char *const names[] = { "driver", "offset", "size",
		                             "node-name", NULL };

	while (after(name, file_prefix) != NULL)
		name = after(name, file_prefix);
	return is_one_of(name, names);
}

static char *take_pair(const struct qcf_keyval *item,
                       struct qcf_image_node *node, const char *prefix,
                       const char *file)
{
	const char *of_image = after(item->key, prefix);
	const char *of_file = after(item->key, file);
	struct qcf_image_pair pair = { item->key, item->value, node };

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
	if (of_file != NULL &&
	    (strcmp(file, prefix) != 0 ||
	     (strcmp(of_file, "driver") != 0 && qcf_is_file_key(of_file))))
		return qcf_take_file_key(&pair, of_file);
	if (after(of_image, file_prefix) != NULL)
		return is_window_key(of_image) ? NULL : not_supported(pair.key);
	return qcf_take_image_key(&pair, of_image);
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
		return qcf_unknown_image_key(node, node->only_some, false);
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

		if (strcmp(qcf_image_key_name(item->key), "backing") == 0 &&
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
	qcf_keyval_complete(list, from);
}

char *qcf_image_opts_add(struct qcf_image_opts *opts, const char *text)
{
	size_t known = opts->list.count;

	qcf_keyval_append(&opts->list, text);
	complete_switches(&opts->list, known);
	warn_empty_backing(&opts->list, known);
	return qcf_image_opts_renew(opts);
}

char *qcf_image_opts_add_pairs(struct qcf_image_opts *opts,
                               const struct qcf_keyval_list *pairs)
{
	size_t known = opts->list.count;
	size_t i;

	for (i = 0; i < pairs->count; i++)
		qcf_keyval_add(&opts->list, pairs->items[i].key,
		               pairs->items[i].value);
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
