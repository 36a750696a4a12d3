/* SPDX-License-Identifier: MIT */
/* amend_refcounts.h - the same reference counts in another width */
#ifndef QCF_AMEND_REFCOUNTS_H
#define QCF_AMEND_REFCOUNTS_H

#include "amend.h"
#include "count_window.h"

/* New refcount blocks and their table, one behind the other in free space. */
struct qcf_new_counts {
	struct qcf_geometry geometry; /* of the image, with the new width */
	uint64_t *table;              /* host offsets of blocks; owned */
	uint64_t entry_count;         /* of table, whole clusters */
	uint64_t block_count;
	uint64_t first; /* host cluster of the first block */
	uint64_t table_clusters;
	uint64_t protected_count;       /* blocks known as metadata already */
	struct qcf_count_window window; /* on the old counts, while preparing */
};

/*
 * Write counts of a width to new blocks, and make them stable.  The present ones are
 * read from storage: there is nothing that has not been written back.  Nothing points
 * to the new ones yet.  -EOVERFLOW if a count does not fit; nothing is written then.
 * *n needs qcf_new_counts_fini() in any case.
 */
int qcf_new_counts_prepare(struct qcf_amending *a, struct qcf_new_counts *n,
                           uint32_t refcount_order,
                           struct qcowfmt_error **errp);

/* Make a header, which is about to be written, point to them. */
void qcf_new_counts_point(const struct qcf_new_counts *n, struct qcf_header *h);

/* The header on storage points to them: use them, and free the old ones. */
int qcf_new_counts_install(struct qcf_meta *meta, struct qcf_new_counts *n,
                           struct qcowfmt_error **errp);

/* Forget what was not installed. */
void qcf_new_counts_fini(struct qcf_meta *meta, struct qcf_new_counts *n);

#endif
