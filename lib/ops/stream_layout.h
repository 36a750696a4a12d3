/* SPDX-License-Identifier: MIT */
/*
 * stream_layout.h - header, tables and counts of an image made in one go
 *
 *   header | refcount table | refcount blocks | L1 table | L2 tables | data
 *
 * The L2 tables are those of the L1 entries that have any cluster.
 */
#ifndef QCF_STREAM_LAYOUT_H
#define QCF_STREAM_LAYOUT_H

#include "create_plan.h"
#include "stream.h"
#include "stream_map.h"

struct qcf_stream_layout {
	struct qcf_create_plan *plan; /* of the image without data; its header
				       * is changed */
	const struct qcf_stream_map *map;
	uint64_t table_clusters; /* of the refcount table */
	uint64_t block_count;
	uint64_t first_block; /* where parts begin, in clusters */
	uint64_t l1;
	uint64_t first_l2;
	uint64_t data;
	uint64_t total;    /* clusters that are counted */
	uint64_t file_len; /* bytes */
};

/* Lay out what a map says.  -EFBIG if the format has no room for it. */
int qcf_stream_layout_init(struct qcf_stream_layout *layout,
                           struct qcf_create_plan *plan,
                           const struct qcf_stream_map *map,
                           struct qcowfmt_error **errp);

/* Everything in front of the data. */
int qcf_stream_layout_put(const struct qcf_stream_layout *layout,
                          struct qcf_outlet *outlet,
                          struct qcowfmt_error **errp);

#endif
