/* SPDX-License-Identifier: MIT */
/*
 * area.h - host clusters for a table that is written as a whole (CS-6)
 *
 * A new table gets clusters of its own, counted in memory; nothing points to them
 * until the caller has made both stable and switches the header.
 */
#ifndef QCF_AREA_H
#define QCF_AREA_H

#include "meta.h"

struct qcf_area {
	uint64_t host_offset;
	uint64_t clusters; /* 0 = nothing */
};

/*
 * Reserve as many clusters as len bytes need, one behind the other, and write
 * the bytes and zeros behind them.  Nothing for no bytes.  After a failure
 * nothing is reserved.
 */
int qcf_area_write(struct qcf_meta *meta, const void *bytes, uint64_t len,
                   struct qcf_area *area, struct qcowfmt_error **errp);

/* Write the bytes, and zeros behind them, to the clusters of an area that is
 * long enough. */
int qcf_area_fill(struct qcf_meta *meta, const void *bytes, uint64_t len,
                  const struct qcf_area *area, struct qcowfmt_error **errp);

/* Lower the counts of an area in memory. */
int qcf_area_free(struct qcf_meta *meta, const struct qcf_area *area,
                  struct qcowfmt_error **errp);

/* The area that len bytes at a host offset take. */
static inline struct qcf_area qcf_area_of(const struct qcf_meta *meta,
                                          uint64_t host_offset, uint64_t len)
{
	return (struct qcf_area){
		.host_offset = host_offset,
		.clusters = qcf_clusters_for(&meta->geometry, len),
	};
}

#endif
