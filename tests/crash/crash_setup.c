/* SPDX-License-Identifier: MIT */
/* crash_setup.c - the image that a crash world begins with */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_parts.h"
#include "forge_v1.h"
#include "scratch.h"

#define CAPACITY (24u << 20)

int32_t crash_format(const struct geometry *g)
{
	return g->version == 1 ? QCOWFMT_FORMAT_QCOW : QCOWFMT_FORMAT_QCOW2;
}

/* As cheap to unlock as there is, and not the default. */
static void choose_encryption(struct qcowfmt_encryption_options *encryption,
                              int32_t method)
{
	*encryption = (struct qcowfmt_encryption_options){
		.struct_size = sizeof(*encryption),
		.encryption = method,
		.secret = CRASH_SECRET,
		.secret_len = strlen(CRASH_SECRET),
	};
	if (method == QCOWFMT_ENCRYPTION_LUKS) {
		encryption->iter_time_ms = 1;
		encryption->cipher_alg = "aes-128";
		encryption->cipher_mode = "cbc";
		encryption->ivgen_alg = "essiv";
	}
}

static uint32_t create_flags(const struct geometry *g)
{
	return (g->lazy ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0) |
	       (g->extended_l2 ? QCOWFMT_CREATE_EXTENDED_L2 : 0) |
	       (g->data_file_raw ? QCOWFMT_CREATE_DATA_FILE_RAW : 0);
}

void crash_creation_init(struct creation *c, const struct geometry *g)
{
	bool v1 = g->version == 1;

	snprintf(c->data_filename, sizeof(c->data_filename), "%s",
	         scratch_path("data"));
	choose_encryption(&c->encryption, g->encryption);
	c->options = (struct qcowfmt_create_options){
		.struct_size = sizeof(c->options),
		.format = crash_format(g),
		.virtual_size = g->virtual_clusters * g->cluster_size,
		.version = v1 ? 0 : g->version,
		.cluster_size = g->cluster_size,
		.refcount_bits = g->refcount_bits,
		.flags = create_flags(g),
		.backing_filename = g->backing ? "backing" : NULL,
		.backing_format = g->backing && !v1 ? "raw" : NULL,
		.preallocation = g->preallocation,
		.data_filename = g->data_file ? c->data_filename : NULL,
		.encryption = g->encryption != 0 ? &c->encryption : NULL,
	};
}

bool image_is_like(struct qcowfmt_image *image, const struct geometry *g)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint32_t wanted = (g->lazy ? QCOWFMT_INFO_LAZY_REFCOUNTS : 0) |
	                  (g->extended_l2 ? QCOWFMT_INFO_EXTENDED_L2 : 0) |
	                  (g->encryption != 0 ? QCOWFMT_INFO_ENCRYPTED : 0) |
	                  (g->data_file ? QCOWFMT_INFO_DATA_FILE : 0) |
	                  (g->data_file_raw ? QCOWFMT_INFO_DATA_FILE_RAW : 0);
	bool fine = qcowfmt_get_info(image, 0, &info, NULL) == 0 &&
	            info.version == g->version &&
	            info.cluster_size == g->cluster_size &&
	            info.refcount_bits == g->refcount_bits &&
	            info.encryption == g->encryption &&
	            (info.flags & (wanted | QCOWFMT_INFO_CORRUPT)) == wanted;

	if (!fine)
		printf("%s: version %u, clusters of %" PRIu64
		       ", %u bits, encryption %d, flags %#x\n",
		       g->name, info.version, info.cluster_size,
		       info.refcount_bits, info.encryption, info.flags);
	return fine;
}

