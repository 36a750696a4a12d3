/* SPDX-License-Identifier: MIT */
/*
 * bitmap_store.c - the dirty bitmaps of one open image
 *
 * The directory is bounded by the format, by max_metadata_size and by what the
 * file can hold, before memory is allocated for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bitmap_store.h"
#include "check_id.h"
#include "checked.h"
#include "meta.h"
#include "meta_tables.h"

void qcf_bitmaps_init(struct qcf_bitmaps *bitmaps, uint64_t max_size)
{
	*bitmaps = (struct qcf_bitmaps){
		.max_size = max_size,
		.memory = { .limit = max_size },
	};
	qcf_mutex_init(&bitmaps->lock, QCF_RANK_BITMAPS);
}

void qcf_bitmap_free(struct qcf_bitmap *bitmap)
{
	if (bitmap == NULL)
		return;
	qcf_bits_fini(&bitmap->dirty);
	qcf_bitmap_entry_fini(&bitmap->entry);
	free(bitmap);
}

static void forget(struct qcf_bitmaps *bitmaps)
{
	for (uint32_t i = 0; i < bitmaps->count; i++)
		qcf_bitmap_free(bitmaps->items[i]);
	free(qcf_take(&bitmaps->items));
	free(qcf_take(&bitmaps->enabled));
	bitmaps->count = bitmaps->enabled_count = 0;
	bitmaps->viewed = NULL;
	bitmaps->loaded = false;
}

void qcf_bitmaps_fini(struct qcf_bitmaps *bitmaps)
{
	forget(bitmaps);
	free(bitmaps->view);
	qcf_mutex_fini(&bitmaps->lock);
}

const struct qcf_extension *qcf_bitmaps_extension(const struct qcf_header *h)
{
	if (h->version < 3 ||
	    (h->autoclear_features & QCF_AUTOCLEAR_BITMAPS) == 0)
		return NULL;
	return qcf_header_extension(h, QCF_EXT_BITMAPS);
}

bool qcf_bitmaps_exist(const struct qcf_meta *meta)
{
	return qcf_bitmaps_extension(&meta->header) != NULL;
}

struct qcf_bitmap *qcf_bitmaps_find(const struct qcf_bitmaps *bitmaps,
                                    const char *name)
{
	for (uint32_t i = 0; i < bitmaps->count; i++) {
		if (strcmp(bitmaps->items[i]->entry.name, name) == 0)
			return bitmaps->items[i];
	}
	return NULL;
}

/* ----------------------------------------------------------------- loading */

/* A directory that is being read. */
struct loading {
	struct qcf_meta *meta;
	struct qcf_bitmap_ext ext;
	uint8_t *bytes; /* owned */
	struct qcf_bitmap **items;
	struct qcf_bitmap **enabled;
	uint32_t count; /* of items so far */
};

static void loading_fini(struct loading *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		qcf_bitmap_free(l->items[i]);
	free(l->items);
	free(l->enabled);
	free(l->bytes);
}

static int check_extent(struct loading *l, struct qcowfmt_error **errp)
{
	const struct qcf_bitmap_ext *ext = &l->ext;
	struct qcf_meta *meta = l->meta;
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	if (ext->directory_size > meta->bitmaps.max_size)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the bitmap directory takes %" PRIu64
		                " bytes, max_metadata_size allows %" PRIu64,
		                ext->directory_size, meta->bitmaps.max_size);
	if (!qcf_range_within(
		    ext->directory_offset, ext->directory_size,
		    qcf_align_up(file_size, meta->geometry.cluster_size)))
		return qcf_corruptf(errp, QCF_CHECK_BITMAP_DIRECTORY,
		                    ext->directory_offset,
		                    "it ends behind the end of the file");
	return 0;
}

static int read_directory(struct loading *l, struct qcowfmt_error **errp)
{
	int ret = check_extent(l, errp);

	if (ret < 0)
		return ret;
	l->bytes = malloc(l->ext.directory_size);
	l->items = calloc(l->ext.count, sizeof(struct qcf_bitmap *));
	l->enabled = calloc(l->ext.count, sizeof(struct qcf_bitmap *));
	if (l->bytes == NULL || l->items == NULL || l->enabled == NULL)
		return qcf_fail_oom(errp);
	return qcf_meta_read_table(l->meta, l->ext.directory_offset, l->bytes,
	                           l->ext.directory_size, errp);
}

