/* SPDX-License-Identifier: MIT */
/*
 * create_plan.h - a new qcow2 image, complete before anything is written
 *
 *   header | refcount table | refcount blocks | L1 table | LUKS area | tree
 *
 * The tree is there with preallocation only: for each L1 entry its L2 table and
 * behind it, unless they are in a data file, the clusters the table maps.
 */
#ifndef QCF_CREATE_PLAN_H
#define QCF_CREATE_PLAN_H

#include "crypto.h"
#include "header.h"

/* Where everything goes, in clusters. */
struct qcf_create_layout {
	uint64_t table_clusters;
	uint64_t block_count;
	uint64_t l1_clusters;
	uint64_t luks_clusters;
	uint64_t tree_clusters;
	/* where parts begin that do not have a field in the header */
	uint64_t first_block;
	uint64_t luks;
	uint64_t tree;
	uint64_t total;
};

struct qcf_create_plan {
	struct qcf_header header;
	struct qcf_geometry geometry;
	struct qcf_create_layout layout;
	int preallocation;      /* enum qcowfmt_preallocation */
	uint64_t data_clusters; /* preallocated guest clusters */
	uint8_t *first_cluster; /* the encoded header; owned */
};

/* Options have been checked.  On failure nothing is left to free. */
int qcf_create_plan_init(struct qcf_create_plan *plan,
                         const struct qcowfmt_create_options *options,
                         const struct qcf_crypto_plan *crypto,
                         struct qcowfmt_error **errp);
void qcf_create_plan_fini(struct qcf_create_plan *plan);

#endif
