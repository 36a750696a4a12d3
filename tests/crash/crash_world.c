/* SPDX-License-Identifier: MIT */
/*
 * crash_world.c - an image on recording storage, and what its guest may find
 *
 * What an operation is about to change is remembered before it begins, with the
 * length of the log then: nothing of it can be in a state from before.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "auto.h"
#include "crash_world.h"
#include "image_storage.h"
#include "scratch.h"

#define CAPACITY (24u << 20)

static void __attribute__((noreturn))
give_up(const struct world *w, const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s, %s: %s: %s\n", w->geometry->name,
	        w->sequence != NULL ? w->sequence : "set-up", what,
	        qcowfmt_error_message(error));
	exit(EXIT_FAILURE);
}

static void guard(const struct world *w, bool inside)
{
	if (w->guard != NULL)
		w->guard(inside);
}

/* Take note of what an operation returned.  The error object must say the
 * same, and be there exactly if it failed. */
static bool succeeded(struct world *w, const char *what, int ret,
                      struct qcowfmt_error *error)
{
	if (ret < 0 && w->plan == NULL && !w->may_fail)
		give_up(w, what, error);
	if ((error != NULL) != (ret < 0) ||
	    qcowfmt_error_errno(error) != (ret < 0 ? -ret : 0))
		give_up(w, "error object does not fit the result", error);
	w->result = ret;
	w->code = qcowfmt_error_code(error);
	w->failures += ret < 0 ? 1 : 0;
	qcowfmt_error_free(error);
	return ret == 0;
}

static void *need(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

/* ----------------------------------------------------------------- history */

static uint64_t new_stamp(const struct world *w, uint64_t sector)
{
	return w->generation << 32 | (sector + 1);
}

/* The backing file is full of generation 1. */
static uint64_t backing_stamp(const struct world *w, uint64_t sector)
{
	return w->geometry->backing ? UINT64_C(1) << 32 | (sector + 1) : 0;
}

static struct sector *sector_of(struct world *w, uint64_t sector)
{
	uint64_t cluster = sector / w->sectors_per_cluster;

	if (w->clusters[cluster] == NULL) {
		uint64_t first = cluster * w->sectors_per_cluster;
		struct sector *sectors =
			need(calloc(w->sectors_per_cluster, sizeof(*sectors)));

		for (uint64_t i = 0; i < w->sectors_per_cluster; i++) {
			sectors[i].count = 1;
			sectors[i].contents[0].stamp =
				backing_stamp(w, first + i);
		}
		w->clusters[cluster] = sectors;
	}
	return &w->clusters[cluster][sector % w->sectors_per_cluster];
}

/* Which of the contents that a sector may have now it has; -1 if none. */
static int find_content(struct world *w, uint64_t sector, const uint8_t *bytes)
{
	const struct sector *s = sector_of(w, sector);
	int i = s->count - 1;

	for (; i >= 0; i--) {
		if (sector_holds(bytes, s->contents[i].stamp))
			return i;
		if (!s->contents[i].uncertain)
			break;
	}
	return -1;
}

static void remember(struct world *w, uint64_t sector, uint64_t stamp,
                     size_t position)
{
	struct sector *s = sector_of(w, sector);

	if (s->count == MAX_CONTENTS)
		give_up(w, "too many contents for one sector", NULL);
	s->contents[s->count++] = (struct content){
		.stamp = stamp,
		.position = position,
		.turn = w->turn,
	};
}

/* The newest contents of a range may or may not have got there. */
static void doubt(struct world *w, uint64_t sector, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct sector *s = sector_of(w, sector + i);

		s->contents[s->count - 1].uncertain = true;
	}
}

/* What there is now is what there was before the log. */
static void forget_history(struct world *w)
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
}

/* Back to the first content; clusters that had none are dropped. */
static void rewind_history(struct world *w)
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
static void doubt_unstable(struct world *w)
{
	int last = w->acknowledgement_count - 1;
	uint32_t stable = last < 0 ? 1 : w->acknowledgements[last].turn;

	for (uint64_t c = 0; c < w->geometry->virtual_clusters; c++) {
		if (w->clusters[c] != NULL)
			doubt_cluster(w, w->clusters[c], stable);
	}
}

static void acknowledge(struct world *w)
{
	rec_log_mark(w->log);
	w->turn++;
	if (w->acknowledgement_count == MAX_ACKNOWLEDGEMENTS)
		give_up(w, "too many flushes", NULL);
	w->acknowledgements[w->acknowledgement_count++] =
		(struct acknowledgement){ w->log->count, w->turn };
}

/* ---------------------------------------------------------- guest operations */

void world_write(struct world *w, uint64_t sector, uint64_t count)
{
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;
	int ret;

	w->generation++;
	w->turn++;
	for (uint64_t i = 0; i < count; i++) {
		fill_sector(w->buffer + i * SECTOR_SIZE,
		            new_stamp(w, sector + i));
		remember(w, sector + i, new_stamp(w, sector + i), position);
	}
	guard(w, true);
	ret = qcowfmt_pwrite(w->image, w->buffer, count * SECTOR_SIZE,
	                     sector * SECTOR_SIZE, &error);
	guard(w, false);
	if (!succeeded(w, "write", ret, error))
		doubt(w, sector, count);
}

