/* SPDX-License-Identifier: MIT */
/*
 * bitmap_change.c - actions on dirty bitmaps, all of them or none
 *
 * The gates of all images that take part are closed, in the order of their
 * addresses, so that two callers cannot wait for each other.  The actions are
 * carried out on drafts (bitmap_draft.h), one for each image that changes.  Then
 * all drafts are written, and last each image switches to its draft.
 *
 * With several images there are several switches.  A journal that says what they
 * are is made stable before the first and removed after the last; what is left
 * undone by a power cut in between, qcf_bitmap_recover() does.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bitmap_change.h"
#include "bitmap_draft.h"
#include "bitmap_journal.h"
#include "bitmap_ops.h"
#include "checked.h"
#include "exclusive.h"

#define DEFAULT_MIN_BITS 12u
#define DEFAULT_MAX_BITS 16u

/* An image that takes part. */
struct party {
	struct qcowfmt_image *image;
	bool changes;
	bool closed; /* its gate, by us */
	struct qcf_bitmap_draft draft;
};

struct change {
	struct party *parties; /* sorted by address */
	size_t count;
};

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

/* ------------------------------------------------------------------ the parties */

/* The order in which gates are closed. */
static int compare_parties(const void *a, const void *b)
{
	const struct qcowfmt_image *x = ((const struct party *)a)->image;
	const struct qcowfmt_image *y = ((const struct party *)b)->image;

	return qcf_image_comes_first(x, y) ? -1 : qcf_image_comes_first(y, x);
}

static void merge_twins(struct change *c)
{
	size_t kept = 0;

	qsort(c->parties, c->count, sizeof(*c->parties), compare_parties);
	for (size_t i = 0; i < c->count; i++) {
		struct party *p = &c->parties[i];

		if (kept > 0 && c->parties[kept - 1].image == p->image)
			c->parties[kept - 1].changes |= p->changes;
		else
			c->parties[kept++] = *p;
	}
	c->count = kept;
}

static int gather(struct change *c, const struct qcowfmt_bitmap_action *actions,
                  size_t count, struct qcowfmt_error **errp)
{
	c->parties = calloc(count * 2 + 1, sizeof(*c->parties));
	if (c->parties == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; i < count; i++) {
		const struct qcowfmt_bitmap_action *a = &actions[i];

		if (a->image == NULL || a->name == NULL)
			return usage(errp, "a bitmap action needs an image and "
			                   "a name");
		c->parties[c->count++] =
			(struct party){ .image = a->image, .changes = true };
		if (a->kind == QCOWFMT_BITMAP_MERGE && a->source != NULL)
			c->parties[c->count++] =
				(struct party){ .image = a->source };
	}
	merge_twins(c);
	return 0;
}

static struct party *find_party(struct change *c,
                                const struct qcowfmt_image *image)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->parties[i].image == image)
			return &c->parties[i];
	}
	return NULL;
}

/* With the gate closed: the version can be changed. */
static int check_image(const struct party *p, struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(p->image);

	if (top->meta == NULL || top->meta->header.version < 3)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: only version 3 images have dirty bitmaps",
		                top->storage->name);
	if (top->meta->bitmaps.damaged)
		return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
		                "%s: its dirty bitmaps are damaged",
		                top->storage->name);
	return 0;
}

static int begin_party(struct party *p, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(p->image);
	int ret = 0;

	if (p->changes)
		ret = qcf_exclusive_begin_without_data(p->image, errp);
	else
		qcf_gate_close(&p->image->gate);
	if (ret < 0)
		return qcf_wrap(errp, top->storage->name, ret);
	p->closed = true;
	ret = check_image(p, errp);
	if (ret < 0)
		return ret;
	if (p->changes)
		ret = qcf_draft_begin(&p->draft, top->meta,
		                      top->meta->header.virtual_size, errp);
	else
		ret = qcf_bitmaps_load(top->meta, errp);
	return qcf_wrap(errp, top->storage->name, ret);
}

static void end_parties(struct change *c)
{
	for (size_t i = 0; i < c->count; i++) {
		qcf_draft_fini(&c->parties[i].draft);
		if (c->parties[i].closed)
			qcf_gate_open(&c->parties[i].image->gate);
	}
	free(c->parties);
}

/* ------------------------------------------------------------------ the actions */

static int granularity_bits(const struct qcowfmt_bitmap_action *a,
                            const struct qcf_geometry *g, uint32_t *bits,
                            struct qcowfmt_error **errp)
{
	*bits = QCF_MIN(g->cluster_bits, DEFAULT_MAX_BITS);
	*bits = QCF_MAX(*bits, DEFAULT_MIN_BITS);
	if (a->granularity == 0)
		return 0;
	if (!qcf_is_power_of_two(a->granularity) ||
	    a->granularity < UINT64_C(1) << QCF_MIN_GRANULARITY_BITS ||
	    a->granularity > UINT64_C(1) << QCF_MAX_GRANULARITY_BITS)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "granularity %" PRIu64
		                " is not a power of two from 512 to 2^31",
		                a->granularity);
	*bits = qcf_log2(a->granularity);
	return 0;
}

