/* SPDX-License-Identifier: MIT */
/*
 * bitmap_recover.c - completing a change of the bitmaps of several images
 *
 * The drafts of all images were stable before the journal was, so every switch
 * that is missing can be made now.  First all images are looked at: if one was
 * changed since, nothing is done.  No key is needed: guest data is not touched.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "bitmap_change.h"
#include "bitmap_journal.h"
#include "check_image.h"
#include "header_ext.h"
#include "header_rewrite.h"
#include "open.h"
#include "refcount.h"
#include "storage_file.h"

#define MAX_METADATA (UINT64_C(64) << 20)

/* An image of a journal, opened for its metadata only. */
struct opened {
	struct qcowfmt_storage *storage; /* owned */
	struct qcf_layer *layer;
	bool done; /* it has switched already */
};

struct recovery {
	struct qcf_bitmap_journal journal;
	struct opened *images; /* owned; one for each switch */
	struct qcf_budget budget;
	struct qcf_gate gate;
};

static int open_image(struct recovery *r, const char *path, struct opened *o,
                      struct qcowfmt_error **errp)
{
	struct qcf_layer_options options = {
		.format = QCOWFMT_FORMAT_QCOW2,
		.writable = true,
		.repair = true,
		.no_data = true,
		.lazy_refcounts = -1,
		.max_table_size = MAX_METADATA,
		.budget = &r->budget,
		.gate = &r->gate,
	};
	int ret = qcf_storage_file_open(path, NULL, 0, &o->storage, errp);

	if (ret == 0)
		ret = qcf_layer_open(o->storage, &options, &o->layer, errp);
	return ret;
}

static void close_image(struct opened *o)
{
	if (o->layer != NULL)
		qcf_layer_abandon(o->layer);
	qcowfmt_storage_free(o->storage);
}

/* ------------------------------------------------------------------- looking */

static int changed_since(const struct qcf_bitmap_switch *s,
                         struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
	                "%s was changed after the journal was written",
	                s->path);
}

/* The draft must still be counted. */
static int check_counted(struct qcf_meta *meta,
                         const struct qcf_bitmap_switch *s,
                         struct qcowfmt_error **errp)
{
	struct qcf_extension raw = {
		.len = QCF_BITMAP_EXT_LEN,
		.data = (uint8_t *)(uintptr_t)s->after,
	};
	QCF_GUARD(&meta->refcounts.lock);
	struct qcf_bitmap_ext ext = { 0 };
	uint64_t count = 1;
	int ret = qcf_bitmap_ext_decode(&ext, &raw, &meta->geometry, errp);

	if (ret == 0)
		ret = qcf_refcount_read(
			meta,
			qcf_host_cluster(&meta->geometry, ext.directory_offset),
			&count, errp);
	return ret == 0 && count == 0 ? changed_since(s, errp) : ret;
}

static bool is_none(const uint8_t ext[QCF_BITMAP_EXT_LEN])
{
	static const uint8_t none[QCF_BITMAP_EXT_LEN];

	return memcmp(ext, none, sizeof(none)) == 0;
}

static int look(struct qcf_meta *meta, const struct qcf_bitmap_switch *s,
                bool *done, struct qcowfmt_error **errp)
{
	uint8_t now[QCF_BITMAP_EXT_LEN];
	uint64_t before = 0;
	uint64_t after = 0;
	int ret;

	qcf_bitmap_ext_bytes(&meta->header, now);
	*done = memcmp(now, s->after, sizeof(now)) == 0;
	if (*done)
		return 0;
	if (memcmp(now, s->before, sizeof(now)) != 0)
		return changed_since(s, errp);
	ret = qcf_bitmap_directory_digest(meta, s->before, &before, errp);
	if (ret == 0)
		ret = qcf_bitmap_directory_digest(meta, s->after, &after, errp);
	if (ret < 0)
		return ret;
	if (before != s->digest_before || after != s->digest_after)
		return changed_since(s, errp);
	return is_none(s->after) ? 0 : check_counted(meta, s, errp);
}

/* ----------------------------------------------------------------- completing */

static int switch_image(struct qcf_meta *meta,
                        const struct qcf_bitmap_switch *s,
                        struct qcowfmt_error **errp)
{
	struct qcf_header h = { 0 };
	int ret = qcf_header_copy(&meta->header, &h, errp);

	if (ret < 0)
		return ret;
	qcf_header_remove_extension(&h, QCF_EXT_BITMAPS);
	h.autoclear_features &= ~QCF_AUTOCLEAR_BITMAPS;
	if (!is_none(s->after)) {
		h.autoclear_features |= QCF_AUTOCLEAR_BITMAPS;
		ret = qcf_header_add_extension(&h, QCF_EXT_BITMAPS, s->after,
		                               sizeof(s->after), errp);
	}
	if (ret == 0)
		ret = qcf_header_rewrite(meta, &h, errp);
	qcf_header_fini(&h);
	return ret;
}

static int complete(struct recovery *r, struct qcowfmt_error **errp)
{
	const struct qcf_bitmap_switch *switches = r->journal.switches;
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < r->journal.count; i++) {
		ret = open_image(r, switches[i].path, &r->images[i], errp);
		if (ret == 0)
			ret = look(r->images[i].layer->meta, &switches[i],
			           &r->images[i].done, errp);
	}
	for (uint32_t i = 0; ret == 0 && i < r->journal.count; i++) {
		if (!r->images[i].done)
			ret = switch_image(r->images[i].layer->meta,
			                   &switches[i], errp);
	}
	return ret;
}

/* What the old bitmaps used is counted still.  That harms nothing, so failing to
 * free it, for lack of a key for example, is no failure. */
static void free_leaks(const char *path)
{
	struct qcowfmt_open_options options = {
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_check_result result = { 0 };
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;

	if (qcf_storage_file_open(path, NULL, 0, &storage, NULL) < 0)
		return;
	if (qcf_open(storage, &options, &image, NULL) < 0) {
		qcowfmt_storage_free(storage);
		return;
	}
	(void)qcf_check(image, QCOWFMT_CHECK_REPAIR_LEAKS, NULL, NULL, &result,
	                NULL);
	(void)qcf_image_close(image, NULL);
}

static int recover(struct recovery *r, struct qcowfmt_error **errp)
{
	int ret;

	r->images = calloc((size_t)r->journal.count + 1, sizeof(*r->images));
	if (r->images == NULL)
		return qcf_fail_oom(errp);
	r->budget.limit = MAX_METADATA;
	qcf_gate_init(&r->gate);
	ret = complete(r, errp);
	for (uint32_t i = 0; i < r->journal.count; i++)
		close_image(&r->images[i]);
	qcf_gate_fini(&r->gate);
	free(r->images);
	return ret;
}

int qcf_bitmap_recover(const char *path, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct recovery *r = aligned_alloc(
		_Alignof(struct recovery), sizeof(struct recovery));
	bool whole = false;
	int ret;

	if (r == NULL)
		return qcf_fail_oom(errp);
	*r = (struct recovery){ 0 };
	ret = qcf_bitmap_journal_read(&r->journal, path, &whole, errp);
	if (ret == 0 && whole)
		ret = recover(r, errp);
	if (ret == 0)
		ret = qcf_bitmap_journal_remove(path, errp);
	for (uint32_t i = 0; ret == 0 && i < r->journal.count; i++)
		free_leaks(r->journal.switches[i].path);
	qcf_bitmap_journal_fini(&r->journal);
	return ret;
}
