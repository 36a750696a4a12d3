/* SPDX-License-Identifier: MIT */
/*
 * crash_changes.c - operations of a crash world that its guest does not see
 *
 * They change what the image is, where its parts lie or what it is put on, and
 * never what the disk holds.  What they change is remembered as traits, which
 * are as they were or as they are to be, all together.  They are not for worlds
 * in which storage fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_parts.h"
#include "image_storage.h"
#include "scratch.h"

static const char *const base_names[] = {
	[BASE_FIRST] = "backing",
	[BASE_RENAMED] = "basefil",
	[BASE_OTHER] = "another",
};

const char *world_base_name(enum crash_base base)
{
	return base_names[base];
}

struct byte_image *world_base_bytes(const struct world *w, const char *name,
                                    struct byte_image *first)
{
	if (strcmp(name, base_names[BASE_OTHER]) == 0)
		return w->other;
	if (strcmp(name, base_names[BASE_FIRST]) == 0 ||
	    strcmp(name, base_names[BASE_RENAMED]) == 0)
		return first != NULL ? first : w->backing;
	return NULL;
}

/* --------------------------------------------------------------------- traits */

uint64_t traits_stamp(const struct traits *t)
{
	return t->version | (uint64_t)t->refcount_bits << 8 |
	       (uint64_t)t->base << 16 | (uint64_t)t->lazy << 24 |
	       (uint64_t)t->data_renamed << 25 | (uint64_t)t->data_raw << 26;
}

void traits_begin(struct world *w)
{
	const struct geometry *g = w->geometry;

	w->traits = (struct traits){
		.version = g->version,
		.refcount_bits = g->refcount_bits,
		.lazy = g->lazy,
		.base = g->backing ? BASE_FIRST : BASE_NONE,
		.data_raw = g->data_file_raw,
	};
	w->trait_history = (struct sector){
		.count = 1,
		.contents[0].stamp = traits_stamp(&w->traits),
	};
	w->keys = (struct sector){
		.count = 1,
		.contents[0].stamp = KEY_FIRST,
	};
	w->open_flags = 0;
	w->chain_limit = 0;
}

/* Something becomes another one from here on. */
static void begin_change(struct world *w, struct sector *history,
                         uint64_t stamp)
{
	if (history->count == MAX_CONTENTS)
		world_give_up(w, "too many changes", NULL);
	w->turn++;
	history->contents[history->count++] = (struct content){
		.stamp = stamp,
		.position = w->log->count,
		.turn = w->turn,
	};
}

static void begin_traits(struct world *w, const struct traits *next)
{
	w->traits = *next;
	begin_change(w, &w->trait_history, traits_stamp(next));
}

/* ---------------------------------------------------------------- repair, compact */

void world_repair(struct world *w)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;
	int ret;

	world_guard(w, true);
	ret = qcowfmt_check(w->image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                    &result, &error);
	world_guard(w, false);
	if (world_succeeded(w, "repair", ret, error) &&
	    (result.corruptions > 0 || result.corruptions_fixed > 0 ||
	     result.leaks > 0))
		world_give_up(w, "there was something to repair", NULL);
}

void world_compact(struct world *w)
{
	struct qcowfmt_compact_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_error *error = NULL;

	world_guard(w, true);
	world_finish(w, "compact",
	             qcowfmt_compact(w->image, &options, NULL, &error), error);
}

/* -------------------------------------------------------------------- convert */

static struct qcowfmt_image *open_raw(struct world *w,
                                      struct qcowfmt_storage *storage,
                                      bool writable)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = writable ? QCOWFMT_OPEN_READ_WRITE : 0,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open(storage, &options, &image, &error) < 0)
		world_give_up(w, "open a raw image", error);
	return image;
}

/* The second of the clusters is zeros. */
static struct byte_image *make_source(struct world *w, uint64_t clusters)
{
	struct byte_image *source = byte_image_new(clusters * w->cluster_size);
	uint64_t count = w->sectors_per_cluster;

