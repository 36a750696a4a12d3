/* SPDX-License-Identifier: MIT */
/* tool_json_parse.h - from an object in JSON to a list of options */
#ifndef QCF_TOOL_JSON_PARSE_H
#define QCF_TOOL_JSON_PARSE_H

#include "tool_keyval.h"

/*
 * Append the members of an object.  Nested ones get keys with dots, as in
 * "file.filename"; numbers become decimal texts, and booleans "on" and "off".
 * Strings may also be in single quotes, as QEMU allows.  Returns NULL, or the
 * reason as a text that the caller frees.
 */
char *qcf_json_parse(const char *text, struct qcf_keyval_list *list);

#endif
