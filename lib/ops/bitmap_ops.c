/* SPDX-License-Identifier: MIT */
/* bitmap_ops.c - listing dirty bitmaps and looking into them */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bitmap_ops.h"
#include "checked.h"

/* Entries and their names are pieces of one allocation. */
struct qcowfmt_bitmap_list {
	uint32_t count;
	struct qcowfmt_bitmap bitmaps[];
};

int qcf_bitmap_missing(const char *name, struct qcowfmt_error **errp)
{
	return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
	                "there is no bitmap '%s'", name);
}

int qcf_bitmap_unusable(const char *name, struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_CORRUPT,
	                "bitmap '%s' is inconsistent: it can only be removed",
	                name);
}

/* ------------------------------------------------------------------- listing */

static uint32_t flags_of(const struct qcf_bitmaps *b,
                         const struct qcf_bitmap *bitmap)
{
	uint32_t flags = bitmap->entry.flags;
	uint32_t result = 0;

	if ((flags & QCF_BITMAP_AUTO) != 0)
		result |= QCOWFMT_BITMAP_ENABLED;
	if ((flags & QCF_BITMAP_IN_USE) != 0 || atomic_load(&b->in_use))
		result |= QCOWFMT_BITMAP_IN_USE;
	if (!qcf_bitmap_is_good(bitmap))
		result |= QCOWFMT_BITMAP_INCONSISTENT;
	return result;
}

static struct qcowfmt_bitmap describe(const struct qcf_bitmaps *b,
                                      const struct qcf_bitmap *bitmap,
                                      const char *name)
{
	uint8_t bits = bitmap->entry.granularity_bits;

	return (struct qcowfmt_bitmap){
		.struct_size = sizeof(struct qcowfmt_bitmap),
		.name = name,
		/* Of a broken one it may be anything. */
		.granularity = bits < 64 ? UINT64_C(1) << bits : 0,
		.flags = flags_of(b, bitmap),
	};
}

static int list_locked(struct qcf_meta *meta, struct qcowfmt_bitmap_list **list,
                       struct qcowfmt_error **errp)
{
	const struct qcf_bitmaps *b = &meta->bitmaps;
	struct qcowfmt_bitmap_list *l;
	size_t size = sizeof(*l);
	char *names;
	int ret = qcf_bitmaps_load(meta, errp);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < b->count; i++)
		size += sizeof(l->bitmaps[0]) +
		        strlen(b->items[i]->entry.name) + 1;
	l = calloc(1, size);
	if (l == NULL)
		return qcf_fail_oom(errp);
	l->count = b->count;
	names = (char *)&l->bitmaps[l->count];
	for (uint32_t i = 0; i < b->count; i++) {
		const struct qcf_bitmap *bitmap = b->items[i];

		l->bitmaps[i] = describe(b, bitmap, names);
		names = stpcpy(names, bitmap->entry.name) + 1;
	}
	*list = l;
	return 0;
}

static int list_of_layer(struct qcf_layer *layer,
                         struct qcowfmt_bitmap_list **list,
                         struct qcowfmt_error **errp)
{
	int ret;

	if (layer->meta == NULL) {
		*list = calloc(1, sizeof(**list));
		return *list == NULL ? qcf_fail_oom(errp) : 0;
	}
	QCF_GUARD(&layer->meta->bitmaps.lock);
	ret = list_locked(layer->meta, list, errp);
	return qcf_wrap(errp, layer->storage->name, ret);
}

int qcf_bitmap_list(struct qcowfmt_image *image, uint32_t depth,
                    struct qcowfmt_bitmap_list **list,
                    struct qcowfmt_error **errp)
{
	struct qcf_request request;
	struct qcf_layer *layer;
	int ret = qcf_image_layer(image, depth, &layer, errp);

	if (ret < 0)
		return ret;
	qcf_request_begin_read(&request, image);
	ret = list_of_layer(layer, list, errp);
	qcf_request_end(&request);
	return ret;
}

uint32_t qcf_bitmap_list_count(const struct qcowfmt_bitmap_list *list)
{
	return list->count;
}

int qcf_bitmap_list_get(const struct qcowfmt_bitmap_list *list, uint32_t index,
                        struct qcowfmt_bitmap *bitmap,
                        struct qcowfmt_error **errp)
{
	if (index >= list->count)
		return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
		                "there are %" PRIu32 " bitmaps, number %" PRIu32
		                " is not one",
		                list->count, index);
	*bitmap = list->bitmaps[index];
	return 0;
}

void qcf_bitmap_list_free(struct qcowfmt_bitmap_list *list)
{
	free(list);
}

/* ------------------------------------------------------------------- looking */

/* Dirty bits as a guest range, cut to the disk. */
static int next_locked(struct qcf_meta *meta, const struct qcf_bitmap *bitmap,
                       uint64_t guest_offset, uint64_t *dirty_offset,
                       uint64_t *dirty_len, struct qcowfmt_error **errp)
{
	uint64_t size = meta->header.virtual_size;
	uint32_t shift = bitmap->entry.granularity_bits;
	uint64_t first = 0;
	uint64_t end = 0;
	int ret;

	if (guest_offset >= size)
		return 0;
	ret = qcf_bitmaps_next_locked(meta, bitmap, guest_offset >> shift,
	                              &first, &end, errp);
	if (ret < 0 || first == end)
		return ret;
	*dirty_offset = QCF_MAX(first << shift, guest_offset);
	*dirty_len = QCF_MIN(end << shift, size) - *dirty_offset;
	return 1;
}

static int next_in_layer(struct qcf_layer *layer, const char *name,
                         uint64_t guest_offset, uint64_t *dirty_offset,
                         uint64_t *dirty_len, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = layer->meta;
	const struct qcf_bitmap *bitmap;
	int ret;

	if (meta == NULL)
		return qcf_bitmap_missing(name, errp);
	QCF_GUARD(&meta->bitmaps.lock);
	ret = qcf_bitmaps_load(meta, errp);
	if (ret < 0)
		return ret;
	bitmap = qcf_bitmaps_find(&meta->bitmaps, name);
	if (bitmap == NULL)
		return qcf_bitmap_missing(name, errp);
	if (!qcf_bitmap_is_good(bitmap))
		return qcf_bitmap_unusable(name, errp);
	return qcf_wrapf(errp,
	                 next_locked(meta, bitmap, guest_offset, dirty_offset,
	                             dirty_len, errp),
	                 "bitmap '%s'", name);
}

int qcf_bitmap_next(struct qcowfmt_image *image, const char *name,
                    uint64_t guest_offset, uint64_t *dirty_offset,
                    uint64_t *dirty_len, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	struct qcf_request request;
	int ret;

	qcf_request_begin_read(&request, image);
	ret = next_in_layer(top, name, guest_offset, dirty_offset, dirty_len,
	                    errp);
	qcf_request_end(&request);
	return qcf_wrap(errp, top->storage->name, ret);
}
