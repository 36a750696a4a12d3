/* SPDX-License-Identifier: MIT */
/*
 * tool_options.h - command line options from a table
 *
 * One table per command drives three things: parsing, --help, and the refusal
 * of options that QEMU's program has and this one does not support.  Every
 * command has -h and --help without naming them in its table.
 */
#ifndef QCF_TOOL_OPTIONS_H
#define QCF_TOOL_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

#include "tool_util.h"

struct qcf_tool_option {
	int code;         /* the letter, or above QCF_OPTION_LONG if there is
			   * only a long name */
	const char *name; /* long name, NULL if there is only a letter */
	const char *arg;  /* the argument as --help names it; NULL: none.
			   * "[=NAME]": the long name may have one */
	const char *help; /* NULL: an old spelling that --help leaves out */
	bool refused;     /* known, but not supported by this version */
	/* Takes it for all commands that have it, in place of the command; false
	 * after a message.  NULL: it is the command's own. */
	bool (*take)(char *argument, void *shared);
};

#define QCF_OPTION_LONG 256

/* Ends a table. */
#define QCF_OPTIONS_END \
	{               \
		0       \
	}

struct qcf_tool_command_help {
	const char *synopsis; /* the operands, behind "[OPTION]..." */
	const char *summary;
	const struct qcf_tool_option *options;
};

#define QCF_MAX_OPTIONS 48

struct qcf_tool_parser {
	const struct qcf_tool_command_help *help;
	const char *command; /* NULL: options of the program itself */
	int argc;
	char **argv;
	bool usage_on_error; /* print the whole help after an error */
	char letters[2 * QCF_MAX_OPTIONS + 4];
	struct option names[QCF_MAX_OPTIONS + 2];
};

#define QCF_OPTION_DONE  (-1) /* all options seen: operands from optind on */
#define QCF_OPTION_HELP  (-2) /* help was printed: end with success */
#define QCF_OPTION_ERROR (-3) /* a message was printed: end with failure */

/*
 * Prepare to parse argv[1] and up.  stop_at_operand ends parsing at the first
 * argument that is not an option, which else may stand anywhere.
 */
void qcf_options_begin(struct qcf_tool_parser *parser,
                       const struct qcf_tool_command_help *help,
                       const char *command, bool stop_at_operand, int argc,
                       char **argv);

/* The code of the next option, its argument in optarg, or QCF_OPTION_*. */
int qcf_options_next(struct qcf_tool_parser *parser);

/*
 * Parse all options of a command.  take() gets the code of each, with its
 * argument in optarg; it returns false, after a message, to give up.  Options
 * that many commands have go to shared instead.  Returns QCF_OPTION_*.
 */
int qcf_options_parse_shared(const struct qcf_tool_command_help *help, int argc,
                             char **argv,
                             bool (*take)(int option, void *opaque),
                             void *opaque, void *shared);

/* The same for a table without such options. */
int qcf_options_parse(const struct qcf_tool_command_help *help, int argc,
                      char **argv, bool (*take)(int option, void *opaque),
                      void *opaque);

void qcf_options_print_help(const struct qcf_tool_parser *parser);

#endif
