/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tool_options.c - target: the command line options of the programs
 *
 * Input: a byte that chooses how to parse, and arguments ended by NUL.  Parsing
 * comes to an end, and every option is of the table, with an argument if it takes
 * one.
 */
#include "fuzz.h"
#include "tool_image_command.h"
#include "tool_options.h"

#define MAX_ARGUMENTS 24

#define OPTION_LEVEL (QCF_OPTION_LONG + 1)

/* One of each kind. */
static const struct qcf_tool_option table[] = {
	{ 'f', "format", "FMT", "format", false },
	{ 'p', "progress", NULL, "show progress", false },
	{ 'T', "trace", "SPEC", NULL, true },
	{ 'r', "repair", "[=WHAT]", "repair", false },
	{ OPTION_LEVEL, "level", "NUMBER", "how much", false },
	{ 'x', NULL, "TEXT", "a letter only", false },
	QCF_OPTION_QUIET,
	QCF_OPTION_CACHE,
	QCF_OPTION_OUTPUT,
	QCF_OPTION_FORCE_SHARE,
	QCF_OPTIONS_END
};

static const struct qcf_tool_command_help help = { "FILE", "Do it.", table };

static bool take(int option, void *opaque)
{
	unsigned int *taken = opaque;

	FUZZ_ASSERT(option == 'f' || option == 'p' || option == 'r' ||
	                    option == OPTION_LEVEL || option == 'x',
	            "option %d", option);
	FUZZ_ASSERT(option == 'p' || option == 'r' || optarg != NULL,
	            "option %d without an argument", option);
	(*taken)++;
	return *taken < 12;
}

/* Arguments point into the text. */
static int split(char *text, size_t size, char **argv)
{
	static char name[] = "program";
	int argc = 0;

	argv[argc++] = name;
	for (size_t i = 0; i < size && argc < MAX_ARGUMENTS; i++) {
		argv[argc++] = text + i;
		i += strlen(text + i);
	}
	argv[argc] = NULL;
	return argc;
}

static void parse_program(int argc, char **argv, bool stop)
{
	struct qcf_tool_parser parser;
	int option;
	int count = 0;

	qcf_options_begin(&parser, &help, NULL, stop, argc, argv);
	while ((option = qcf_options_next(&parser)) >= 0) {
		count++;
		FUZZ_ASSERT(count < 65536, "no end");
	}
	FUZZ_ASSERT(option >= QCF_OPTION_ERROR, "%d", option);
	FUZZ_ASSERT(option != QCF_OPTION_DONE || optind <= argc, "%d of %d",
	            optind, argc);
}

static void parse_command(int argc, char **argv)
{
	struct qcf_image_args args = { .quiet = false };
	unsigned int taken = 0;
	int ret = qcf_options_parse_shared(&help, argc, argv, take, &taken,
	                                   &args);

	FUZZ_ASSERT(ret == QCF_OPTION_DONE || ret == QCF_OPTION_HELP ||
	                    ret == QCF_OPTION_ERROR,
	            "%d", ret);
	for (int i = optind; ret == QCF_OPTION_DONE && i < argc; i++)
		FUZZ_ASSERT(argv[i] != NULL, "operand %d", i);
	qcf_image_args_fini(&args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[MAX_ARGUMENTS + 1];
	char *text;
	int argc;

	if (size == 0)
		return 0;
	text = fuzz_text(data + 1, size - 1);
	argc = split(text, size - 1, argv);
	if (data[0] % 3 == 2)
		parse_command(argc, argv);
	else
		parse_program(argc, argv, data[0] % 3 == 1);
	free(text);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_be_quiet();
	return 0;
}
