/* SPDX-License-Identifier: MIT */
/* io_open.c - the commands open, close and reopen */
#include <stdio.h>
#include <string.h>

#include "io_command.h"
#include "tool_error.h"

/* What "open" and "reopen" were told. */
struct open_options {
	struct io_settings settings;
	bool has_mode;               /* -r or -w was given */
	bool has_cache;              /* -c was given */
	struct qcf_keyval_list said; /* -o; values are looked at last */
};

static bool take_list(const char *text, struct open_options *o)
{
	size_t known = o->said.count;

	qcf_keyval_append(&o->said, text);
	qcf_keyval_complete(&o->said, known);
	return true;
}

static bool take_open_option(int option, void *opaque)
{
	struct open_options *o = opaque;

	if (option == 'o')
		return take_list(optarg, o);
	return qcf_io_take_setting(option, optarg, &o->settings);
}

static const struct io_options open_letters = { "snCro:ki:t:d:U", "",
	                                        take_open_option };

static bool check_lists(const struct io_session *session,
                        const struct open_options *o)
{
	if (!session->image_opts || o->said.count == 0)
		return true;
	puts("--image-opts and 'open -o' are mutually exclusive");
	return false;
}

static bool check_operands(const struct io_session *session,
                           const struct open_options *o, int argc, char **argv)
{
	if (optind < argc - 1)
		return qcf_io_usage(argv[0]);
	if (session->image != NULL) {
		qcf_tool_error("file open already, try 'help close'");
		return false;
	}
	if (optind == argc && o->said.count == 0) {
		qcf_tool_error("can't open: A block device must be specified "
		               "for \"file\"");
		return false;
	}
	return true;
}

bool qcf_io_cmd_open(struct io_session *session, int argc, char **argv)
{
	struct open_options o = { 0 };
	bool ok = qcf_io_parse_options(&open_letters, argc, argv, &o) &&
	          check_lists(session, &o);

	if (ok && optind == argc - 1 && session->image_opts)
		ok = take_list(argv[optind], &o);
	else if (ok && optind < argc)
		o.settings.path = argv[optind];
	ok = ok && check_operands(session, &o, argc, argv);
	if (ok && o.said.count > 0)
		ok = qcf_io_take_pairs(&o.settings, &o.said);
	ok = ok && qcf_io_open(session, &o.settings);
	qcf_keyval_fini(&o.said);
	return ok;
}

bool qcf_io_cmd_close(struct io_session *session, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return qcf_io_close(session);
}

/* ------------------------------------------------------------------- reopen */

static bool is_among(const char *key, const char *const *keys, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strcmp(key, keys[i]) == 0)
			return true;
	}
	return false;
}

/* Options that can be changed while an image is open. */
static bool can_change(const struct io_session *session, const char *key)
{
	static const char *const keys[] = {
		"cache.direct",
		"cache.no-flush",
		"detect-zeroes",
		"discard",
	};
	static const char *const qcow2_keys[] = {
		"cache-clean-interval", "cache-size",
		"discard-no-unref",     "l2-cache-entry-size",
		"l2-cache-size",        "lazy-refcounts",
		"overlap-check",        "pass-discard-other",
		"pass-discard-request", "pass-discard-snapshot",
		"refcount-cache-size",
	};
	static const char overlap[] = "overlap-check.";
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (is_among(key, keys, QCF_ARRAY_LEN(keys)))
		return true;
	return qcowfmt_get_info(session->image, 0, &info, NULL) == 0 &&
	       info.format == QCOWFMT_FORMAT_QCOW2 &&
	       (is_among(key, qcow2_keys, QCF_ARRAY_LEN(qcow2_keys)) ||
	        strncmp(key, overlap, strlen(overlap)) == 0);
}

/* The last part of the key of a file's option, by which QEMU names it. */
static const char *short_key(const char *key)
{
	static const char prefix[] = "file.";

	while (strncmp(key, prefix, strlen(prefix)) == 0)
		key += strlen(prefix);
	return key;
}

