/* SPDX-License-Identifier: MIT */
/* tool_options.c - command line options from a table */
#include "tool_options.h"

#include <stdio.h>
#include <string.h>

#include "tool_error.h"

static const struct qcf_tool_option help_option = {
	'h', "help", NULL, "display this help and exit", false
};

/* Where the help texts of --help start. */
#define HELP_COLUMN 36

/* The letter of an option whose argument is optional takes none: what follows
 * it may be another letter. */
static int argument_kind(const struct qcf_tool_option *option)
{
	if (option->arg == NULL)
		return no_argument;
	return *option->arg == '[' ? optional_argument : required_argument;
}

static void add_option(struct qcf_tool_parser *parser,
                       const struct qcf_tool_option *option, size_t *letters,
                       size_t *names)
{
	if (option->code < QCF_OPTION_LONG) {
		parser->letters[(*letters)++] = (char)option->code;
		if (argument_kind(option) == required_argument)
			parser->letters[(*letters)++] = ':';
	}
	if (option->name != NULL) {
		parser->names[(*names)++] = (struct option){
			.name = option->name,
			.has_arg = argument_kind(option),
			.val = option->code,
		};
	}
}

void qcf_options_begin(struct qcf_tool_parser *parser,
                       const struct qcf_tool_command_help *help,
                       const char *command, bool stop_at_operand, int argc,
                       char **argv)
{
	const struct qcf_tool_option *option;
	size_t letters = 0;
	size_t names = 0;

	memset(parser, 0, sizeof(*parser));
	parser->help = help;
	parser->command = command;
	parser->argc = argc;
	parser->argv = argv;
	if (stop_at_operand)
		parser->letters[letters++] = '+';
	/* A leading colon makes getopt tell a missing argument from an unknown
	 * option, and print nothing. */
	parser->letters[letters++] = ':';
	for (option = help->options; option->code != 0; option++)
		add_option(parser, option, &letters, &names);
	add_option(parser, &help_option, &letters, &names);
	optind = 0;
}

static void print_option(const struct qcf_tool_option *option)
{
	char letter[8] = "    ";
	int width;

	if (option->help == NULL || option->refused)
		return;
	if (option->code < QCF_OPTION_LONG)
		snprintf(letter, sizeof(letter), "-%c%s", (char)option->code,
		         option->name != NULL ? ", " : "");
	width = printf("  %s%s%s%s%s", letter, option->name != NULL ? "--" : "",
	               option->name != NULL ? option->name : "",
	               argument_kind(option) == required_argument ? " " : "",
	               option->arg != NULL ? option->arg : "");
	if (width >= HELP_COLUMN) {
		putchar('\n');
		width = 0;
	}
	printf("%*s%s\n", HELP_COLUMN - width, "", option->help);
}

void qcf_options_print_help(const struct qcf_tool_parser *parser)
{
	const struct qcf_tool_option *option;

	printf("Usage: %s%s%s [OPTION]... %s\n%s\n\nOptions:\n",
	       qcf_tool_program(), parser->command != NULL ? " " : "",
	       parser->command != NULL ? parser->command : "",
	       parser->help->synopsis, parser->help->summary);
	for (option = parser->help->options; option->code != 0; option++)
		print_option(option);
	print_option(&help_option);
}

static const struct qcf_tool_option *find_option(
	const struct qcf_tool_parser *parser, int code)
{
	const struct qcf_tool_option *option;

	for (option = parser->help->options; option->code != 0; option++) {
		if (option->code == code)
			return option;
	}
	return &help_option;
}

static int refuse(const struct qcf_tool_option *option)
{
	char letter[4] = "";

	if (option->code < QCF_OPTION_LONG)
		snprintf(letter, sizeof(letter), "-%c", (char)option->code);
	qcf_tool_error("Option %s%s%s%s is not supported by this version",
	               letter,
	               *letter != '\0' && option->name != NULL ? "/" : "",
	               option->name != NULL ? "--" : "",
	               option->name != NULL ? option->name : "");
	return QCF_OPTION_ERROR;
}

static int usage_error(const struct qcf_tool_parser *parser, const char *text)
{
	const char *argument = parser->argv[optind - 1];

	if (!parser->usage_on_error) {
		qcf_tool_usage_error("%s '%s'", text, argument);
	} else {
		qcf_tool_error("%s '%s'", text, argument);
		qcf_options_print_help(parser);
	}
	return QCF_OPTION_ERROR;
}

int qcf_options_next(struct qcf_tool_parser *parser)
{
	const struct qcf_tool_option *option;
	int code = getopt_long(parser->argc, parser->argv, parser->letters,
	                       parser->names, NULL);

	switch (code) {
	case -1:
		return QCF_OPTION_DONE;
	case ':':
		return usage_error(parser, "missing argument for option");
	case '?':
		return usage_error(parser, "unrecognized option");
	case 'h':
		qcf_options_print_help(parser);
		return QCF_OPTION_HELP;
	default:
		option = find_option(parser, code);
		return option->refused ? refuse(option) : code;
	}
}

int qcf_options_parse_shared(const struct qcf_tool_command_help *help, int argc,
                             char **argv,
                             bool (*take)(int option, void *opaque),
                             void *opaque, void *shared)
{
	struct qcf_tool_parser parser;
	int code;

	qcf_options_begin(&parser, help, argv[0], false, argc, argv);
	while ((code = qcf_options_next(&parser)) >= 0) {
		const struct qcf_tool_option *option =
			find_option(&parser, code);
		bool ok = option->take != NULL ? option->take(optarg, shared)
		                               : take(code, opaque);

		if (!ok)
			return QCF_OPTION_ERROR;
	}
	return code;
}

int qcf_options_parse(const struct qcf_tool_command_help *help, int argc,
                      char **argv, bool (*take)(int option, void *opaque),
                      void *opaque)
{
	return qcf_options_parse_shared(help, argc, argv, take, opaque, NULL);
}
