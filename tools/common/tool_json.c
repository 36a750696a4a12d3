/* SPDX-License-Identifier: MIT */
/* tool_json.c - writes JSON to standard output as it goes */
#include "tool_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool_text.h"

#define REPLACEMENT_CHARACTER 0xfffdu

static void print_character(uint32_t value)
{
	static const char special[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	const char *found;

	if (value == QCF_NOT_UTF8)
		value = REPLACEMENT_CHARACTER;
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
		print_character(qcf_next_character(&value));
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
