/* SPDX-License-Identifier: MIT */
/*
 * check_image.c - a check that is running, and what it has learned
 *
 * The gate is closed and everything written back first, so storage is the whole
 * truth.  A repair looks again at the end: what it could not repair is in the
 * result.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "check_compare.h"
#include "check_copied.h"
#include "check_image.h"
#include "check_stored.h"
#include "check_v1.h"
#include "check_walk.h"
#include "checked.h"
#include "image.h"
#include "image_flags.h"
#include "repair.h"
#include "writeback.h"

#define REPAIRS (QCOWFMT_CHECK_REPAIR_LEAKS | QCOWFMT_CHECK_REPAIR_ALL)

/* ---------------------------------------------------------------- findings */

/* An image can have a wrong count for each of 2^35 clusters, and to put that into
 * words takes a thousand times as long as to count it. */
#define MAX_TOLD (UINT64_C(1) << 18)

static bool is_heard(struct qcf_checker *c)
{
	if (c->callback == NULL || c->told > MAX_TOLD)
		return false;
	if (c->told++ < MAX_TOLD)
		return true;
	c->callback(c->opaque, QCF_CHECK_NONE, QCOWFMT_NO_OFFSET,
	            "There are more findings: they are counted, not told");
	return false;
}

void qcf_finding(struct qcf_checker *c, enum qcf_check id, uint64_t host_offset,
                 const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (!is_heard(c))
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	c->callback(c->opaque, id, host_offset, text);
}

void qcf_finding_fixable(struct qcf_checker *c, enum qcf_check id,
                         uint64_t host_offset, bool fixed, uint64_t n,
                         const char *fmt, ...)
{
	char text[500];
	va_list args;

	if (c->callback != NULL && c->told <= MAX_TOLD) {
		va_start(args, fmt);
		(void)vsnprintf(text, sizeof(text), fmt, args);
		va_end(args);
		qcf_finding(c, id, host_offset, "%s %s",
		            fixed ? "Repairing" : "ERROR", text);
	}
	if (fixed)
		c->result->corruptions_fixed += n;
	else
		c->result->corruptions += n;
}

/* ----------------------------------------------------------------- checkers */

int qcf_checker_init(struct qcf_checker *c, struct qcowfmt_storage *storage,
                     const struct qcf_header *header,
                     const struct qcf_geometry *geometry,
                     struct qcowfmt_check_result *result,
                     struct qcowfmt_error **errp)
{
	int ret;

	*c = (struct qcf_checker){
		.storage = storage,
		.header = header,
		.geometry = geometry,
		.result = result,
	};
	ret = qcf_storage_get_size(storage, &c->file_size, errp);
	c->file_clusters = qcf_clusters_for(geometry, c->file_size);
	result->total_clusters =
		qcf_clusters_for(geometry, header->virtual_size);
	return ret;
}

void qcf_checker_fini(struct qcf_checker *c)
{
	qcf_counts_fini(&c->counts);
	qcf_counts_fini(&c->dangling);
	qcf_check_stored_forget(c);
	free(c->tables);
	free(c->bad_zeros);
	free(c->sound_bitmaps);
	free(c->reftable);
}

int qcf_checker_walk(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	return c->geometry->version == 1 ? qcf_check_v1(c, errp)
	                                 : qcf_check_walk(c, errp);
}

int qcf_checker_look(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	int ret = qcf_checker_walk(c, errp);

	return ret < 0 || c->geometry->version == 1
	               ? ret
	               : qcf_check_compare_counts(c, errp);
}

uint64_t qcf_checker_count_for_flag(const struct qcf_checker *c,
                                    uint64_t stored, uint64_t found)
{
	return found > c->geometry->refcount_max ? found : stored;
}

static int count_for_flag(struct qcf_checker *c, uint64_t cluster,
                          uint64_t *count, struct qcowfmt_error **errp)
{
	int ret = qcf_check_stored_count(c, cluster, count, errp);

	*count = qcf_checker_count_for_flag(
		c, *count, qcf_counts_get(&c->counts, cluster));
	return ret;
}

/* The flags follow what is stored, right or wrong. */
int qcf_checker_look_at_flags(struct qcf_checker *c,
                              struct qcowfmt_error **errp)
{
	const struct qcf_copied_rules rules = {
		.count = count_for_flag,
		.as_found = !c->mismatch,
	};

	return c->geometry->version == 1 ? 0
	                                 : qcf_check_copied(c, &rules, errp);
}

/* ------------------------------------------------------------ check, repair */

static int begin(struct qcf_checker *c, struct qcf_meta *meta,
                 struct qcowfmt_check_result *result,
                 struct qcowfmt_error **errp)
{
	return qcf_checker_init(c, meta->storage, &meta->header,
	                        &meta->geometry, result, errp);
}

/* What there is, told to nobody. */
static int look_quietly(struct qcf_meta *meta,
                        struct qcowfmt_check_result *result, bool *overflow,
                        struct qcowfmt_error **errp)
{
	struct qcf_checker c;
	int ret = begin(&c, meta, result, errp);

	if (ret == 0)
		ret = qcf_checker_look(&c, errp);
	if (ret == 0)
		ret = qcf_checker_look_at_flags(&c, errp);
	*overflow = c.overflow;
	qcf_checker_fini(&c);
	return ret;
}

/* Counts that cannot say how many references there are would let a cluster be freed
 * while it is in use: nothing is written any more.  Version 2 has no bit for it, so
 * there that ends with closing. */
