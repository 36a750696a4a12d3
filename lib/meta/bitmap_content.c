/* SPDX-License-Identifier: MIT */
/*
 * bitmap_content.c - the bits and the table of a bitmap that changes
 *
 * Everything goes to new clusters, which the draft remembers and gives back unless
 * it comes to the switch.  A cluster of bits in which nothing changes stays where
 * it is; a table is written anew if any of its clusters, or its length, changes.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "bitmap_content.h"
#include "checked.h"
#include "meta_tables.h"
#include "zeros.h"

const struct qcf_bitmap_entry *qcf_draft_stored_entry(
	const struct qcf_draft_item *item)
{
	return item->base == NULL || item->emptied ? NULL : &item->base->entry;
}

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

int qcf_draft_write_new(struct qcf_bitmap_draft *draft, const void *bytes,
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
	if (!qcf_is_zero(w->bytes, size))
		ret = qcf_draft_write_new(w->draft, w->bytes, size,
		                          &cluster.host_offset, errp);
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
		ret = qcf_draft_write_new(w->draft, table,
		                          entries * sizeof(*table),
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
	qcf_bitmap_view_init(view, draft->meta, qcf_draft_stored_entry(item),
	                     0);
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

int qcf_draft_write_item(struct qcf_bitmap_draft *draft,
                         struct qcf_draft_item *item,
                         struct qcowfmt_error **errp)
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
