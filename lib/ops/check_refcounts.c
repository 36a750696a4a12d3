/* SPDX-License-Identifier: MIT */
/*
 * check_refcounts.c - count the refcount table and its blocks
 *
 * What is wrong here makes the stored counts unusable as a whole: then they are
 * not corrected but made anew (repair_rebuild.c).
 */
#include <inttypes.h>

#include "check_refcounts.h"
#include "check_refs.h"
#include "check_stored.h"
#include "checked.h"
#include "refcount_entry.h"

/* Report what makes the refcount structures unusable. */
#define report_unusable(c, id, at, ...)                            \
	do {                                                       \
		qcf_check_report((c), (id), (at), 1, __VA_ARGS__); \
		(c)->count_errors++;                               \
		(c)->need_rebuild = true;                          \
	} while (0)

static int walk_table(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t before = c->result->corruptions;
	uint64_t offset = c->header->refcount_table_offset;
	int ret = qcf_check_count_range(
		c, offset,
		(uint64_t)c->header->refcount_table_clusters << g->cluster_bits,
		1, errp);

	/* Nothing can be changed in a table that is not all there. */
	if (c->result->corruptions > before) {
		c->count_errors += c->result->corruptions - before;
		c->need_rebuild = true;
	}
	return ret < 0 ? ret : qcf_check_read_reftable(c, errp);
}

static int count_block(struct qcf_checker *c, uint64_t index, uint64_t block,
                       struct qcowfmt_error **errp)
{
	if (!qcf_check_in_file(c, block)) {
		qcf_finding_fixable(
			c, QCF_CHECK_BLOCK_BEYOND_END, block, c->fix_all, 1,
			"refcount block %" PRIu64 " is outside image", index);
		c->need_rebuild = c->need_rebuild || c->fix_all;
		return 0;
	}
	return qcf_counts_add(&c->counts, qcf_host_cluster(c->geometry, block),
	                      1, 1, errp);
}

/* A block that is also something else must not be written to. */
static void check_exclusive(struct qcf_checker *c, uint64_t index,
                            uint64_t block)
{
	uint64_t count = qcf_counts_get(&c->counts,
	                                qcf_host_cluster(c->geometry, block));

	if (count > 1)
		report_unusable(c, QCF_CHECK_BLOCK_SHARED, block,
		                "ERROR refcount block %" PRIu64
		                " refcount=%" PRIu64,
		                index, count);
}

/* Tell whether an entry names a block that can be looked at. */
static bool check_entry(struct qcf_checker *c, uint64_t index, uint64_t word)
{
	uint64_t at = c->header->refcount_table_offset + index * 8;
	uint64_t block = word & ~QCF_REFTABLE_RESERVED;

	if ((word & QCF_REFTABLE_RESERVED) != 0) {
		report_unusable(c, QCF_CHECK_REFTABLE_RESERVED, at,
		                "ERROR refcount table entry %" PRIu64
		                " has reserved bits set",
		                index);
		return false;
	}
	if (block == 0 || qcf_check_is_offset(c, block))
		return block != 0;
	report_unusable(c, QCF_CHECK_BLOCK_OFFSET, at,
	                "ERROR refcount block %" PRIu64
	                " is not cluster aligned; refcount table entry "
	                "corrupted",
	                index);
	return false;
}

static int walk_entries(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < c->reftable_entries; i++) {
		uint64_t word = qcf_be64_decode(c->reftable[i]);

		if (word != 0 && check_entry(c, i, word))
			ret = count_block(c, i, word, errp);
	}
	return ret;
}

/* Whether an entry was counted as a reference. */
static bool is_counted(const struct qcf_checker *c, uint64_t index)
{
	uint64_t word = qcf_be64_decode(c->reftable[index]);

	return word != 0 && (word & QCF_REFTABLE_RESERVED) == 0 &&
	       qcf_check_block(c, index) != 0;
}

/* The table's own clusters, as far as they are in the file. */
static void table_clusters(const struct qcf_checker *c, uint64_t *first,
                           uint64_t *count)
{
	*first =
		qcf_host_cluster(c->geometry, c->header->refcount_table_offset);
	*count = c->header->refcount_table_clusters;
	if (*first >= c->file_clusters)
		*count = 0;
	*count = QCF_MIN(*count, c->file_clusters - *first * (*count > 0));
}

static void check_table_exclusive(struct qcf_checker *c)
{
	uint64_t first;
	uint64_t count;

	table_clusters(c, &first, &count);
	for (uint64_t i = 0; i < count; i++) {
		if (qcf_counts_get(&c->counts, first + i) > 1)
			c->need_rebuild = true;
	}
}

int qcf_check_walk_refcounts(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	int ret = walk_table(c, errp);

	if (ret == 0)
		ret = walk_entries(c, errp);
	if (ret < 0)
		return ret;
	for (uint64_t i = 0; i < c->reftable_entries; i++) {
		if (is_counted(c, i))
			check_exclusive(c, i, qcf_check_block(c, i));
	}
	check_table_exclusive(c);
	return 0;
}

void qcf_check_uncount_refcounts(struct qcf_checker *c)
{
	uint64_t first;
	uint64_t count;

	table_clusters(c, &first, &count);
	qcf_counts_subtract(&c->counts, first, count, 1);
	for (uint64_t i = 0; i < c->reftable_entries; i++) {
		if (is_counted(c, i))
			qcf_counts_subtract(
				&c->counts,
				qcf_host_cluster(c->geometry,
			                         qcf_check_block(c, i)),
				1, 1);
	}
}
