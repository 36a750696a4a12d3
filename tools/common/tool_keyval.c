/* SPDX-License-Identifier: MIT */
/* tool_keyval.c - lists like "key=value,flag,noflag" */
#include "tool_keyval.h"

#include <string.h>

#include "tool_error.h"

bool qcf_keyval_is_valid(const char *text)
{
	size_t len = strlen(text);
	size_t commas = 0;

	while (commas < len && text[len - 1 - commas] == ',')
		commas++;
	return len > 0 && text[0] != ',' && commas % 2 == 0;
}

/* Copy up to the next single comma, which is skipped. */
static char *take_value(const char **text)
{
	const char *from = *text;
	char *value = qcf_tool_alloc(strlen(from) + 1);
	char *to = value;

	while (*from != '\0') {
		if (*from == ',') {
			from++;
			if (*from != ',')
				break;
		}
		*to++ = *from++;
	}
	*to = '\0';
	*text = from;
	return value;
}

static char *take_key(const char **text, bool *has_value)
{
	size_t len = strcspn(*text, "=,");
	char *key = qcf_tool_alloc(len + 1);

	memcpy(key, *text, len);
	*text += len;
	*has_value = **text == '=';
	if (**text != '\0')
		(*text)++;
	return key;
}

static void append(struct qcf_keyval_list *list, struct qcf_keyval item)
{
	struct qcf_keyval *items =
		qcf_tool_alloc((list->count + 1) * sizeof(*items));

	if (list->count > 0)
		memcpy(items, list->items, list->count * sizeof(*items));
	items[list->count++] = item;
	free(list->items);
	list->items = items;
}

void qcf_keyval_add(struct qcf_keyval_list *list, const char *key,
                    const char *value)
{
	struct qcf_keyval item = {
		.key = qcf_tool_printf("%s", key),
		.value = value == NULL ? NULL : qcf_tool_printf("%s", value),
		.is_null = value == NULL,
	};

	append(list, item);
}

void qcf_keyval_append(struct qcf_keyval_list *list, const char *text)
{
	while (*text != '\0') {
		struct qcf_keyval item = { 0 };
		bool has_value;

		item.key = take_key(&text, &has_value);
		if (has_value)
			item.value = take_value(&text);
		else if (strcmp(item.key, "help") == 0 ||
		         strcmp(item.key, "?") == 0)
			list->wants_help = true;
		append(list, item);
	}
}

void qcf_keyval_complete(struct qcf_keyval_list *list, size_t from)
{
	for (; from < list->count; from++) {
		struct qcf_keyval *item = &list->items[from];
		bool off = strncmp(item->key, "no", 2) == 0;
		const char *name = off ? item->key + 2 : item->key;
		char *key;

		if (item->value != NULL || item->is_null)
			continue;
		qcf_tool_warning("short-form boolean option '%s' deprecated\n"
		                 "Please use %s=%s instead",
		                 item->key, name, off ? "off" : "on");
		key = qcf_tool_printf("%s", name);
		free(item->key);
		item->key = key;
		item->value = qcf_tool_printf(off ? "off" : "on");
	}
}

void qcf_keyval_fini(struct qcf_keyval_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		free(list->items[i].key);
		free(list->items[i].value);
	}
	free(list->items);
	*list = (struct qcf_keyval_list){ 0 };
}

void qcf_keyval_wipe(struct qcf_keyval_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		struct qcf_keyval *item = &list->items[i];

		explicit_bzero(item->key, strlen(item->key));
		if (item->value != NULL)
			explicit_bzero(item->value, strlen(item->value));
	}
	qcf_keyval_fini(list);
}

const char *qcf_keyval_find(const struct qcf_keyval_list *list, const char *key)
{
	size_t i;

	for (i = list->count; i > 0; i--) {
		if (strcmp(list->items[i - 1].key, key) == 0)
			return list->items[i - 1].value;
	}
	return NULL;
}
