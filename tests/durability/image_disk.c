/* SPDX-License-Identifier: MIT */
/*
 * image_disk.c - an image as the disk of a team of writers
 *
 * A power cut makes calls fail before the process is killed: a failure is printed
 * and ends the work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image_disk.h"

/* Snapshots that stay while others are made. */
#define SNAPSHOTS_KEPT 3u

static const char secret[] = "hunter2";

struct image_disk {
	struct qcowfmt_image *image;
	uint32_t first;
	const struct image_habits *habits;
	uint32_t turn;
	char snapshots[SNAPSHOTS_KEPT][NAME_ROOM];
	char bitmap[NAME_ROOM];
};

void fail(const char *what, const struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what,
	        error == NULL ? "" : qcowfmt_error_message(error));
	exit(EXIT_FAILURE);
}

/* 0, or -1 after a message. */
static int outcome(const char *what, int ret, struct qcowfmt_error *error)
{
	if (ret >= 0)
		return 0;
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return -1;
}

/* ----------------------------------------------------------------------- names */

void image_disk_name(char name[NAME_ROOM], uint32_t first,
                     const struct moment *done)
{
	const uint32_t *n = done->number;

	snprintf(name, NAME_ROOM,
	         "%" PRIu32 ":%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32,
	         first, n[0], n[1], n[2], n[3]);
}

bool image_disk_parse_name(const char *name, uint32_t *first,
                           struct moment *done)
{
	uint32_t *n = done->number;

	return sscanf(name,
	              "%" SCNu32 ":%" SCNu32 ",%" SCNu32 ",%" SCNu32
	              ",%" SCNu32,
	              first, &n[0], &n[1], &n[2], &n[3]) == 5;
}

/* --------------------------------------------------------------------- opening */

static int64_t give_secret(void *opaque,
                           const struct qcowfmt_secret_request *request,
                           void *buffer, size_t room)
{
	(void)opaque;
	(void)request;
	if (room < strlen(secret))
		return -1;
	memcpy(buffer, secret, strlen(secret));
	return (int64_t)strlen(secret);
}

struct qcowfmt_image *image_disk_open(const char *path, const char *snapshot,
                                      uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_PROBE,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
		.secret_callback = give_secret,
		.snapshot_name = snapshot,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		fail("opening", error);
	if (qcowfmt_get_size(image) != (uint64_t)SECTORS * SECTOR)
		fail("the disk has another size", NULL);
	return image;
}

/* --------------------------------------------------------------------- writing */

static int write_data(void *opaque, const void *buffer, size_t len,
                      uint64_t offset)
{
	struct image_disk *d = opaque;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_pwrite(d->image, buffer, len, offset, &error);

	return outcome("writing", ret, error);
}

static int write_zeroes(void *opaque, uint64_t len, uint64_t offset)
{
	struct image_disk *d = opaque;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_write_zeroes(d->image, offset, len,
	                               QCOWFMT_ZERO_MAY_UNMAP, &error);

	return outcome("writing zeros", ret, error);
}

static int flush(void *opaque)
{
	struct image_disk *d = opaque;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_flush(d->image, &error);

	return outcome("flushing", ret, error);
}

/* ------------------------------------------------------------------- snapshots */

static int delete_snapshot(struct image_disk *d, const char *name)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	if (team_say(STDOUT_FILENO, "s? %s\n", name) < 0)
		return -1;
	ret = qcowfmt_snapshot_delete(d->image, NULL, name, &error);
	if (outcome("deleting a snapshot", ret, error) < 0)
		return -1;
	return team_say(STDOUT_FILENO, "s- %s\n", name);
}

static int create_snapshot(struct image_disk *d, const struct moment *done)
{
	char *name = d->snapshots[d->turn % SNAPSHOTS_KEPT];
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	if (name[0] != '\0' && delete_snapshot(d, name) < 0)
		return -1;
	image_disk_name(name, d->first, done);
	if (team_say(STDOUT_FILENO, "s! %s\n", name) < 0)
		return -1;
	ret = qcowfmt_snapshot_create(d->image, &options, &error);
	if (outcome("taking a snapshot", ret, error) < 0)
		return -1;
	return team_say(STDOUT_FILENO, "s+ %s\n", name);
}

