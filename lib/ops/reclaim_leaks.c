/* SPDX-License-Identifier: MIT */
/* reclaim_leaks.c - free clusters that are counted and that nothing uses */
#include <errno.h>
#include <inttypes.h>

#include "check_compare.h"
#include "check_walk.h"
#include "reclaim_leaks.h"
#include "refcount.h"
#include "writeback.h"

static int check_sound(const struct qcf_checker *c, struct qcowfmt_error **errp)
{
	const struct qcowfmt_check_result *result = c->result;

	if (result->corruptions == 0 && result->check_errors == 0 && !c->lost)
		return 0;
	return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
	                "%" PRIu64 " corruptions and %" PRIu64
	                " places that cannot be checked: the image has to be "
	                "repaired first",
	                result->corruptions, result->check_errors);
}

/* Set the counts of one refcount block that nothing refers to. */
static int free_in_block(struct qcf_checker *c, uint64_t index,
                         struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	uint64_t per_block = UINT64_C(1) << meta->geometry.block_bits;
	QCF_GUARD(&meta->refcounts.lock);

	for (uint64_t i = 0; i < per_block; i++) {
		uint64_t cluster = index * per_block + i;
		uint64_t count = 0;
		int ret = qcf_refcount_read(meta, cluster, &count, errp);

		if (ret == 0 && count > 0 &&
		    qcf_counts_get(&c->counts, cluster) == 0)
			ret = qcf_refcount_write(meta, cluster, 0, errp);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int free_leaks(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &c->meta->refcounts;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < r->entry_count; i++) {
		if (r->table[i] != 0)
			ret = free_in_block(c, i, errp);
	}
	qcf_mutex_lock(&r->lock);
	r->first_free = 0;
	r->pack_offset = 0;
	qcf_mutex_unlock(&r->lock);
	return ret < 0 ? ret : qcf_writeback_drain(c->meta, errp);
}

static int look(struct qcf_checker *c, bool strict, struct qcowfmt_error **errp)
{
	int ret = qcf_check_walk(c, errp);

	if (ret == 0 && strict)
		ret = qcf_check_compare_counts(c, errp);
	if (ret == 0 && strict)
		ret = qcf_checker_look_at_flags(c, errp);
	return ret < 0 ? ret : check_sound(c, errp);
}

int qcf_reclaim_leaks(struct qcf_meta *meta, bool strict,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { 0 };
	struct qcf_checker c;
	int ret = qcf_checker_init(&c, meta->storage, &meta->header,
	                           &meta->geometry, &result, errp);

	c.meta = meta;
	if (ret == 0)
		ret = look(&c, strict, errp);
	if (ret == 0)
		ret = free_leaks(&c, errp);
	qcf_checker_fini(&c);
	return ret;
}
