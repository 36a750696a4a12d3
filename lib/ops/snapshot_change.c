/* SPDX-License-Identifier: MIT */
/* snapshot_change.c - the frame of operations that change snapshots */
#include <errno.h>

#include "check_image.h"
#include "exclusive.h"
#include "image_flags.h"
#include "l1_table.h"
#include "recount.h"
#include "snapshot_change.h"
#include "writeback.h"

/* ------------------------------------------------------------ begin and end */

static int unsupported(const struct qcf_layer *layer, const char *why,
                       struct qcowfmt_error **errp)
{
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "%s: %s cannot have snapshots", layer->storage->name,
	                why);
}

static int check_image_kind(const struct qcf_layer *layer,
                            struct qcowfmt_error **errp)
{
	if (layer->meta == NULL)
		return unsupported(layer, "a raw image", errp);
	if (layer->format == QCOWFMT_FORMAT_QCOW)
		return unsupported(layer, "a version 1 image", errp);
	if (qcf_layer_has_data_file(layer))
		return unsupported(layer, "an image with a data file", errp);
	return 0;
}

/* With the gate closed: other operations set the dirty bit while they run. */
static int check_condition(const struct qcf_layer *layer,
                           struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = layer->meta;
	uint64_t bits = QCF_INCOMPAT_DIRTY | QCF_INCOMPAT_CORRUPT;

	/* Lazy refcounts have been written before this. */
	if (meta->lazy_refcounts)
		bits = QCF_INCOMPAT_CORRUPT;
	if ((atomic_load(&meta->incompatible) & bits) == 0)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_CORRUPT,
	                "%s needs to be repaired first", layer->storage->name);
}

int qcf_snapshot_begin(struct qcf_snapshot_change *c,
                       struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = qcf_image_top(image);
	int ret = check_image_kind(layer, errp);

	*c = (struct qcf_snapshot_change){
		.image = image,
		.layer = layer,
		.meta = layer->meta,
	};
	if (ret == 0)
		ret = qcf_exclusive_begin(image, errp);
	if (ret < 0)
		return ret;
	ret = check_condition(layer, errp);
	if (ret == 0)
		ret = qcf_snapshot_table_load(c->meta, &c->table, errp);
	if (ret < 0) {
		qcf_exclusive_end(image);
		return ret;
	}
	c->old_table = qcf_area_of(c->meta, c->meta->header.snapshots_offset,
	                           c->table.stored_len);
	return 0;
}

/* What the L1 table in memory says may be older or newer than storage. */
static int repair(struct qcf_snapshot_change *c, struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	int ret = qcf_l1_reload(c->meta, errp);

	if (ret == 0)
		ret = qcf_check_alone(c->meta, QCOWFMT_CHECK_REPAIR_ALL,
		                      &result, errp);
	if (ret == 0 && (result.corruptions > 0 || result.check_errors > 0))
		ret = qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
		               "a snapshot operation failed half way and could "
		               "not be repaired");
	return ret;
}

/*
 * The tables are what they were, or what they should become, depending on the
 * header; counts and flags follow from them.  If they cannot be made right now,
 * nobody may write to the image any more until it has been opened again.
 */
static void recover(struct qcf_snapshot_change *c)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;

	qcf_recount_end(c->meta);
	if (repair(c, &error) < 0)
		qcf_poison_set(&c->meta->poison, error);
}

/*
 * Counts and flags are right.  If storage keeps the dirty bit nevertheless, the
 * next opening for writing looks at them in vain; this handle knows better, and
 * writes the field as it should be when it writes it next.
 */
static int finish(struct qcf_snapshot_change *c, struct qcowfmt_error **errp)
{
	int ret;

	if (!c->marked)
		return 0;
	ret = qcf_flags_clear_incompatible(c->meta, QCF_INCOMPAT_DIRTY, errp);
	if (ret < 0)
		atomic_fetch_and(&c->meta->incompatible,
		                 ~(uint64_t)QCF_INCOMPAT_DIRTY);
	return ret;
}

int qcf_snapshot_end(struct qcf_snapshot_change *c, int ret,
                     struct qcowfmt_error **errp)
{
	if (ret == 0)
		ret = finish(c, errp);
	else if (c->changing)
		recover(c);
	else if (!c->has_switched)
		(void)qcf_area_free(c->meta, &c->new_table, NULL);
	qcf_snapshot_table_fini(&c->table);
	qcf_exclusive_end(c->image);
	return qcf_wrap(errp, c->layer->storage->name, ret);
}

/* ------------------------------------------------------------------- prepare */

int qcf_snapshot_place_table(struct qcf_snapshot_change *c,
                             struct qcowfmt_error **errp)
{
	return qcf_snapshot_table_write(c->meta, &c->table, 0, &c->new_table,
	                                errp);
}

/* -------------------------------------------------------------------- change */

int qcf_snapshot_start_changing(struct qcf_snapshot_change *c,
                                struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	bool dirty =
		(atomic_load(&meta->incompatible) & QCF_INCOMPAT_DIRTY) != 0;
	int ret = 0;

	if (meta->geometry.version >= 3 && !dirty) {
		ret = qcf_flags_set_incompatible(meta, QCF_INCOMPAT_DIRTY,
		                                 errp);
		c->marked = ret == 0;
	}
	c->changing = ret == 0;
	return ret;
}

int qcf_snapshot_switch_table(struct qcf_snapshot_change *c,
                              struct qcowfmt_error **errp)
{
	return qcf_snapshot_table_switch(c->meta, &c->table, &c->new_table,
	                                 &c->has_switched, errp);
}

static int recount_and_flush(struct qcf_snapshot_change *c,
                             struct qcf_tree *tree,
                             const struct qcf_recount *how,
                             struct qcowfmt_error **errp)
{
	int ret = qcf_recount(c->meta, tree, how, errp);

	return ret < 0 ? ret : qcf_meta_flush(c->meta, errp);
}

/*
 * Without a dirty bit the flags are cleared first: that is safe at any time, and
 * a flag that is set with a count of 2 is not.
 */
int qcf_snapshot_share(struct qcf_snapshot_change *c, struct qcf_tree *tree,
                       bool clear_l1, struct qcowfmt_error **errp)
{
	bool at_once = c->meta->geometry.version >= 3;
	const struct qcf_recount clear = { .flags = QCF_FLAGS_CLEAR };
	const struct qcf_recount add = {
		.change = 1,
		.flags = at_once ? QCF_FLAGS_CLEAR : QCF_FLAGS_KEEP,
	};
	int ret = 0;

	if (clear_l1)
		ret = qcf_l1_correct_flags(c->meta, NULL, errp);
	if (ret == 0 && !at_once)
		ret = recount_and_flush(c, tree, &clear, errp);
	return ret < 0 ? ret : recount_and_flush(c, tree, &add, errp);
}

int qcf_snapshot_unshare(struct qcf_snapshot_change *c, struct qcf_tree *tree,
                         struct qcowfmt_error **errp)
{
	const struct qcf_recount drop = {
		.change = -1,
		.discard = !c->image->keep_snapshot_space,
	};

	return recount_and_flush(c, tree, &drop, errp);
}
