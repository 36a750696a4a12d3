/* SPDX-License-Identifier: MIT */
/*
 * check_counts.h - a number for each host cluster, in memory in proportion to
 * the clusters that are referenced
 */
#ifndef QCF_CHECK_COUNTS_H
#define QCF_CHECK_COUNTS_H

#include <stdint.h>

#include "error.h"

#define QCF_COUNTS_CHUNK 4096u /* clusters */

struct qcf_counts {
	uint32_t **chunks;
	uint64_t chunk_count;
};

/* Room for clusters [0, cluster_count); -EFBIG above 2^31 - 1. */
int qcf_counts_init(struct qcf_counts *counts, uint64_t cluster_count,
                    struct qcowfmt_error **errp);
void qcf_counts_fini(struct qcf_counts *counts);

/* Add to the number of a cluster, which is in range; it stays at its maximum
 * rather than wrap. */
int qcf_counts_add(struct qcf_counts *counts, uint64_t cluster, uint32_t n,
                   struct qcowfmt_error **errp);

static inline uint64_t qcf_counts_get(const struct qcf_counts *counts,
                                      uint64_t cluster)
{
	uint64_t chunk = cluster / QCF_COUNTS_CHUNK;

	if (chunk >= counts->chunk_count || counts->chunks[chunk] == NULL)
		return 0;
	return counts->chunks[chunk][cluster % QCF_COUNTS_CHUNK];
}

#endif
