/* SPDX-License-Identifier: MIT */
/*
 * crash_snapshots.c - operations of a crash world that change more than clusters
 *
 * Each is stable when it returns and acknowledges all that was written before.
 * They are not for worlds in which storage fails.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_parts.h"

static uint64_t sectors_of(const struct world *w)
{
	return w->geometry->virtual_clusters * w->sectors_per_cluster;
}

static void finish(struct world *w, const char *what, int ret,
                   struct qcowfmt_error *error)
{
	world_finish(w, what, ret, error);
	w->rewritten = true;
}

/* ----------------------------------------------------------------- snapshots */

void world_forget_snapshots(struct world *w)
{
	for (int i = 0; i < w->snapshot_count; i++)
		free(w->snapshots[i].contents);
	w->snapshot_count = 0;
	w->rewritten = false;
	w->may_be_dirty = w->geometry->lazy;
	if (!w->geometry->snapshot)
		return;
	w->snapshots[w->snapshot_count++] = (struct world_snapshot){
		.id = "1",
		.ending = SIZE_MAX,
		.gone = SIZE_MAX,
		.contents = world_need(malloc(sectors_of(w))),
	};
	memset(w->snapshots[0].contents, 1, sectors_of(w));
}

/* How many contents every sector has; one that was never written has one. */
static uint8_t *count_contents(const struct world *w)
{
	uint8_t *counts = world_need(malloc(sectors_of(w)));

	memset(counts, 1, sectors_of(w));
	for (uint64_t i = 0; i < sectors_of(w); i++) {
		const struct sector *sectors =
			w->clusters[i / w->sectors_per_cluster];

		if (sectors != NULL)
			counts[i] = (uint8_t)sectors[i % w->sectors_per_cluster]
			                    .count;
	}
	return counts;
}

static void create_snapshot(struct world *w, uint64_t vm_stamp)
{
	struct world_snapshot *s = &w->snapshots[w->snapshot_count];
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = "of a crash test",
		.id = s->id,
		.vm_state_size =
			vm_stamp == 0 ? 0 : VM_STATE_SECTORS * SECTOR_SIZE,
		.date_sec = 1,
	};
	struct qcowfmt_error *error = NULL;

	if (w->snapshot_count == MAX_WORLD_SNAPSHOTS)
		world_give_up(w, "too many snapshots", NULL);
	*s = (struct world_snapshot){
		.begun = w->log->count,
		.ending = SIZE_MAX,
		.gone = SIZE_MAX,
		.contents = count_contents(w),
		.vm_stamp = vm_stamp,
	};
	snprintf(s->id, sizeof(s->id), "%d", 100 + w->snapshot_count);
	w->snapshot_count++;
	world_guard(w, true);
	finish(w, "take a snapshot",
	       qcowfmt_snapshot_create(w->image, &options, &error), error);
	s->there = w->log->count;
}

void world_snapshot_create(struct world *w)
{
	create_snapshot(w, 0);
}

void world_save_vm_state(struct world *w)
{
	uint64_t stamp = ++w->generation << 32 | 1;
	struct qcowfmt_error *error = NULL;

	for (uint64_t i = 0; i < VM_STATE_SECTORS; i++)
		fill_sector(w->buffer + i * SECTOR_SIZE, stamp + i);
	world_guard(w, true);
	if (qcowfmt_vm_state_pwrite(w->image, w->buffer,
	                            VM_STATE_SECTORS * SECTOR_SIZE, 0,
	                            &error) < 0)
		world_give_up(w, "write VM state", error);
	world_guard(w, false);
	create_snapshot(w, stamp);
}

void world_snapshot_apply(struct world *w, int number)
{
	const struct world_snapshot *s = &w->snapshots[number];
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;

	w->turn++;
	for (uint64_t i = 0; i < sectors_of(w); i++) {
		if (w->clusters[i / w->sectors_per_cluster] == NULL)
			continue;
		struct sector *sector = history_sector(w, i);
		int newest = s->contents[i] - 1;

		if (newest != sector->count - 1)
			history_add(w, i, sector->contents[newest].stamp,
			            position);
	}
	world_guard(w, true);
	finish(w, "apply a snapshot",
	       qcowfmt_snapshot_apply(w->image, s->id, NULL, &error), error);
}

void world_snapshot_delete(struct world *w, int number)
{
	struct world_snapshot *s = &w->snapshots[number];
	struct qcowfmt_error *error = NULL;

	s->ending = w->log->count;
	world_guard(w, true);
	finish(w, "delete a snapshot",
	       qcowfmt_snapshot_delete(w->image, s->id, NULL, &error), error);
	s->gone = w->log->count;
}

/* -------------------------------------------------------------------- resize */

static void resize(struct world *w, uint64_t clusters, int32_t preallocation)
{
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
		.preallocation = preallocation,
	};
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;
	int ret;

	if (w->size.count == MAX_CONTENTS)
		world_give_up(w, "too many sizes", NULL);
	w->turn++;
	w->size.contents[w->size.count++] = (struct content){
		.stamp = clusters,
		.position = w->log->count,
		.turn = w->turn,
	};
	world_guard(w, true);
	ret = qcowfmt_resize(w->image, clusters * w->cluster_size, &options,
	                     &error);
	bitmaps_note(w, position);
	finish(w, "resize", ret, error);
}

void world_cut_and_grow(struct world *w, uint64_t clusters,
                        int32_t preallocation)
{
	uint64_t size = w->geometry->virtual_clusters;

	resize(w, size - clusters, QCOWFMT_PREALLOCATION_OFF);
	/* Where the disk has its old size again there are only zeros: they
	 * count as stable as soon as the cut is. */
	w->turn--;
	for (uint64_t i = (size - clusters) * w->sectors_per_cluster;
	     i < sectors_of(w); i++)
		history_add(w, i, 0, w->log->count);
	w->turn++;
	resize(w, size, preallocation);
}
