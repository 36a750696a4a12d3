/* SPDX-License-Identifier: MIT */
/* check_counts.c - a number for each host cluster */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_counts.h"

int qcf_counts_init(struct qcf_counts *counts, uint64_t cluster_count,
                    struct qcowfmt_error **errp)
{
	*counts = (struct qcf_counts){ 0 };
	if (cluster_count > INT32_MAX)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_LIMIT,
		                "the file has %" PRIu64
		                " clusters, more than can be checked",
		                cluster_count);
	counts->chunk_count = cluster_count / QCF_COUNTS_CHUNK + 1;
	counts->chunks = calloc(counts->chunk_count, sizeof(*counts->chunks));
	return counts->chunks == NULL ? qcf_fail_oom(errp) : 0;
}

void qcf_counts_fini(struct qcf_counts *counts)
{
	for (uint64_t i = 0; counts->chunks != NULL && i < counts->chunk_count;
	     i++)
		free(counts->chunks[i]);
	free(counts->chunks);
}

int qcf_counts_add(struct qcf_counts *counts, uint64_t cluster, uint32_t n,
                   struct qcowfmt_error **errp)
{
	uint32_t **chunk = &counts->chunks[cluster / QCF_COUNTS_CHUNK];
	uint32_t *count;

	if (*chunk == NULL)
		*chunk = calloc(QCF_COUNTS_CHUNK, sizeof(**chunk));
	if (*chunk == NULL)
		return qcf_fail_oom(errp);
	count = &(*chunk)[cluster % QCF_COUNTS_CHUNK];
	*count = n > UINT32_MAX - *count ? UINT32_MAX : *count + n;
	return 0;
}
