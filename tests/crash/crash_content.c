/* SPDX-License-Identifier: MIT */
/*
 * crash_content.c - whether the guest finds what it may find
 *
 * Clusters that have or had content are read and compared sector by sector;
 * that the rest is as it was is seen from the map alone, so that large disks
 * cost nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "crash_content.h"
#include "crash_parts.h"

/* The turn up to which everything is stable at a position. */
uint32_t world_stable_turn(const struct world *w, size_t position)
{
	uint32_t turn = 0;

	for (int i = 0; i < w->acknowledgement_count; i++) {
		if (w->acknowledgements[i].mark <= position)
			turn = w->acknowledgements[i].turn;
	}
	return turn;
}

/* Contents [first, *end) are legal: the newest stable one and later ones.
 * Returns first. */
static int legal_contents(const struct sector *s, uint32_t stable,
                          size_t position, int *end)
{
	int first = 0;

	for (int i = 1; i < s->count && s->contents[i].turn < stable; i++) {
		if (!s->contents[i].uncertain)
			first = i;
	}
	*end = first + 1;
	while (*end < s->count && s->contents[*end].position < position)
		(*end)++;
	return first;
}

/* Which of its legal contents a sector has, the oldest of equal ones; -1 if
 * none. */
static int find_legal(const struct sector *s, const uint8_t *bytes,
                      uint32_t stable, size_t position)
{
	int end;

	for (int i = legal_contents(s, stable, position, &end); i < end; i++) {
		if (sector_holds(bytes, s->contents[i].stamp))
			return i;
	}
	return -1;
}

/* Whether something that changes like a sector has a legal value. */
static bool is_legal_value(const struct world *w, const struct sector *s,
                           uint64_t value, size_t position)
{
	int end;

	for (int i = legal_contents(s, world_stable_turn(w, position), position,
	                            &end);
	     i < end; i++) {
		if (s->contents[i].stamp == value)
			return true;
	}
	return false;
}

static bool size_is_legal(const struct world *w, uint64_t clusters,
                          size_t position)
{
	if (is_legal_value(w, &w->size, clusters, position))
		return true;
	printf("the disk has %" PRIu64 " clusters at position %zu\n", clusters,
	       position);
	return false;
}

static void describe_sector(const struct world *w, const struct sector *s,
                            const uint8_t *bytes, uint64_t sector,
                            size_t position, uint32_t stable)
{
	printf("sector %" PRIu64 " (cluster %" PRIu64
	       ") reads as stamp %#" PRIx64 " at position %zu; it had:\n",
	       sector, sector / w->sectors_per_cluster, sector_stamp(bytes),
	       position);
	for (int i = 0; i < s->count; i++)
		printf("  stamp %#" PRIx64 " from position %zu, turn %u%s\n",
		       s->contents[i].stamp, s->contents[i].position,
		       s->contents[i].turn,
		       s->contents[i].uncertain ? ", failed" : "");
	printf("  stable: turns before %u\n", stable);
}

static bool cluster_is_legal(struct world *w, const uint8_t *bytes,
                             uint64_t cluster, size_t position, uint32_t stable)
{
	for (uint64_t i = 0; i < w->sectors_per_cluster; i++) {
		const struct sector *s = &w->clusters[cluster][i];
		const uint8_t *sector = bytes + i * SECTOR_SIZE;
		int found = find_legal(s, sector, stable, position);

		if (found < 0) {
			describe_sector(w, s, sector,
			                cluster * w->sectors_per_cluster + i,
			                position, stable);
			return false;
		}
		w->seen_turn = QCF_MAX(w->seen_turn, s->contents[found].turn);
	}
	return true;
}

static bool read_clusters(const struct world *w, struct qcowfmt_image *image,
                          uint64_t cluster, uint64_t count)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_pread(image, w->buffer, count * w->cluster_size,
	                  cluster * w->cluster_size, &error) == 0)
		return true;
	printf("reading %" PRIu64 " clusters from %" PRIu64 ": %s\n", count,
	       cluster, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return false;
}

/* How many clusters from here on have a history and fit in the buffer. */
static uint64_t run_length(const struct world *w, uint64_t cluster,
                           uint64_t end)
{
	uint64_t most =
		QCF_MIN(end - cluster, WORLD_BUFFER_SIZE / w->cluster_size);
	uint64_t count = 0;

	while (count < most && w->clusters[cluster + count] != NULL)
		count++;
	return count;
}

