/* SPDX-License-Identifier: MIT */
/* tool_error.c - messages to the user */
#include "tool_error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool_text.h"

static const char *program = "qcow-img";

void qcf_tool_set_program(const char *argv0)
{
	const char *slash;

	if (argv0 == NULL || *argv0 == '\0')
		return;
	slash = strrchr(argv0, '/');
	program = slash == NULL ? argv0 : slash + 1;
}

const char *qcf_tool_program(void)
{
	return program;
}

QCF_PRINTF(2, 0)

static void print_message(const char *kind, const char *fmt, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	else
		qcf_clean_lines(text);
	/* Keep the order of messages and output when both go to one place. */
	(void)fflush(stdout);
	fprintf(stderr, "%s: %s%s\n", program, kind,
	        text != NULL ? text : "Cannot allocate memory");
	free(text);
}

void qcf_tool_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print_message("", fmt, args);
	va_end(args);
}

void qcf_tool_warning(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print_message("warning: ", fmt, args);
	va_end(args);
}

void qcf_tool_usage_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print_message("", fmt, args);
	va_end(args);
	fprintf(stderr, "Try '%s --help' for more information\n", program);
}

static const char *unfinished; /* what a command is making */

void qcf_tool_making(const char *path)
{
	unfinished = path;
}

static _Noreturn void give_up(void)
{
	if (unfinished != NULL)
		(void)unlink(unfinished);
	exit(EXIT_FAILURE);
}

void *qcf_tool_alloc(size_t size)
{
	void *memory = calloc(1, size);

	if (memory == NULL) {
		qcf_tool_error("Cannot allocate %zu bytes of memory", size);
		give_up();
	}
	return memory;
}

char *qcf_tool_printf(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (text == NULL) {
		qcf_tool_error("Cannot allocate memory");
		give_up();
	}
	return text;
}

/* What follows a prefix of text; NULL if text does not start with it. */
static const char *after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

/*
 * The bytes are no image, or one of another version than was said.  Without a
 * statement nothing but raw is found in what is no image.
 */
static const char *not_qcow(const char *message)
{
	if (strstr(message, "as format qcow2") != NULL)
		return "Unsupported qcow2 version 1";
	if (strstr(message, "version 2") != NULL)
		return "qcow (v1) does not support qcow version 2\n"
		       "Try the 'qcow2' driver instead.";
	if (strstr(message, "version 3") != NULL)
		return "qcow (v1) does not support qcow version 3\n"
		       "Try the 'qcow2' driver instead.";
	return "Image is not in qcow2 format";
}

/* What QEMU's programs say for some kinds of errors; NULL for the others. */
static const char *fixed_words(const struct qcowfmt_error *error)
{
	switch (qcowfmt_error_code(error)) {
	case QCOWFMT_ERR_NO_SECRET:
		return "Parameter 'encrypt.key-secret' is required for cipher";
	case QCOWFMT_ERR_WRONG_SECRET:
		return "Invalid password, cannot unlock any keyslot";
	case QCOWFMT_ERR_NOT_QCOW:
		return not_qcow(qcowfmt_error_message(error));
	default:
		return NULL;
	}
}

/* "'NAME' is not a regular file or block device" in words of QEMU's; NULL for
 * another message.  A directory cannot be opened for writing at all. */
static char *wrong_file(const char *message, bool writing)
{
	static const char tail[] = "' is not a regular file or block device";
	size_t len = strlen(message);
	QCF_AUTO_FREE char *name = NULL;
	struct stat st;

	if (len < sizeof(tail) || *message != '\'' ||
	    strcmp(message + len - strlen(tail), tail) != 0)
		return NULL;
	name = qcf_tool_printf("%.*s", (int)(len - sizeof(tail)), message + 1);
	if (writing && stat(name, &st) == 0 && S_ISDIR(st.st_mode))
		return qcf_tool_printf("Could not open '%s': %s", name,
		                       strerror(EISDIR));
	return qcf_tool_printf("'file' driver requires '%s' to be a regular "
	                       "file",
	                       name);
}

/*
 * "NAME: opening the backing file: " once for every level of the chain, maybe
 * "NAME: opening the data file: ", then "cannot open 'NAME'": said in the words
 * of QEMU's programs.
 */
static char *reword(const struct qcowfmt_error *error, bool writing)
{
	static const char below[] = ": opening the backing file: ";
	static const char beside[] = ": opening the data file: ";
	const char *message = qcowfmt_error_message(error);
	const char *fixed = fixed_words(error);
	char *text = qcf_tool_printf("%s", "");
	QCF_AUTO_FREE char *of_file = NULL;
	const char *rest;
	char *whole;

	while ((rest = strstr(message, below)) != NULL) {
		char *longer = qcf_tool_printf("%sCould not open backing "
		                               "file: ",
		                               text);

		free(text);
		text = longer;
		message = rest + strlen(below);
	}
	rest = strstr(message, beside);
	if (rest != NULL)
		message = rest + strlen(beside);
	if (fixed != NULL)
		message = fixed;
	of_file = wrong_file(message, writing);
	if (of_file != NULL)
		message = of_file;
	rest = after(message, "cannot open '");
	whole = qcf_tool_printf("%s%s%s", text,
	                        rest != NULL ? "Could not open '" : "",
	                        rest != NULL ? rest : message);
	free(text);
	return whole;
}

char *qcf_tool_reason(int ret, const struct qcowfmt_error *error,
                      const char *path, bool writing)
{
	QCF_AUTO_FREE char *plain = qcf_plain_text(path);

	if (ret == -EAGAIN &&
	    (error == NULL || qcowfmt_error_code(error) == QCOWFMT_ERR_LOCKED))
		return qcf_tool_printf("Failed to get %s\"write\" lock\n"
		                       "Is another process using the image "
		                       "[%s]?",
		                       writing ? "" : "shared ", plain);
	if (error == NULL)
		return qcf_tool_printf("%s", strerror(-ret));
	return reword(error, writing);
}

void qcf_tool_begin_output(void)
{
	int fd;

	(void)signal(SIGPIPE, SIG_IGN);
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

static bool reader_has_left(void)
{
	struct pollfd output = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&output, 1, 0) > 0 &&
	       (output.revents & (POLLERR | POLLHUP)) != 0;
}

int qcf_tool_finish_output(int status)
{
	bool failed = ferror(stdout) != 0;

	if (fflush(stdout) != 0)
		failed = true;
	if (!failed || reader_has_left())
		return status;
	qcf_tool_error("Error while writing output: %s", strerror(errno));
	return status == 0 ? EXIT_FAILURE : status;
}
