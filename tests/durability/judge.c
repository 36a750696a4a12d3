/* SPDX-License-Identifier: MIT */
/*
 * judge.c - is an image what its writer promised?
 *
 * Each sector is as the last operation before an acknowledged flush left it, or as
 * a later one that may have been under way.  Snapshots are there or gone as was
 * said, and hold the moment they were taken at, exactly.  A bitmap that is
 * consistent has all that was written and acknowledged while it was enabled, and
 * nothing else if it was disabled then.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"

#define PIECE 2048u /* sectors read at once */

static void read_disk(struct qcowfmt_image *image, stamp *sectors)
{
	static uint8_t buffer[PIECE * SECTOR];
	struct qcowfmt_error *error = NULL;

	for (uint32_t i = 0; i < SECTORS; i++) {
		uint32_t in_piece = i % PIECE;

		if (in_piece == 0 &&
		    qcowfmt_pread(image, buffer, sizeof(buffer),
		                  (uint64_t)i * SECTOR, &error) < 0)
			fail("reading", error);
		if (!history_read(buffer + (size_t)in_piece * SECTOR, i,
		                  &sectors[i])) {
			fprintf(stderr,
			        "sector %" PRIu32 " was never written so\n", i);
			exit(EXIT_FAILURE);
		}
	}
}

static void wrong_sector(const char *where, uint32_t i, stamp found,
                         stamp expected)
{
	fprintf(stderr,
	        "%s: sector %" PRIu32 " holds %" PRIx32 " instead of %" PRIx32
	        "\n",
	        where, i, found, expected);
	exit(EXIT_FAILURE);
}

static void judge_disk(const struct history *h, const struct promises *p,
                       const stamp *expected, const stamp *found)
{
	for (uint32_t i = 0; i < SECTORS; i++) {
		if (found[i] != expected[i] &&
		    !history_may_follow(h, &p->flushed, i, found[i]))
			wrong_sector("disk", i, found[i], expected[i]);
	}
}

/* ------------------------------------------------------------------- snapshots */

static uint64_t hash_of(const stamp *sectors)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (uint32_t i = 0; i < SECTORS; i++)
		hash = (hash ^ sectors[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static bool remembered(const struct seen *seen, const char *name,
                       uint64_t *hash)
{
	for (uint32_t i = 0; i < seen->kept; i++) {
		if (strcmp(seen->snapshots[i].name, name) == 0) {
			*hash = seen->snapshots[i].hash;
			return true;
		}
	}
	return false;
}

static uint64_t judge_snapshot(const char *path, const struct history *h,
                               const char *name, const struct seen *before)
{
	static stamp found[SECTORS];
	static stamp expected[SECTORS];
	struct qcowfmt_image *image = image_disk_open(path, name, 0);
	struct moment moment;
	uint64_t hash;
	uint32_t first;

	read_disk(image, found);
	(void)qcowfmt_close(image, NULL);
	if (remembered(before, name, &hash)) {
		if (hash != hash_of(found))
			fail("an old snapshot has changed", NULL);
		return hash;
	}
	if (!image_disk_parse_name(name, &first, &moment))
		fail("a snapshot nobody made", NULL);
	memcpy(expected, before->sectors, sizeof(expected));
	history_replay(h, expected, first, &moment);
	for (uint32_t i = 0; i < SECTORS; i++) {
		if (found[i] != expected[i])
			wrong_sector(name, i, found[i], expected[i]);
	}
	return hash_of(found);
}

static void expect_presence(const struct promises *p, char kind,
                            const char *const *names, uint32_t count)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct thing *t = &p->things[i];
		bool found = false;

		for (uint32_t n = 0; n < count; n++)
			found |= strcmp(names[n], t->name) == 0;
		if (t->kind != kind || t->may_change || found == !t->is_gone)
			continue;
		fprintf(stderr, "%c %s is %s\n", kind, t->name,
		        found ? "not gone" : "missing");
		exit(EXIT_FAILURE);
	}
}

/* Each that is there was announced, or has been there before. */
static void expect_announced(const struct promises *p, const struct seen *seen,
                             const char *name)
{
	uint64_t hash;

	if (promises_find(p, 's', name) == NULL &&
	    !remembered(seen, name, &hash))
		fail("a snapshot nobody made", NULL);
}

static void judge_snapshots(const char *path, struct qcowfmt_image *image,
                            const struct history *h, const struct promises *p,
                            struct seen *seen)
{
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };
	struct qcowfmt_snapshot_list *list = NULL;
	const char *names[MAX_KEPT];
	static struct seen now;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_snapshot_list(image, 0, &list, &error) < 0)
		fail("listing snapshots", error);
	now.kept = qcowfmt_snapshot_list_count(list);
	if (now.kept > MAX_KEPT)
		fail("too many snapshots", NULL);
	for (uint32_t i = 0; i < now.kept; i++) {
		if (qcowfmt_snapshot_list_get(list, i, &s, &error) < 0)
			fail("listing snapshots", error);
		names[i] = s.name;
		expect_announced(p, seen, s.name);
		snprintf(now.snapshots[i].name, NAME_ROOM, "%s", s.name);
		now.snapshots[i].hash = judge_snapshot(path, h, s.name, seen);
	}
	expect_presence(p, 's', names, now.kept);
	qcowfmt_snapshot_list_free(list);
	seen->kept = now.kept;
	memcpy(seen->snapshots, now.snapshots, sizeof(now.snapshots));
}

