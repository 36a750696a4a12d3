/* SPDX-License-Identifier: MIT */
/* crash_world.c - an image on recording storage, and what its guest does */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_parts.h"
#include "image_storage.h"

void world_give_up(const struct world *w, const char *what,
                   struct qcowfmt_error *error)
{
	fprintf(stderr, "%s, %s: %s: %s\n", w->geometry->name,
	        w->sequence != NULL ? w->sequence : "set-up", what,
	        qcowfmt_error_message(error));
	exit(EXIT_FAILURE);
}

void world_guard(const struct world *w, bool inside)
{
	if (w->guard != NULL)
		w->guard(inside);
}

/* Take note of what an operation returned.  The error object must say the
 * same, and be there exactly if it failed. */
bool world_succeeded(struct world *w, const char *what, int ret,
                     struct qcowfmt_error *error)
{
	if (ret < 0 && w->plan == NULL && !w->may_fail)
		world_give_up(w, what, error);
	if ((error != NULL) != (ret < 0) ||
	    qcowfmt_error_errno(error) != (ret < 0 ? -ret : 0))
		world_give_up(w, "error object does not fit the result", error);
	w->result = ret;
	w->code = qcowfmt_error_code(error);
	w->failures += ret < 0 ? 1 : 0;
	qcowfmt_error_free(error);
	return ret == 0;
}

void *world_need(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

void world_finish(struct world *w, const char *what, int ret,
                  struct qcowfmt_error *error)
{
	world_guard(w, false);
	if (!world_succeeded(w, what, ret, error))
		world_give_up(w, what, NULL);
	history_acknowledge(w);
}

/* ---------------------------------------------------------- guest operations */

void world_prepare_write(struct world *w, uint64_t sector, uint64_t count)
{
	size_t position = w->log->count;

	bitmaps_touch(w);
	w->generation++;
	w->turn++;
	for (uint64_t i = 0; i < count; i++) {
		fill_sector(w->buffer + i * SECTOR_SIZE,
		            history_new_stamp(w, sector + i));
		history_add(w, sector + i, history_new_stamp(w, sector + i),
		            position);
	}
}

void world_write(struct world *w, uint64_t sector, uint64_t count)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	world_prepare_write(w, sector, count);
	world_guard(w, true);
	ret = qcowfmt_pwrite(w->image, w->buffer, count * SECTOR_SIZE,
	                     sector * SECTOR_SIZE, &error);
	world_guard(w, false);
	if (!world_succeeded(w, "write", ret, error))
		history_doubt(w, sector, count);
}

/* The first sector, and the rest, as pieces of their own. */
void world_write_vector(struct world *w, uint64_t sector, uint64_t count)
{
	struct iovec iov[] = {
		{ w->buffer, SECTOR_SIZE },
		{ w->buffer + SECTOR_SIZE, (count - 1) * SECTOR_SIZE },
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	world_prepare_write(w, sector, count);
	world_guard(w, true);
	ret = qcowfmt_pwritev(w->image, iov, 2, sector * SECTOR_SIZE, &error);
	world_guard(w, false);
	if (!world_succeeded(w, "write vector", ret, error))
		history_doubt(w, sector, count);
}

void world_compress(struct world *w, uint64_t sector, uint64_t count)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	world_prepare_write(w, sector, count);
	world_guard(w, true);
	ret = qcowfmt_pwrite_compressed(w->image, w->buffer,
	                                count * SECTOR_SIZE,
	                                sector * SECTOR_SIZE, &error);
	world_guard(w, false);
	if (!world_succeeded(w, "write compressed", ret, error))
		history_doubt(w, sector, count);
}

void world_zero(struct world *w, uint64_t sector, uint64_t count,
                uint32_t flags)
{
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;
	int ret;

	bitmaps_touch(w);
	w->turn++;
	for (uint64_t i = 0; i < count; i++)
		history_add(w, sector + i, 0, position);
	world_guard(w, true);
	ret = qcowfmt_write_zeroes(w->image, sector * SECTOR_SIZE,
	                           count * SECTOR_SIZE, flags, &error);
	world_guard(w, false);
	if (!world_succeeded(w, "write zeroes", ret, error))
		history_doubt(w, sector, count);
}

