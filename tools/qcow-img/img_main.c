/* SPDX-License-Identifier: MIT */
/*
 * img_main.c - qcow-img: work with disk images
 *
 * Commands, options, output and exit codes are those of qemu-img.  What this
 * version does not have is refused by name.
 */
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "tool_error.h"
#include "tool_open.h"
#include "tool_options.h"

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv); /* NULL: not supported */
};

static const struct command commands[] = {
	{ "amend", "change the options of an image", qcf_img_amend },
	{ "bench", "measure how fast requests on an image are", qcf_img_bench },
	{ "bitmap", "change and show dirty bitmaps", qcf_img_bitmap },
	{ "check", "check the consistency of an image", qcf_img_check },
	{ "commit", "copy an overlay into the image below it", qcf_img_commit },
	{ "compact", "make the file of an image shorter", qcf_img_compact },
	{ "compare", "compare the disks of two images", qcf_img_compare },
	{ "convert", "copy images into a new one of another format",
	  qcf_img_convert },
	{ "create", "make a new image", qcf_img_create },
	{ "dd", "copy a part of an image into a new one", qcf_img_dd },
	{ "dehydrate", "copy the metadata of an image and nothing else",
	  qcf_img_dehydrate },
	{ "info", "show what an image says about itself", qcf_img_info },
	{ "inspect", "look at an image that may not be fit to be opened",
	  qcf_img_inspect },
	{ "map", "show where the data of an image lies", qcf_img_map },
	{ "measure", "say how large an image would be", qcf_img_measure },
	{ "rebase", "put an image on another backing file", qcf_img_rebase },
	{ "resize", "change the virtual size of an image", qcf_img_resize },
	{ "snapshot", "work with the internal snapshots of an image",
	  qcf_img_snapshot },
};

#define OPTION_UNTRUSTED (QCF_OPTION_LONG + 1)

static const struct qcf_tool_option options[] = {
	{ OPTION_UNTRUSTED, "untrusted", NULL,
	  "open no file that an image names, and allow it little memory",
	  false },
	{ 'V', "version", NULL, "output version information and exit", false },
	{ 'T', "trace", "SPEC", NULL, true },
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = {
	"COMMAND [ARGUMENT]...",
	"Work with disk images.  'COMMAND --help' shows what a command takes.",
	options,
};

static void print_commands(void)
{
	size_t i;

	puts("\nCommands:");
	for (i = 0; i < QCF_ARRAY_LEN(commands); i++) {
		if (commands[i].run != NULL)
			printf("  %-10s%s\n", commands[i].name,
			       commands[i].summary);
	}
	puts("\nSupported formats: qcow qcow2 raw");
}

static int run_command(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, argv[0]) != 0)
			continue;
		if (commands[i].run != NULL)
			return qcf_tool_finish_output(
				commands[i].run(argc, argv));
		qcf_tool_error("Command '%s' is not supported by this version",
		               argv[0]);
		return EXIT_FAILURE;
	}
	qcf_tool_usage_error("Command not found: %s", argv[0]);
	return EXIT_FAILURE;
}

/* QCF_OPTION_DONE: go on; otherwise *status is the exit code. */
static int parse_options(struct qcf_tool_parser *parser, int *status)
{
	int option;

	*status = EXIT_SUCCESS;
	while ((option = qcf_options_next(parser)) == OPTION_UNTRUSTED)
		qcf_tool_set_untrusted();
	if (option == 'V')
		printf("%s version %s\n", qcf_tool_program(),
		       qcowfmt_version());
	else if (option == QCF_OPTION_HELP)
		print_commands();
	else
		*status = EXIT_FAILURE;
	return option;
}

int main(int argc, char **argv)
{
	struct qcf_tool_parser parser;
	int status;

	qcf_tool_set_program(argv[0]);
	qcf_tool_begin_output();
	qcf_options_begin(&parser, &help, NULL, true, argc, argv);
	if (parse_options(&parser, &status) != QCF_OPTION_DONE)
		return qcf_tool_finish_output(status);
	if (optind >= argc) {
		qcf_tool_usage_error("Not enough arguments");
		return EXIT_FAILURE;
	}
	return run_command(argc - optind, argv + optind);
}
