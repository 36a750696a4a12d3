/* SPDX-License-Identifier: MIT */
/* io_open.c - the commands open, close and reopen */
#include <stdio.h>
#include <string.h>

#include "io_command.h"
#include "tool_error.h"

#define MAX_CHANGES 16

/* What "open" and "reopen" were told. */
struct open_options {
	struct io_settings settings;
	bool has_mode;                    /* -r or -w was given */
	bool has_cache;                   /* -c was given */
	const char *changes[MAX_CHANGES]; /* -o of "reopen" */
	size_t change_count;
};

static bool take_list(const char *text, struct open_options *o)
{
	QCF_AUTO_FREE char *reason = NULL;

	if (o->settings.opts == NULL)
		o->settings.opts = qcf_tool_alloc(sizeof(*o->settings.opts));
	reason = qcf_image_opts_add(o->settings.opts, text);
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL;
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

static bool check_operands(const struct io_session *session,
                           const struct io_settings *settings, int argc,
                           char **argv)
{
	if (optind < argc - 1)
		return qcf_io_usage(argv[0]);
	if (session->image != NULL) {
		qcf_tool_error("file open already, try 'help close'");
		return false;
	}
	if (optind == argc && settings->opts == NULL) {
		qcf_tool_error("can't open: A block device must be specified "
		               "for \"file\"");
		return false;
	}
	return true;
}

bool qcf_io_cmd_open(struct io_session *session, int argc, char **argv)
{
	struct open_options o = { 0 };

	if (!qcf_io_parse_options(&open_letters, argc, argv, &o) ||
	    !check_operands(session, &o.settings, argc, argv)) {
		qcf_io_free_opts(o.settings.opts);
		return false;
	}
	if (optind < argc)
		o.settings.path = argv[optind];
	return qcf_io_open(session, &o.settings);
}

bool qcf_io_cmd_close(struct io_session *session, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return qcf_io_close(session);
}

/* ------------------------------------------------------------------- reopen */

/* Options that can be changed while an image is open. */
static bool can_change(const char *key)
{
	static const char *const keys[] = {
		"cache-clean-interval", "cache-size",
		"cache.direct",         "cache.no-flush",
		"detect-zeroes",        "discard",
		"discard-no-unref",     "l2-cache-entry-size",
		"l2-cache-size",        "lazy-refcounts",
		"overlap-check",        "pass-discard-other",
		"pass-discard-request", "pass-discard-snapshot",
		"refcount-cache-size",
	};
	static const char overlap[] = "overlap-check.";
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(keys); i++) {
		if (strcmp(key, keys[i]) == 0)
			return true;
	}
	return strncmp(key, overlap, strlen(overlap)) == 0;
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
	return true;
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
	if (can_change(item->key)) {
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
	struct qcf_image_opts said = { 0 };
	QCF_AUTO_FREE char *reason = NULL;
	bool ok = true;
	size_t i;

	for (i = 0; before != NULL && i < before->list.count; i++)
		qcf_keyval_add(&all->list, before->list.items[i].key,
		               before->list.items[i].value);
	for (i = 0; i < o->change_count && ok; i++) {
		/* Values are looked at below, as a whole. */
		if (qcf_keyval_is_valid(o->changes[i]))
			qcf_keyval_append(&said.list, o->changes[i]);
		else
			ok = false;
		if (!ok)
			qcf_tool_error("Invalid option list: %s",
			               o->changes[i]);
	}
	for (i = 0; i < said.list.count && ok; i++)
		ok = take_change(session, o, all, &said.list.items[i]);
	qcf_image_opts_fini(&said);
	if (ok)
		reason = qcf_image_opts_renew(all);
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return ok && reason == NULL;
}

static bool take_reopen_option(int option, void *opaque)
{
	struct open_options *o = opaque;

	if (option == 'o' && o->change_count == MAX_CHANGES) {
		qcf_tool_error("Option -o may be given %d times", MAX_CHANGES);
		return false;
	}
	if (option == 'o') {
		o->changes[o->change_count++] = optarg;
		return true;
	}
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

bool qcf_io_cmd_reopen(struct io_session *session, int argc, char **argv)
{
	struct open_options o = { .settings = session->settings };

	if (!qcf_io_parse_options(&reopen_letters, argc, argv, &o))
		return false;
	if (optind != argc)
		return qcf_io_usage(argv[0]);
	if (o.change_count == 0)
		return qcf_io_reopen(session, &o.settings);
	o.settings.opts = qcf_tool_alloc(sizeof(*o.settings.opts));
	if (!join_changes(session, &o, o.settings.opts)) {
		qcf_io_free_opts(o.settings.opts);
		return false;
	}
	return qcf_io_reopen(session, &o.settings);
}
