/* SPDX-License-Identifier: MIT */
/*
 * snapshots.c - list the snapshots inside an image, and what changed since
 *
 *   snapshots IMAGE
 *
 * Makes an image with two snapshots.  Then, as a program would that found the
 * image, it lists them, opens each as an image of its own, and compares where
 * its data lies with where that of the disk lies now: a snapshot shares its
 * clusters with the disk until the guest writes, so what has moved has changed.
 * No data is read for that.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qcowfmt.h>

#define DISK_SIZE (64u << 20)
#define BLOCK     (1u << 20)

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static struct qcowfmt_image *open_image(const char *path, uint32_t flags,
                                        const char *snapshot_id)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.snapshot_id = snapshot_id,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		report("open", error);
	return image;
}

/* ------------------------------------------------------------------- making */

/* Overwrite blocks of the disk, then keep its state under a name. */
static int write_and_keep(struct qcowfmt_image *image, uint64_t first,
                          uint64_t count, const char *name)
{
	static unsigned char data[BLOCK];
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
	};
	struct qcowfmt_error *error = NULL;

	memset(data, (int)(first + 1), sizeof(data));
	for (uint64_t i = first; i < first + count; i++) {
		if (qcowfmt_pwrite(image, data, BLOCK, i * BLOCK, &error) < 0)
			return report("write", error);
	}
	if (name && qcowfmt_snapshot_create(image, &options, &error) < 0)
		return report("snapshot", error);
	return 0;
}

static int make(const char *path)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK_SIZE,
	};
	struct qcowfmt_image *image;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	image = open_image(path, QCOWFMT_OPEN_READ_WRITE, NULL);
	if (!image)
		return 1;
	if (write_and_keep(image, 0, 8, "before") ||
	    write_and_keep(image, 2, 3, "between") ||
	    write_and_keep(image, 4, 1, NULL)) {
		qcowfmt_close(image, NULL);
		return 1;
	}
	if (qcowfmt_close(image, &error) < 0)
		return report("close", error);
	return 0;
}

/* ---------------------------------------------------------------- comparing */

/* Whether two ranges have the same content because they are the same bytes. */
static int is_same_place(const struct qcowfmt_extent *a,
                         const struct qcowfmt_extent *b)
{
	if (a->kind == QCOWFMT_EXTENT_DATA && b->kind == QCOWFMT_EXTENT_DATA)
		return a->host_offset == b->host_offset;
	/* Compressed data may be the same or not: the map does not tell. */
	return a->kind == b->kind && a->kind != QCOWFMT_EXTENT_COMPRESSED;
}

/* Count the bytes of the disk that are no longer where then has them. */
static int count_changed(struct qcowfmt_image *now, struct qcowfmt_image *then,
                         uint64_t *changed)
{
	uint64_t size = qcowfmt_get_size(then);
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_extent a;
	struct qcowfmt_extent b;

	/* A disk that has grown since did not lose anything. */
	if (qcowfmt_get_size(now) < size)
		size = qcowfmt_get_size(now);
	*changed = 0;
	for (uint64_t offset = 0; offset < size; offset += a.length) {
		if (qcowfmt_map(then, offset, size - offset, 0, &a, 1, &error) <
		            0 ||
		    qcowfmt_map(now, offset, a.length, 0, &b, 1, &error) < 0)
			return report("map", error);
		/* Go on by the shorter of the two. */
		a.length = b.length;
		if (!is_same_place(&a, &b))
			*changed += a.length;
	}
	return 0;
}

static int show(struct qcowfmt_image *now, const char *path,
                const struct qcowfmt_snapshot *snapshot)
{
	struct qcowfmt_image *then = open_image(path, 0, snapshot->id);
	uint64_t changed = 0;
	int failed;

	if (!then)
		return 1;
	failed = count_changed(now, then, &changed);
	qcowfmt_close(then, NULL);
	if (!failed)
		printf("%s \"%s\": %" PRIu64 " bytes changed since\n",
		       snapshot->id, snapshot->name, changed);
	return failed;
}

static int show_all(struct qcowfmt_image *image, const char *path)
{
	struct qcowfmt_snapshot_list *list = NULL;
	struct qcowfmt_error *error = NULL;
	int failed = 0;

	if (qcowfmt_snapshot_list(image, 0, &list, &error) < 0)
		return report("list", error);
	for (uint32_t i = 0; !failed && i < qcowfmt_snapshot_list_count(list);
	     i++) {
		struct qcowfmt_snapshot snapshot = {
			.struct_size = sizeof(snapshot),
		};

		if (qcowfmt_snapshot_list_get(list, i, &snapshot, &error) < 0)
			failed = report("entry", error);
		else
			failed = show(image, path, &snapshot);
	}
	qcowfmt_snapshot_list_free(list);
	return failed;
}

int main(int argc, char **argv)
{
	struct qcowfmt_image *image;
	int failed;

	if (argc != 2) {
		fprintf(stderr, "usage: snapshots IMAGE\n");
		return 2;
	}
	if (make(argv[1]))
		return 1;
	/* Read-only, so that both can be open at once. */
	image = open_image(argv[1], 0, NULL);
	if (!image)
		return 1;
	failed = show_all(image, argv[1]);
	qcowfmt_close(image, NULL);
	return failed;
}