/* The first ones are those of a writer that was killed. */
static int delete_old_snapshots(struct image_disk *d)
{
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };
	struct qcowfmt_snapshot_list *list = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_snapshot_list(d->image, 0, &list, &error);

	if (outcome("listing snapshots", ret, error) < 0)
		return -1;
	for (uint32_t i = 0;
	     ret == 0 && i + SNAPSHOTS_KEPT < qcowfmt_snapshot_list_count(list);
	     i++) {
		if (qcowfmt_snapshot_list_get(list, i, &s, NULL) == 0)
			ret = delete_snapshot(d, s.name);
	}
	qcowfmt_snapshot_list_free(list);
	return ret;
}

/* --------------------------------------------------------------------- bitmaps */

static int change_bitmap(struct image_disk *d, const char *name,
                         enum qcowfmt_bitmap_kind kind)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = d->image,
		.name = name,
		.kind = (int32_t)kind,
	};
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_bitmap_change(&action, 1, NULL, &error);

	return outcome("changing a bitmap", ret, error);
}

static int remove_bitmap(struct image_disk *d, const char *name)
{
	if (team_say(STDOUT_FILENO, "b? %s\n", name) < 0 ||
	    change_bitmap(d, name, QCOWFMT_BITMAP_REMOVE) < 0)
		return -1;
	return team_say(STDOUT_FILENO, "b- %s\n", name);
}

static int remove_old_bitmaps(struct image_disk *d)
{
	struct qcowfmt_bitmap b = { .struct_size = sizeof(b) };
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_bitmap_list(d->image, 0, &list, &error);

	if (outcome("listing bitmaps", ret, error) < 0)
		return -1;
	for (uint32_t i = 0; ret == 0 && i < qcowfmt_bitmap_list_count(list);
	     i++) {
		if (qcowfmt_bitmap_list_get(list, i, &b, NULL) == 0)
			ret = remove_bitmap(d, b.name);
	}
	qcowfmt_bitmap_list_free(list);
	return ret;
}

static int add_bitmap(struct image_disk *d, const struct moment *done)
{
	image_disk_name(d->bitmap, d->first, done);
	if (team_say(STDOUT_FILENO, "b! %s\n", d->bitmap) < 0 ||
	    change_bitmap(d, d->bitmap, QCOWFMT_BITMAP_ADD) < 0)
		return -1;
	return team_say(STDOUT_FILENO, "b+ %s\n", d->bitmap);
}

static int disable_bitmap(struct image_disk *d, const struct moment *done)
{
	char moment[NAME_ROOM];

	image_disk_name(moment, d->first, done);
	if (team_say(STDOUT_FILENO, "b= %s %s\n", d->bitmap, moment) < 0 ||
	    change_bitmap(d, d->bitmap, QCOWFMT_BITMAP_DISABLE) < 0)
		return -1;
	return team_say(STDOUT_FILENO, "b# %s\n", d->bitmap);
}

/* Each bitmap is added, disabled one turn later and removed after another. */
static int next_bitmap(struct image_disk *d, const struct moment *done)
{
	switch (d->turn % 3) {
	case 0:
		return add_bitmap(d, done);
	case 1:
		return disable_bitmap(d, done);
	default:
		return remove_bitmap(d, d->bitmap);
	}
}

static int keep(void *opaque, const struct moment *done)
{
	struct image_disk *d = opaque;
	int ret = 0;

	if (d->habits->bitmaps)
		ret = next_bitmap(d, done);
	if (ret == 0 && d->habits->snapshots)
		ret = create_snapshot(d, done);
	d->turn++;
	return ret;
}

void image_disk_write(const char *path, const struct history *h, uint32_t first,
                      const struct image_habits *habits)
{
	struct image_disk d = { .first = first, .habits = habits };
	struct disk disk = {
		.opaque = &d,
		.write = write_data,
		.zero = write_zeroes,
		.flush = flush,
		.keep = keep,
	};
	uint32_t flags = QCOWFMT_OPEN_READ_WRITE;

	if (habits->direct)
		flags |= QCOWFMT_OPEN_DIRECT;
	d.image = image_disk_open(path, NULL, flags);
	if ((!habits->bitmaps || remove_old_bitmaps(&d) == 0) &&
	    (!habits->snapshots || delete_old_snapshots(&d) == 0))
		team_run(&disk, h, first, STDOUT_FILENO);
	(void)qcowfmt_close(d.image, NULL);
}
