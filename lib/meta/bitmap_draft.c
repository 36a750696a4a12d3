/* SPDX-License-Identifier: MIT */
/*
 * bitmap_draft.c - what the dirty bitmaps of an image are to become
 *
 * Nothing that storage has is overwritten.  A cluster of bits in which nothing
 * changes stays where it is; a table is written anew if any of its clusters, or
 * its length, changes; the directory always is.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "bitmap_draft.h"
#include "bitmap_free.h"
#include "check_id.h"
#include "checked.h"
#include "header_ext.h"
#include "header_rewrite.h"
#include "writeback.h"

/* ------------------------------------------------------------------- editing */

/* A copy of bytes with a NUL behind it, or NULL. */
static void *copy_bytes(const void *from, size_t len)
{
	char *bytes = malloc(len + 1);

	if (bytes == NULL)
		return NULL;
	memcpy(bytes, from, len);
	bytes[len] = '\0';
	return bytes;
}

static int copy_entry(struct qcf_bitmap_entry *to,
                      const struct qcf_bitmap_entry *from,
                      struct qcowfmt_error **errp)
{
	*to = *from;
	to->extra = NULL;
	to->name = copy_bytes(from->name, from->name_len);
	if (to->name == NULL)
		return qcf_fail_oom(errp);
	if (from->extra_len == 0)
		return 0;
	to->extra = copy_bytes(from->extra, from->extra_len);
	return to->extra == NULL ? qcf_fail_oom(errp) : 0;
}

/* One more item, with a bitmap like base. */
static int append(struct qcf_bitmap_draft *draft, struct qcf_bitmap *base,
                  const struct qcf_bitmap *like, struct qcowfmt_error **errp)
{
	struct qcf_draft_item *item = &draft->items[draft->count];
	struct qcf_bitmap *next = calloc(1, sizeof(*next));

	if (next == NULL)
		return qcf_fail_oom(errp);
	*item = (struct qcf_draft_item){ .base = base, .next = next };
	qcf_bits_init(&item->merged, &draft->meta->bitmaps.memory);
	qcf_bits_init(&next->dirty, &draft->meta->bitmaps.memory);
	next->broken = like->broken;
	next->inconsistent = like->inconsistent;
	draft->count++;
	return copy_entry(&next->entry, &like->entry, errp);
}

int qcf_draft_begin(struct qcf_bitmap_draft *draft, struct qcf_meta *meta,
                    uint64_t virtual_size, struct qcowfmt_error **errp)
{
	const struct qcf_bitmaps *b = &meta->bitmaps;
	int ret = 0;

	*draft = (struct qcf_bitmap_draft){
		.meta = meta,
		.virtual_size = virtual_size,
		.room = b->count + 1,
	};
	draft->items = calloc(draft->room, sizeof(*draft->items));
	if (draft->items == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; ret == 0 && i < b->count; i++)
		ret = append(draft, b->items[i], b->items[i], errp);
	return ret;
}

struct qcf_draft_item *qcf_draft_find(struct qcf_bitmap_draft *draft,
                                      const char *name)
{
	for (uint32_t i = 0; i < draft->count; i++) {
		if (strcmp(draft->items[i].next->entry.name, name) == 0)
			return &draft->items[i];
	}
	return NULL;
}

static int make_room(struct qcf_bitmap_draft *draft,
                     struct qcowfmt_error **errp)
{
	struct qcf_draft_item *grown;

	if (draft->count == QCF_MAX_BITMAPS)
		return qcf_fail(errp, EOVERFLOW, QCOWFMT_ERR_LIMIT,
		                "an image can have at most %" PRIu32 " bitmaps",
		                QCF_MAX_BITMAPS);
	if (draft->count < draft->room)
		return 0;
	grown = realloc(draft->items, draft->room * 2 * sizeof(*grown));
	if (grown == NULL)
		return qcf_fail_oom(errp);
	draft->items = grown;
	draft->room *= 2;
	return 0;
}

int qcf_draft_add(struct qcf_bitmap_draft *draft, const char *name,
                  uint32_t granularity_bits, struct qcowfmt_error **errp)
{
	struct qcf_bitmap like = {
		.entry = {
			.flags = QCF_BITMAP_AUTO,
			.type = QCF_BITMAP_TYPE_DIRTY,
			.granularity_bits = (uint8_t)granularity_bits,
			.name = (char *)(uintptr_t)name,
			.name_len = (uint32_t)strlen(name),
		},
	};
	int ret = make_room(draft, errp);

	return ret < 0 ? ret : append(draft, NULL, &like, errp);
}