static void forge(struct world *w)
{
	const struct geometry *g = w->geometry;
	struct forged_v1 v1 = {
		.l2_bits = g->l2_bits,
		.virtual_size = g->virtual_clusters * g->cluster_size,
		.crypt_method = (uint32_t)g->encryption,
		.backing = g->backing ? "backing" : NULL,
	};
	uint8_t *bytes;
	size_t len;

	while (UINT32_C(1) << v1.cluster_bits < g->cluster_size)
		v1.cluster_bits++;
	bytes = forge_v1(&v1, &len);
	byte_image_write(w->log->now[REC_IMAGE], 0, bytes, len);
	free(bytes);
}

static void create(struct world *w)
{
	struct creation creation;
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_storage *storage = rec_storage_new(w->log);
	struct qcowfmt_storage *data = NULL;

	crash_creation_init(&creation, w->geometry);
	if (w->geometry->data_file)
		data = rec_data_storage_new(w->log);
	creation.options.data_storage = data;
	if (qcowfmt_create(storage, &creation.options, &error) < 0)
		world_give_up(w, "create", error);
	qcowfmt_storage_free(data);
	qcowfmt_storage_free(storage);
}

void world_write_file(const struct world *w, const struct byte_image *image,
                      const char *path)
{
	size_t size = byte_image_size(image);
	FILE *file = fopen(path, "wb");

	if (file == NULL ||
	    fwrite(byte_image_bytes(image), 1, size, file) != size ||
	    fclose(file) != 0)
		world_give_up(w, path, NULL);
}

static void fill_backing(struct world *w)
{
	uint64_t sectors =
		w->geometry->virtual_clusters * w->sectors_per_cluster;

	w->backing = byte_image_new(sectors * SECTOR_SIZE);
	for (uint64_t i = 0; i < sectors; i++) {
		fill_sector(w->buffer, history_backing_stamp(w, i));
		byte_image_write(w->backing, i * SECTOR_SIZE, w->buffer,
		                 SECTOR_SIZE);
	}
	if (w->geometry->commits)
		byte_image_copy(w->log->now[REC_DATA], w->backing);
	/* qemu-img wants to see it. */
	world_write_file(w, w->backing,
	                 scratch_path(world_base_name(BASE_FIRST)));
	world_write_file(w, w->backing,
	                 scratch_path(world_base_name(BASE_RENAMED)));
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
	while (byte_image_size(w->log->now[REC_IMAGE]) <
	       w->geometry->file_clusters * w->cluster_size) {
		world_write(w, c++ * w->sectors_per_cluster,
		            w->sectors_per_cluster);
		if (c % 64 == 0)
			world_flush(w);
		w->acknowledgement_count = 0;
		if (c == w->geometry->virtual_clusters)
			world_give_up(w, "fill", NULL);
	}
}

/* Snapshots are made by qemu-img, in a file; snapshot.raw is what they hold. */
static void take_snapshot(struct world *w, const char *qemu_img)
{
	const char *path = scratch_path("snapshot.qcow2");
	char command[1024];

	world_write_file(w, w->log->now[REC_IMAGE], path);
	snprintf(command, sizeof(command), "%s snapshot -c before %s", qemu_img,
	         path);
	if (system(command) != 0 || !rec_log_load(w->log, path))
		world_give_up(w, "take snapshot", NULL);
	snprintf(command, sizeof(command), "%s convert -f qcow2 -O raw %s %s",
	         qemu_img, path, scratch_path("snapshot.raw"));
	if (system(command) != 0)
		world_give_up(w, "read snapshot", NULL);
}

static void compress_all(struct world *w, const char *qemu_img)
{
	const char *plain = scratch_path("plain.qcow2");
	const char *path = scratch_path("compressed.qcow2");
	char command[1024];

	world_write_file(w, w->log->now[REC_IMAGE], plain);
	snprintf(command, sizeof(command),
	         "%s convert -c -f qcow2 -O qcow2 "
	         "-o compat=%s,cluster_size=%u,extended_l2=%s %s %s",
	         qemu_img, w->geometry->version == 2 ? "0.10" : "1.1",
	         w->geometry->cluster_size,
	         w->geometry->extended_l2 ? "on" : "off", plain, path);
	if (system(command) != 0 || !rec_log_load(w->log, path))
		world_give_up(w, "compress", NULL);
}

