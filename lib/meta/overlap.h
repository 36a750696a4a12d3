/* SPDX-License-Identifier: MIT */
/*
 * overlap.h - which host clusters hold metadata
 *
 * No guest write and no allocation may ever touch the header, the L1 table, the
 * refcount table, refcount blocks, active L2 tables, the bitmap directory, the snapshot table
 * or the L1 tables of snapshots, whatever an image claims.  Everything that lives in
 * single clusters (L2 tables, refcount blocks) is in a set; the rest are a few
 * ranges.  In version 1, where everything may begin at any sector, sectors take
 * the place of clusters; meta.h has functions that know.
 *
 * Asking takes no lock.
 */
#ifndef QCF_OVERLAP_H
#define QCF_OVERLAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "lock.h"

/* A table in place of which a larger one has been put.  Lock-free readers may
 * still look at it, so it is kept until the end. */
struct qcf_cluster_table {
	struct qcf_cluster_table *older;
	size_t slot_count;        /* a power of two */
	_Atomic uint64_t slots[]; /* 0 = empty, UINT64_MAX = removed */
};

struct qcf_overlap_range {
	uint64_t first; /* host cluster */
	uint64_t end;   /* behind the last one */
};

/* Ranges that are put in place together; sorted, disjoint. */
struct qcf_overlap_ranges {
	struct qcf_overlap_range *ranges; /* owned */
	size_t count;
};

/* What lives in ranges that change only with a whole-image operation. */
enum qcf_overlap_owner {
	QCF_OVERLAP_SNAPSHOTS = 0, /* the snapshot table and L1 tables */
	QCF_OVERLAP_KEYS = 1,      /* the LUKS header */
};

#define QCF_OVERLAP_OWNERS 2

/* L1 table, refcount table and bitmap directory, which can move */
#define QCF_OVERLAP_TABLES 3

/* What lives in single clusters. */
enum qcf_overlap_kind {
	QCF_OVERLAP_L2 = 0,
	QCF_OVERLAP_BLOCK = 1,
};

#define QCF_OVERLAP_KINDS 2

/* The clusters of one kind. */
struct qcf_cluster_set {
	_Atomic(struct qcf_cluster_table *) table;
	size_t used; /* slots that are not empty; guarded by lock */
};

struct qcf_overlap {
	struct qcf_cluster_set sets[QCF_OVERLAP_KINDS];
	uint64_t l2_count; /* clusters of an L2 table: 1, but for version 1,
			    * where the set holds the first of each table */
	_Atomic uint64_t table_first[QCF_OVERLAP_TABLES];
	_Atomic uint64_t table_end[QCF_OVERLAP_TABLES];

	/* written while no request runs */
	struct qcf_overlap_ranges ranges[QCF_OVERLAP_OWNERS];

	struct qcf_mutex lock; /* adding and removing */
};

enum qcf_overlap_table {
	QCF_OVERLAP_L1 = 0,
	QCF_OVERLAP_REFTABLE = 1,
	QCF_OVERLAP_BITMAPS = 2,
};

void qcf_overlap_init(struct qcf_overlap *overlap);
void qcf_overlap_fini(struct qcf_overlap *overlap);

/* Make room for a number of clusters, before the image is in use. */
int qcf_overlap_reserve(struct qcf_overlap *overlap, enum qcf_overlap_kind kind,
                        size_t count, struct qcowfmt_error **errp);

int qcf_overlap_add(struct qcf_overlap *overlap, enum qcf_overlap_kind kind,
                    uint64_t host_cluster, struct qcowfmt_error **errp);
void qcf_overlap_remove(struct qcf_overlap *overlap, enum qcf_overlap_kind kind,
                        uint64_t host_cluster);

/*
 * Replace a whole set while no request runs.  Allocating comes first, so that
 * putting the new set in place cannot fail.
 */
struct qcf_cluster_table *qcf_overlap_new_set(size_t room);
void qcf_overlap_fill_set(struct qcf_cluster_table *table,
                          uint64_t host_cluster);
void qcf_overlap_put_set(struct qcf_overlap *overlap,
                         enum qcf_overlap_kind kind,
                         struct qcf_cluster_table *table);

void qcf_overlap_set_table(struct qcf_overlap *overlap,
                           enum qcf_overlap_table which, uint64_t first,
                           uint64_t count);

/* Replace the ranges of an owner while no request runs; takes over the array,
 * which is sorted here and merged where ranges touch. */
void qcf_overlap_set_ranges(struct qcf_overlap *overlap,
                            enum qcf_overlap_owner owner,
                            struct qcf_overlap_range *ranges, size_t count);

/* Whether any of count clusters from first on holds metadata. */
bool qcf_overlap_hits(const struct qcf_overlap *overlap, uint64_t first,
                      uint64_t count);

/*
 * Whether the L1 table, which is written in place, shares a cluster with the header,
 * another table or what an owner has.  What lives in single clusters is asked about
 * when it is used.
 */
bool qcf_overlap_l1_is_shared(const struct qcf_overlap *overlap);

/*
 * Whether a cluster that is in use as one kind of metadata is at the same time
 * something else: then it must not be written to either.
 */
bool qcf_overlap_is_not_only(const struct qcf_overlap *overlap,
                             enum qcf_overlap_kind kind, uint64_t host_cluster);

#endif