	world_prepare_write(w, 0, clusters * count);
	memset(w->buffer + w->cluster_size, 0, w->cluster_size);
	for (uint64_t i = count; i < 2 * count; i++)
		history_amend(w, i, 0);
	byte_image_write(source, 0, w->buffer, clusters * w->cluster_size);
	return source;
}

void world_convert(struct world *w, uint64_t clusters)
{
	struct byte_image *source = make_source(w, clusters);
	struct qcowfmt_image *image =
		open_raw(w, image_storage_new(source, false), false);
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = w->geometry->compresses ? QCOWFMT_CONVERT_COMPRESS : 0,
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	world_guard(w, true);
	ret = qcowfmt_convert(&image, 1, w->image, &options, &error);
	world_guard(w, false);
	(void)world_succeeded(w, "convert", ret, error);
	qcowfmt_close(image, NULL);
	byte_image_free(source);
}

/* ---------------------------------------------------------------------- amend */

void world_reopen_lazy(struct world *w)
{
	if (w->traits.version < 3)
		return;
	w->open_flags = QCOWFMT_OPEN_LAZY_REFCOUNTS_ON;
	w->may_be_dirty = true;
	world_reopen(w);
}

static void amend(struct world *w, struct qcowfmt_amend_options *options,
                  const struct traits *next)
{
	struct qcowfmt_error *error = NULL;

	size_t position = w->log->count;
	int ret;

	options->struct_size = sizeof(*options);
	begin_traits(w, next);
	world_guard(w, true);
	ret = qcowfmt_amend(w->image, options, &error);
	/* Version 2 has none. */
	if (next->version == 2 && w->has_bitmaps)
		bitmaps_note(w, position);
	world_finish(w, "amend", ret, error);
}

void world_amend_counts(struct world *w)
{
	struct traits next = w->traits;

	if (next.version < 3)
		return;
	next.refcount_bits = next.refcount_bits == 16 ? 64 : 16;
	amend(w,
	      &(struct qcowfmt_amend_options){ .refcount_bits =
	                                               next.refcount_bits },
	      &next);
}

void world_amend_lazy(struct world *w)
{
	struct traits next = w->traits;

	if (next.version < 3)
		return;
	next.lazy = !next.lazy;
	w->may_be_dirty = true;
	amend(w,
	      &(struct qcowfmt_amend_options){ .lazy_refcounts =
	                                               next.lazy ? 1 : -1 },
	      &next);
}

/* Version 2 has neither bitmaps nor lazy refcounts. */
void world_amend_version(struct world *w)
{
	struct traits next = w->traits;
	struct qcowfmt_amend_options options = { 0 };

	next.version = options.version = next.version == 3 ? 2 : 3;
	if (next.version == 2) {
		next.refcount_bits = options.refcount_bits = 16;
		next.lazy = false;
		options.lazy_refcounts = -1;
	}
	amend(w, &options, &next);
}

void world_amend_data_name(struct world *w)
{
	struct traits next = w->traits;
	char name[256];

	next.data_renamed = !next.data_renamed;
	snprintf(name, sizeof(name), "%s",
	         scratch_path(next.data_renamed ? "data2" : "data"));
	amend(w, &(struct qcowfmt_amend_options){ .data_filename = name },
	      &next);
}

void world_amend_data_raw(struct world *w)
{
	struct traits next = w->traits;

	if (!next.data_raw)
		return;
	next.data_raw = false;
	amend(w, &(struct qcowfmt_amend_options){ .data_file_raw = -1 }, &next);
}

/* --------------------------------------------------------- commit and rebase */

bool world_base_differs(const struct world *w, uint64_t cluster)
{
	uint64_t filled = w->geometry->filled;

	return cluster == 1 || cluster == filled + 1 || cluster == filled + 2 ||
	       cluster == filled + 5 ||
	       cluster == w->geometry->virtual_clusters - 4;
}

static struct byte_image *other_base(struct world *w)
{
	uint64_t clusters = w->geometry->virtual_clusters;