static bool extent_is_expected(const struct world *w,
                               const struct qcowfmt_extent *extent)
{
	uint64_t end = extent->guest_offset + extent->length;

	if (extent->kind == QCOWFMT_EXTENT_UNALLOCATED)
		return true;
	for (uint64_t c = extent->guest_offset / w->cluster_size;
	     c * w->cluster_size < end; c++) {
		if (w->clusters[c] != NULL)
			continue;
		printf("cluster %" PRIu64 " is mapped, kind %d\n", c,
		       extent->kind);
		return false;
	}
	return true;
}

/* Clusters that never had content are not allocated. */
static bool rest_is_untouched(const struct world *w,
                              struct qcowfmt_image *image)
{
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_extent extents[32];

	for (uint64_t at = 0; at < size;) {
		int count = qcowfmt_map(image, at, size - at, QCOWFMT_MAP_TOP,
		                        extents, 32, NULL);

		if (count <= 0) {
			printf("map at %" PRIu64 " gives %d\n", at, count);
			return false;
		}
		for (int i = 0; i < count; i++) {
			if (!extent_is_expected(w, &extents[i]))
				return false;
		}
		at = extents[count - 1].guest_offset +
		     extents[count - 1].length;
	}
	return true;
}

static bool check_content(struct world *w, struct qcowfmt_image *image,
                          size_t position, uint32_t stable)
{
	uint64_t end = qcowfmt_get_size(image) / w->cluster_size;
	uint64_t c = 0;

	w->seen_turn = 0;
	if (!size_is_legal(w, end, position))
		return false;
	while (c < end) {
		uint64_t count = run_length(w, c, end);

		if (count == 0) {
			c++;
			continue;
		}
		if (!read_clusters(w, image, c, count))
			return false;
		for (uint64_t i = 0; i < count; i++) {
			if (!cluster_is_legal(w,
			                      w->buffer + i * w->cluster_size,
			                      c + i, position, stable))
				return false;
		}
		c += count;
	}
	return rest_is_untouched(w, image);
}

bool world_content_is_legal(struct world *w, struct qcowfmt_image *image,
                            size_t position)
{
	return check_content(w, image, position,
	                     world_stable_turn(w, position));
}

bool world_raw_view_is_legal(struct world *w, const struct byte_image *data,
                             uint64_t clusters, size_t position)
{
	uint32_t stable = world_stable_turn(w, position);
	const uint8_t *bytes = byte_image_bytes(data);
	size_t size = byte_image_size(data);

	for (uint64_t c = 0; c < clusters; c++) {
		uint64_t at = c * w->cluster_size;
		size_t there = at < size ? (size_t)(size - at) : 0;

		there = QCF_MIN(there, w->cluster_size);
		memset(w->buffer, 0, w->cluster_size);
		memcpy(w->buffer, bytes + at, there);
		if (w->clusters[c] != NULL &&
		    !cluster_is_legal(w, w->buffer, c, position, stable)) {
			printf("(seen in the raw data file)\n");
			return false;
		}
	}
	return true;
}

bool world_content_is_newest(struct world *w)
{
	return check_content(w, w->image, SIZE_MAX, UINT32_MAX);
}

/* ----------------------------------------------------------- traits and keys */

static enum crash_base base_called(const char *name)
{
	for (enum crash_base b = BASE_FIRST; name != NULL && b <= BASE_OTHER;
	     b++) {
		if (strcmp(name, world_base_name(b)) == 0)
			return b;
	}
	return BASE_NONE;
}

static bool ends_with(const char *text, char last)
{
	return text != NULL && text[strlen(text) - 1] == last;
}

bool world_traits_are_legal(const struct world *w,
                            const struct qcowfmt_info *info, size_t position)
{
	struct traits traits = {
		.version = info->version,
		.refcount_bits = info->refcount_bits,
		.base = base_called(info->backing_filename),
		.lazy = (info->flags & QCOWFMT_INFO_LAZY_REFCOUNTS) != 0,
		.data_renamed = ends_with(info->data_filename, '2'),
		.data_raw = (info->flags & QCOWFMT_INFO_DATA_FILE_RAW) != 0,
	};

	if (is_legal_value(w, &w->trait_history, traits_stamp(&traits),
	                   position))
		return true;
	printf("version %u, %u bits, lazy %d, on '%s', data file '%s', raw %d\n",
	       info->version, info->refcount_bits, traits.lazy,
	       info->backing_filename != NULL ? info->backing_filename : "",
	       info->data_filename != NULL ? info->data_filename : "",
	       traits.data_raw);
	return false;
}

/* A key slot is not in use as long as its key does not open the image. */
static bool slots_are_legal(struct qcowfmt_image *image, uint64_t keys)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	int wanted = (keys & KEY_FIRST) != 0 ? 1 : 0;
	int active = 0;

	wanted += (keys & KEY_OTHER) != 0 ? 1 : 0;
	if (qcowfmt_get_encryption_info(image, 0, &info, NULL) < 0)
		return false;
	for (int i = 0; i < QCOWFMT_KEY_SLOT_COUNT; i++)
		active += info.slots[i].active != 0 ? 1 : 0;
	if (active != wanted)
		printf("%d key slots are in use\n", active);
	return active == wanted;
}

