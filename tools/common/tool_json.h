/* SPDX-License-Identifier: MIT */
/*
 * tool_json.h - writes JSON to standard output as it goes
 *
 * Four spaces per level, one member or element per line.  Text that is not
 * ASCII is escaped, so that the output can be read whatever the locale; bytes
 * that are not UTF-8 become U+FFFD.
 */
#ifndef QCF_TOOL_JSON_H
#define QCF_TOOL_JSON_H

#include <stdbool.h>

#include "tool_util.h"

struct qcf_json {
	unsigned int depth; /* open objects and arrays */
	bool has_member;    /* something was written since the last begin */
};

/* name is NULL for elements of an array and for the outermost value. */
void qcf_json_begin_object(struct qcf_json *json, const char *name);
void qcf_json_end_object(struct qcf_json *json);
void qcf_json_begin_array(struct qcf_json *json, const char *name);
void qcf_json_end_array(struct qcf_json *json);
void qcf_json_string(struct qcf_json *json, const char *name,
                     const char *value);
void qcf_json_number(struct qcf_json *json, const char *name, uint64_t value);
void qcf_json_bool(struct qcf_json *json, const char *name, bool value);

/* A string in quotes and escaped, wherever it is to stand. */
void qcf_json_print_string(const char *value);

#endif
