/* SPDX-License-Identifier: MIT */
/*
 * incremental_backup.c - copy what changed since the backup before
 *
 *   incremental_backup DIRECTORY
 *
 * Makes DIRECTORY/disk.qcow2 and backs it up into DIRECTORY/backup.qcow2: all of
 * it the first time, and after some writes only what they touched.
 *
 * What to take away: a dirty bitmap lives in the image.  While it is enabled,
 * every write of any program that knows bitmaps is recorded in it, also by QEMU
 * and after closing and opening again.  Clear it only once the backup is
 * stable: a crash between the two makes the next backup copy too much, never too
 * little.  An image whose last user crashed has an inconsistent bitmap, which
 * says nothing any more: remove it and begin with a full backup.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qcowfmt.h>

#define DISK_SIZE   (64u << 20)
#define BUFFER_SIZE (1u << 20)
#define BITMAP      "backup"

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static int create(const char *path)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK_SIZE,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	return 0;
}

static struct qcowfmt_image *open_image(const char *path, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		report("open", error);
	return image;
}

static int close_image(struct qcowfmt_image *image, int failed)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_close(image, &error) < 0 && !failed)
		return report("close", error);
	qcowfmt_error_free(error);
	return failed;
}

/* ------------------------------------------------------------------ backups */

static int change_bitmap(struct qcowfmt_image *image, int kind)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = BITMAP,
		.kind = kind,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_bitmap_change(&action, 1, NULL, &error) < 0)
		return report("bitmap", error);
	return 0;
}

static int copy_range(struct qcowfmt_image *source,
                      struct qcowfmt_image *target, uint64_t offset,
                      uint64_t len)
{
	static unsigned char buffer[BUFFER_SIZE];
	struct qcowfmt_error *error = NULL;

	while (len > 0) {
		size_t part = len < BUFFER_SIZE ? (size_t)len : BUFFER_SIZE;

		if (qcowfmt_pread(source, buffer, part, offset, &error) < 0)
			return report("read", error);
		if (qcowfmt_pwrite(target, buffer, part, offset, &error) < 0)
			return report("write", error);
		offset += part;
		len -= part;
	}
	return 0;
}

/* Copy what the bitmap says; how many bytes, or -1. */
static int64_t copy_dirty(struct qcowfmt_image *source,
                          struct qcowfmt_image *target)
{
	struct qcowfmt_error *error = NULL;
	uint64_t offset = 0;
	uint64_t len = 0;
	int64_t copied = 0;
	int found;

	for (;;) {
		found = qcowfmt_bitmap_next(source, BITMAP, offset + len,
		                            &offset, &len, &error);
		if (found <= 0)
			break;
		if (copy_range(source, target, offset, len))
			return -1;
		copied += (int64_t)len;
	}
	if (found < 0) {
		report("bitmap", error);
		return -1;
	}
	return copied;
}

/* Everything, and record what is written from here on. */
static int back_up_all(struct qcowfmt_image *source,
                       struct qcowfmt_image *target)
{
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_error *error = NULL;

	/* First the bitmap, then the copy, so that nothing is missed that is
	 * written meanwhile. */
	if (change_bitmap(source, QCOWFMT_BITMAP_ADD))
		return 1;
	if (qcowfmt_convert(&source, 1, target, &options, &error) < 0)
		return report("copy", error);
	printf("full backup of %u bytes\n", DISK_SIZE);
	return 0;
}

/*
 * Nothing may write to the source between the copy and clearing the bitmap, or
 * it would be forgotten.  A program that cannot stop the guest adds a second
 * bitmap and merges instead: qcowfmt_bitmap_change() does both in one step.
 */
static int back_up_changes(struct qcowfmt_image *source,
                           struct qcowfmt_image *target)
{
	struct qcowfmt_error *error = NULL;
	int64_t copied = copy_dirty(source, target);

	if (copied < 0)
		return 1;
	if (qcowfmt_flush(target, &error) < 0)
		return report("flush", error);
	if (change_bitmap(source, QCOWFMT_BITMAP_CLEAR))
		return 1;
	printf("incremental backup of %" PRId64 " bytes\n", copied);
	return 0;
}

static int back_up(const char *path, const char *backup,
                   int (*how)(struct qcowfmt_image *, struct qcowfmt_image *))
{
	struct qcowfmt_image *source;
	struct qcowfmt_image *target;
	int failed;

	source = open_image(path, QCOWFMT_OPEN_READ_WRITE);
	if (!source)
		return 1;
	target = open_image(backup, QCOWFMT_OPEN_READ_WRITE);
	if (!target)
		return close_image(source, 1);
	failed = close_image(target, how(source, target));
	return close_image(source, failed);
}

/* --------------------------------------------------------------------- main */

/* What a guest would do between two backups. */
static int write_text(const char *path, const char *text, uint64_t offset)
{
	struct qcowfmt_image *image;
	struct qcowfmt_error *error = NULL;
	int failed = 0;

	image = open_image(path, QCOWFMT_OPEN_READ_WRITE);
	if (!image)
		return 1;
	if (qcowfmt_pwrite(image, text, strlen(text), offset, &error) < 0)
		failed = report("write", error);
	return close_image(image, failed);
}

static int compare(const char *path, const char *backup)
{
	static unsigned char first[BUFFER_SIZE];
	static unsigned char second[BUFFER_SIZE];
	struct qcowfmt_image *a = open_image(path, 0);
	struct qcowfmt_image *b = open_image(backup, 0);
	int same = a && b;

	for (uint64_t offset = 0; same && offset < DISK_SIZE;
	     offset += BUFFER_SIZE)
		same = qcowfmt_pread(a, first, BUFFER_SIZE, offset, NULL) ==
		               0 &&
		       qcowfmt_pread(b, second, BUFFER_SIZE, offset, NULL) ==
		               0 &&
		       memcmp(first, second, BUFFER_SIZE) == 0;
	qcowfmt_close(a, NULL);
	qcowfmt_close(b, NULL);
	printf("the backup is %s\n", same ? "the same" : "different");
	return !same;
}

int main(int argc, char **argv)
{
	char disk[4096];
	char backup[4096];

	if (argc != 2 || strlen(argv[1]) > sizeof(disk) - 32) {
		fprintf(stderr, "usage: incremental_backup DIRECTORY\n");
		return 2;
	}
	snprintf(disk, sizeof(disk), "%s/disk.qcow2", argv[1]);
	snprintf(backup, sizeof(backup), "%s/backup.qcow2", argv[1]);

	return create(disk) || create(backup) ||
	       write_text(disk, "an old file system", 1 << 20) ||
	       back_up(disk, backup, back_up_all) ||
	       write_text(disk, "a new file", 3 << 20) ||
	       write_text(disk, "another one", 40 << 20) ||
	       back_up(disk, backup, back_up_changes) || compare(disk, backup);
}
