/* SPDX-License-Identifier: MIT */
/*
 * refcount.h - reference counts of host clusters
 *
 * All functions are called with refcounts.lock held.  Changes are in memory
 * until writeback stores them.
 */
#ifndef QCF_REFCOUNT_H
#define QCF_REFCOUNT_H

#include "meta.h"

/* The count of a host cluster; 0 where there is no refcount block. */
int qcf_refcount_read(struct qcf_meta *meta, uint64_t host_cluster,
                      uint64_t *count, struct qcowfmt_error **errp);

/*
 * Change the counts of count clusters by one.  All of them have a refcount
 * block.  On failure those before the failing one are changed: *done says how
 * many.
 */
int qcf_refcount_increase(struct qcf_meta *meta, uint64_t first, uint64_t count,
                          uint64_t *done, struct qcowfmt_error **errp);
int qcf_refcount_decrease(struct qcf_meta *meta, uint64_t first, uint64_t count,
                          uint64_t *done, struct qcowfmt_error **errp);

/*
 * The first cluster with a count of zero from a cluster on, and how many follow
 * it directly (at most max, at least 1).  If it has no refcount block,
 * *has_block is false and *run is 1.
 */
int qcf_refcount_find_free(struct qcf_meta *meta, uint64_t from, uint64_t max,
                           uint64_t *first, uint64_t *run, bool *has_block,
                           struct qcowfmt_error **errp);

/*
 * Put a refcount block for a range that has none at one of the free clusters it
 * describes.
 */
int qcf_refcount_add_block(struct qcf_meta *meta, uint64_t host_cluster,
                           struct qcowfmt_error **errp);

/* Put the refcount block of an index, which has none, at a host cluster that
 * nothing refers to.  Its own count is up to the caller. */
int qcf_refcount_install_block(struct qcf_meta *meta, uint64_t block_index,
                               uint64_t host_cluster,
                               struct qcowfmt_error **errp);

/* Let the table name another place for a block, which holds the same there, or
 * none (0) for a block whose counts are all 0. */
void qcf_refcount_set_block(struct qcf_meta *meta, uint64_t block_index,
                            uint64_t host_offset);

/* Set a count; the cluster has a refcount block. */
int qcf_refcount_write(struct qcf_meta *meta, uint64_t host_cluster,
                       uint64_t count, struct qcowfmt_error **errp);

/*
 * Lay out an area of count free clusters behind everything that has a refcount
 * block, with the blocks that describe it in front.  The clusters of the area
 * have a count of 1 afterwards.
 */
int qcf_refcount_add_area(struct qcf_meta *meta, uint64_t count,
                          uint64_t *first, struct qcowfmt_error **errp);

#endif
