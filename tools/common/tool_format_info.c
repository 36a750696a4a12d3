/* SPDX-License-Identifier: MIT */
/*
 * tool_format_info.c - "Format specific information" of an image
 *
 * One list of members serves both outputs: text has a space where JSON has a
 * dash.  The members stand in the order of QEMU's programs.
 */
#include "tool_format_info.h"

#include <inttypes.h>
#include <stdio.h>

enum member_kind {
	MEMBER_TEXT,
	MEMBER_NUMBER,
	MEMBER_BOOL,
};

struct member {
	const char *name;
	enum member_kind kind;
	const char *text;
	uint64_t number; /* also of a bool */
};

#define MAX_MEMBERS 6

static struct member text_member(const char *name, const char *text)
{
	return (struct member){ name, MEMBER_TEXT, text, 0 };
}

static struct member flag_member(const char *name,
                                 const struct qcowfmt_info *info, uint32_t flag)
{
	return (struct member){ name, MEMBER_BOOL, NULL,
		                (info->flags & flag) != 0 };
}

static size_t list_members(const struct qcowfmt_info *info,
                           struct member members[MAX_MEMBERS])
{
	struct member *m = members;

	if (info->format != QCOWFMT_FORMAT_QCOW2)
		return 0;
	*m++ = text_member("compat", info->version >= 3 ? "1.1" : "0.10");
	*m++ = text_member("compression-type",
	                   info->compression_type == 1 ? "zstd" : "zlib");
	if (info->version >= 3)
		*m++ = flag_member("lazy-refcounts", info,
		                   QCOWFMT_INFO_LAZY_REFCOUNTS);
	*m++ = (struct member){ "refcount-bits", MEMBER_NUMBER, NULL,
		                info->refcount_bits };
	if (info->version >= 3) {
		*m++ = flag_member("corrupt", info, QCOWFMT_INFO_CORRUPT);
		*m++ = flag_member("extended-l2", info,
		                   QCOWFMT_INFO_EXTENDED_L2);
	}
	return (size_t)(m - members);
}

static void print_name(const char *name)
{
	for (; *name != '\0'; name++)
		putchar(*name == '-' ? ' ' : *name);
}

static void print_member(const struct member *m)
{
	fputs("    ", stdout);
	print_name(m->name);
	fputs(": ", stdout);
	switch (m->kind) {
	case MEMBER_TEXT:
		puts(m->text);
		break;
	case MEMBER_NUMBER:
		printf("%" PRIu64 "\n", m->number);
		break;
	case MEMBER_BOOL:
		puts(m->number != 0 ? "true" : "false");
		break;
	}
}

void qcf_print_format_info(const struct qcowfmt_info *info)
{
	struct member members[MAX_MEMBERS];
	size_t count = list_members(info, members);
	size_t i;

	if (count > 0)
		puts("Format specific information:");
	for (i = 0; i < count; i++)
		print_member(&members[i]);
}

static void json_member(struct qcf_json *json, const struct member *m)
{
	switch (m->kind) {
	case MEMBER_TEXT:
		qcf_json_string(json, m->name, m->text);
		break;
	case MEMBER_NUMBER:
		qcf_json_number(json, m->name, m->number);
		break;
	case MEMBER_BOOL:
		qcf_json_bool(json, m->name, m->number != 0);
		break;
	}
}

void qcf_json_format_info(struct qcf_json *json,
                          const struct qcowfmt_info *info)
{
	struct member members[MAX_MEMBERS];
	size_t count = list_members(info, members);
	size_t i;

	if (count == 0)
		return;
	qcf_json_begin_object(json, "format-specific");
	qcf_json_string(json, "type", qcowfmt_format_name(info->format));
	qcf_json_begin_object(json, "data");
	for (i = 0; i < count; i++)
		json_member(json, &members[i]);
	qcf_json_end_object(json);
	qcf_json_end_object(json);
}
