/* SPDX-License-Identifier: MIT */
/* tool_json.c - writes JSON to standard output as it goes */
#include "tool_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT_CHARACTER 0xfffdu

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

/* Decode one character and move past it; the replacement character, and past one
 * byte, if it is none. */
static uint32_t next_character(const char **text)
{
	/* Smallest value that needs a sequence of this length. */
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *bytes = (const unsigned char *)*text;
	size_t len = sequence_len(bytes[0]);
	uint32_t value;
	size_t i;

	(*text)++;
	if (len == 0)
		return REPLACEMENT_CHARACTER;
	if (len == 1)
		return bytes[0];
	value = bytes[0] & (0x7fu >> len);
	for (i = 1; i < len; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return REPLACEMENT_CHARACTER;
		value = value << 6 | (bytes[i] & 0x3fu);
	}
	if (value < smallest[len] || value > 0x10ffff ||
	    (value >= 0xd800 && value < 0xe000))
		return REPLACEMENT_CHARACTER;
	*text += len - 1;
	return value;
}

static void print_character(uint32_t value)
{
	static const char special[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	const char *found;

	if (value < 0x80 && (found = strchr(special, (int)value)) != NULL &&
	    value != 0)
		printf("\\%c", letters[found - special]);
	else if (value >= 0x20 && value < 0x7f)
		putchar((int)value);
	else if (value < 0x10000)
		printf("\\u%04" PRIX32, value);
	else
		printf("\\u%04" PRIX32 "\\u%04" PRIX32,
		       0xd800 + ((value - 0x10000) >> 10),
		       0xdc00 + (value & 0x3ff));
}

void qcf_json_print_string(const char *value)
{
	putchar('"');
	while (*value != '\0')
		print_character(next_character(&value));
	putchar('"');
}

static void begin_line(struct qcf_json *json, const char *name)
{
	if (json->has_member)
		putchar(',');
	if (json->depth > 0)
		printf("\n%*s", (int)(4 * json->depth), "");
	if (name != NULL)
		printf("\"%s\": ", name);
	json->has_member = true;
}

static void begin_nested(struct qcf_json *json, const char *name, char bracket)
{
	begin_line(json, name);
	putchar(bracket);
	json->depth++;
	json->has_member = false;
}

static void end_nested(struct qcf_json *json, char bracket)
{
	json->depth--;
	printf("\n%*s%c", (int)(4 * json->depth), "", bracket);
	json->has_member = true;
	if (json->depth == 0)
		putchar('\n');
}

void qcf_json_begin_object(struct qcf_json *json, const char *name)
{
	begin_nested(json, name, '{');
}

void qcf_json_end_object(struct qcf_json *json)
{
	end_nested(json, '}');
}

void qcf_json_begin_array(struct qcf_json *json, const char *name)
{
	begin_nested(json, name, '[');
}

void qcf_json_end_array(struct qcf_json *json)
{
	end_nested(json, ']');
}

void qcf_json_string(struct qcf_json *json, const char *name, const char *value)
{
	begin_line(json, name);
	qcf_json_print_string(value);
}

void qcf_json_number(struct qcf_json *json, const char *name, uint64_t value)
{
	begin_line(json, name);
	printf("%" PRIu64, value);
}

void qcf_json_bool(struct qcf_json *json, const char *name, bool value)
{
	begin_line(json, name);
	fputs(value ? "true" : "false", stdout);
}