static int add(struct party *p, const struct qcowfmt_bitmap_action *a,
               struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->draft.meta->geometry;
	size_t len = strlen(a->name);
	uint32_t bits = 0;
	uint32_t entries = 0;
	int ret;

	if (len == 0 || len > QCF_MAX_BITMAP_NAME)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the name of a bitmap has 1 to %u bytes, not "
		                "%zu",
		                QCF_MAX_BITMAP_NAME, len);
	if (qcf_draft_find(&p->draft, a->name) != NULL)
		return qcf_fail(errp, EEXIST, QCOWFMT_ERR_USAGE,
		                "bitmap '%s' exists already", a->name);
	/* The format has no bitmap without a cluster of bits. */
	if (p->draft.virtual_size == 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a disk of 0 bytes has no place for bitmap "
		                "'%s'",
		                a->name);
	ret = granularity_bits(a, g, &bits, errp);
	if (ret < 0)
		return ret;
	if (!qcf_bitmap_table_entries_for(g, p->draft.virtual_size, bits,
	                                  &entries))
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_LIMIT,
		                "bitmap '%s' would take more than 512 MiB at "
		                "granularity %" PRIu64,
		                a->name, UINT64_C(1) << bits);
	return qcf_draft_add(&p->draft, a->name, bits, errp);
}

/* Mark a guest range in an item. */
static int mark(struct qcf_draft_item *item, uint64_t start, uint64_t end,
                struct qcowfmt_error **errp)
{
	uint32_t shift = item->next->entry.granularity_bits;
	uint64_t first = start >> shift;

	return qcf_bits_set(&item->merged, first,
	                    ((end - 1) >> shift) - first + 1, errp);
}

static int merge_view(struct qcf_draft_item *item, struct qcf_bitmap_view *view,
                      uint32_t shift, struct qcowfmt_error **errp)
{
	uint64_t size = view->meta->header.virtual_size;
	uint64_t first = 0;
	uint64_t end = 0;
	int ret;

	do {
		ret = qcf_bitmap_view_next(view, end, &first, &end, errp);
		if (ret == 0 && first < end)
			ret = mark(item, first << shift,
			           QCF_MIN(end << shift, size), errp);
	} while (ret == 0 && first < end);
	return ret;
}

/* A look through the source of a merge, as the actions before left it. */
static int view_source(struct change *c, const struct qcowfmt_bitmap_action *a,
                       struct qcf_bitmap_view *view, uint32_t *shift,
                       struct qcowfmt_error **errp)
{
	struct party *p =
		find_party(c, a->source == NULL ? a->image : a->source);
	struct qcf_meta *meta = qcf_image_top(p->image)->meta;
	const struct qcf_draft_item *item = NULL;
	const struct qcf_bitmap *bitmap;

	if (p->changes)
		item = qcf_draft_find(&p->draft, a->source_name);
	bitmap = p->changes ? (item == NULL ? NULL : item->next)
	                    : qcf_bitmaps_find(&meta->bitmaps, a->source_name);
	if (bitmap == NULL)
		return qcf_bitmap_missing(a->source_name, errp);
	if (!qcf_bitmap_is_good(bitmap))
		return qcf_bitmap_unusable(a->source_name, errp);
	*shift = bitmap->entry.granularity_bits;
	if (item != NULL) {
		qcf_draft_view(&p->draft, item, view);
		return 0;
	}
	qcf_bitmap_view_init(
		view, meta, &bitmap->entry,
		qcf_bitmap_bits_for(meta->header.virtual_size, *shift));
	view->bits[0] = &bitmap->dirty;
	return 0;
}

static int check_sizes(const struct party *p,
                       const struct qcowfmt_bitmap_action *a,
                       struct qcowfmt_error **errp)
{
	uint64_t have;

	if (a->source == NULL)
		return 0;
	have = qcf_image_top(a->source)->meta->header.virtual_size;
	if (have == p->draft.virtual_size)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "bitmaps of disks of different sizes, %" PRIu64
	                " and %" PRIu64 " bytes, cannot be merged",
	                have, p->draft.virtual_size);
}

static int merge(struct change *c, struct party *p, struct qcf_draft_item *item,
                 const struct qcowfmt_bitmap_action *a,
                 struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_bitmap_view *view = malloc(sizeof(*view));
	uint32_t shift = 0;
	int ret;

	if (view == NULL)
		return qcf_fail_oom(errp);
	if (a->source_name == NULL)
		return usage(errp, "merging a bitmap needs the name of a "
		                   "source");
	ret = check_sizes(p, a, errp);
	if (ret == 0)
		ret = view_source(c, a, view, &shift, errp);
	return ret < 0 ? ret : merge_view(item, view, shift, errp);
}

/* Everything but adding needs a bitmap, and everything but removing a good one. */
static int change_one(struct change *c, struct party *p,
                      const struct qcowfmt_bitmap_action *a,
                      struct qcowfmt_error **errp)
{
	struct qcf_draft_item *item = qcf_draft_find(&p->draft, a->name);

