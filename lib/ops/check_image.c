/* SPDX-License-Identifier: MIT */
/*
 * check_image.c - compare reference counts and tables; repair
 *
 * The gate is closed and everything written back first, so what is on storage
 * and in the caches is one consistent picture.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "alloc.h"
#include "check_compare.h"
#include "check_image.h"
#include "check_walk.h"
#include "checked.h"
#include "image_flags.h"
#include "repair.h"
#include "writeback.h"

void qcf_finding(struct qcf_checker *c, enum qcf_check id, uint64_t host_offset,
                 const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (c->callback == NULL)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	c->callback(c->opaque, id, host_offset, text);
}

static int checker_init(struct qcf_checker *c, struct qcf_meta *meta,
                        struct qcowfmt_check_result *result,
                        struct qcowfmt_error **errp)
{
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	*c = (struct qcf_checker){ .meta = meta, .result = result };
	if (ret < 0)
		return ret;
	c->file_clusters = qcf_clusters_for(&meta->geometry, file_size);
	/* Repair may need room for new refcount blocks behind the end. */
	return qcf_counts_init(
		&c->counts, c->file_clusters + c->file_clusters / 8 + 1, errp);
}

static int look(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	int ret = qcf_check_walk(c, errp);

	if (ret == 0)
		ret = qcf_check_compare_counts(c, errp);
	return ret < 0 ? ret : qcf_check_copied(c, false, errp);
}

/* Look once, tell the callback, and repair if asked and needed. */
static int look_and_repair(struct qcf_meta *meta, uint32_t flags,
                           qcowfmt_finding_callback callback, void *opaque,
                           struct qcowfmt_check_result *result,
                           struct qcowfmt_error **errp)
{
	bool all = (flags & QCOWFMT_CHECK_REPAIR_ALL) != 0;
	bool leaks = all || (flags & QCOWFMT_CHECK_REPAIR_LEAKS) != 0;
	struct qcf_checker c;
	int ret = checker_init(&c, meta, result, errp);

	if (ret < 0)
		return ret;
	c.callback = callback;
	c.opaque = opaque;
	ret = look(&c, errp);
	if (ret == 0 && result->check_errors == 0 &&
	    ((all && result->corruptions > 0) || (leaks && result->leaks > 0)))
		ret = qcf_repair(&c, !all, errp);
	qcf_counts_fini(&c.counts);
	return ret;
}

static int clear_flags(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint64_t bits = QCF_INCOMPAT_DIRTY | QCF_INCOMPAT_CORRUPT;

	if ((atomic_load(&meta->incompatible) & bits) == 0)
		return 0;
	QCF_GUARD(&meta->commit.lock);
	meta->commit.dirty_bit_set = false;
	return qcf_flags_clear_incompatible(meta, bits, errp);
}

/* What is left after a repair, and what therefore has been fixed. */
static int look_again(struct qcf_meta *meta,
                      struct qcowfmt_check_result *result,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result after = {
		.struct_size = result->struct_size,
		.total_clusters = result->total_clusters,
	};
	int ret = look_and_repair(meta, 0, NULL, NULL, &after, errp);

	if (ret < 0)
		return ret;
	after.corruptions_fixed =
		result->corruptions -
		QCF_MIN(after.corruptions, result->corruptions);
	after.leaks_fixed = result->leaks - QCF_MIN(after.leaks, result->leaks);
	*result = after;
	if (after.corruptions == 0 && after.check_errors == 0)
		ret = clear_flags(meta, errp);
	return ret;
}

static int check_exclusively(struct qcf_meta *meta, uint32_t flags,
                             qcowfmt_finding_callback callback, void *opaque,
                             struct qcowfmt_check_result *result,
                             struct qcowfmt_error **errp)
{
	int ret = 0;

	if (meta->writable) {
		ret = qcf_writeback_commit(meta, errp);
		if (ret == 0)
			ret = qcf_alloc_reclaim(meta, errp);
	}
	if (ret == 0)
		ret = look_and_repair(meta, flags, callback, opaque, result,
		                      errp);
	if (ret == 0 && flags != 0)
		ret = look_again(meta, result, errp);
	return ret;
}

int qcf_check_alone(struct qcf_meta *meta, uint32_t flags,
                    struct qcowfmt_check_result *result,
                    struct qcowfmt_error **errp)
{
	return check_exclusively(meta, flags, NULL, NULL, result, errp);
}

/* Their clusters would look like leaks. */
static bool has_bitmaps(const struct qcf_meta *meta)
{
	return (meta->header.autoclear_features & QCF_AUTOCLEAR_BITMAPS) != 0 &&
	       qcf_header_extension(&meta->header, QCF_EXT_BITMAPS) != NULL;
}

int qcf_check(struct qcowfmt_image *image, uint32_t flags,
              qcowfmt_finding_callback callback, void *opaque,
              struct qcowfmt_check_result *result, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	int ret;

	*result = (struct qcowfmt_check_result){ .struct_size =
		                                         result->struct_size };
	if (top->meta == NULL)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: a raw image has nothing to check",
		                top->storage->name);
	if (top->meta->geometry.version == 1)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: version 1 images have no reference counts",
		                top->storage->name);
	if (top->meta->shows_snapshot)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s is open as one of its snapshots and "
		                "cannot be checked",
		                top->storage->name);
	if (has_bitmaps(top->meta))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: checking an image with dirty bitmaps is "
		                "not supported",
		                top->storage->name);
	if (flags != 0 && !top->writable)
		return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
		                "%s is opened read-only and cannot be repaired",
		                top->storage->name);
	result->total_clusters =
		qcf_clusters_for(&top->meta->geometry, top->virtual_size);
	qcf_gate_close(&image->gate);
	ret = check_exclusively(top->meta, flags, callback, opaque, result,
	                        errp);
	qcf_gate_open(&image->gate);
	return qcf_wrap(errp, top->storage->name, ret);
}
