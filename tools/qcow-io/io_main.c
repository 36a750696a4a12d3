/* SPDX-License-Identifier: MIT */
/*
 * io_main.c - qcow-io: read and write inside a disk image, by commands
 *
 * Commands, options, output and exit codes are those of qemu-io.  What this
 * version does not have is refused by name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io_aio.h"
#include "io_command.h"
#include "tool_error.h"
#include "tool_options.h"
#include "tool_secret.h"

#define OPTION_OBJECT     (QCF_OPTION_LONG + 1)
#define OPTION_IMAGE_OPTS (QCF_OPTION_LONG + 2)

static const struct qcf_tool_option options[] = {
	{ 'c', "cmd", "COMMAND", "run a command; may be repeated", false },
	{ 'f', "format", "FMT", "format of the image (default: probed)",
	  false },
	{ 'r', "read-only", NULL, "open read-only", false },
	{ 's', "snapshot", NULL, "write to a temporary overlay", false },
	{ 'n', "nocache", NULL, "bypass the page cache, short for -t none",
	  false },
	{ 'C', "copy-on-read", NULL, "keep what is read from backing files",
	  false },
	{ 'm', "misalign", NULL, "put buffers at odd addresses", false },
	{ 'k', "native-aio", NULL, "the same as -i native", false },
	{ 'i', "aio", "MODE", "threads, native or io_uring", false },
	{ 't', "cache", "MODE",
	  "cache mode (none, writeback, unsafe, directsync, writethrough)",
	  false },
	{ 'd', "discard", "MODE", "discard mode (ignore, unmap)", false },
	{ 'U', "force-share", NULL, "take no locks (only with -r)", false },
	{ 'T', "trace", "SPEC", NULL, true },
	{ 'V', "version", NULL, "output version information and exit", false },
	{ OPTION_OBJECT, "object", "OBJDEF",
	  "define a secret, as in secret,id=ID,data=TEXT or file=NAME", false },
	{ OPTION_IMAGE_OPTS, "image-opts", NULL,
	  "FILE is a list of options, as in driver=FMT,file.filename=NAME,...",
	  false },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"[FILE]",
	"Read and write inside a disk image.  Commands come from -c, or from\n"
	"standard input if there is none; -c help lists them.",
	options,
};

struct arguments {
	struct io_settings settings;
	char **commands;
	size_t command_count;
	bool misalign;
	bool image_opts;
	bool show_version;
};

static bool parse_option(int option, struct arguments *a)
{
	switch (option) {
	case 'c':
		a->commands[a->command_count++] = optarg;
		return true;
	case 'f':
		a->settings.format = optarg;
		return true;
	case 'm':
		a->misalign = true;
		return true;
	case 'V':
		a->show_version = true;
		return true;
	case OPTION_OBJECT:
		return qcf_secret_define(optarg);
	case OPTION_IMAGE_OPTS:
		a->image_opts = true;
		return true;
	default:
		return qcf_io_take_setting(option, optarg, &a->settings);
	}
}

static int parse_options(int argc, char **argv, struct arguments *a)
{
	struct qcf_tool_parser parser;
	int option = 0;

	qcf_options_begin(&parser, &help, NULL, false, argc, argv);
	parser.usage_on_error = true;
	while (!a->show_version && (option = qcf_options_next(&parser)) >= 0) {
		if (!parse_option(option, a))
			return QCF_OPTION_ERROR;
	}
	if (option == QCF_OPTION_DONE && argc - optind > 1) {
		qcf_options_print_help(&parser);
		return QCF_OPTION_ERROR;
	}
	return option;
}

static bool run_commands(struct io_session *session, const struct arguments *a)
{
	bool ok = true;
	size_t i;

	for (i = 0; i < a->command_count && !session->has_quit; i++) {
		if (!qcf_io_run_line(session, a->commands[i]))
			ok = false;
	}
	return ok;
}

static bool run_standard_input(struct io_session *session)
{
	QCF_AUTO_FREE char *line = NULL;
	size_t size = 0;
	bool ok = true;

	while (!session->has_quit) {
		printf("%s> ", qcf_tool_program());
		(void)fflush(stdout);
		if (getline(&line, &size, stdin) < 0)
			break;
		if (!qcf_io_run_line(session, line))
			ok = false;
	}
	return ok;
}

static int run(const struct arguments *a)
{
	struct io_session session = { .overlay_fd = -1,
		                      .image_opts = a->image_opts,
		                      .misalign = a->misalign };
	bool ok;

	if ((a->settings.path != NULL || a->settings.opts != NULL) &&
	    !qcf_io_open(&session, &a->settings))
		return EXIT_FAILURE;
	if (a->command_count > 0)
		ok = run_commands(&session, a);
	else
		ok = run_standard_input(&session);
	qcf_io_aio_drain(&session);
	if (session.image != NULL && !qcf_io_close(&session))
		ok = false;
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What to open; false with a message. */
static bool take_image(struct arguments *a, const char *argument)
{
	struct qcf_keyval_list said = { 0 };
	bool ok;

	if (a->image_opts && a->settings.format != NULL) {
		qcf_tool_error("--image-opts and -f are mutually exclusive");
		return false;
	}
	if (!a->image_opts || argument == NULL) {
		a->settings.path = argument;
		return true;
	}
	qcf_keyval_append(&said, argument);
	qcf_keyval_complete(&said, 0);
	ok = qcf_io_take_pairs(&a->settings, &said);
	qcf_keyval_fini(&said);
	return ok;
}

int main(int argc, char **argv)
{
	QCF_AUTO_FREE char **commands = NULL;
	struct arguments a = { 0 };
	int option;

	qcf_tool_set_program(argv[0]);
	qcf_tool_begin_output();
	commands = qcf_tool_alloc(((size_t)argc + 1) * sizeof(*commands));
	a.commands = commands;
	option = parse_options(argc, argv, &a);
	if (option == QCF_OPTION_HELP)
		return qcf_tool_finish_output(EXIT_SUCCESS);
	if (a.show_version) {
		printf("%s version %s\n", qcf_tool_program(),
		       qcowfmt_version());
		return qcf_tool_finish_output(EXIT_SUCCESS);
	}
	if (option != QCF_OPTION_DONE)
		return EXIT_FAILURE;
	if (!take_image(&a, optind < argc ? argv[optind] : NULL))
		return EXIT_FAILURE;
	return qcf_tool_finish_output(run(&a));
}
