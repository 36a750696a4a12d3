/* SPDX-License-Identifier: MIT */
/*
 * geometry.h - every shift, mask and limit of one image, computed once
 *
 * A guest offset is cut into   l1_index | l2_index | offset in cluster.
 * A host cluster is counted in refcount block host_cluster >> block_bits, at
 * slot host_cluster & (2^block_bits - 1).
 *
 * A slice is the unit of caching: an aligned piece of an L2 table or refcount
 * block of at most 4 KiB.
 *
 * With extended L2 entries a cluster has 32 subclusters, otherwise the cluster
 * counts as its only one.
 *
 * Version 1 has no refcounts, its L2 tables are as long as the header says, and
 * everything may begin at any sector.
 */
#ifndef QCF_GEOMETRY_H
#define QCF_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "limits.h"

struct qcf_geometry {
	uint32_t version; /* 1, 2 or 3 */
	bool extended_l2;
	bool data_file; /* host offsets of data are in a file of its own and
			 * equal to guest offsets */

	uint32_t cluster_bits;
	uint64_t cluster_size;
	uint64_t host_alignment; /* of tables and data clusters */
	uint32_t guard_bits;     /* log2 of the unit in which metadata is
				  * protected from being overwritten */

	uint32_t subcluster_bits;
	uint64_t subcluster_size;
	uint32_t subcluster_count; /* in a cluster: 32 or 1 */

	uint32_t l2_entry_size;    /* 8, or 16 with extended L2 */
	uint32_t l2_bits;          /* log2 of entries in an L2 table */
	uint64_t l2_entry_count;   /* in a table */
	uint64_t l2_table_size;    /* bytes */
	uint32_t l1_shift;         /* log2 of the guest bytes of an L1 entry */
	uint64_t max_virtual_size; /* what a full-size L1 table maps */

	uint32_t slice_bits; /* log2 of slice_size */
	uint64_t slice_size;
	uint64_t slice_entry_count; /* L2 entries in a slice */

	uint32_t refcount_order; /* log2 of the width of a count in bits */
	uint32_t refcount_bits;
	uint64_t refcount_max;         /* largest count: 2^refcount_bits - 1 */
	uint32_t block_bits;           /* log2 of counts in a refcount block */
	uint64_t slice_refcount_count; /* counts in a slice */
	uint64_t max_reftable_entry_count;
};

/* All arguments must be within limits.h; -EINVAL names the one that is not. */
int qcf_geometry_init(struct qcf_geometry *g, uint32_t version,
                      uint32_t cluster_bits, uint32_t refcount_order,
                      bool extended_l2, struct qcowfmt_error **errp);

/* The same for version 1, where l2_bits is a field of the header. */
int qcf_geometry_init_v1(struct qcf_geometry *g, uint32_t cluster_bits,
                         uint32_t l2_bits, struct qcowfmt_error **errp);

/* --- guest side --- */

static inline uint64_t qcf_l1_index(const struct qcf_geometry *g,
                                    uint64_t guest_offset)
{
	return guest_offset >> g->l1_shift;
}

static inline uint64_t qcf_l2_index(const struct qcf_geometry *g,
                                    uint64_t guest_offset)
{
	return (guest_offset >> g->cluster_bits) & (g->l2_entry_count - 1);
}

static inline uint64_t qcf_offset_in_cluster(const struct qcf_geometry *g,
                                             uint64_t offset)
{
	return offset & (g->cluster_size - 1);
}

static inline uint64_t qcf_cluster_start(const struct qcf_geometry *g,
                                         uint64_t offset)
{
	return offset & ~(g->cluster_size - 1);
}

static inline uint64_t qcf_offset_in_subcluster(const struct qcf_geometry *g,
                                                uint64_t offset)
{
	return offset & (g->subcluster_size - 1);
}

/* Which subcluster of its cluster an offset is in. */
static inline uint32_t qcf_subcluster_index(const struct qcf_geometry *g,
                                            uint64_t offset)
{
	return (uint32_t)(qcf_offset_in_cluster(g, offset) >>
	                  g->subcluster_bits);
}

/* Offset of the slice that holds an L2 index, in its table. */
static inline uint64_t qcf_slice_offset(const struct qcf_geometry *g,
                                        uint64_t l2_index)
{
	return (l2_index * g->l2_entry_size) & ~(g->slice_size - 1);
}

/* Position of an L2 index among the entries of its slice. */
static inline uint64_t qcf_slice_index(const struct qcf_geometry *g,
                                       uint64_t l2_index)
{
	return l2_index & (g->slice_entry_count - 1);
}

/* Guest bytes from an offset to the end of what its slice maps. */
static inline uint64_t qcf_left_in_slice(const struct qcf_geometry *g,
                                         uint64_t guest_offset)
{
	uint64_t span = g->slice_entry_count << g->cluster_bits;

	return span - (guest_offset & (span - 1));
}

/* Guest bytes from an offset to the end of what its L1 entry maps. */
static inline uint64_t qcf_left_in_l2_table(const struct qcf_geometry *g,
                                            uint64_t guest_offset)
{
	uint64_t span = UINT64_C(1) << g->l1_shift;

	return span - (guest_offset & (span - 1));
}

/* Entries an L1 table needs for a virtual size. */
uint64_t qcf_l1_entries_for(const struct qcf_geometry *g,
                            uint64_t virtual_size);

/* --- host side --- */

static inline uint64_t qcf_host_cluster(const struct qcf_geometry *g,
                                        uint64_t host_offset)
{
	return host_offset >> g->cluster_bits;
}

static inline uint64_t qcf_host_offset(const struct qcf_geometry *g,
                                       uint64_t host_cluster)
{
	return host_cluster << g->cluster_bits;
}

/*
 * Compressed clusters begin below this host offset: the bits of an L2 entry that
 * the flags and the length leave, and no more than other offsets have.
 */
static inline uint64_t qcf_compressed_offset_limit(const struct qcf_geometry *g)
{
	uint32_t bits = g->version == 1 ? 63 - g->cluster_bits
	                                : 62 - (g->cluster_bits - 8);

	return QCF_MIN(UINT64_C(1) << bits, QCF_HOST_OFFSET_LIMIT);
}

/* Which refcount block counts a host cluster, and where in that block. */
static inline uint64_t qcf_block_index(const struct qcf_geometry *g,
                                       uint64_t host_cluster)
{
	return host_cluster >> g->block_bits;
}

static inline uint64_t qcf_index_in_block(const struct qcf_geometry *g,
                                          uint64_t host_cluster)
{
	return host_cluster & ((UINT64_C(1) << g->block_bits) - 1);
}

/* Clusters needed for a number of bytes. */
static inline uint64_t qcf_clusters_for(const struct qcf_geometry *g,
                                        uint64_t bytes)
{
	return (bytes >> g->cluster_bits) +
	       ((bytes & (g->cluster_size - 1)) != 0);
}

#endif