static int decode_item(struct loading *l, struct qcf_reader *reader,
                       struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = l->meta;
	struct qcf_bitmap *bitmap = calloc(1, sizeof(*bitmap));
	int ret = bitmap == NULL ? qcf_fail_oom(errp)
	                         : qcf_bitmap_entry_decode(&bitmap->entry,
	                                                   reader, errp);

	if (ret < 0) {
		free(bitmap);
		return ret;
	}
	qcf_bits_init(&bitmap->dirty, &meta->bitmaps.memory);
	bitmap->broken =
		qcf_bitmap_entry_check(&bitmap->entry, &meta->geometry,
	                               meta->header.virtual_size, NULL) < 0;
	bitmap->inconsistent = (bitmap->entry.flags & QCF_BITMAP_IN_USE) != 0;
	l->items[l->count++] = bitmap;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct qcf_bitmap *const *x = a;
	const struct qcf_bitmap *const *y = b;

	return strcmp((*x)->entry.name, (*y)->entry.name);
}

/* Of bitmaps with the same name nobody can tell which is meant.  l->enabled
 * serves as an array to sort. */
static void mark_twins(struct loading *l)
{
	struct qcf_bitmap **sorted = l->enabled;

	memcpy(sorted, l->items, l->count * sizeof(*sorted));
	qsort(sorted, l->count, sizeof(*sorted), compare_names);
	for (uint32_t i = 1; i < l->count; i++) {
		if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
			sorted[i - 1]->broken = sorted[i]->broken = true;
	}
}

static int decode_directory(struct loading *l, struct qcowfmt_error **errp)
{
	struct qcf_reader reader =
		qcf_reader_init(l->bytes, l->ext.directory_size);

	for (uint32_t i = 0; i < l->ext.count; i++) {
		int ret = decode_item(l, &reader, errp);

		if (ret < 0)
			return qcf_wrapf(errp, ret,
			                 "bitmap directory entry %" PRIu32, i);
	}
	if (qcf_reader_left(&reader) > 0)
		return qcf_corruptf(errp, QCF_CHECK_BITMAP_DIRECTORY,
		                    l->ext.directory_offset,
		                    "%zu bytes follow its last entry",
		                    qcf_reader_left(&reader));
	mark_twins(l);
	return 0;
}

static int load(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	const struct qcf_extension *raw = qcf_bitmaps_extension(&meta->header);
	struct loading l = { .meta = meta };
	int ret;

	if (raw == NULL) {
		meta->bitmaps.loaded = true;
		return 0;
	}
	ret = qcf_bitmap_ext_decode(&l.ext, raw, &meta->geometry, errp);
	if (ret == 0)
		ret = read_directory(&l, errp);
	if (ret == 0)
		ret = decode_directory(&l, errp);
	if (ret == 0) {
		qcf_bitmaps_adopt(meta, qcf_take(&l.items), l.count,
		                  qcf_take(&l.enabled));
		l.count = 0;
	}
	loading_fini(&l);
	return qcf_wrap(errp, "reading the dirty bitmaps", ret);
}

/* The directory must not be overwritten by guest data. */
static void protect_directory(struct qcf_meta *meta)
{
	const struct qcf_extension *raw = qcf_bitmaps_extension(&meta->header);
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_bitmap_ext ext = { 0 };

	if (raw == NULL || qcf_bitmap_ext_decode(&ext, raw, g, NULL) < 0)
		ext = (struct qcf_bitmap_ext){ 0 };
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_BITMAPS,
	                      qcf_host_cluster(g, ext.directory_offset),
	                      qcf_clusters_for(g, ext.directory_size));
}

void qcf_bitmaps_adopt(struct qcf_meta *meta, struct qcf_bitmap **items,
                       uint32_t count, struct qcf_bitmap **enabled)
{
	struct qcf_bitmaps *b = &meta->bitmaps;

	forget(b);
	b->items = items;
	b->count = count;
	b->enabled = enabled;
	for (uint32_t i = 0; i < count; i++) {
		if (qcf_bitmap_is_enabled(items[i]))
			b->enabled[b->enabled_count++] = items[i];
	}
	b->loaded = true;
	if (meta->writable)
		protect_directory(meta);
}

