/* SPDX-License-Identifier: MIT */
/*
 * stream_map.h - what each guest cluster of a new image will be, and where
 *
 * A walk over the clusters in guest order gives each its place: compressed ones
 * follow each other byte by byte, others start at the next host cluster.  Every
 * walk gives the same places, so tables, counts and data can be written one
 * after the other, from the lengths alone.
 */
#ifndef QCF_STREAM_MAP_H
#define QCF_STREAM_MAP_H

#include "geometry.h"
#include "l2_entry.h"

/*
 * The length of a cluster in the image: 0 if it is not there, the cluster size
 * if it is as it is, less if it is compressed, or:
 */
#define QCF_STREAM_ZERO UINT32_MAX /* it hides the backing file */

struct qcf_stream_map {
	const struct qcf_geometry *geometry;
	uint64_t l1_count;
	uint32_t **tables; /* per L1 entry the lengths of its clusters; NULL:
			    * there are none */
	uint64_t table_count;
};

int qcf_stream_map_init(struct qcf_stream_map *map,
                        const struct qcf_geometry *geometry, uint64_t l1_count,
                        struct qcowfmt_error **errp);
void qcf_stream_map_fini(struct qcf_stream_map *map);

int qcf_stream_map_set(struct qcf_stream_map *map, uint64_t guest_cluster,
                       uint32_t len, struct qcowfmt_error **errp);
uint32_t qcf_stream_map_get(const struct qcf_stream_map *map,
                            uint64_t guest_cluster);

/* A walk over everything that takes space. */
struct qcf_stream_walk {
	const struct qcf_stream_map *map;
	uint64_t next;     /* the guest cluster to look at */
	uint64_t host_end; /* of what was given out so far */
	uint64_t uses;     /* of the cluster that host_end is in */
	/* The present cluster: */
	uint64_t guest_cluster;
	uint64_t host_offset;
	uint32_t len;
};

/* Begin; data starts at host_start, at a cluster. */
void qcf_stream_walk_init(struct qcf_stream_walk *walk,
                          const struct qcf_stream_map *map,
                          uint64_t host_start);

/* Go to the next cluster with data; false at the end. */
bool qcf_stream_walk_next(struct qcf_stream_walk *walk);

/* The entry for the present cluster. */
struct qcf_l2_raw qcf_stream_walk_entry(const struct qcf_stream_walk *walk);

/* The entry of a cluster that hides the backing file. */
struct qcf_l2_raw qcf_stream_zero_entry(const struct qcf_geometry *g);

#endif
