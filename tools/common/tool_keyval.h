/* SPDX-License-Identifier: MIT */
/*
 * tool_keyval.h - lists like "key=value,flag,noflag"
 *
 * A doubled comma in a value is one comma.  A key without a value stands for
 * "on", or for "off" if it starts with "no".
 */
#ifndef QCF_TOOL_KEYVAL_H
#define QCF_TOOL_KEYVAL_H

#include <stdbool.h>

#include "tool_util.h"

struct qcf_keyval {
	char *key;
	char *value; /* NULL: the key stood alone, or has the value null */
	bool is_null;
};

struct qcf_keyval_list {
	struct qcf_keyval *items;
	size_t count;
	bool wants_help; /* "help" or "?" stood among them */
};

/* Whether a text has a key at the start and behind every comma. */
bool qcf_keyval_is_valid(const char *text);

/* Append the pairs of a valid text; later ones are to win. */
void qcf_keyval_append(struct qcf_keyval_list *list, const char *text);

/* Keys without a value, from an index on, are switches that are on, or off with
 * "no" in front; with a warning, as QEMU's programs warn. */
void qcf_keyval_complete(struct qcf_keyval_list *list, size_t from);

/* Append one pair; value may be NULL for null.  Both are copied. */
void qcf_keyval_add(struct qcf_keyval_list *list, const char *key,
                    const char *value);

/* The value of a key, the last one given; NULL if there is none. */
const char *qcf_keyval_find(const struct qcf_keyval_list *list,
                            const char *key);

void qcf_keyval_fini(struct qcf_keyval_list *list);

/* The same for a list that holds secrets. */
void qcf_keyval_wipe(struct qcf_keyval_list *list);

#endif