	if (item == NULL)
		return qcf_bitmap_missing(a->name, errp);
	if (a->kind == QCOWFMT_BITMAP_REMOVE) {
		qcf_draft_remove(&p->draft, item);
		return 0;
	}
	if (!qcf_bitmap_is_good(item->next))
		return qcf_bitmap_unusable(a->name, errp);
	switch (a->kind) {
	case QCOWFMT_BITMAP_CLEAR:
		qcf_draft_clear(item);
		return 0;
	case QCOWFMT_BITMAP_ENABLE:
		item->next->entry.flags |= QCF_BITMAP_AUTO;
		return 0;
	case QCOWFMT_BITMAP_DISABLE:
		item->next->entry.flags &= ~QCF_BITMAP_AUTO;
		return 0;
	default:
		return merge(c, p, item, a, errp);
	}
}

static int act(struct change *c, const struct qcowfmt_bitmap_action *a,
               struct qcowfmt_error **errp)
{
	struct party *p = find_party(c, a->image);

	if (a->kind < QCOWFMT_BITMAP_ADD || a->kind > QCOWFMT_BITMAP_MERGE)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown kind %d of bitmap action", a->kind);
	if (a->kind != QCOWFMT_BITMAP_ADD && a->granularity != 0)
		return usage(errp, "a granularity is for adding a bitmap only");
	return a->kind == QCOWFMT_BITMAP_ADD ? add(p, a, errp)
	                                     : change_one(c, p, a, errp);
}

/* ---------------------------------------------------------------- the switches */

static size_t count_changing(const struct change *c)
{
	size_t count = 0;

	for (size_t i = 0; i < c->count; i++)
		count += c->parties[i].changes;
	return count;
}

static int write_drafts(struct change *c, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < c->count; i++) {
		if (c->parties[i].changes)
			ret = qcf_draft_write(&c->parties[i].draft, errp);
	}
	return ret;
}

static int switch_all(struct change *c, size_t *done,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	*done = 0;
	for (size_t i = 0; ret == 0 && i < c->count; i++) {
		if (!c->parties[i].changes)
			continue;
		ret = qcf_draft_switch(&c->parties[i].draft, errp);
		*done += ret == 0;
	}
	return ret;
}

static int write_journal(struct change *c, const char *path,
                         struct qcowfmt_error **errp)
{
	struct qcf_bitmap_journal journal = { 0 };
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < c->count; i++) {
		if (c->parties[i].changes)
			ret = qcf_bitmap_journal_add(
				&journal, &c->parties[i].draft, errp);
	}
	if (ret == 0)
		ret = qcf_bitmap_journal_write(&journal, path, errp);
	qcf_bitmap_journal_fini(&journal);
	return ret;
}

/* Whether a failed first switch has surely left the image as it was. */
static bool nothing_happened(const struct change *c, size_t done)
{
	for (size_t i = 0; i < c->count; i++) {
		struct qcf_layer *top = qcf_image_top(c->parties[i].image);

		if (c->parties[i].changes &&
		    qcf_poison_check(&top->meta->poison, NULL) < 0)
			return false;
	}
	return done == 0;
}

/* The clusters of a draft that recovery will switch to must stay. */
static void leave_to_recovery(struct change *c)
{
	for (size_t i = 0; i < c->count; i++)
		c->parties[i].draft.reserved_count = 0;
}

static int switch_several(struct change *c, const char *path,
                          struct qcowfmt_error **errp)
{
	size_t done = 0;
	int ret = write_journal(c, path, errp);

	if (ret < 0)
		return ret;
	ret = switch_all(c, &done, errp);
	if (ret == 0 || nothing_happened(c, done)) {
		int removed =
			qcf_bitmap_journal_remove(path, ret == 0 ? errp : NULL);

		return ret < 0 ? ret : removed;
	}
	leave_to_recovery(c);
	return qcf_wrapf(errp, ret,
	                 "some images are changed, and journal %s says how to "
	                 "complete that",
	                 path);
}

static int carry_out(struct change *c,
                     const struct qcowfmt_bitmap_action *actions, size_t count,
                     const char *journal, struct qcowfmt_error **errp)
{
	size_t done = 0;
	int ret = 0;

	if (count_changing(c) > 1 && journal == NULL)
		return usage(errp, "changing the bitmaps of several images "
		                   "needs a journal");
	for (size_t i = 0; ret == 0 && i < c->count; i++)
		ret = begin_party(&c->parties[i], errp);
	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = act(c, &actions[i], errp);
	if (ret == 0)
		ret = write_drafts(c, errp);
	if (ret < 0)
		return ret;
	return count_changing(c) > 1 ? switch_several(c, journal, errp)
	                             : switch_all(c, &done, errp);
}

int qcf_bitmap_change(const struct qcowfmt_bitmap_action *actions, size_t count,
                      const char *journal, struct qcowfmt_error **errp)
{
	struct change c = { 0 };
	int ret = gather(&c, actions, count, errp);

	if (ret == 0 && count > 0)
		ret = carry_out(&c, actions, count, journal, errp);
	end_parties(&c);
	return ret;
}