static void fini_item(struct qcf_draft_item *item)
{
	qcf_bits_fini(&item->merged);
	qcf_bitmap_free(qcf_take(&item->next));
}

void qcf_draft_remove(struct qcf_bitmap_draft *draft,
                      struct qcf_draft_item *item)
{
	size_t behind = (size_t)(draft->items + draft->count - (item + 1));

	fini_item(item);
	memmove(item, item + 1, behind * sizeof(*item));
	draft->count--;
}

void qcf_draft_clear(struct qcf_draft_item *item)
{
	item->emptied = true;
	qcf_bits_fini(&item->merged);
}

/* The entry whose table says what an item has on storage; NULL if none does. */
static const struct qcf_bitmap_entry *stored_entry(
	const struct qcf_draft_item *item)
{
	return item->base == NULL || item->emptied ? NULL : &item->base->entry;
}

void qcf_draft_view(struct qcf_bitmap_draft *draft,
                    const struct qcf_draft_item *item,
                    struct qcf_bitmap_view *view)
{
	qcf_bitmap_view_init(
		view, draft->meta, stored_entry(item),
		qcf_bitmap_bits_for(draft->meta->header.virtual_size,
	                            item->next->entry.granularity_bits));
	view->bits[0] = &item->merged;
	if (item->base != NULL && !item->emptied)
		view->bits[1] = &item->base->dirty;
}

/* -------------------------------------------------------------- new clusters */

static int note_reserved(struct qcf_bitmap_draft *draft, uint64_t first,
                         uint64_t count, struct qcowfmt_error **errp)
{
	struct qcf_cluster_run *last =
		draft->reserved_count == 0
			? NULL
			: &draft->reserved[draft->reserved_count - 1];

	if (last != NULL && last->host_cluster + last->count == first) {
		last->count += count;
		return 0;
	}
	if (draft->reserved_count == draft->reserved_room) {
		size_t room = draft->reserved_room * 2 + 16;
		struct qcf_cluster_run *grown =
			realloc(draft->reserved, room * sizeof(*grown));

		if (grown == NULL)
			return qcf_fail_oom(errp);
		draft->reserved = grown;
		draft->reserved_room = room;
	}
	draft->reserved[draft->reserved_count++] =
		(struct qcf_cluster_run){ first, count };
	return 0;
}

/* Contiguous clusters for len bytes. */
static int reserve(struct qcf_bitmap_draft *draft, uint64_t len,
                   uint64_t *host_offset, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = draft->meta;
	uint64_t count = qcf_clusters_for(&meta->geometry, len);
	QCF_GUARD(&meta->refcounts.lock);
	uint64_t first = 0;
	int ret = qcf_alloc_reserve_exact_locked(meta, count, &first, errp);

	if (ret < 0)
		return qcf_wrap(errp, "allocating space for dirty bitmaps",
		                ret);
	ret = note_reserved(draft, first, count, errp);
	if (ret < 0)
		(void)qcf_alloc_free_locked(meta, first, count, NULL);
	*host_offset = qcf_host_offset(&meta->geometry, first);
	return ret;
}

static int write_new(struct qcf_bitmap_draft *draft, const void *bytes,
                     uint64_t len, uint64_t *host_offset,
                     struct qcowfmt_error **errp)
{
	int ret = reserve(draft, len, host_offset, errp);

	if (ret == 0)
		ret = qcf_storage_pwrite(draft->meta->storage, bytes, len,
		                         *host_offset, errp);
	return qcf_wrap(errp, "storing dirty bitmaps", ret);
}

/* --------------------------------------------------------------- one bitmap */

/* A bitmap that is being written. */
struct writing {
	struct qcf_bitmap_draft *draft;
	struct qcf_draft_item *item;
	struct qcf_bitmap_view *view; /* storage only */
	uint64_t bit_count;           /* that it will have */
	uint8_t *old_bytes;           /* a cluster */
	uint8_t *bytes;               /* a cluster */
};

