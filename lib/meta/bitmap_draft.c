/* SPDX-License-Identifier: MIT */
/*
 * bitmap_draft.c - what the dirty bitmaps of an image are to become
 *
 * Nothing that storage has is overwritten: the bitmaps that change are written by
 * bitmap_content.c, the directory always is, and then the header says where.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "bitmap_content.h"
#include "bitmap_draft.h"
#include "bitmap_free.h"
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

void qcf_draft_view(struct qcf_bitmap_draft *draft,
                    const struct qcf_draft_item *item,
                    struct qcf_bitmap_view *view)
{
	qcf_bitmap_view_init(
		view, draft->meta, qcf_draft_stored_entry(item),
		qcf_bitmap_bits_for(draft->meta->header.virtual_size,
	                            item->next->entry.granularity_bits));
	view->bits[0] = &item->merged;
	if (item->base != NULL && !item->emptied)
		view->bits[1] = &item->base->dirty;
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
	return qcf_draft_write_new(draft, draft->directory,
	                           draft->directory_len,
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
		ret = qcf_draft_write_item(draft, &draft->items[i], errp);
	if (ret == 0)
		ret = write_directory(draft, errp);
	/* Draining can move the refcount table, and the header names it. */
	if (ret == 0)
		ret = qcf_writeback_drain(draft->meta, errp);
	return ret < 0 ? ret : make_header(draft, errp);
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
