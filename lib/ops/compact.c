/* SPDX-License-Identifier: MIT */
/*
 * compact.c - making an image file shorter, in place
 *
 *   1. check the image: only a sound one is touched; free what nothing uses
 *   2. round by round, move what is at the end of the file into free
 *      clusters in front of it (compact_plan.c, compact_move.c), until nothing
 *      can move
 *   3. cut the file, and give back the space of clusters that are still free
 *
 * What stays where it is: the header, LUKS key slots, which are at the beginning
 * of every image that was created with them, and compressed clusters that no free
 * range is long enough for.  The file does not
 * get shorter than up to the last of those.
 *
 * The gate is closed meanwhile: guest requests wait.
 */
#include <errno.h>

#include "alloc.h"
#include "checked.h"
#include "compact.h"
#include "compact_move.h"
#include "compact_plan.h"
#include "drop_blocks.h"
#include "exclusive.h"
#include "reclaim_leaks.h"
#include "refcount.h"
#include "writeback.h"

static int check_image(const struct qcf_compaction *c,
                       struct qcowfmt_error **errp)
{
	if (c->options->flags != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown compact flags");
	if (c->layer->format != QCOWFMT_FORMAT_QCOW2)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s images cannot be compacted",
		                qcowfmt_format_name(c->layer->format));
	if (c->image->no_data && c->meta->crypto != NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "an encrypted image has to be opened with its "
		                "secret to be compacted");
	return 0;
}

/* ------------------------------------------------------------------- moving */

/* One window; c->end is where it ended, and where the next one does. */
static int move_window(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret = qcf_compact_look(c, errp);

	if (ret == 0)
		ret = qcf_compact_plan_window(c, errp);
	return ret < 0 || c->moving == 0 ? ret
	                                 : qcf_compact_move_window(c, errp);
}

/* From the end to the beginning, until something cannot move. */
static int move_all(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret;

	c->blocked = false;
	do {
		ret = move_window(c, errp);
		c->end = c->first;
	} while (ret == 0 && !c->blocked && c->end > 0);
	return ret < 0 ? ret : qcf_drop_blocks(c->meta, errp);
}

/* Moving makes refcount blocks needless, and that makes room. */
static int move_until_done(struct qcf_compaction *c, uint64_t *end,
                           struct qcowfmt_error **errp)
{
	uint64_t before;
	int ret = qcf_drop_blocks(c->meta, errp);

	if (ret == 0)
		ret = qcf_compact_find_end(c->meta, end, errp);
	do {
		before = *end;
		c->end = before;
		if (ret == 0)
			ret = move_all(c, errp);
		if (ret == 0)
			ret = qcf_compact_find_end(c->meta, end, errp);
	} while (ret == 0 && *end < before);
	return ret;
}

/* -------------------------------------------------------- giving space back */

static int cut_file(struct qcf_compaction *c, uint64_t end,
                    struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	uint64_t host_end = qcf_host_offset(&meta->geometry, end);
	uint64_t size = 0;
	int ret = qcf_storage_get_size(meta->storage, &size, errp);

	if (ret < 0 || meta->storage->fixed_size || size <= host_end)
		return ret;
	ret = qcf_storage_truncate(meta->storage, host_end, errp);
	if (ret == 0)
		qcf_alloc_file_cut(meta, host_end);
	atomic_store(&c->layer->known_size, 0);
	return ret;
}

/* Give back what storage holds of some free clusters. */
static int punch(struct qcf_compaction *c, uint64_t first, uint64_t count,
                 struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	uint64_t at = qcf_host_offset(g, first);
	uint64_t end = qcf_host_offset(g, first + count);
	uint64_t held = 0;

	while (at < end) {
		uint64_t run = end - at;
		int kind = qcf_storage_extent(c->meta->storage, at, run, &run,
		                              errp);

		if (kind < 0)
			return kind;
		if (kind == QCOWFMT_STORAGE_DATA)
			held += run;
		at += run;
	}
	if (held == 0)
		return 0;
	c->result->clusters_punched += qcf_clusters_for(g, held);
	/* A hint: space that cannot be given back stays. */
	(void)qcf_storage_discard(c->meta->storage, qcf_host_offset(g, first),
	                          count << g->cluster_bits, NULL);
	return 0;
}

/* The free clusters from one on, before end, that are counted in one slice. */
static int find_free_run(struct qcf_meta *meta, uint64_t from, uint64_t end,
                         uint64_t *first, uint64_t *run,
                         struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	bool has_block = false;
	int ret = qcf_refcount_find_free(meta, from, end - from, first, run,
	                                 &has_block, errp);

	/* Without a block all of its range is free. */
	if (ret == 0 && !has_block)
		*run = (UINT64_C(1) << meta->geometry.block_bits) -
		       qcf_index_in_block(&meta->geometry, *first);
	return ret;
}

static int punch_free(struct qcf_compaction *c, uint64_t end,
                      struct qcowfmt_error **errp)
{
	uint64_t at = 0;
	int ret = 0;

	while (ret == 0 && at < end) {
		uint64_t first = 0;
		uint64_t run = 0;

		ret = find_free_run(c->meta, at, end, &first, &run, errp);
		if (ret < 0 || first >= end)
			return ret;
		run = QCF_MIN(run, end - first);
		ret = punch(c, first, run, errp);
		at = first + run;
	}
	return ret;
}

/* ------------------------------------------------------------ the operation */

/* Only a sound image is touched. */
static int prepare(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	int ret = qcf_storage_get_size(c->meta->storage, &c->result->old_size,
	                               errp);

	return ret < 0 ? ret : qcf_reclaim_leaks(c->meta, true, errp);
}

/* New places that were not used, or old ones that are used no more, are
 * leaks. */
static void clean_up(struct qcf_meta *meta)
{
	if (qcf_writeback_drain(meta, NULL) == 0)
		(void)qcf_reclaim_leaks(meta, false, NULL);
}

static int compact(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	uint64_t end = 0;
	int ret = qcf_compact_plan_init(c, errp);

	if (ret == 0)
		ret = move_until_done(c, &end, errp);
	if (ret == 0)
		ret = cut_file(c, end, errp);
	if (ret == 0)
		ret = punch_free(c, end, errp);
	if (ret == 0)
		ret = qcf_storage_get_size(c->meta->storage,
		                           &c->result->new_size, errp);
	qcf_compact_plan_fini(c);
	if (ret < 0)
		clean_up(c->meta);
	return ret;
}

int qcf_compact(struct qcowfmt_image *image,
                const struct qcowfmt_compact_options *options,
                struct qcowfmt_compact_result *result,
                struct qcowfmt_error **errp)
{
	struct qcf_compaction c = {
		.image = image,
		.layer = qcf_image_top(image),
		.meta = qcf_image_top(image)->meta,
		.options = options,
		.result = result,
	};
	int ret = check_image(&c, errp);

	if (ret == 0)
		ret = qcf_exclusive_begin(image, errp);
	if (ret < 0)
		return qcf_wrap(errp, c.layer->storage->name, ret);
	ret = prepare(&c, errp);
	if (ret == 0)
		ret = compact(&c, errp);
	qcf_exclusive_end(image);
	return qcf_wrap(errp, c.layer->storage->name, ret);
}
