/* SPDX-License-Identifier: MIT */
/*
 * check_compare.c - hold stored counts against the references found
 *
 * Goes through the refcount blocks in order, and through groups of references
 * that have no block, a group of clusters at a time.  Groups that agree, nearly
 * all of them, are told apart without looking at single counts.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check_compare.h"
#include "check_refs.h"
#include "check_stored.h"
#include "checked.h"
#include "refcount_entry.h"

struct comparing {
	struct qcf_checker *c;
	qcf_mismatch_visitor visitor;
	uint64_t *groups; /* sorted numbers of the groups that exist */
	size_t group_count;
	size_t next_group; /* the first one not passed yet */
	uint8_t *blocks;   /* owned */
	uint64_t room;     /* of blocks, bytes */
	uint64_t end;      /* behind the last cluster with any count, as far as
			    * clusters were looked at one by one */
	uint64_t agreed;   /* the last group that agreed and is in use */
	bool has_pattern;
	uint32_t pattern_value;               /* of each count in */
	uint8_t pattern[QCF_COUNT_GROUP * 8]; /* a group as it is stored */
};

static uint64_t clusters_per_block(const struct qcf_geometry *g)
{
	return UINT64_C(1) << g->block_bits;
}

/* ------------------------------------------------------------------ groups */

/* A group whose counts are all the same, as it is stored. */
static const uint8_t *pattern_of(struct comparing *p, uint32_t value)
{
	if (!p->has_pattern || value != p->pattern_value) {
		for (uint64_t i = 0; i < QCF_COUNT_GROUP; i++)
			qcf_refcount_set(p->pattern, i,
			                 p->c->geometry->refcount_order, value);
		p->pattern_value = value;
		p->has_pattern = true;
	}
	return p->pattern;
}

/* Whether the stored counts of a group, from a slot of a block on, are those
 * found.  Tells in *used whether any of them is above zero. */
static bool group_agrees(struct comparing *p, const uint8_t *block,
                         uint64_t slot, uint64_t number, bool *used)
{
	const struct qcf_geometry *g = p->c->geometry;
	size_t len = (QCF_COUNT_GROUP / 8) << g->refcount_order;
	uint64_t stored[QCF_COUNT_GROUP];
	uint32_t found[QCF_COUNT_GROUP];
	uint64_t differ = 0;

	*used = true;
	if (qcf_counts_are_equal(&p->c->counts, number, &found[0])) {
		*used = found[0] > 0;
		return found[0] <= g->refcount_max &&
		       memcmp(block + (slot << g->refcount_order) / 8,
		              pattern_of(p, found[0]), len) == 0;
	}
	qcf_refcount_get_run(block, slot, QCF_COUNT_GROUP, g->refcount_order,
	                     stored);
	qcf_counts_group(&p->c->counts, number, found);
	for (size_t i = 0; i < QCF_COUNT_GROUP; i++)
		differ |= stored[i] ^ found[i];
	return differ == 0;
}

static int compare_one(struct comparing *p, uint64_t cluster, uint64_t stored,
                       struct qcowfmt_error **errp)
{
	uint64_t found = qcf_counts_get(&p->c->counts, cluster);

	if (stored > 0 || found > 0)
		p->end = cluster + 1;
	return stored == found ? 0
	                       : p->visitor(p->c, cluster, stored, found, errp);
}

/* Clusters [first, first + count) of one group; block may be NULL. */
static int compare_each(struct comparing *p, const uint8_t *block,
                        uint64_t first, uint64_t count,
                        struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < count; i++) {
		uint64_t stored =
			block == NULL ? 0
				      : qcf_refcount_get(block,
		                                         qcf_index_in_block(
								 g, first + i),
		                                         g->refcount_order);

		ret = compare_one(p, first + i, stored, errp);
	}
	return ret;
}

static int compare_group(struct comparing *p, const uint8_t *block,
                         uint64_t number, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	uint64_t first = number * QCF_COUNT_GROUP;
	uint64_t count = QCF_MIN(p->c->file_clusters - first, QCF_COUNT_GROUP);
	bool used = false;

	if (block == NULL || count < QCF_COUNT_GROUP ||
	    !group_agrees(p, block, qcf_index_in_block(g, first), number,
	                  &used))
		return compare_each(p, block, first, count, errp);
	if (used)
		p->agreed = number;
	return 0;
}

/* Behind the last cluster with any count. */
static uint64_t image_end(struct comparing *p)
{
	uint64_t end = (p->agreed + 1) * QCF_COUNT_GROUP;

	while (end > p->end && qcf_counts_get(&p->c->counts, end - 1) == 0)
		end--;
	return QCF_MAX(end, p->end);
}

/* ------------------------------------------------------------------ blocks */