static bool has_new_bits(const struct writing *w, uint64_t first, uint64_t end)
{
	const struct qcf_draft_item *item = w->item;

	if (qcf_bits_next(&item->merged, first, end) < end)
		return true;
	return item->base != NULL && !item->emptied &&
	       qcf_bits_next(&item->base->dirty, first, end) < end;
}

static int read_cluster(struct writing *w, struct qcf_bitmap_cluster cluster,
                        struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = w->draft->meta;
	size_t size = meta->geometry.cluster_size;

	if (cluster.host_offset == 0) {
		memset(w->old_bytes, cluster.ones ? 0xff : 0, size);
		return 0;
	}
	return qcf_wrap(errp, "reading the bits of a bitmap",
	                qcf_meta_read_table(meta, cluster.host_offset,
	                                    w->old_bytes, size, errp));
}

/* Bits behind the end of the disk are 0. */
static void cut(uint8_t *bytes, uint64_t bits, uint64_t size)
{
	if (bits >= size * 8)
		return;
	memset(bytes + qcf_div_ceil(bits, 8), 0, size - qcf_div_ceil(bits, 8));
	if (bits % 8 != 0)
		bytes[bits / 8] &= (uint8_t)(0xff >> (8 - bits % 8));
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* What a cluster will be, in w->bytes. */
static void compose(struct writing *w, uint64_t first)
{
	const struct qcf_draft_item *item = w->item;
	uint64_t size = w->draft->meta->geometry.cluster_size;

	memcpy(w->bytes, w->old_bytes, size);
	qcf_bits_or_into(&item->merged, first, size * 8, w->bytes);
	if (item->base != NULL && !item->emptied)
		qcf_bits_or_into(&item->base->dirty, first, size * 8, w->bytes);
	cut(w->bytes, w->bit_count - first, size);
}

/* The table entry for a cluster of bits; one that changes gets a new place. */
static int write_cluster(struct writing *w, uint64_t index,
                         struct qcf_be64 *raw, struct qcowfmt_error **errp)
{
	uint64_t size = w->draft->meta->geometry.cluster_size;
	uint64_t first = index * size * 8;
	bool last = first + size * 8 > w->bit_count;
	struct qcf_bitmap_cluster cluster;
	int ret = qcf_bitmap_view_cluster(w->view, index, &cluster, errp);

	*raw = qcf_bitmap_cluster_encode(cluster);
	if (ret < 0 || (!has_new_bits(w, first, first + size * 8) &&
	                (!last || qcf_bitmap_cluster_is_zero(cluster))))
		return ret;
	ret = read_cluster(w, cluster, errp);
	if (ret < 0)
		return ret;
	compose(w, first);
	if (memcmp(w->bytes, w->old_bytes, size) == 0)
		return 0;
	cluster = (struct qcf_bitmap_cluster){ 0 };
	if (!is_zero(w->bytes, size))
		ret = write_new(w->draft, w->bytes, size, &cluster.host_offset,
		                errp);
	*raw = qcf_bitmap_cluster_encode(cluster);
	return ret;
}

static int write_table(struct writing *w, uint32_t entries,
                       struct qcowfmt_error **errp)
{
	struct qcf_bitmap_entry *entry = &w->item->next->entry;
	QCF_AUTO_FREE struct qcf_be64 *table = calloc(entries, sizeof(*table));
	int ret = table == NULL ? qcf_fail_oom(errp) : 0;

	for (uint32_t i = 0; ret == 0 && i < entries; i++)
		ret = write_cluster(w, i, &table[i], errp);
	if (ret == 0)
		ret = write_new(w->draft, table, entries * sizeof(*table),
		                &entry->table_offset, errp);
	entry->table_entries = entries;
	return ret;
}

static int write_content(struct qcf_bitmap_draft *draft,
                         struct qcf_draft_item *item, uint32_t entries,
                         struct qcowfmt_error **errp)
{
	size_t size = draft->meta->geometry.cluster_size;
	QCF_AUTO_FREE uint8_t *buffers = malloc(2 * size);
	QCF_AUTO_FREE struct qcf_bitmap_view *view = malloc(sizeof(*view));
	struct writing w = {
		.draft = draft,
		.item = item,
		.view = view,
		.bit_count =
			qcf_bitmap_bits_for(draft->virtual_size,
		                            item->next->entry.granularity_bits),
		.old_bytes = buffers,
		.bytes = buffers + size,
	};

	if (buffers == NULL || view == NULL)
		return qcf_fail_oom(errp);
	qcf_bitmap_view_init(view, draft->meta, stored_entry(item), 0);
	return write_table(&w, entries, errp);
}

/* Whether the table on storage can stay as it is. */
static bool is_unchanged(const struct qcf_bitmap_draft *draft,
                         const struct qcf_draft_item *item, uint32_t entries)
{
	return item->base != NULL && !item->emptied &&
	       draft->virtual_size == draft->meta->header.virtual_size &&
	       item->base->entry.table_entries == entries &&
	       qcf_bits_is_empty(&item->merged) &&
	       qcf_bits_is_empty(&item->base->dirty);
}

/* A table that makes no sense, of a bitmap nobody asked about: it is broken, and
 * the others are stored. */
static bool give_up(const struct qcf_bitmap_draft *draft,
                    struct qcf_draft_item *item,
                    const struct qcowfmt_error *failure)
{
	if (qcowfmt_error_code(failure) != QCOWFMT_ERR_CORRUPT ||
	    item->base == NULL || item->emptied ||
	    !qcf_bits_is_empty(&item->merged) ||
	    draft->virtual_size != draft->meta->header.virtual_size)
		return false;
	item->next->broken = true;
	item->next->entry.table_offset = item->base->entry.table_offset;
	item->next->entry.table_entries = item->base->entry.table_entries;
	return true;
}

static int write_item(struct qcf_bitmap_draft *draft,
                      struct qcf_draft_item *item, struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *failure = NULL;
	struct qcf_bitmap *next = item->next;
	uint32_t entries = 0;
	int ret;

	if (!qcf_bitmap_is_good(next))
		return 0;
	if (!qcf_bitmap_table_entries_for(
		    &draft->meta->geometry, draft->virtual_size,
		    next->entry.granularity_bits, &entries))
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_LIMIT,
		                "bitmap '%s' of granularity %" PRIu64
		                " would take more than 512 MiB",
		                next->entry.name,
		                UINT64_C(1) << next->entry.granularity_bits);
	/* A table has at least one entry. */
	entries = QCF_MAX(entries, 1u);
	if (is_unchanged(draft, item, entries))
		return 0;
	ret = write_content(draft, item, entries, &failure);
	if (ret < 0 && give_up(draft, item, failure))
		return 0;
	qcf_error_move(errp, qcf_take(&failure));
	return qcf_wrapf(errp, ret, "bitmap '%s'", next->entry.name);
}

