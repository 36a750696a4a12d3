/* SPDX-License-Identifier: MIT */
/*
 * promises.c - what a writer has said, read from a file
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "promises.h"

static struct thing *find(struct promises *p, char kind, const char *name)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->things[i].kind == kind &&
		    strcmp(p->things[i].name, name) == 0)
			return &p->things[i];
	}
	return NULL;
}

const struct thing *promises_find(const struct promises *p, char kind,
                                  const char *name)
{
	return find((struct promises *)(uintptr_t)p, kind, name);
}

static struct thing *find_or_add(struct promises *p, char kind,
                                 const char *name)
{
	struct thing *t = find(p, kind, name);

	if (t != NULL)
		return t;
	if (p->count == MAX_THINGS)
		fail("too much was said", NULL);
	t = &p->things[p->count++];
	t->kind = kind;
	snprintf(t->name, sizeof(t->name), "%s", name);
	return t;
}

static void hear_flush(struct promises *p, const char *line)
{
	uint32_t n[MAX_THREADS];

	if (sscanf(line, "a %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32,
	           &n[0], &n[1], &n[2], &n[3]) != 4)
		fail(line, NULL);
	for (uint32_t t = 0; t < MAX_THREADS; t++) {
		if (n[t] > p->flushed.number[t])
			p->flushed.number[t] = n[t];
	}
}

static void hear_thing(struct promises *p, const char *line)
{
	char name[NAME_ROOM];
	char rest[NAME_ROOM] = "";
	struct thing *t;
	uint32_t first;

	if (sscanf(line + 2, " %63s %63s", name, rest) < 1)
		fail(line, NULL);
	t = find_or_add(p, line[0], name);
	t->may_change = strchr("!?", line[1]) != NULL;
	t->is_there |= line[1] == '+';
	t->is_gone |= line[1] == '-';
	t->is_disabled |= line[1] == '#';
	if (line[1] == '=')
		t->has_end = image_disk_parse_name(rest, &first, &t->end);
}

void promises_read(const char *path, uint32_t first, struct promises *p)
{
	char line[256];
	FILE *f = fopen(path, "re");

	if (f == NULL)
		fail(path, NULL);
	for (uint32_t t = 0; t < MAX_THREADS; t++)
		p->flushed.number[t] = first - 1;
	while (fgets(line, sizeof(line), f) != NULL) {
		/* A line that was cut short was not said. */
		if (strchr(line, '\n') == NULL)
			break;
		if (line[0] == 'a')
			hear_flush(p, line);
		else
			hear_thing(p, line);
	}
	fclose(f);
}