/* Compare what a block describes; it may be NULL. */
static int compare_block(struct comparing *p, uint64_t index,
                         const uint8_t *block, struct qcowfmt_error **errp)
{
	uint64_t per_block = clusters_per_block(p->c->geometry);
	uint64_t first = index * per_block;
	uint64_t end = QCF_MIN(first + per_block, p->c->file_clusters);
	int ret = 0;

	for (uint64_t number = first / QCF_COUNT_GROUP;
	     block != NULL && ret == 0 && number * QCF_COUNT_GROUP < end;
	     number++)
		ret = compare_group(p, block, number, errp);
	while (ret == 0 && p->next_group < p->group_count &&
	       p->groups[p->next_group] * QCF_COUNT_GROUP < end) {
		if (block == NULL)
			ret = compare_group(p, NULL, p->groups[p->next_group],
			                    errp);
		p->next_group++;
	}
	return ret;
}

/* How many blocks from an index on follow each other in the file. */
static uint64_t run_of_blocks(const struct comparing *p, uint64_t index)
{
	uint64_t size = p->c->geometry->cluster_size;
	uint64_t block = qcf_check_block(p->c, index);
	uint64_t count = 1;

	while ((count + 1) * size <= p->room &&
	       qcf_check_block(p->c, index + count) == block + count * size)
		count++;
	return count;
}

static int compare_blocks(struct comparing *p, uint64_t index, uint64_t count,
                          struct qcowfmt_error **errp)
{
	uint64_t size = p->c->geometry->cluster_size;
	uint64_t offset = qcf_check_block(p->c, index);
	bool ok = false;
	int ret = qcf_check_read(p->c, "refcount block", offset, p->blocks,
	                         count * size, &ok, errp);

	for (uint64_t i = 0; ret == 0 && i < count; i++)
		ret = compare_block(p, index + i,
		                    ok ? p->blocks + i * size : NULL, errp);
	return ret;
}

/* The first index from one on that has a block or references. */
static uint64_t next_index(const struct comparing *p, uint64_t index)
{
	const struct qcf_geometry *g = p->c->geometry;
	uint64_t used = UINT64_MAX;

	if (p->next_group < p->group_count)
		used = qcf_block_index(g, p->groups[p->next_group] *
		                                  QCF_COUNT_GROUP);
	while (index < used && index < p->c->reftable_entries &&
	       qcf_check_block(p->c, index) == 0)
		index++;
	return index < p->c->reftable_entries ? QCF_MIN(index, used) : used;
}

static int compare_all(struct comparing *p, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = p->c->geometry;
	uint64_t indexes = qcf_block_index(g, p->c->file_clusters) + 1;
	uint64_t index = next_index(p, 0);
	int ret = 0;

	while (ret == 0 && index < indexes) {
		uint64_t count = 1;

		if (qcf_check_block(p->c, index) == 0) {
			ret = compare_block(p, index, NULL, errp);
		} else {
			count = run_of_blocks(p, index);
			ret = compare_blocks(p, index, count, errp);
		}
		index = next_index(p, index + count);
	}
	return ret;
}

int qcf_check_each_mismatch(struct qcf_checker *c, qcf_mismatch_visitor visitor,
                            struct qcowfmt_error **errp)
{
	struct comparing p = {
		.c = c,
		.visitor = visitor,
		.room = qcf_check_read_ahead(c),
	};
	int ret =
		qcf_counts_sorted(&c->counts, &p.groups, &p.group_count, errp);

	p.blocks = malloc(p.room);
	if (ret == 0 && p.blocks == NULL)
		ret = qcf_fail_oom(errp);
	if (ret == 0)
		ret = compare_all(&p, errp);
	if (ret == 0)
		c->result->image_end_offset =
			qcf_host_offset(c->geometry, image_end(&p));
	free(p.groups);
	free(p.blocks);
	return ret;
}

/* --------------------------------------------------------------- reporting */

static int report_mismatch(struct qcf_checker *c, uint64_t cluster,
                           uint64_t stored, uint64_t found,
                           struct qcowfmt_error **errp)
{
	bool low = stored < found;

	(void)errp;
	c->mismatch = true;
	qcf_finding(c, low ? QCF_CHECK_REFCOUNT_LOW : QCF_CHECK_LEAK,
	            qcf_host_offset(c->geometry, cluster),
	            "%s cluster %" PRIu64 " refcount=%" PRIu64
	            " reference=%" PRIu64,
	            low ? "ERROR" : "Leaked", cluster, stored, found);
	if (!low) {
		c->result->leaks++;
		return 0;
	}
	c->result->corruptions++;
	c->count_errors++;
	c->uncounted = c->uncounted || stored == 0;
	c->overflow = c->overflow || found > c->geometry->refcount_max;
	return 0;
}

int qcf_check_compare_counts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	return qcf_check_each_mismatch(c, report_mismatch, errp);
}
