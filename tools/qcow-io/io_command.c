/* SPDX-License-Identifier: MIT */
/* io_command.c - the commands of qcow-io and how a line becomes one */
#include "io_command.h"

#include <stdio.h>
#include <string.h>

#include "io_aio.h"
#include "tool_error.h"

#define MAX_WORDS 1024

static const char read_help[] =
	" -b  read VM state, which lies behind the disk\n"
	" -C  report statistics in a form for programs\n"
	" -l  length of the part to verify (only with -P)\n"
	" -p  accepted and without effect, as in QEMU's program\n"
	" -P  verify that every byte is PATTERN\n"
	" -q  do not report statistics\n"
	" -r  accepted and without effect: buffers are not registered\n"
	" -s  start of the part to verify (only with -P)\n"
	" -v  dump what was read\n";

static const char readv_help[] =
	" Reads into one buffer per length.\n"
	" -C  report statistics in a form for programs\n"
	" -P  verify that every byte is PATTERN\n"
	" -q  do not report statistics\n"
	" -r  accepted and without effect: buffers are not registered\n"
	" -v  dump what was read\n";

static const char write_help[] =
	" Writes bytes 0xcd unless told otherwise.\n"
	" -b  write VM state, which lies behind the disk\n"
	" -c  write compressed clusters\n"
	" -C  report statistics in a form for programs\n"
	" -f  make it stable before the command ends\n"
	" -n  with -z, fail where that would be slow\n"
	" -p  accepted and without effect, as in QEMU's program\n"
	" -P  write bytes PATTERN\n"
	" -q  do not report statistics\n"
	" -r  accepted and without effect: buffers are not registered\n"
	" -s  write what SOURCE_FILE holds, over and over\n"
	" -u  with -z, space may be given back\n"
	" -z  make the range read as zeros\n";

static const char writev_help[] =
	" Writes from one buffer per length.\n"
	" -C  report statistics in a form for programs\n"
	" -f  make it stable before the command ends\n"
	" -P  write bytes PATTERN\n"
	" -q  do not report statistics\n"
	" -r  accepted and without effect: buffers are not registered\n";

#define AIO_HELP                                                                 \
	" The request runs beside further ones; aio_flush waits for all.  The\n" \
	" command succeeds once the request was valid, whatever became of it.\n"

static const char aio_read_help[] = AIO_HELP
	" -C  report statistics in a form for programs\n"
	" -i  do nothing, as if the request were invalid\n"
	" -P  verify that every byte is PATTERN\n"
	" -q  do not report statistics\n"
	" -r  accepted and without effect: buffers are not registered\n"
	" -v  dump what was read\n";

static const char aio_write_help[] = AIO_HELP
	" -C  report statistics in a form for programs\n"
	" -f  make it stable before the request ends\n"
	" -i  do nothing, as if the request were invalid\n"
	" -P  write bytes PATTERN\n"
	" -q  do not report statistics\n"
	" -r  accepted and without effect: buffers are not registered\n"
	" -u  with -z, space may be given back\n"
	" -z  make the range read as zeros\n";

static const char discard_help[] =
	" -C  report statistics in a form for programs\n"
	" -q  do not report statistics\n";

static const char open_help[] =
	" -r  read-only\n"
	" -s  write to a temporary overlay\n"
	" -C  copy on read\n"
	" -n  bypass the page cache, short for -t none\n"
	" -U  take no locks (only with -r)\n"
	" -k  the same as -i native\n"
	" -i  threads, native or io_uring\n"
	" -t  cache mode\n"
	" -d  discard mode: ignore or unmap\n"
	" -o  options: driver=FORMAT,encrypt.key-secret=ID,...\n";

static const char reopen_help[] = " -r  read-only\n"
				  " -w  read-write\n"
				  " -c  cache mode\n"
				  " -o  options that can change: "
				  "lazy-refcounts=on,...\n";