static int give_up_writing(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint64_t bits = atomic_load(&meta->incompatible);

	atomic_store(&meta->unusable, true);
	if (meta->header.version < 3 || (bits & QCF_INCOMPAT_CORRUPT) != 0)
		return 0;
	QCF_GUARD(&meta->commit.lock);
	return qcf_flags_set_incompatible(meta, QCF_INCOMPAT_CORRUPT, errp);
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

/* What is left after a repair. */
static int look_again(struct qcf_meta *meta,
                      struct qcowfmt_check_result *result,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result after = {
		.struct_size = result->struct_size,
		.corruptions_fixed = result->corruptions_fixed,
		.leaks_fixed = result->leaks_fixed,
	};
	bool overflow = false;
	int ret = look_quietly(meta, &after, &overflow, errp);

	if (ret < 0)
		return ret;
	*result = after;
	if (overflow)
		return give_up_writing(meta, errp);
	if (after.corruptions > 0 || after.check_errors > 0)
		return 0;
	ret = qcf_meta_now_usable(meta, errp);
	return ret < 0 ? ret : clear_flags(meta, errp);
}

static int repair_once_more(struct qcf_meta *meta, bool *rewritten,
                            struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { 0 };
	struct qcf_checker c;
	int ret = begin(&c, meta, &result, errp);

	c.fix_leaks = c.fix_all = true;
	if (ret == 0)
		ret = qcf_checker_look(&c, errp);
	if (ret == 0)
		ret = qcf_repair(&c, meta, rewritten, errp);
	qcf_checker_fini(&c);
	return ret;
}

/* What something refers to behind the end of the file may be in it now. */
static int has_grown(const struct qcf_checker *c, struct qcf_meta *meta,
                     bool *grown, struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret = qcf_storage_get_size(meta->storage, &size, errp);

	*grown = qcf_clusters_for(c->geometry, size) != c->file_clusters &&
	         qcf_counts_any(&c->dangling);
	return ret;
}

static int repair(struct qcf_checker *c, struct qcf_meta *meta, uint32_t flags,
                  struct qcowfmt_error **errp)
{
	bool plan = (flags & QCOWFMT_CHECK_PLAN) != 0;
	bool rewritten = false;
	bool grown = false;
	int ret = qcf_repair(c, plan ? NULL : meta, &rewritten, errp);

	if (ret == 0 && !plan && c->fix_all)
		ret = has_grown(c, meta, &grown, errp);
	if (ret == 0 && grown)
		ret = repair_once_more(meta, &rewritten, errp);
	/* The places of old tables are free, and clusters that a dropped bitmap
	 * referred to, too, may be alone. */
	if (ret == 0 && rewritten)
		ret = repair_once_more(meta, &rewritten, errp);
	return ret < 0 || plan ? ret : look_again(meta, c->result, errp);
}

static int look_and_repair(struct qcf_checker *c, struct qcf_meta *meta,
                           uint32_t flags, struct qcowfmt_error **errp)
{
	int ret;

	c->fix_all = (flags & QCOWFMT_CHECK_REPAIR_ALL) != 0;
	c->fix_leaks = (flags & REPAIRS) != 0;
	ret = qcf_checker_look(c, errp);
	if (ret < 0)
		return ret;
	return (flags & REPAIRS) != 0 ? repair(c, meta, flags, errp)
	                              : qcf_checker_look_at_flags(c, errp);
}

static int check_exclusively(struct qcf_meta *meta, uint32_t flags,
                             qcowfmt_finding_callback callback, void *opaque,
                             struct qcowfmt_check_result *result,
                             struct qcowfmt_error **errp)
{
	struct qcf_checker c;
	int ret = 0;

	if (meta->writable)
		ret = qcf_writeback_drain(meta, errp);
	if (ret < 0)
		return ret;
	ret = begin(&c, meta, result, errp);
	c.callback = callback;
	c.opaque = opaque;
	if (ret == 0)
		ret = look_and_repair(&c, meta, flags, errp);
	qcf_checker_fini(&c);
	return ret;
}

int qcf_check_alone(struct qcf_meta *meta, uint32_t flags,
                    struct qcowfmt_check_result *result,
                    struct qcowfmt_error **errp)
{
	return check_exclusively(meta, flags, NULL, NULL, result, errp);
}

static int check_usage(const struct qcf_layer *top, uint32_t flags,
                       struct qcowfmt_error **errp)
{
	const char *name = top->storage->name;

	if ((flags & QCOWFMT_CHECK_PLAN) != 0 && (flags & REPAIRS) == 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a plan is made for a repair, and none was "
		                "asked for");
	if (top->meta == NULL)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: a raw image has nothing to check", name);
	if (top->meta->shows_snapshot)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s is open as one of its snapshots and "
		                "cannot be checked",
		                name);
	if ((flags & REPAIRS) == 0)
		return 0;
	if (top->format == QCOWFMT_FORMAT_QCOW)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: a version 1 image cannot be repaired",
		                name);
	if (!top->writable && (flags & QCOWFMT_CHECK_PLAN) == 0)
		return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
		                "%s is opened read-only and cannot be repaired",
		                name);
	return 0;
}

int qcf_check(struct qcowfmt_image *image, uint32_t flags,
              qcowfmt_finding_callback callback, void *opaque,
              struct qcowfmt_check_result *result, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	int ret = check_usage(top, flags, errp);

	*result = (struct qcowfmt_check_result){ .struct_size =
		                                         result->struct_size };
	if (ret < 0)
		return ret;
	qcf_gate_close(&image->gate);
	ret = check_exclusively(top->meta, flags, callback, opaque, result,
	                        errp);
	qcf_gate_open(&image->gate);
	return qcf_wrap(errp, top->storage->name, ret);
}