/* A discard zeroes whole clusters or leaves things as they are. */
static void learn_discarded(struct world *w, uint64_t sector, uint64_t count,
                            size_t position)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	world_guard(w, true);
	ret = qcowfmt_pread(w->image, w->buffer, count * SECTOR_SIZE,
	                    sector * SECTOR_SIZE, &error);
	world_guard(w, false);

	if (!world_succeeded(w, "read after discard", ret, error)) {
		for (uint64_t i = 0; i < count; i++)
			history_add(w, sector + i, 0, position);
		history_doubt(w, sector, count);
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *bytes = w->buffer + i * SECTOR_SIZE;
		struct sector *s = history_sector(w, sector + i);
		int found = history_find(w, sector + i, bytes);

		if (found == s->count - 1 && !s->contents[found].uncertain)
			continue;
		if (found < 0 && !sector_holds(bytes, 0))
			world_give_up(w, "content after discard", NULL);
		history_add(w, sector + i,
		            found < 0 ? 0 : s->contents[found].stamp, position);
	}
}

void world_discard(struct world *w, uint64_t sector, uint64_t count)
{
	struct qcowfmt_error *error = NULL;
	size_t position = w->log->count;
	int ret;

	bitmaps_touch(w);
	w->turn++;
	world_guard(w, true);
	ret = qcowfmt_discard(w->image, sector * SECTOR_SIZE,
	                      count * SECTOR_SIZE, &error);
	world_guard(w, false);
	if (world_succeeded(w, "discard", ret, error)) {
		learn_discarded(w, sector, count, position);
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		history_add(w, sector + i, 0, position);
	history_doubt(w, sector, count);
}

void world_flush(struct world *w)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	world_guard(w, true);
	ret = qcowfmt_flush(w->image, &error);
	world_guard(w, false);
	if (world_succeeded(w, "flush", ret, error))
		history_acknowledge(w);
}

/* ------------------------------------------------------------ open and close */

/* What an image that is being opened may be put on. */
struct bases {
	const struct world *w;
	struct byte_image *first; /* NULL: the one that never changes */
};

struct byte_image *world_first_base(const struct world *w)
{
	return w->geometry->commits ? w->log->now[REC_DATA] : w->backing;
}

static int give_backing(void *opaque, const struct qcowfmt_reference *reference,
                        struct qcowfmt_storage **storage, int32_t *format)
{
	const struct bases *bases = opaque;
	struct byte_image *bytes =
		world_base_bytes(bases->w, reference->name, bases->first);

	if (bytes == NULL)
		return -ENOENT;
	*format = QCOWFMT_FORMAT_RAW;
	world_guard(bases->w, false);
	*storage = image_storage_new(bytes, false);
	world_guard(bases->w, true);
	return 0;
}

struct opening {
	struct qcowfmt_storage *storage;
	struct qcowfmt_storage *data; /* NULL: no data file */
	struct byte_image *base;      /* of bases */
	const char *secret;
	const char *snapshot;
	uint32_t flags;
	uint32_t chain_limit;
};

/* Takes over both storages if it succeeds. */
static struct qcowfmt_image *open_storage(const struct world *w,
                                          const struct opening *o,
                                          struct qcowfmt_error **errp)
{
	const struct geometry *g = w->geometry;
	struct bases bases = { w, o->base };
	bool writable = (o->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = crash_format(g),
		.flags = o->flags,
		.reference_policy = g->backing ? QCOWFMT_REFERENCES_CALLBACK
		                               : QCOWFMT_REFERENCES_REFUSE,
		.reference_callback = g->backing ? give_backing : NULL,
		.reference_opaque = &bases,
		.cache_size = writable ? g->cache_size : 0,
		.secret = g->encryption != 0 ? o->secret : NULL,
		.secret_len = g->encryption != 0 ? strlen(o->secret) : 0,
		.data_storage = o->data,
		.snapshot_id = o->snapshot,
		.chain_limit = o->chain_limit,
	};
	struct qcowfmt_image *image = NULL;

	return qcowfmt_open(o->storage, &options, &image, errp) == 0 ? image
	                                                             : NULL;
}

