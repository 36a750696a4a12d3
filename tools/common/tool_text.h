/* SPDX-License-Identifier: MIT */
/*
 * tool_text.h - text from images, as a terminal or a log can be shown it
 *
 * Whoever made an image chose the names in it.  What is not plain becomes '?', byte
 * for byte: control characters, line ends, what changes the direction of text,
 * and bytes that are not UTF-8.  Plain names come out as they are.
 */
#ifndef QCF_TOOL_TEXT_H
#define QCF_TOOL_TEXT_H

#include "tool_util.h"

/* A copy that is plain; the caller frees it. */
char *qcf_plain_text(const char *text);

/* Print text to standard output as qcf_plain_text() makes it. */
void qcf_print_plain(const char *text);

/* Make a message of the program plain, but for the ends of its lines. */
void qcf_clean_lines(char *text);

#endif
