/* SPDX-License-Identifier: MIT */
/*
 * crash_history.c - what each sector was given, and when
 *
 * What an operation is about to change is remembered before it begins, with the
 * length of the log then: nothing of it can be in a state from before.
 */
#include <stdlib.h>

#include "auto.h"
#include "crash_parts.h"

uint64_t history_new_stamp(const struct world *w, uint64_t sector)
{
	return w->generation << 32 | (sector + 1);
}

/* The backing file is full of generation 1. */
uint64_t history_backing_stamp(const struct world *w, uint64_t sector)
{
	return w->geometry->backing ? UINT64_C(1) << 32 | (sector + 1) : 0;
}

struct sector *history_sector(struct world *w, uint64_t sector)
{
	uint64_t cluster = sector / w->sectors_per_cluster;

	if (w->clusters[cluster] == NULL) {
		uint64_t first = cluster * w->sectors_per_cluster;
		struct sector *sectors = world_need(
			calloc(w->sectors_per_cluster, sizeof(*sectors)));

		for (uint64_t i = 0; i < w->sectors_per_cluster; i++) {
			sectors[i].count = 1;
			sectors[i].contents[0].stamp =
				history_backing_stamp(w, first + i);
		}
		w->clusters[cluster] = sectors;
	}
	return &w->clusters[cluster][sector % w->sectors_per_cluster];
}

/* Which of the contents that a sector may have now it has; -1 if none. */
int history_find(struct world *w, uint64_t sector, const uint8_t *bytes)
{
	const struct sector *s = history_sector(w, sector);
	int i = s->count - 1;

	for (; i >= 0; i--) {
		if (sector_holds(bytes, s->contents[i].stamp))
			return i;
		if (!s->contents[i].uncertain)
			break;
	}
	return -1;
}

void history_add(struct world *w, uint64_t sector, uint64_t stamp,
                 size_t position)
{
	struct sector *s = history_sector(w, sector);

	if (s->count == MAX_CONTENTS)
		world_give_up(w, "too many contents for one sector", NULL);
	s->contents[s->count++] = (struct content){
		.stamp = stamp,
		.position = position,
		.turn = w->turn,
	};
}

void history_amend(struct world *w, uint64_t sector, uint64_t stamp)
{
	struct sector *s = history_sector(w, sector);

	s->contents[s->count - 1].stamp = stamp;
}

/* The newest contents of a range may or may not have got there. */
void history_doubt(struct world *w, uint64_t sector, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct sector *s = history_sector(w, sector + i);

		s->contents[s->count - 1].uncertain = true;
	}
}

/* What there is now is what there was before the log. */
void history_forget(struct world *w)
{
	for (uint64_t c = 0; c < w->geometry->virtual_clusters; c++) {
		if (w->clusters[c] == NULL)
			continue;
		for (uint64_t i = 0; i < w->sectors_per_cluster; i++) {
			struct sector *s = &w->clusters[c][i];

			s->contents[0].stamp = s->contents[s->count - 1].stamp;
			s->count = 1;
		}
		w->filled[c] = true;
	}
	w->size = (struct sector){
		.count = 1,
		.contents[0].stamp = w->geometry->virtual_clusters,
	};
}

/* Back to the first content; clusters that had none are dropped. */
void history_rewind(struct world *w)
{
	for (uint64_t c = 0; c < w->geometry->virtual_clusters; c++) {
		if (w->clusters[c] == NULL)
			continue;
		for (uint64_t i = 0; i < w->sectors_per_cluster; i++)
			w->clusters[c][i].count = 1;
		if (!w->filled[c]) {
			free(w->clusters[c]);
			w->clusters[c] = NULL;
		}
	}
	w->acknowledgement_count = 0;
	w->turn = 1;
	w->size.count = 1;
}

static void doubt_cluster(const struct world *w, struct sector *sectors,
                          uint32_t stable)
{
	for (uint64_t i = 0; i < w->sectors_per_cluster; i++) {
		struct sector *s = &sectors[i];

		for (int k = 1; k < s->count; k++)
			s->contents[k].uncertain |=
				s->contents[k].turn >= stable;
	}
}

/* What came after the last acknowledged flush may be lost. */
void history_doubt_unstable(struct world *w)
{
	int last = w->acknowledgement_count - 1;
	uint32_t stable = last < 0 ? 1 : w->acknowledgements[last].turn;

	for (uint64_t c = 0; c < w->geometry->virtual_clusters; c++) {
		if (w->clusters[c] != NULL)
			doubt_cluster(w, w->clusters[c], stable);
	}
}

void history_acknowledge(struct world *w)
{
	rec_log_mark(w->log);
	w->turn++;
	if (w->acknowledgement_count == MAX_ACKNOWLEDGEMENTS)
		world_give_up(w, "too many flushes", NULL);
	w->acknowledgements[w->acknowledgement_count++] =
		(struct acknowledgement){ w->log->count, w->turn };
}