/* ------------------------------------------------------------ the directory */

static int collect(struct qcf_bitmap_draft *draft, struct qcowfmt_error **errp)
{
	size_t room = (size_t)draft->count + 1;

	draft->next_items = calloc(room, sizeof(struct qcf_bitmap *));
	draft->enabled = calloc(room, sizeof(struct qcf_bitmap *));
	if (draft->next_items == NULL || draft->enabled == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; i < draft->count; i++)
		draft->next_items[i] = draft->items[i].next;
	return qcf_bitmaps_encode(draft->next_items, draft->count, 0,
	                          &draft->directory, &draft->directory_len,
	                          errp);
}

static int write_directory(struct qcf_bitmap_draft *draft,
                           struct qcowfmt_error **errp)
{
	uint64_t max = QCF_MIN(draft->meta->bitmaps.max_size,
	                       QCF_MAX_BITMAP_DIRECTORY);
	int ret = collect(draft, errp);

	if (ret < 0 || draft->count == 0)
		return ret;
	if (draft->directory_len > max)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the bitmap directory would take %zu bytes, at "
		                "most %" PRIu64 " are allowed",
		                draft->directory_len, max);
	draft->ext.count = draft->count;
	draft->ext.directory_size = draft->directory_len;
	return write_new(draft, draft->directory, draft->directory_len,
	                 &draft->ext.directory_offset, errp);
}