struct qcowfmt_image *world_open_on(struct world *w,
                                    struct qcowfmt_storage *storage,
                                    struct qcowfmt_storage *data,
                                    struct byte_image *base, bool writable,
                                    const char *snapshot)
{
	struct opening opening = {
		.storage = storage,
		.data = data,
		.base = base,
		.secret = CRASH_SECRET,
		.snapshot = snapshot,
		.flags = writable ? QCOWFMT_OPEN_READ_WRITE : 0,
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image = open_storage(w, &opening, &error);

	if (image == NULL && w->keys.count > 1 &&
	    qcowfmt_error_code(error) == QCOWFMT_ERR_WRONG_SECRET) {
		qcowfmt_error_free(qcf_take(&error));
		opening.secret = CRASH_OTHER_SECRET;
		image = open_storage(w, &opening, &error);
	}
	w->secret = opening.secret;
	if (image == NULL) {
		printf("opening %s: %s\n",
		       writable ? "read-write" : "read-only",
		       qcowfmt_error_message(error));
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(data);
	}
	qcowfmt_error_free(error);
	return image;
}

static struct qcowfmt_image *open_bytes(struct world *w,
                                        struct byte_image *bytes,
                                        struct byte_image *data, bool writable,
                                        const char *snapshot)
{
	bool is_base = w->geometry->commits;

	return world_open_on(w, image_storage_new(bytes, writable),
	                     data == NULL || is_base
	                             ? NULL
	                             : image_storage_new(data, writable),
	                     is_base ? data : NULL, writable, snapshot);
}

struct qcowfmt_image *world_open(struct world *w, struct byte_image *bytes,
                                 struct byte_image *data, bool writable)
{
	return open_bytes(w, bytes, data, writable, NULL);
}

bool world_secret_opens(struct world *w, struct byte_image *bytes,
                        struct byte_image *data, const char *secret)
{
	struct opening opening = {
		.storage = image_storage_new(bytes, false),
		.data = data == NULL ? NULL : image_storage_new(data, false),
		.secret = secret,
	};
	struct qcowfmt_image *image = open_storage(w, &opening, NULL);

	if (image == NULL) {
		qcowfmt_storage_free(opening.storage);
		qcowfmt_storage_free(opening.data);
	}
	return image != NULL && qcowfmt_close(image, NULL) == 0;
}

struct qcowfmt_image *world_open_snapshot(struct world *w,
                                          struct byte_image *bytes,
                                          const char *id)
{
	return open_bytes(w, bytes, NULL, false, id);
}

/* The storage of one file of the world; NULL if there is no such file. */
static struct qcowfmt_storage *storage_of(struct world *w, enum rec_file file)
{
	struct qcowfmt_storage *storage;

	if (w->log->now[file] == NULL)
		return NULL;
	if (w->unrecorded)
		storage = image_storage_new(w->log->now[file], true);
	else if (file == REC_DATA)
		storage = rec_data_storage_new(w->log);
	else
		storage = rec_storage_new(w->log);
	return w->plan == NULL ? storage : fail_storage_new(storage, w->plan);
}

void world_open_recorded(struct world *w)
{
	struct opening opening = {
		.storage = storage_of(w, REC_IMAGE),
		.data = w->geometry->commits ? NULL : storage_of(w, REC_DATA),
		.base = world_first_base(w),
		.secret = CRASH_SECRET,
		.flags = QCOWFMT_OPEN_READ_WRITE | w->open_flags,
		.chain_limit = w->chain_limit,
	};
	struct qcowfmt_error *error = NULL;
	int ret;

	w->open_flags = 0;
	w->chain_limit = 0;
	world_guard(w, true);
	w->image = open_storage(w, &opening, &error);
	world_guard(w, false);
	ret = w->image == NULL ? -qcowfmt_error_errno(error) : 0;
	if (w->image == NULL) {
		qcowfmt_storage_free(opening.storage);
		qcowfmt_storage_free(opening.data);
	}
	(void)world_succeeded(w, "open", ret, error);
}

void world_close(struct world *w)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image = w->image;

	if (image == NULL)
		return;

	int ret;

	if (w->has_bitmaps)
		bitmaps_note(w, w->log->count);
	w->image = NULL;

	world_guard(w, true);
	ret = qcowfmt_close(image, &error);
	world_guard(w, false);
	if (world_succeeded(w, "close", ret, error))
		history_acknowledge(w);
	else
		history_doubt_unstable(w);
}

void world_reopen(struct world *w)
{
	world_close(w);
	world_open_recorded(w);
}

void world_restart(struct world *w)
{
	w->sequence = NULL;
	world_close(w);
	history_rewind(w);
	w->generation = w->first_generation;
	traits_begin(w);
	for (int file = 0; file < REC_FILES; file++) {
		if (w->start[file] != NULL)
			byte_image_copy(w->log->now[file], w->start[file]);
	}
	rec_log_restart(w->log);
	world_forget_snapshots(w);
	bitmaps_begin(w);
	world_open_recorded(w);
}
