/* SPDX-License-Identifier: MIT */
/*
 * tool_json_parse.c - from an object in JSON to a list of options
 *
 * Jansson parses.  What it reads may come from an image, where it is at most
 * 1023 bytes long; the depth of nesting is bounded here as well.
 */
#include "tool_json_parse.h"

#include "tool_error.h"

#ifdef HAVE_JANSSON
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <string.h>

#define MAX_NESTING 32

/* In front of each piece of memory: objects may hold secrets, so that all of it
 * is wiped. */
union header {
	size_t size;
	max_align_t alignment;
};

static void *wiping_alloc(size_t size)
{
	union header *header = malloc(sizeof(*header) + size);

	if (header == NULL)
		return NULL;
	header->size = size;
	return header + 1;
}

static void wiping_free(void *memory)
{
	union header *header = memory;

	if (memory == NULL)
		return;
	header--;
	explicit_bzero(memory, header->size);
	free(header);
}

/* JSON has double quotes only, and no escaped single ones. */
static char *double_quotes(const char *text)
{
	char *result = qcf_tool_alloc(2 * strlen(text) + 1);
	char *to = result;
	char quote = '\0';

	for (; *text != '\0'; text++) {
		if (quote != '\0' && text[0] == '\\' && text[1] != '\0') {
			if (text[1] != '\'')
				*to++ = '\\';
			*to++ = *++text;
		} else if (quote == '\'' && *text == '"') {
			*to++ = '\\';
			*to++ = '"';
		} else if (*text == quote) {
			quote = '\0';
			*to++ = '"';
		} else if (quote == '\0' && (*text == '"' || *text == '\'')) {
			quote = *text;
			*to++ = '"';
		} else {
			*to++ = *text;
		}
	}
	return result;
}

/* Where the walk through the objects is. */
struct level {
	json_t *object;
	void *next;   /* iterator of the next member */
	char *prefix; /* of its keys */
};

struct walk {
	struct level levels[MAX_NESTING];
	size_t depth;
	struct qcf_keyval_list *list;
};

static char *enter(struct walk *walk, json_t *object, char *prefix)
{
	if (walk->depth == MAX_NESTING) {
		free(prefix);
		return qcf_tool_printf("The JSON options are nested too "
		                       "deeply");
	}
	walk->levels[walk->depth++] =
		(struct level){ object, json_object_iter(object), prefix };
	return NULL;
}

static char *add_scalar(struct walk *walk, const char *key, const json_t *value)
{
	QCF_AUTO_FREE char *number = NULL;

	switch (json_typeof(value)) {
	case JSON_STRING:
		qcf_keyval_add(walk->list, key, json_string_value(value));
		return NULL;
	case JSON_INTEGER:
		number = qcf_tool_printf("%" JSON_INTEGER_FORMAT,
		                         json_integer_value(value));
		break;
	case JSON_REAL:
		number = qcf_tool_printf("%.17g", json_real_value(value));
		break;
	case JSON_TRUE:
		number = qcf_tool_printf("on");
		break;
	case JSON_FALSE:
		number = qcf_tool_printf("off");
		break;
	case JSON_NULL:
		break;
	default:
		return qcf_tool_printf("Option '%s' cannot be a list", key);
	}
	qcf_keyval_add(walk->list, key, number);
	return NULL;
}

/* Take one member, or leave an object that has no more. */
static char *step(struct walk *walk)
{
	struct level *level = &walk->levels[walk->depth - 1];
	json_t *value;
	char *reason;
	char *key;

	if (level->next == NULL) {
		free(level->prefix);
		walk->depth--;
		return NULL;
	}
	key = qcf_tool_printf("%s%s", level->prefix,
	                      json_object_iter_key(level->next));
	value = json_object_iter_value(level->next);
	level->next = json_object_iter_next(level->object, level->next);
	if (json_is_object(value))
		reason = enter(walk, value, qcf_tool_printf("%s.", key));
	else
		reason = add_scalar(walk, key, value);
	free(key);
	return reason;
}

static char *flatten(json_t *object, struct qcf_keyval_list *list)
{
	struct walk walk = { .list = list };
	char *reason = enter(&walk, object, qcf_tool_printf("%s", ""));

	while (reason == NULL && walk.depth > 0)
		reason = step(&walk);
	while (walk.depth > 0)
		free(walk.levels[--walk.depth].prefix);
	return reason;
}

char *qcf_json_parse(const char *text, struct qcf_keyval_list *list)
{
	QCF_AUTO_FREE char *strict = double_quotes(text);
	json_error_t error;
	json_t *object;
	char *reason;

	json_set_alloc_funcs(wiping_alloc, wiping_free);
	object = json_loads(strict, JSON_REJECT_DUPLICATES, &error);
	explicit_bzero(strict, strlen(strict));
	if (object == NULL)
		return qcf_tool_printf("Could not parse the JSON options: "
		                       "JSON parse error, %s",
		                       error.text);
	if (json_is_object(object))
		reason = flatten(object, list);
	else
		reason = qcf_tool_printf("Invalid JSON object given");
	json_decref(object);
	return reason;
}

#else

char *qcf_json_parse(const char *text, struct qcf_keyval_list *list)
{
	(void)text;
	(void)list;
	return qcf_tool_printf("Names that start with 'json:' are not "
	                       "supported by this build");
}

#endif