bool world_keys_are_legal(struct world *w, struct qcowfmt_image *image,
                          const struct crash_state *state)
{
	uint64_t keys = 0;

	if (w->keys.count == 1)
		return true;
	if (world_secret_opens(w, state->image, state->data, CRASH_SECRET))
		keys |= KEY_FIRST;
	if (world_secret_opens(w, state->image, state->data,
	                       CRASH_OTHER_SECRET))
		keys |= KEY_OTHER;
	if (is_legal_value(w, &w->keys, keys, state->position))
		return slots_are_legal(image, keys);
	printf("keys %" PRIu64 " open it at position %zu\n", keys,
	       state->position);
	return false;
}

/* ----------------------------------------------------------------- snapshots */

static bool is_listed(const struct qcowfmt_snapshot_list *list, const char *id)
{
	struct qcowfmt_snapshot snapshot = { .struct_size = sizeof(snapshot) };

	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++) {
		if (qcowfmt_snapshot_list_get(list, i, &snapshot, NULL) == 0 &&
		    strcmp(snapshot.id, id) == 0)
			return true;
	}
	return false;
}

/* What a snapshot has of a cluster is the newest content from back then. */
static bool kept_is_right(const struct world *w,
                          const struct world_snapshot *snapshot,
                          const uint8_t *bytes, uint64_t cluster)
{
	for (uint64_t i = 0; i < w->sectors_per_cluster; i++) {
		uint64_t sector = cluster * w->sectors_per_cluster + i;
		const struct sector *s = &w->clusters[cluster][i];
		int newest = snapshot->contents[sector] - 1;

		if (sector_holds(bytes + i * SECTOR_SIZE,
		                 s->contents[newest].stamp))
			continue;
		printf("sector %" PRIu64 " of snapshot %s reads as stamp "
		       "%#" PRIx64 " instead of %#" PRIx64 "\n",
		       sector, snapshot->id,
		       sector_stamp(bytes + i * SECTOR_SIZE),
		       s->contents[newest].stamp);
		return false;
	}
	return true;
}

static bool vm_state_is_right(const struct world *w,
                              const struct world_snapshot *snapshot,
                              struct qcowfmt_image *image)
{
	bool fine = snapshot->vm_stamp == 0 ||
	            qcowfmt_vm_state_pread(image, w->buffer,
	                                   VM_STATE_SECTORS * SECTOR_SIZE, 0,
	                                   NULL) == 0;

	for (uint64_t i = 0;
	     fine && snapshot->vm_stamp != 0 && i < VM_STATE_SECTORS; i++)
		fine = sector_holds(w->buffer + i * SECTOR_SIZE,
		                    snapshot->vm_stamp + i);
	if (!fine)
		printf("snapshot %s has lost its VM state\n", snapshot->id);
	return fine;
}

static bool snapshot_is_right(struct world *w,
                              const struct world_snapshot *snapshot,
                              struct byte_image *bytes)
{
	struct qcowfmt_image *image =
		world_open_snapshot(w, bytes, snapshot->id);
	bool fine = image != NULL;

	for (uint64_t c = 0; fine && c < w->geometry->virtual_clusters; c++) {
		if (w->clusters[c] != NULL)
			fine = read_clusters(w, image, c, 1) &&
			       kept_is_right(w, snapshot, w->buffer, c);
	}
	fine = fine && vm_state_is_right(w, snapshot, image);
	return qcowfmt_close(image, NULL) == 0 && fine;
}

bool world_snapshots_are_legal(struct world *w, struct qcowfmt_image *image,
                               struct byte_image *bytes, size_t position)
{
	struct qcowfmt_snapshot_list *list = NULL;
	bool fine = w->snapshot_count == 0 ||
	            qcowfmt_snapshot_list(image, 0, &list, NULL) == 0;

	for (int i = 0; fine && i < w->snapshot_count; i++) {
		const struct world_snapshot *s = &w->snapshots[i];
		bool there = is_listed(list, s->id);

		if (there)
			fine = (position > s->begun || s->there == 0) &&
			       (position < s->gone || s->gone == SIZE_MAX) &&
			       snapshot_is_right(w, s, bytes);
		else
			fine = position < s->there || position > s->ending;
		if (!fine)
			printf("snapshot %s is %s at position %zu\n", s->id,
			       there ? "there" : "not there", position);
	}
	qcowfmt_snapshot_list_free(list);
	return fine;
}