static const struct io_command commands[] = {
	{ "abort", NULL, NULL, "simulate a program crash using abort(3)", NULL,
	  qcf_io_cmd_abort, 0, 0, false, false },
	{ "aio_flush", NULL, NULL, "completes all outstanding aio requests",
	  NULL, qcf_io_cmd_aio_flush, 0, 0, true, false },
	{ "aio_read", NULL, "[-Ciqrv] [-P pattern] off len [len..]",
	  "asynchronously reads a number of bytes", aio_read_help,
	  qcf_io_cmd_aio_read, 2, -1, true, false, true },
	{ "aio_write", NULL, "[-Cfiqruz] [-P pattern] off len [len..]",
	  "asynchronously writes a number of bytes", aio_write_help,
	  qcf_io_cmd_aio_write, 2, -1, true, true, true },
	{ "alloc", NULL, "offset [count]",
	  "checks if offset is allocated in the file", NULL, qcf_io_cmd_alloc,
	  1, 2, true, false },
	{ "break", NULL, NULL, NULL, NULL, NULL, 2, 2, false, false },
	{ "close", "c", NULL, "close the current open file", NULL,
	  qcf_io_cmd_close, 0, 0, true, false },
	{ "discard", "d", "[-Cq] off len",
	  "discards a number of bytes at a specified offset", discard_help,
	  qcf_io_cmd_discard, 2, -1, true, true },
	{ "flush", "f", NULL, "flush all in-core file state to disk", NULL,
	  qcf_io_cmd_flush, 0, 0, true, false },
	{ "help", "?", "[command]", "help for one or all commands", NULL,
	  qcf_io_cmd_help, 0, 1, false, false },
	{ "info", "i", NULL, "prints information about the current file", NULL,
	  qcf_io_cmd_info, 0, 0, true, false },
	{ "length", "l", NULL, "gets the length of the current file", NULL,
	  qcf_io_cmd_length, 0, 0, true, false },
	{ "map", NULL, "", "prints the allocated areas of a file", NULL,
	  qcf_io_cmd_map, 0, 0, true, false },
	{ "open", "o",
	  "[-rsCnkU] [-t cache] [-d discard] [-i aio] [-o options] [path]",
	  "open the file specified by path", open_help, qcf_io_cmd_open, 1, -1,
	  false, false },
	{ "quit", "q", NULL, "exit the program", NULL, qcf_io_cmd_quit, 0, -1,
	  false, false },
	{ "read", "r", "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
	  "reads a number of bytes at a specified offset", read_help,
	  qcf_io_cmd_read, 2, -1, true, false },
	{ "readv", NULL, "[-Cqrv] [-P pattern] off len [len..]",
	  "reads a number of bytes at a specified offset", readv_help,
	  qcf_io_cmd_readv, 2, -1, true, false },
	{ "remove_break", NULL, NULL, NULL, NULL, NULL, 1, 1, false, false },
	{ "reopen", NULL, "[(-r|-w)] [-c cache] [-o options]",
	  "reopens an image with new options", reopen_help, qcf_io_cmd_reopen,
	  0, -1, true, false },
	{ "resume", NULL, NULL, NULL, NULL, NULL, 1, 1, false, false },
	{ "sigraise", NULL, "signal", "raises a signal", NULL,
	  qcf_io_cmd_sigraise, 1, 1, false, false },
	{ "sleep", NULL, NULL, "waits for the given value in milliseconds",
	  NULL, qcf_io_cmd_sleep, 1, 1, false, false },
	{ "truncate", "t", "[-m prealloc_mode] off",
	  "truncates the current file at the given offset", NULL,
	  qcf_io_cmd_truncate, 1, 3, true, true },
	{ "wait_break", NULL, NULL, NULL, NULL, NULL, 1, 1, false, false },
	{ "write", "w", "[-bcCfnqruz] [-P pattern | -s source_file] off len",
	  "writes a number of bytes at a specified offset", write_help,
	  qcf_io_cmd_write, 2, -1, true, true },
	{ "writev", NULL, "[-Cfqr] [-P pattern] off len [len..]",
	  "writes a number of bytes at a specified offset", writev_help,
	  qcf_io_cmd_writev, 2, -1, true, true },
	{ "zone_append", "zap", NULL, NULL, NULL, NULL, 0, -1, false, false },
	{ "zone_close", "zc", NULL, NULL, NULL, NULL, 0, -1, false, false },
	{ "zone_finish", "zf", NULL, NULL, NULL, NULL, 0, -1, false, false },
	{ "zone_open", "zo", NULL, NULL, NULL, NULL, 0, -1, false, false },
	{ "zone_report", "zrp", NULL, NULL, NULL, NULL, 0, -1, false, false },
	{ "zone_reset", "zrs", NULL, NULL, NULL, NULL, 0, -1, false, false },
};