void world_zero(struct world *w, uint64_t sector, uint64_t count,
                uint32_t flags)
{
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;
	int ret;

	w->turn++;
	for (uint64_t i = 0; i < count; i++)
		remember(w, sector + i, 0, position);
	guard(w, true);
	ret = qcowfmt_write_zeroes(w->image, sector * SECTOR_SIZE,
	                           count * SECTOR_SIZE, flags, &error);
	guard(w, false);
	if (!succeeded(w, "write zeroes", ret, error))
		doubt(w, sector, count);
}

/* A discard zeroes whole clusters or leaves things as they are. */
static void learn_discarded(struct world *w, uint64_t sector, uint64_t count,
                            size_t position)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	guard(w, true);
	ret = qcowfmt_pread(w->image, w->buffer, count * SECTOR_SIZE,
	                    sector * SECTOR_SIZE, &error);
	guard(w, false);

	if (!succeeded(w, "read after discard", ret, error)) {
		for (uint64_t i = 0; i < count; i++)
			remember(w, sector + i, 0, position);
		doubt(w, sector, count);
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *bytes = w->buffer + i * SECTOR_SIZE;
		struct sector *s = sector_of(w, sector + i);
		int found = find_content(w, sector + i, bytes);

		if (found == s->count - 1 && !s->contents[found].uncertain)
			continue;
		if (found < 0 && !sector_holds(bytes, 0))
			give_up(w, "content after discard", NULL);
		remember(w, sector + i,
		         found < 0 ? 0 : s->contents[found].stamp, position);
	}
}

void world_discard(struct world *w, uint64_t sector, uint64_t count)
{
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;
	int ret;

	w->turn++;
	guard(w, true);
	ret = qcowfmt_discard(w->image, sector * SECTOR_SIZE,
	                      count * SECTOR_SIZE, &error);
	guard(w, false);
	if (succeeded(w, "discard", ret, error)) {
		learn_discarded(w, sector, count, position);
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		remember(w, sector + i, 0, position);
	doubt(w, sector, count);
}

void world_flush(struct world *w)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	guard(w, true);
	ret = qcowfmt_flush(w->image, &error);
	guard(w, false);
	if (succeeded(w, "flush", ret, error))
		acknowledge(w);
}

/* ------------------------------------------------------------ open and close */

static int give_backing(void *opaque, const struct qcowfmt_reference *reference,
                        struct qcowfmt_storage **storage, int32_t *format)
{
	const struct world *w = opaque;

	(void)reference;
	(void)format;
	guard(w, false);
	*storage = image_storage_new(w->backing, false);
	guard(w, true);
	return 0;
}

static struct qcowfmt_image *open_storage(const struct world *w,
                                          struct qcowfmt_storage *storage,
                                          bool writable,
                                          struct qcowfmt_error **errp)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = writable ? QCOWFMT_OPEN_READ_WRITE : 0,
		.reference_policy = w->geometry->backing
		                            ? QCOWFMT_REFERENCES_CALLBACK
		                            : QCOWFMT_REFERENCES_REFUSE,
		.reference_callback =
			w->geometry->backing ? give_backing : NULL,
		.reference_opaque = (void *)(uintptr_t)w,
		.cache_size = writable ? w->geometry->cache_size : 0,
	};
	struct qcowfmt_image *image = NULL;

	if (qcowfmt_open(storage, &options, &image, errp) == 0)
		return image;
	qcowfmt_storage_free(storage);
	return NULL;
}

struct qcowfmt_image *world_open(const struct world *w,
                                 struct byte_image *bytes, bool writable)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image = open_storage(
		w, image_storage_new(bytes, writable), writable, &error);

	if (image == NULL)
		printf("opening %s: %s\n",
		       writable ? "read-write" : "read-only",
		       qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return image;
}

static void open_recorded(struct world *w)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_storage *storage =
		w->unrecorded ? image_storage_new(w->log->now, true)
			      : rec_storage_new(w->log);
	int ret;

	if (w->plan != NULL)
		storage = fail_storage_new(storage, w->plan);
	guard(w, true);
	w->image = open_storage(w, storage, true, &error);
	guard(w, false);
	ret = w->image == NULL ? -qcowfmt_error_errno(error) : 0;
	(void)succeeded(w, "open", ret, error);
}

void world_close(struct world *w)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image = qcf_take(&w->image);

	if (image == NULL)
		return;

	int ret;

	guard(w, true);
	ret = qcowfmt_close(image, &error);
	guard(w, false);
	if (succeeded(w, "close", ret, error))
		acknowledge(w);
	else
		doubt_unstable(w);
}

void world_reopen(struct world *w)
{
	world_close(w);
	open_recorded(w);
}

void world_restart(struct world *w)
{
	w->sequence = NULL;
	world_close(w);
	rewind_history(w);
	byte_image_copy(w->log->now, w->start);
	rec_log_restart(w->log);
	open_recorded(w);
}

