/* SPDX-License-Identifier: MIT */
/* tool_text.c - text from images, as a terminal or a log can be shown it */
#include "tool_text.h"

#include <stdio.h>
#include <string.h>

#include "tool_error.h"

void qcf_clean_lines(char *text)
{
	while (text != NULL) {
		char *end = strchr(text, '\n');

		if (end != NULL)
			*end = '\0';
		qcowfmt_clean_text(text);
		if (end != NULL)
			*end++ = '\n';
		text = end;
	}
}

char *qcf_plain_text(const char *text)
{
	char *copy = qcf_tool_printf("%s", text);

	qcowfmt_clean_text(copy);
	return copy;
}

void qcf_print_plain(const char *text)
{
	QCF_AUTO_FREE char *copy = qcf_plain_text(text);

	(void)fputs(copy, stdout);
}