static const struct io_command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(commands); i++) {
		const struct io_command *c = &commands[i];

		if (strcmp(c->name, name) == 0 ||
		    (c->alias != NULL && strcmp(c->alias, name) == 0))
			return c;
	}
	return NULL;
}

static void print_usage(const struct io_command *c)
{
	printf("%s%s%s -- %s\n", c->name, c->arguments != NULL ? " " : "",
	       c->arguments != NULL ? c->arguments : "", c->summary);
}

bool qcf_io_usage(const char *name)
{
	const struct io_command *command = find_command(name);

	if (command != NULL)
		print_usage(command);
	return false;
}

bool qcf_io_parse_options(const struct io_options *options, int argc,
                          char **argv, void *opaque)
{
	int option;

	optind = 0;
	while ((option = getopt(argc, argv, options->letters)) != -1) {
		if (option == '?')
			return qcf_io_usage(argv[0]);
		if (strchr(options->refused, option) != NULL) {
			qcf_tool_error("%s: Option -%c is not supported by "
			               "this version",
			               argv[0], option);
			return false;
		}
		if (!options->take(option, opaque))
			return false;
	}
	return true;
}

bool qcf_io_cmd_help(struct io_session *session, int argc, char **argv)
{
	const struct io_command *c;
	size_t i;

	(void)session;
	if (argc > 1) {
		c = find_command(argv[1]);
		if (c == NULL || c->run == NULL) {
			printf("command %s not found\n", argv[1]);
			return false;
		}
		print_usage(c);
		if (c->help != NULL)
			printf("\n%s\n", c->help);
		return true;
	}
	for (i = 0; i < QCF_ARRAY_LEN(commands); i++) {
		if (commands[i].run != NULL)
			print_usage(&commands[i]);
	}
	puts("\nUse 'help commandname' for extended help.");
	return true;
}

/* Errors of the command line itself go to standard error without a prefix. */
static bool complain_count(const struct io_command *c, int count)
{
	(void)fflush(stdout);
	fprintf(stderr, "bad argument count %d to %s, expected ", count,
	        c->name);
	if (c->max_args == -1)
		fprintf(stderr, "at least %d arguments\n", c->min_args);
	else if (c->min_args == c->max_args)
		fprintf(stderr, "%d arguments\n", c->min_args);
	else
		fprintf(stderr, "between %d and %d arguments\n", c->min_args,
		        c->max_args);
	return false;
}

static bool run_command(struct io_session *session, int argc, char **argv)
{
	const struct io_command *c = find_command(argv[0]);
	int count = argc - 1;

	if (c == NULL) {
		(void)fflush(stdout);
		fprintf(stderr, "command \"%s\" not found\n", argv[0]);
		return false;
	}
	if (c->run == NULL) {
		qcf_tool_error("Command '%s' is not supported by this version",
		               c->name);
		return false;
	}
	if (c->needs_image && session->image == NULL) {
		(void)fflush(stdout);
		fprintf(stderr, "no file open, try 'help open'\n");
		return false;
	}
	if (count < c->min_args || (c->max_args >= 0 && count > c->max_args))
		return complain_count(c, count);
	if (c->writes && session->settings.read_only) {
		qcf_tool_error("Block node is read-only");
		return false;
	}
	if (!c->beside_aio)
		qcf_io_aio_drain(session);
	return c->run(session, argc, argv);
}

bool qcf_io_run_line(struct io_session *session, const char *line)
{
	QCF_AUTO_FREE char *copy = qcf_tool_printf("%s", line);
	char *words[MAX_WORDS + 1];
	char *rest = copy;
	char *word;
	int count = 0;
	bool ok;

	while ((word = strsep(&rest, " \n")) != NULL) {
		if (*word == '\0')
			continue;
		if (count == MAX_WORDS) {
			qcf_tool_error("The command has more than %d words",
			               MAX_WORDS);
			return false;
		}
		words[count++] = word;
	}
	if (count == 0)
		return true;
	words[count] = NULL;
	ok = run_command(session, count, words);
	(void)fflush(stdout);
	return ok;
}
