/* SPDX-License-Identifier: MIT */
/*
 * tool_error.h - messages to the user
 *
 * Every message goes to standard error as "PROGRAM: text", where PROGRAM is
 * the last part of the name the program was called by.
 */
#ifndef QCF_TOOL_ERROR_H
#define QCF_TOOL_ERROR_H

#include <stdbool.h>

#include "tool_util.h"

/* Remember argv[0]; the first call of main(). */
void qcf_tool_set_program(const char *argv0);
const char *qcf_tool_program(void);

/* The new file that a command is making: removed if the program has to end for want
 * of memory.  NULL when it is whole or gone.  The path is not copied. */
void qcf_tool_making(const char *path);

/* Print "PROGRAM: text". */
void qcf_tool_error(const char *fmt, ...) QCF_PRINTF(1, 2);

/* Print "PROGRAM: warning: text". */
void qcf_tool_warning(const char *fmt, ...) QCF_PRINTF(1, 2);

/* The same for a usage error, followed by a hint at --help. */
void qcf_tool_usage_error(const char *fmt, ...) QCF_PRINTF(1, 2);

/*
 * Why opening or creating the file at path failed with ret, in the words that
 * users of QEMU's programs know where they have words for it.  error may be
 * NULL.  The caller frees the text.
 */
char *qcf_tool_reason(int ret, const struct qcowfmt_error *error,
                      const char *path, bool writing);

/* Allocation that ends the program when memory is out. */
void *qcf_tool_alloc(size_t size);
char *qcf_tool_printf(const char *fmt, ...) QCF_PRINTF(1, 2);

/*
 * The first call of main(), too: see to it that a file that is opened later does
 * not get the number of a standard stream that is closed, and that a reader who
 * leaves before the end, as in "... | grep -q", does not end the program.
 */
void qcf_tool_begin_output(void);

/*
 * Flush standard output; returns 1 with a message if some of it was lost, unless
 * its reader has left.
 */
int qcf_tool_finish_output(int status);

#endif