/* ------------------------------------------------------------------- set-up */

static void create(struct world *w)
{
	const struct geometry *g = w->geometry;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = g->virtual_clusters * g->cluster_size,
		.version = g->version,
		.cluster_size = g->cluster_size,
		.refcount_bits = g->refcount_bits,
		.flags = g->lazy ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0,
		.backing_filename = g->backing ? "backing" : NULL,
		.backing_format = g->backing ? "raw" : NULL,
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_storage *storage = rec_storage_new(w->log);

	if (qcowfmt_create(storage, &options, &error) < 0)
		give_up(w, "create", error);
	qcowfmt_storage_free(storage);
}

static void write_file(const struct world *w, const struct byte_image *image,
                       const char *path)
{
	size_t size = byte_image_size(image);
	FILE *file = fopen(path, "wb");

	if (file == NULL ||
	    fwrite(byte_image_bytes(image), 1, size, file) != size ||
	    fclose(file) != 0)
		give_up(w, path, NULL);
}

static void fill_backing(struct world *w)
{
	uint64_t sectors =
		w->geometry->virtual_clusters * w->sectors_per_cluster;

	w->backing = byte_image_new(sectors * SECTOR_SIZE);
	for (uint64_t i = 0; i < sectors; i++) {
		fill_sector(w->buffer, backing_stamp(w, i));
		byte_image_write(w->backing, i * SECTOR_SIZE, w->buffer,
		                 SECTOR_SIZE);
	}
	/* qemu-img wants to see it. */
	write_file(w, w->backing, scratch_path("backing"));
}

/* Give the first clusters content, and more elsewhere if the file is to be of
 * some size. */
static void fill(struct world *w)
{
	uint64_t c = 0;

	for (; c < w->geometry->filled; c++)
		world_write(w, c * w->sectors_per_cluster,
		            w->sectors_per_cluster);
	/* Away from where the operations are. */
	c = w->geometry->virtual_clusters / 4;
	while (byte_image_size(w->log->now) <
	       w->geometry->file_clusters * w->cluster_size) {
		world_write(w, c++ * w->sectors_per_cluster,
		            w->sectors_per_cluster);
		if (c % 64 == 0)
			world_flush(w);
		w->acknowledgement_count = 0;
		if (c == w->geometry->virtual_clusters)
			give_up(w, "fill", NULL);
	}
}

/* Snapshots are made by qemu-img, in a file; snapshot.raw is what they hold. */
static void take_snapshot(struct world *w, const char *qemu_img)
{
	const char *path = scratch_path("snapshot.qcow2");
	char command[1024];

	write_file(w, w->log->now, path);
	snprintf(command, sizeof(command), "%s snapshot -c before %s", qemu_img,
	         path);
	if (system(command) != 0 || !rec_log_load(w->log, path))
		give_up(w, "take snapshot", NULL);
	snprintf(command, sizeof(command), "%s convert -f qcow2 -O raw %s %s",
	         qemu_img, path, scratch_path("snapshot.raw"));
	if (system(command) != 0)
		give_up(w, "read snapshot", NULL);
}

static void compress_all(struct world *w, const char *qemu_img)
{
	const char *plain = scratch_path("plain.qcow2");
	const char *path = scratch_path("compressed.qcow2");
	char command[1024];

	write_file(w, w->log->now, plain);
	snprintf(command, sizeof(command),
	         "%s convert -c -f qcow2 -O qcow2 -o cluster_size=%u %s %s",
	         qemu_img, w->geometry->cluster_size, plain, path);
	if (system(command) != 0 || !rec_log_load(w->log, path))
		give_up(w, "compress", NULL);
}

struct world *world_new(const struct geometry *geometry, const char *qemu_img)
{
	struct world *w = need(calloc(1, sizeof(*w)));

	w->geometry = geometry;
	w->cluster_size = geometry->cluster_size;
	w->sectors_per_cluster = geometry->cluster_size / SECTOR_SIZE;
	w->log = rec_log_new(CAPACITY);
	w->start = byte_image_new(CAPACITY);
	w->clusters =
		need(calloc(geometry->virtual_clusters, sizeof(*w->clusters)));
	w->filled =
		need(calloc(geometry->virtual_clusters, sizeof(*w->filled)));
	w->buffer = need(malloc(WORLD_BUFFER_SIZE));
	w->generation = 1;
	if (geometry->backing)
		fill_backing(w);
	create(w);
	open_recorded(w);
	fill(w);
	world_close(w);
	if (geometry->compressed)
		compress_all(w, qemu_img);
	if (geometry->snapshot)
		take_snapshot(w, qemu_img);
	forget_history(w);
	byte_image_copy(w->start, w->log->now);
	return w;
}

void world_free(struct world *w)
{
	world_close(w);
	for (uint64_t c = 0; c < w->geometry->virtual_clusters; c++)
		free(w->clusters[c]);
	free(w->clusters);
	free(w->filled);
	free(w->buffer);
	byte_image_free(w->start);
	byte_image_free(w->backing);
	rec_log_free(w->log);
	free(w);
}