/* What was said when the image was opened may be said again. */
static bool is_as_before(const struct io_session *session,
                         const struct qcf_keyval *item)
{
	const struct qcf_image_opts *opts = session->settings.opts;
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	const char *before = NULL;

	if (opts != NULL)
		before = qcf_keyval_find(&opts->list, item->key);
	if (before == NULL && strcmp(item->key, "file.filename") == 0)
		before = session->path;
	if (strcmp(item->key, "driver") == 0 &&
	    qcowfmt_get_info(session->image, 0, &info, NULL) == 0)
		before = qcowfmt_format_name(info.format);
	return before != NULL && item->value != NULL &&
	       strcmp(before, item->value) == 0;
}

static bool take_read_only(struct open_options *o,
                           const struct qcf_keyval *item)
{
	if (o->has_mode) {
		qcf_tool_error("Cannot set both -r/-w and 'read-only'");
		return false;
	}
	o->settings.read_only = strcmp(item->value, "on") == 0;
	if (o->settings.read_only || strcmp(item->value, "off") == 0)
		return true;
	qcf_tool_error("Parameter 'read-only' expects 'on' or 'off'");
	return false;
}

static bool take_change(const struct io_session *session,
                        struct open_options *o, struct qcf_image_opts *all,
                        const struct qcf_keyval *item)
{
	if (strcmp(item->key, "read-only") == 0)
		return take_read_only(o, item);
	if (o->has_cache && strncmp(item->key, "cache.", 6) == 0) {
		qcf_tool_error("Cannot set both -c and the cache options");
		return false;
	}
	if (can_change(session, item->key)) {
		qcf_keyval_add(&all->list, item->key, item->value);
		return true;
	}
	if (is_as_before(session, item))
		return true;
	qcf_tool_error("Cannot change the option '%s'", short_key(item->key));
	return false;
}

/* All that was said when the image was opened, and what changes. */
static bool join_changes(const struct io_session *session,
                         struct open_options *o, struct qcf_image_opts *all)
{
	const struct qcf_image_opts *before = session->settings.opts;
	QCF_AUTO_FREE char *reason = NULL;
	bool ok = true;
	size_t i;

	for (i = 0; before != NULL && i < before->list.count; i++)
		qcf_keyval_add(&all->list, before->list.items[i].key,
		               before->list.items[i].value);
	for (i = 0; i < o->said.count && ok; i++)
		ok = take_change(session, o, all, &o->said.items[i]);
	if (ok)
		reason = qcf_image_opts_renew(all);
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return ok && reason == NULL;
}

static bool take_reopen_option(int option, void *opaque)
{
	struct open_options *o = opaque;

	if (option == 'o')
		return take_list(optarg, o);
	if (option == 'c') {
		o->has_cache = true;
		return qcf_io_parse_cache(optarg, &o->settings);
	}
	if (o->has_mode) {
		qcf_tool_error("Only one -r/-w option may be given");
		return false;
	}
	o->has_mode = true;
	o->settings.read_only = option == 'r';
	return true;
}

static const struct io_options reopen_letters = { "c:o:rw", "",
	                                          take_reopen_option };

static bool reopen(struct io_session *session, struct open_options *o)
{
	if (o->said.count == 0)
		return qcf_io_reopen(session, &o->settings);
	o->settings.opts = qcf_tool_alloc(sizeof(*o->settings.opts));
	if (join_changes(session, o, o->settings.opts))
		return qcf_io_reopen(session, &o->settings);
	qcf_io_free_opts(o->settings.opts);
	return false;
}

bool qcf_io_cmd_reopen(struct io_session *session, int argc, char **argv)
{
	struct open_options o = { .settings = session->settings };
	bool ok = qcf_io_parse_options(&reopen_letters, argc, argv, &o);

	if (ok && optind != argc)
		ok = qcf_io_usage(argv[0]);
	ok = ok && reopen(session, &o);
	qcf_keyval_fini(&o.said);
	return ok;
}
