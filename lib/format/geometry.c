/* SPDX-License-Identifier: MIT */
/*
 * geometry.c - derives every shift, mask and limit from the four numbers of
 * the header that determine them
 */
#include <errno.h>

#include "geometry.h"

static int check_arguments(uint32_t version, uint32_t cluster_bits,
                           uint32_t refcount_order, bool extended_l2,
                           struct qcowfmt_error **errp)
{
	uint32_t min_bits = extended_l2 ? QCF_MIN_CLUSTER_BITS_EXTENDED_L2
	                                : QCF_MIN_CLUSTER_BITS;

	if (version != 2 && version != 3)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "version: have %u, want 2 or 3", version);
	if (cluster_bits < min_bits || cluster_bits > QCF_MAX_CLUSTER_BITS)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "cluster_bits: have %u, want %u to %u",
		                cluster_bits, min_bits,
		                (unsigned)QCF_MAX_CLUSTER_BITS);
	if (refcount_order > QCF_MAX_REFCOUNT_ORDER)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "refcount_order: have %u, want 0 to %u",
		                refcount_order,
		                (unsigned)QCF_MAX_REFCOUNT_ORDER);
	return 0;
}

static void init_guest_side(struct qcf_geometry *g, uint32_t l2_bits)
{
	uint32_t entry_bits = g->extended_l2 ? 4 : 3;
	uint32_t index_bits = g->extended_l2 ? QCF_SUBCLUSTER_INDEX_BITS : 0;

	g->subcluster_bits = g->cluster_bits - index_bits;
	g->subcluster_size = UINT64_C(1) << g->subcluster_bits;
	g->subcluster_count = 1u << index_bits;

	g->l2_entry_size = 1u << entry_bits;
	g->l2_bits = l2_bits;
	g->l2_entry_count = UINT64_C(1) << g->l2_bits;
	g->l2_table_size = g->l2_entry_count << entry_bits;
	g->l1_shift = g->cluster_bits + g->l2_bits;
	/* At most 2^22 entries << 39: 2 EiB with 2 MiB clusters. */
	g->max_virtual_size = QCF_MAX_L1_SIZE / sizeof(uint64_t) << g->l1_shift;

	g->slice_bits = QCF_MIN(l2_bits + entry_bits, (uint32_t)QCF_SLICE_BITS);
	g->slice_size = UINT64_C(1) << g->slice_bits;
	g->slice_entry_count = g->slice_size / g->l2_entry_size;
}

static void init_host_side(struct qcf_geometry *g)
{
	g->refcount_bits = 1u << g->refcount_order;
	/* A shift by 64 - 64 is fine; one by 64 would not be. */
	g->refcount_max = UINT64_MAX >> (64 - g->refcount_bits);
	/* cluster_size * 8 bits, refcount_bits each */
	g->block_bits = g->cluster_bits + 3 - g->refcount_order;
	g->slice_refcount_count = g->slice_size * 8 / g->refcount_bits;
	g->max_reftable_entry_count = QCF_MAX_REFTABLE_SIZE / sizeof(uint64_t);
}

int qcf_geometry_init(struct qcf_geometry *g, uint32_t version,
                      uint32_t cluster_bits, uint32_t refcount_order,
                      bool extended_l2, struct qcowfmt_error **errp)
{
	int ret = check_arguments(version, cluster_bits, refcount_order,
	                          extended_l2, errp);

	if (ret < 0)
		return ret;
	*g = (struct qcf_geometry){
		.version = version,
		.extended_l2 = extended_l2,
		.cluster_bits = cluster_bits,
		.cluster_size = UINT64_C(1) << cluster_bits,
		.host_alignment = UINT64_C(1) << cluster_bits,
		.guard_bits = cluster_bits,
		.refcount_order = refcount_order,
	};
	/* A table is one cluster of entries of 8 or 16 bytes. */
	init_guest_side(g, cluster_bits - (extended_l2 ? 4 : 3));
	init_host_side(g);
	return 0;
}

static int check_range(const char *field, uint32_t have, uint32_t min,
                       uint32_t max, struct qcowfmt_error **errp)
{
	if (have >= min && have <= max)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "%s: have %u, want %u to %u", field, have, min, max);
}

int qcf_geometry_init_v1(struct qcf_geometry *g, uint32_t cluster_bits,
                         uint32_t l2_bits, struct qcowfmt_error **errp)
{
	int ret =
		check_range("cluster_bits", cluster_bits, QCF_MIN_CLUSTER_BITS,
	                    QCF_MAX_CLUSTER_BITS_V1, errp);

	if (ret == 0)
		ret = check_range("l2_bits", l2_bits, QCF_MIN_L2_BITS_V1,
		                  QCF_MAX_L2_BITS_V1, errp);
	if (ret < 0)
		return ret;
	*g = (struct qcf_geometry){
		.version = 1,
		.cluster_bits = cluster_bits,
		.cluster_size = UINT64_C(1) << cluster_bits,
		.host_alignment = QCF_SECTOR_SIZE,
		.guard_bits = QCF_SECTOR_BITS,
	};
	init_guest_side(g, l2_bits);
	return 0;
}

uint64_t qcf_l1_entries_for(const struct qcf_geometry *g, uint64_t virtual_size)
{
	uint64_t span = UINT64_C(1) << g->l1_shift;

	return (virtual_size >> g->l1_shift) +
	       ((virtual_size & (span - 1)) != 0);
}
