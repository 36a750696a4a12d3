/* SPDX-License-Identifier: MIT */
/* tool_text.c - text from images, as a terminal or a log can be shown it */
#include "tool_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"

/* Length of the UTF-8 sequence that a first byte announces; 0 if none. */
static size_t sequence_len(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	if (first >= 0xf0 && first < 0xf5)
		return 4;
	return 0;
}

uint32_t qcf_next_character(const char **text)
{
	/* Smallest value that needs a sequence of this length. */
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *bytes = (const unsigned char *)*text;
	size_t len = sequence_len(bytes[0]);
	uint32_t value;
	size_t i;

	(*text)++;
	if (len == 0)
		return QCF_NOT_UTF8;
	if (len == 1)
		return bytes[0];
	value = bytes[0] & (0x7fu >> len);
	for (i = 1; i < len; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return QCF_NOT_UTF8;
		value = value << 6 | (bytes[i] & 0x3fu);
	}
	if (value < smallest[len] || value > 0x10ffff ||
	    (value >= 0xd800 && value < 0xe000))
		return QCF_NOT_UTF8;
	*text += len - 1;
	return value;
}

static bool is_plain(uint32_t value)
{
	/* What the library replaces in its messages, too. */
	static const struct {
		uint32_t first, last;
	} others[] = {
		{ 0, 0x1f },          /* control characters */
		{ 0x7f, 0x9f },       /* and more of them */
		{ 0x61c, 0x61c },     /* direction of text */
		{ 0x200e, 0x200f },   /* the same */
		{ 0x2028, 0x202e },   /* ends of lines, and the same */
		{ 0x2066, 0x2069 },   /* the same */
		{ 0xfeff, 0xfeff },   /* byte order */
		{ 0xfff9, 0xfffb },   /* annotations */
		{ 0xe0000, 0xe007f }, /* tags */
		{ QCF_NOT_UTF8, QCF_NOT_UTF8 },
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (value >= others[i].first && value <= others[i].last)
			return false;
	}
	return true;
}

static void clean(char *text, bool keeps_lines)
{
	while (*text != '\0') {
		const char *end = text;
		uint32_t value = qcf_next_character(&end);
		size_t len = (size_t)(end - text);

		if (!is_plain(value) && !(keeps_lines && value == '\n'))
			memset(text, '?', len);
		text += len;
	}
}

void qcf_clean_lines(char *text)
{
	clean(text, true);
}

char *qcf_plain_text(const char *text)
{
	char *copy = qcf_tool_printf("%s", text);

	clean(copy, false);
	return copy;
}

void qcf_print_plain(const char *text)
{
	QCF_AUTO_FREE char *copy = qcf_plain_text(text);

	(void)fputs(copy, stdout);
}