	if (w->other != NULL)
		return w->other;
	w->other = byte_image_new(clusters * w->cluster_size);
	byte_image_copy(w->other, w->backing);
	for (uint64_t c = 0; c < clusters; c++) {
		if (world_base_differs(w, c))
			byte_image_write(w->other, c * w->cluster_size, NULL,
			                 w->cluster_size);
	}
	/* qemu-img wants to see it. */
	world_write_file(w, w->other, scratch_path(base_names[BASE_OTHER]));
	return w->other;
}

/* base: the bytes of what it is put on; NULL without one. */
static void rebase(struct world *w, enum crash_base base,
                   struct byte_image *bytes, uint32_t flags)
{
	struct traits next = w->traits;
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.backing_filename = base_names[base],
		.backing_format = base != BASE_NONE && w->geometry->version > 1
		                          ? "raw"
		                          : NULL,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (bytes != NULL)
		image = open_raw(w, image_storage_new(bytes, false), false);
	next.base = base;
	begin_traits(w, &next);
	world_guard(w, true);
	world_finish(w, "rebase",
	             qcowfmt_rebase(w->image, image, &options, &error), error);
	qcowfmt_close(image, NULL);
	world_reopen(w);
}

void world_rename_base(struct world *w)
{
	if (w->traits.base == BASE_FIRST)
		rebase(w, BASE_RENAMED, NULL, QCOWFMT_REBASE_UNSAFE);
	else if (w->traits.base == BASE_RENAMED)
		rebase(w, BASE_FIRST, NULL, QCOWFMT_REBASE_UNSAFE);
}

void world_rebase(struct world *w)
{
	uint32_t flags = w->geometry->compresses ? QCOWFMT_REBASE_COMPRESS : 0;

	if (w->traits.base != BASE_OTHER)
		rebase(w, BASE_OTHER, other_base(w), flags);
	else
		rebase(w, BASE_FIRST, world_first_base(w), flags);
}

void world_flatten(struct world *w)
{
	if (w->traits.base != BASE_NONE)
		rebase(w, BASE_NONE, NULL, 0);
}

void world_commit(struct world *w)
{
	struct qcowfmt_commit_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *base;

	if (w->traits.base != BASE_FIRST && w->traits.base != BASE_RENAMED)
		return;
	world_close(w);
	w->chain_limit = 1;
	world_open_recorded(w);
	base = open_raw(w, rec_data_storage_new(w->log), true);
	world_guard(w, true);
	world_finish(w, "commit",
	             qcowfmt_commit(w->image, base, &options, &error), error);
	if (qcowfmt_close(base, &error) < 0)
		world_give_up(w, "close the base", error);
	world_reopen(w);
}

/* ----------------------------------------------------------------------- keys */

static void change_keys(struct world *w, bool add, uint64_t keys,
                        const char *secret)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.secret = secret,
		.secret_len = strlen(secret),
		.iter_time_ms = add ? 1 : 0,
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	begin_change(w, &w->keys, keys);
	world_guard(w, true);
	ret = add ? qcowfmt_add_key(w->image, &options, &error)
	          : qcowfmt_erase_key(w->image, &options, &error);
	/* Adding returns the slot. */
	world_finish(w, "change a key", QCF_MIN(ret, 0), error);
}

void world_add_key(struct world *w)
{
	change_keys(w, true, KEY_FIRST | KEY_OTHER, CRASH_OTHER_SECRET);
	change_keys(w, false, KEY_FIRST, CRASH_OTHER_SECRET);
}

void world_rotate_keys(struct world *w)
{
	change_keys(w, true, KEY_FIRST | KEY_OTHER, CRASH_OTHER_SECRET);
	change_keys(w, false, KEY_OTHER, CRASH_SECRET);
	change_keys(w, true, KEY_FIRST | KEY_OTHER, CRASH_SECRET);
	change_keys(w, false, KEY_FIRST, CRASH_OTHER_SECRET);
}
