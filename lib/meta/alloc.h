/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - reserving host clusters and giving them back
 *
 *   reserve -> (write to them) -> publish a mapping
 *                             \-> abandon
 *
 * A reserved cluster has a count of 1 in memory.  After a crash it may be
 * leaked, never used twice.
 *
 * Compressed clusters are packed: bytes are reserved, each reservation behind
 * the one before, and count once in each host cluster that they touch.
 *
 * Version 1 has no counts: reservations are appended to the file, and of what is
 * given back only the end can be used again.
 */
#ifndef QCF_ALLOC_H
#define QCF_ALLOC_H

#include "meta.h"

struct qcf_reservation {
	uint64_t host_cluster;
	uint64_t count; /* 0 = nothing reserved */
	bool fresh; /* the clusters read as zeros: nobody ever wrote there */
};

/*
 * Reserve at least one and up to max contiguous clusters, the first free ones.
 * -EFBIG and code NO_SPACE at the limit of the format.
 */
int qcf_alloc_reserve(struct qcf_meta *meta, uint64_t max,
                      struct qcf_reservation *reservation,
                      struct qcowfmt_error **errp);

/* Give back clusters that no mapping was published for. */
void qcf_alloc_abandon(struct qcf_meta *meta,
                       const struct qcf_reservation *reservation);

/*
 * Reserve len bytes, fewer than a cluster, for compressed data.  -EFBIG and code
 * NO_SPACE where an L2 entry could not point to them.
 */
int qcf_alloc_reserve_bytes(struct qcf_meta *meta, uint64_t len,
                            uint64_t *host_offset, struct qcowfmt_error **errp);

/* Give back bytes that no mapping was published for. */
void qcf_alloc_abandon_bytes(struct qcf_meta *meta, uint64_t host_offset,
                             uint64_t len);

/*
 * Reserve exactly count contiguous clusters.  The caller holds
 * refcounts.lock.
 */
int qcf_alloc_reserve_exact_locked(struct qcf_meta *meta, uint64_t count,
                                   uint64_t *first,
                                   struct qcowfmt_error **errp);

/*
 * Lower the counts of clusters whose last use has ended, and that nothing on
 * storage refers to.  Not for clusters that are still in quarantine.  The first
 * gives their host space back if the image was opened so, as does
 * qcf_alloc_discard_other() before the second, without refcounts.lock.
 */
int qcf_alloc_free(struct qcf_meta *meta, uint64_t first, uint64_t count,
                   struct qcowfmt_error **errp);
void qcf_alloc_discard_other(struct qcf_meta *meta, uint64_t first,
                             uint64_t count);
int qcf_alloc_free_locked(struct qcf_meta *meta, uint64_t first, uint64_t count,
                          struct qcowfmt_error **errp);

/* Where the last host cluster in use ends; nothing is dirty or in quarantine. */
int qcf_alloc_end(struct qcf_meta *meta, uint64_t *host_end,
                  struct qcowfmt_error **errp);

/* The file was cut to a length: what is behind it is new when used again. */
void qcf_alloc_file_cut(struct qcf_meta *meta, uint64_t host_end);

/*
 * Take what has left quarantine: give its host space back where wanted and free
 * the clusters.  Called without locks; cheap if there is nothing to do.
 */
int qcf_alloc_reclaim(struct qcf_meta *meta, struct qcowfmt_error **errp);

#endif
