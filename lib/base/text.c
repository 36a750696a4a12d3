/* SPDX-License-Identifier: MIT */
/*
 * text.c - text that a terminal or a log can be shown
 *
 * Names in images are bytes that a stranger chose.  In messages they must not
 * move the cursor, start a line of a log, or look like another name.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "qcowfmt.h"

/* How many bytes the character that starts with this one has; 0: none does. */
static size_t sequence_len(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* The character at the start of a text and its length in bytes; 0 if the bytes
 * there are not UTF-8.  The NUL at the end continues no sequence. */
static size_t decode(const unsigned char *bytes, uint32_t *value)
{
	/* The smallest value that needs a sequence of this length. */
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = sequence_len(bytes[0]);

	*value = len <= 1 ? bytes[0] : bytes[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		*value = *value << 6 | (bytes[i] & 0x3fu);
	}
	if (len == 0 || *value < smallest[len] || *value > 0x10ffff ||
	    (*value >= 0xd800 && *value < 0xe000))
		return 0;
	return len;
}

static bool is_plain(uint32_t value)
{
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
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (value >= others[i].first && value <= others[i].last)
			return false;
	}
	return true;
}

void qcowfmt_clean_text(char *text)
{
	while (*text != '\0') {
		uint32_t value = 0;
		size_t len = decode((const unsigned char *)text, &value);
		size_t step = len == 0 ? 1 : len;

		if (len == 0 || !is_plain(value))
			memset(text, '?', step);
		text += step;
	}
}
