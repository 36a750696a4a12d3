/* SPDX-License-Identifier: MIT */
/*
 * meta_protect.c - which host clusters of an image hold metadata
 *
 * Whoever writes to an image asks first: guest data that an image with wrong
 * tables places upon them must not destroy them.
 */
#include "meta_protect.h"
#include "check_id.h"
#include "checked.h"
#include "snapshot_table.h"

bool qcf_meta_is_metadata(const struct qcf_meta *meta, uint64_t host_offset,
                          uint64_t len)
{
	uint32_t bits = meta->geometry.guard_bits;
	uint64_t first = host_offset >> bits;

	return len > 0 &&
	       qcf_overlap_hits(&meta->overlap, first,
	                        ((host_offset + len - 1) >> bits) - first + 1);
}

/* The units of an L2 table: one, but for version 1. */
static uint64_t l2_units(const struct qcf_geometry *g)
{
	return g->l2_table_size >> g->guard_bits;
}

int qcf_meta_protect_l2(struct qcf_meta *meta, uint64_t l2_offset,
                        struct qcowfmt_error **errp)
{
	return qcf_overlap_add(&meta->overlap, QCF_OVERLAP_L2,
	                       l2_offset >> meta->geometry.guard_bits, errp);
}

bool qcf_meta_is_not_only_l2(const struct qcf_meta *meta, uint64_t l2_offset)
{
	uint64_t first = l2_offset >> meta->geometry.guard_bits;

	for (uint64_t i = 0; i < l2_units(&meta->geometry); i++) {
		if (qcf_overlap_is_not_only(&meta->overlap, QCF_OVERLAP_L2,
		                            first + i))
			return true;
	}
	return false;
}

void qcf_meta_protect_l1(struct qcf_meta *meta, uint64_t offset, uint64_t size)
{
	uint32_t bits = meta->geometry.guard_bits;
	uint64_t first = offset >> bits;

	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_L1, first,
	                      ((offset + size - 1) >> bits) - first + 1);
}

static int protect_l2_tables(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	size_t count = 0;
	int ret;

	for (uint64_t i = 0; i < meta->l1.entry_count; i++)
		count += meta->l1.entries[i] != 0;
	meta->overlap.l2_count = l2_units(&meta->geometry);
	ret = qcf_overlap_reserve(&meta->overlap, QCF_OVERLAP_L2, count, errp);
	for (uint64_t i = 0; ret == 0 && i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&meta->l1.entries[i]) };
		uint64_t offset;

		/* As most of a large disk: opening is not to take longer. */
		if (raw.raw == 0)
			continue;
		offset = qcf_l1_entry_decode(&meta->geometry, raw).l2_offset;
		if (qcf_meta_is_cluster_offset(meta, offset))
			ret = qcf_meta_protect_l2(meta, offset, errp);
	}
	return ret;
}

static int protect_blocks(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	const struct qcf_refcounts *r = &meta->refcounts;
	size_t count = 0;
	int ret;

	for (uint64_t i = 0; i < r->entry_count; i++)
		count += r->table[i] != 0;
	ret = qcf_overlap_reserve(&meta->overlap, QCF_OVERLAP_BLOCK, count,
	                          errp);
	for (uint64_t i = 0; ret == 0 && i < r->entry_count; i++) {
		if (qcf_meta_is_cluster_offset(meta, r->table[i]))
			ret = qcf_overlap_add(
				&meta->overlap, QCF_OVERLAP_BLOCK,
				qcf_host_cluster(&meta->geometry, r->table[i]),
				errp);
	}
	return ret;
}

int qcf_meta_protect_tables(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	int ret = protect_l2_tables(meta, errp);

	return ret < 0 ? ret : protect_blocks(meta, errp);
}

int qcf_meta_protect_snapshots(struct qcf_meta *meta,
                               struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table table;
	int ret = qcf_snapshot_table_load(meta, &table, errp);

	if (ret < 0 || table.count == 0)
		return ret;
	ret = qcf_snapshot_table_protect(meta, &table,
	                                 meta->header.snapshots_offset,
	                                 table.stored_len, errp);
	qcf_snapshot_table_fini(&table);
	return ret;
}

int qcf_meta_check_l1_place(const struct qcf_meta *meta,
                            struct qcowfmt_error **errp)
{
	if (meta->header.version == 1 ||
	    !qcf_overlap_l1_is_shared(&meta->overlap))
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_OVERLAP,
	                    meta->header.l1_table_offset,
	                    "the L1 table is also another table");
}

int qcf_meta_protect_keys(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint32_t bits = meta->geometry.guard_bits;
	struct qcf_overlap_range *range;
	uint64_t offset = 0;
	uint64_t len = 0;

	qcf_crypto_area(&meta->header, &offset, &len);
	if (len == 0)
		return 0;
	range = malloc(sizeof(*range));
	if (range == NULL)
		return qcf_fail_oom(errp);
	range->first = offset >> bits;
	range->end = ((offset + len - 1) >> bits) + 1;
	qcf_overlap_set_ranges(&meta->overlap, QCF_OVERLAP_KEYS, range, 1);
	return 0;
}