/* --------------------------------------------------------------------- bitmaps */

/* Mark the units that operations after "from" and up to "to" changed. */
static void mark_written(const struct history *h, const struct moment *from,
                         const struct moment *to, uint32_t unit, bool *marks)
{
	for (uint32_t t = 0; t < h->threads; t++) {
		for (uint32_t n = from->number[t] + 1; n <= to->number[t];
		     n++) {
			struct operation op = history_operation(h, t, n);
			uint32_t last = (op.first + op.count - 1) / unit;

			for (uint32_t u = op.first / unit; u <= last; u++)
				marks[u] = true;
		}
	}
}

static void read_bitmap(struct qcowfmt_image *image, const char *name,
                        uint32_t unit, bool *marks)
{
	struct qcowfmt_error *error = NULL;
	uint64_t offset = 0;
	uint64_t len = 0;
	int ret;

	while ((ret = qcowfmt_bitmap_next(image, name, offset + len, &offset,
	                                  &len, &error)) > 0) {
		for (uint64_t s = offset / SECTOR; s < (offset + len) / SECTOR;
		     s++)
			marks[s / unit] = true;
	}
	if (ret < 0)
		fail("reading a bitmap", error);
}

static void judge_content(struct qcowfmt_image *image, const struct history *h,
                          const struct promises *p, const struct thing *t,
                          const struct qcowfmt_bitmap *b)
{
	bool written[SECTORS] = { false };
	bool found[SECTORS] = { false };
	uint32_t unit = (uint32_t)(b->granularity / SECTOR);
	bool is_over = (b->flags & QCOWFMT_BITMAP_ENABLED) == 0;
	struct moment from = { { 0 } };
	uint32_t first;

	/* One that an earlier writer left. */
	if (!image_disk_parse_name(t->name, &first, &from) || !t->is_there)
		return;
	if (is_over && !t->has_end)
		fail("a bitmap is disabled", NULL);
	mark_written(h, &from, is_over ? &t->end : &p->flushed, unit, written);
	read_bitmap(image, t->name, unit, found);
	for (uint32_t u = 0; u < SECTORS / unit; u++) {
		if (written[u] == found[u] || (found[u] && !is_over))
			continue;
		fprintf(stderr, "bitmap %s: unit %" PRIu32 " is %s\n", t->name,
		        u, found[u] ? "dirty" : "clean");
		exit(EXIT_FAILURE);
	}
}

static void judge_bitmap(struct qcowfmt_image *image, const struct history *h,
                         const struct promises *p,
                         const struct qcowfmt_bitmap *b)
{
	const struct thing *t = promises_find(p, 'b', b->name);
	bool consistent = (b->flags & QCOWFMT_BITMAP_INCONSISTENT) == 0;

	if (t == NULL)
		return;
	if (t->is_disabled && (b->flags & QCOWFMT_BITMAP_ENABLED) != 0)
		fail("a bitmap is enabled again", NULL);
	if (consistent)
		judge_content(image, h, p, t, b);
}

static void judge_bitmaps(struct qcowfmt_image *image, const struct history *h,
                          const struct promises *p)
{
	struct qcowfmt_bitmap b = { .struct_size = sizeof(b) };
	struct qcowfmt_bitmap_list *list = NULL;
	const char *names[MAX_KEPT];
	struct qcowfmt_error *error = NULL;
	uint32_t count;

	if (qcowfmt_bitmap_list(image, 0, &list, &error) < 0)
		fail("listing bitmaps", error);
	count = qcowfmt_bitmap_list_count(list);
	if (count > MAX_KEPT)
		fail("too many bitmaps", NULL);
	for (uint32_t i = 0; i < count; i++) {
		if (qcowfmt_bitmap_list_get(list, i, &b, &error) < 0)
			fail("listing bitmaps", error);
		names[i] = b.name;
		judge_bitmap(image, h, p, &b);
	}
	expect_presence(p, 'b', names, count);
	qcowfmt_bitmap_list_free(list);
}

/* The programs check the others, as QEMU's do, not version 1. */
static void check_version_1(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_get_info(image, 0, &info, &error) < 0)
		fail("what is it", error);
	if (info.version != 1)
		return;
	if (qcowfmt_check(image, 0, NULL, NULL, &r, &error) < 0)
		fail("checking", error);
	if (r.corruptions != 0 || r.check_errors != 0)
		fail("the image is corrupt", NULL);
}

void judge_image(const char *path, const struct history *h, uint32_t first,
                 const struct promises *p, struct seen *seen)
{
	static stamp expected[SECTORS];
	static stamp found[SECTORS];
	struct qcowfmt_image *image = image_disk_open(path, NULL, 0);

	memcpy(expected, seen->sectors, sizeof(expected));
	history_replay(h, expected, first, &p->flushed);
	check_version_1(image);
	read_disk(image, found);
	judge_disk(h, p, expected, found);
	judge_snapshots(path, image, h, p, seen);
	judge_bitmaps(image, h, p);
	(void)qcowfmt_close(image, NULL);
	memcpy(seen->sectors, found, sizeof(found));
}
