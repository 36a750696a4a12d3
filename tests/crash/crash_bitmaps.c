/* SPDX-License-Identifier: MIT */
/*
 * crash_bitmaps.c - the dirty bitmaps of a crash world
 *
 * All bitmaps are stored at once, so what storage says of them is one of the
 * versions that were stored.  From the first write to the disk after a version on,
 * some or all may be marked "in use" instead: then they promise nothing.  One
 * that is not marked must know all writes: no sector is newer than it is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_content.h"
#include "crash_parts.h"

/* The most that a description takes. */
#define TEXT_SIZE 32768u

/* ----------------------------------------------------------------- describing */

static size_t describe_one(struct qcowfmt_image *image,
                           const struct qcowfmt_bitmap *b, char *text,
                           size_t room)
{
	uint64_t at = 0, start, len;
	size_t used;

	/* While it is open for writing storage may say so. */
	if ((b->flags & QCOWFMT_BITMAP_INCONSISTENT) != 0)
		return (size_t)snprintf(text, room, "%s lost\n", b->name);
	used = (size_t)snprintf(
		text, room, "%s %" PRIu64 " %s", b->name, b->granularity,
		(b->flags & QCOWFMT_BITMAP_ENABLED) != 0 ? "on" : "off");
	while (used < room - 64 &&
	       qcowfmt_bitmap_next(image, b->name, at, &start, &len, NULL) >
	               0) {
		used += (size_t)snprintf(text + used, room - used,
		                         " %" PRIu64 "+%" PRIu64, start, len);
		at = start + len;
	}
	used += (size_t)snprintf(text + used, room - used, "\n");
	return used;
}

/* A line for each bitmap; false if they cannot be listed. */
static bool describe(struct qcowfmt_image *image, char *text)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;
	size_t used = 0;

	text[0] = '\0';
	if (qcowfmt_bitmap_list(image, 0, &list, NULL) < 0)
		return false;
	for (uint32_t i = 0;
	     used < TEXT_SIZE - 2048 &&
	     qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) == 0;
	     i++)
		used += describe_one(image, &bitmap, text + used,
		                     TEXT_SIZE - 1024 - used);
	qcowfmt_bitmap_list_free(list);
	return true;
}

/* ------------------------------------------------------------------- versions */

void bitmaps_forget(struct world *w)
{
	for (int i = 0; i < w->bitmap_version_count; i++)
		free(w->bitmaps[i].text);
	w->bitmap_version_count = 0;
	w->has_bitmaps = false;
}

static void add_version(struct world *w, const char *text, size_t position)
{
	if (w->bitmap_version_count == MAX_BITMAP_VERSIONS)
		world_give_up(w, "too many versions of bitmaps", NULL);
	w->bitmaps[w->bitmap_version_count++] = (struct bitmap_version){
		.text = world_need(strdup(text)),
		.position = position,
		.turn = w->turn,
		.used = SIZE_MAX,
	};
	w->has_bitmaps = text[0] != '\0';
}

void bitmaps_begin(struct world *w)
{
	static char text[TEXT_SIZE];

	bitmaps_forget(w);
	if (!w->geometry->bitmap)
		return;

	struct qcowfmt_image *image =
		world_open(w, w->start[REC_IMAGE], w->start[REC_DATA], false);

	if (image == NULL || !describe(image, text))
		world_give_up(w, "describe the bitmaps", NULL);
	qcowfmt_close(image, NULL);
	add_version(w, text, 0);
}

void bitmaps_touch(struct world *w)
{
	int newest = w->bitmap_version_count - 1;

	if (newest >= 0 && w->bitmaps[newest].used == SIZE_MAX)
		w->bitmaps[newest].used = w->log->count;
}

void bitmaps_note(struct world *w, size_t position)
{
	static char text[TEXT_SIZE];

	if (w->image == NULL || w->bitmap_version_count == 0)
		return;
	if (!describe(w->image, text))
		world_give_up(w, "describe the bitmaps", NULL);
	add_version(w, text, position);
}

bool world_can_have_bitmaps(const struct world *w)
{
	return w->traits.version == 3;
}

void world_bitmap_change(struct world *w, int32_t kind, const char *name,
                         const char *other)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = w->image,
		.name = name,
		.kind = kind,
		.source_name = other,
		.granularity =
			kind == QCOWFMT_BITMAP_ADD
				? QCF_MIN(w->cluster_size, UINT64_C(4096))
				: 0,
	};
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;

	/* There were none. */
	if (w->bitmap_version_count == 0)
		add_version(w, "", 0);
	w->turn++;
	world_guard(w, true);

	int ret = qcowfmt_bitmap_change(&action, 1, NULL, &error);

	bitmaps_note(w, position);
	world_finish(w, "change a bitmap", ret, error);
}

/* -------------------------------------------------------------------- judging */

/* The line of the bitmap that a line is about; NULL if there is none. */
static const char *line_of(const char *text, const char *line)
{
	size_t name_len = strcspn(line, " ") + 1;

	while (*text != '\0' && strncmp(text, line, name_len) != 0)
		text += strcspn(text, "\n") + 1;
	return *text == '\0' ? NULL : text;
}

static int count_lines(const char *text)
{
	int lines = 0;

	for (; *text != '\0'; text++)
		lines += *text == '\n' ? 1 : 0;
	return lines;
}

static bool fits(const struct world *w, const struct bitmap_version *v,
                 const char *text, size_t position)
{
	bool may_be_lost = v->used < position;

	if (count_lines(text) != count_lines(v->text))
		return false;
	while (*text != '\0') {
		const char *line = line_of(v->text, text);
		size_t len = strcspn(text, "\n") + 1;
		bool lost = strncmp(strchr(text, ' '), " lost\n", 6) == 0;

		if (line == NULL || (lost && !may_be_lost))
			return false;
		if (!lost &&
		    (strncmp(line, text, len) != 0 || w->seen_turn > v->turn))
			return false;
		text += len;
	}
	return true;
}

static void describe_versions(const struct world *w, int first, int end,
                              const char *text, size_t position)
{
	printf("bitmaps at position %zu, with data of turn %u:\n%s", position,
	       w->seen_turn, text);
	for (int i = first; i < end; i++)
		printf("may be, from position %zu, turn %u, used from %zu:\n%s",
		       w->bitmaps[i].position, w->bitmaps[i].turn,
		       w->bitmaps[i].used, w->bitmaps[i].text);
}

bool world_bitmaps_are_legal(const struct world *w, struct qcowfmt_image *image,
                             size_t position)
{
	static char text[TEXT_SIZE];
	uint32_t stable = world_stable_turn(w, position);
	int first = 0;
	int i;

	if (w->bitmap_version_count == 0)
		return true;
	if (!describe(image, text)) {
		printf("the bitmaps cannot be listed\n");
		return false;
	}
	for (i = 1; i < w->bitmap_version_count && w->bitmaps[i].turn < stable;
	     i++)
		first = i;
	for (i = first; i < w->bitmap_version_count &&
	                (i == first || w->bitmaps[i].position < position);
	     i++) {
		if (fits(w, &w->bitmaps[i], text, position))
			return true;
	}
	describe_versions(w, first, i, text, position);
	return false;
}