bool crash_has_snapshots(const struct geometry *g)
{
	return g->version > 1 && !g->data_file && !g->commits &&
	       g->refcount_bits > 2;
}

bool crash_rebases(const struct geometry *g)
{
	return g->backing && !crash_has_snapshots(g) &&
	       g->encryption != QCOWFMT_ENCRYPTION_LUKS;
}

bool crash_flattens(const struct geometry *g)
{
	return crash_rebases(g) &&
	       g->virtual_clusters * g->cluster_size <= 131072;
}

static bool is_preallocated(const struct geometry *g)
{
	return g->data_file_raw ||
	       g->preallocation != QCOWFMT_PREALLOCATION_OFF;
}

/* Clusters that are mapped without having been written: only their bytes can
 * tell that they are untouched. */
static void watch_mapped(struct world *w)
{
	const struct geometry *g = w->geometry;
	bool all = is_preallocated(g) || crash_flattens(g);

	for (uint64_t c = 0; c < g->virtual_clusters; c++) {
		if (all || (crash_rebases(g) && world_base_differs(w, c)))
			(void)history_sector(w, c * w->sectors_per_cluster);
	}
}

static void make_files(struct world *w)
{
	w->log = rec_log_new(CAPACITY);
	if (w->geometry->data_file || w->geometry->commits)
		rec_log_add_data(w->log, CAPACITY);
	for (int file = 0; file < REC_FILES; file++) {
		if (w->log->now[file] != NULL)
			w->start[file] = byte_image_new(CAPACITY);
	}
}

static void keep_start(struct world *w)
{
	for (int file = 0; file < REC_FILES; file++) {
		if (w->start[file] != NULL)
			byte_image_copy(w->start[file], w->log->now[file]);
	}
}

struct world *world_new(const struct geometry *geometry, const char *qemu_img)
{
	struct world *w = world_need(calloc(1, sizeof(*w)));

	w->geometry = geometry;
	w->cluster_size = geometry->cluster_size;
	w->sectors_per_cluster = geometry->cluster_size / SECTOR_SIZE;
	make_files(w);
	w->clusters = world_need(
		calloc(geometry->virtual_clusters, sizeof(*w->clusters)));
	w->filled = world_need(
		calloc(geometry->virtual_clusters, sizeof(*w->filled)));
	w->buffer = world_need(malloc(WORLD_BUFFER_SIZE));
	w->generation = 1;
	traits_begin(w);
	if (geometry->backing)
		fill_backing(w);
	if (geometry->l2_bits != 0)
		forge(w);
	else
		create(w);
	world_open_recorded(w);
	if (!image_is_like(w->image, geometry))
		world_give_up(w, "create makes another kind", NULL);
	fill(w);
	if (geometry->bitmap)
		world_bitmap_change(w, QCOWFMT_BITMAP_ADD, "a", NULL);
	world_close(w);
	if (geometry->compressed)
		compress_all(w, qemu_img);
	if (geometry->snapshot)
		take_snapshot(w, qemu_img);
	watch_mapped(w);
	history_forget(w);
	keep_start(w);
	w->first_generation = w->generation;
	return w;
}

void world_free(struct world *w)
{
	world_close(w);
	bitmaps_forget(w);
	for (int i = 0; i < w->snapshot_count; i++)
		free(w->snapshots[i].contents);
	for (uint64_t c = 0; c < w->geometry->virtual_clusters; c++)
		free(w->clusters[c]);
	free(w->clusters);
	free(w->filled);
	free(w->buffer);
	for (int file = 0; file < REC_FILES; file++)
		byte_image_free(w->start[file]);
	byte_image_free(w->backing);
	byte_image_free(w->other);
	rec_log_free(w->log);
	free(w);
}
