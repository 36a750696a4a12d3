/* SPDX-License-Identifier: MIT */
/* io_open.c - the commands open, close and reopen */
#include <stdio.h>
#include <string.h>

#include "io_command.h"
#include "tool_error.h"

/* What "open" and "reopen" were told. */
struct open_options {
	struct io_settings settings;
	bool has_mode; /* -r or -w was given */
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

static bool take_reopen_option(int option, void *opaque)
{
	struct open_options *o = opaque;

	if (option == 'c')
		return qcf_io_parse_cache(optarg, &o->settings);
	if (o->has_mode) {
		qcf_tool_error("Only one -r/-w option may be given");
		return false;
	}
	o->has_mode = true;
	o->settings.read_only = option == 'r';
	return true;
}

static const struct io_options reopen_letters = { "c:o:rw", "o",
	                                          take_reopen_option };

bool qcf_io_cmd_reopen(struct io_session *session, int argc, char **argv)
{
	struct open_options o = { .settings = session->settings };

	if (!qcf_io_parse_options(&reopen_letters, argc, argv, &o))
		return false;
	if (optind != argc)
		return qcf_io_usage(argv[0]);
	return qcf_io_reopen(session, &o.settings);
}