/* The header that points to it; it must fit. */
static int make_header(struct qcf_bitmap_draft *draft,
                       struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = draft->meta;
	struct qcf_header *h = &draft->header;
	size_t size = meta->geometry.cluster_size;
	QCF_AUTO_FREE uint8_t *cluster = malloc(size);
	uint8_t bytes[QCF_BITMAP_EXT_LEN];
	int ret = cluster == NULL ? qcf_fail_oom(errp)
	                          : qcf_header_copy(&meta->header, h, errp);

	if (ret < 0)
		return ret;
	qcf_header_remove_extension(h, QCF_EXT_BITMAPS);
	h->autoclear_features &= ~QCF_AUTOCLEAR_BITMAPS;
	h->virtual_size = draft->virtual_size;
	if (draft->ext.count > 0) {
		h->autoclear_features |= QCF_AUTOCLEAR_BITMAPS;
		qcf_bitmap_ext_encode(&draft->ext, bytes);
		ret = qcf_header_add_extension(h, QCF_EXT_BITMAPS, bytes,
		                               sizeof(bytes), errp);
	}
	return ret < 0 ? ret : qcf_header_encode(h, cluster, size, errp);
}

int qcf_draft_write(struct qcf_bitmap_draft *draft, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < draft->count; i++)
		ret = write_item(draft, &draft->items[i], errp);
	if (ret == 0)
		ret = write_directory(draft, errp);
	if (ret == 0)
		ret = make_header(draft, errp);
	return ret < 0 ? ret : qcf_writeback_drain(draft->meta, errp);
}

/* -------------------------------------------------------------- the switch */

/* Free what the bitmaps that there were have and the new ones do not, but for what
 * may not be theirs.  Items are in the order of the bitmaps they come from. */
static void free_old(struct qcf_bitmap_draft *draft,
                     const struct qcf_bitmap_ext *old)
{
	struct qcf_meta *meta = draft->meta;
	const struct qcf_bitmaps *b = &meta->bitmaps;
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		const struct qcf_bitmap_entry *next = NULL;

		if (at < draft->count && draft->items[at].base == b->items[i])
			next = &draft->items[at++].next->entry;
		if (!b->items[i]->broken)
			qcf_bitmap_free_replaced(meta, &b->items[i]->entry,
			                         next);
	}
	qcf_bitmap_free_range(meta, old->directory_offset, old->directory_size);
}

/* The new items take the place of the old ones. */
static void adopt(struct qcf_bitmap_draft *draft)
{
	struct qcf_meta *meta = draft->meta;

	qcf_bitmaps_adopt(meta, qcf_take(&draft->next_items), draft->count,
	                  qcf_take(&draft->enabled));
	for (uint32_t i = 0; i < draft->count; i++)
		draft->items[i].next = NULL;
	meta->bitmaps.damaged = false;
	meta->bitmaps.flags_uncertain = false;
	atomic_store(&meta->bitmaps.in_use, false);
}

int qcf_draft_switch(struct qcf_bitmap_draft *draft,
                     struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = draft->meta;
	const struct qcf_extension *raw = qcf_bitmaps_extension(&meta->header);
	struct qcf_bitmap_ext old = { 0 };
	int ret;

	if (raw == NULL ||
	    qcf_bitmap_ext_decode(&old, raw, &meta->geometry, NULL) < 0)
		old = (struct qcf_bitmap_ext){ 0 };
	ret = qcf_header_rewrite(meta, &draft->header, errp);
	if (ret < 0)
		return ret;
	draft->reserved_count = 0;
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_BITMAPS, 0, 0);
	if (!draft->keep_old)
		free_old(draft, &old);
	adopt(draft);
	return 0;
}

/* What a failed switch has left on storage nobody knows. */
static void abandon(struct qcf_bitmap_draft *draft)
{
	struct qcf_meta *meta = draft->meta;

	if (qcf_poison_check(&meta->poison, NULL) < 0)
		return;
	for (size_t i = 0; i < draft->reserved_count; i++)
		(void)qcf_alloc_free(meta, draft->reserved[i].host_cluster,
		                     draft->reserved[i].count, NULL);
}

void qcf_draft_fini(struct qcf_bitmap_draft *draft)
{
	if (draft->meta == NULL)
		return;
	abandon(draft);
	for (uint32_t i = 0; i < draft->count; i++)
		fini_item(&draft->items[i]);
	free(draft->items);
	free(draft->next_items);
	free(draft->enabled);
	free(draft->directory);
	free(draft->reserved);
	qcf_header_fini(&draft->header);
	*draft = (struct qcf_bitmap_draft){ 0 };
}