int qcf_bitmaps_load(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	if (meta->bitmaps.loaded)
		return 0;
	return load(meta, errp);
}

static bool is_damage(const struct qcowfmt_error *error)
{
	return qcowfmt_error_code(error) == QCOWFMT_ERR_CORRUPT;
}

int qcf_bitmaps_open(struct qcf_meta *meta, bool repair,
                     struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *failure = NULL;
	int ret = load(meta, &failure);

	if (ret < 0 && is_damage(failure)) {
		meta->bitmaps.damaged = true;
		if (repair) {
			protect_directory(meta);
			return 0;
		}
		(void)qcf_wrap(&failure,
		               "the image can only be read until it is "
		               "repaired",
		               ret);
	}
	if (ret < 0)
		qcf_error_move(errp, qcf_take(&failure));
	return ret;
}

int qcf_bitmaps_reload(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->bitmaps.lock);

	forget(&meta->bitmaps);
	meta->bitmaps.damaged = false;
	meta->bitmaps.flags_uncertain = false;
	atomic_store(&meta->bitmaps.in_use, false);
	if (meta->writable)
		protect_directory(meta);
	return load(meta, errp);
}

/* ----------------------------------------------------------------- the flags */

int qcf_bitmaps_encode(struct qcf_bitmap *const *items, uint32_t count,
                       uint32_t more_flags, uint8_t **directory, size_t *len,
                       struct qcowfmt_error **errp)
{
	struct qcf_writer writer;
	uint64_t size = 0;

	for (uint32_t i = 0; i < count; i++)
		size += qcf_bitmap_entry_size(&items[i]->entry);
	*directory = malloc(size + 1);
	if (*directory == NULL)
		return qcf_fail_oom(errp);
	writer = qcf_writer_init(*directory, size);
	for (uint32_t i = 0; i < count; i++) {
		struct qcf_bitmap_entry entry = items[i]->entry;

		entry.flags |= more_flags;
		if (!qcf_bitmap_is_good(items[i]))
			entry.flags |= QCF_BITMAP_IN_USE;
		qcf_bitmap_entry_encode(&entry, &writer);
	}
	*len = size;
	return 0;
}

int qcf_bitmaps_write_flags(struct qcf_meta *meta, bool in_use,
                            struct qcowfmt_error **errp)
{
	struct qcf_bitmaps *b = &meta->bitmaps;
	QCF_AUTO_FREE uint8_t *directory = NULL;
	struct qcf_bitmap_ext ext;
	size_t len = 0;
	int ret = qcf_bitmap_ext_decode(&ext,
	                                qcf_bitmaps_extension(&meta->header),
	                                &meta->geometry, errp);

	if (ret == 0)
		ret = qcf_bitmaps_encode(b->items, b->count,
		                         in_use ? QCF_BITMAP_IN_USE : 0,
		                         &directory, &len, errp);
	if (ret < 0)
		return ret;
	/* Only flags differ from what is there, and each is inside a sector:
	 * if some sectors get lost, some bitmaps are marked and some not. */
	b->flags_uncertain = true;
	ret = qcf_storage_pwrite(meta->storage, directory, len,
	                         ext.directory_offset, errp);
	if (ret == 0)
		ret = qcf_meta_flush(meta, errp);
	if (ret < 0)
		return qcf_wrap(errp, "marking the dirty bitmaps", ret);
	b->flags_uncertain = false;
	atomic_store(&b->in_use, in_use);
	return 0;
}

/* ------------------------------------------------------------------- looking */

int qcf_bitmaps_next_locked(struct qcf_meta *meta,
                            const struct qcf_bitmap *bitmap, uint64_t from,
                            uint64_t *first, uint64_t *end,
                            struct qcowfmt_error **errp)
{
	struct qcf_bitmaps *b = &meta->bitmaps;

	if (b->view == NULL)
		b->view = malloc(sizeof(*b->view));
	if (b->view == NULL)
		return qcf_fail_oom(errp);
	if (b->viewed != bitmap) {
		qcf_bitmap_view_init(
			b->view, meta, &bitmap->entry,
			qcf_bitmap_bits_for(meta->header.virtual_size,
		                            bitmap->entry.granularity_bits));
		b->view->bits[0] = &bitmap->dirty;
		b->viewed = bitmap;
	}
	return qcf_bitmap_view_next(b->view, from, first, end, errp);
}
