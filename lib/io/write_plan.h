/* SPDX-License-Identifier: MIT */
/* write_plan.h - what to do with a range of L2 entries; pure functions */
#ifndef QCF_WRITE_PLAN_H
#define QCF_WRITE_PLAN_H

#include "l2_entry.h"

enum qcf_write_action {
	QCF_WRITE_IN_PLACE, /* the host clusters are private: just write */
	QCF_WRITE_FILL,     /* private clusters, not all of which hold data:
			     * write whole (sub)clusters, change the mapping */
	QCF_WRITE_ALLOCATE, /* new clusters, copy on write, new mapping */
};

/* The first clusters of a range, which are to be treated alike. */
struct qcf_write_plan {
	enum qcf_write_action action;
	uint64_t clusters;
	uint64_t host_offset; /* FILL: of the first cluster */
};

/* The plan for at most count entries from the first on. */
struct qcf_write_plan qcf_write_plan(const struct qcf_geometry *g,
                                     const struct qcf_l2_raw *entries,
                                     uint64_t count);

/*
 * What has to be written around a payload that covers [start, end), guest bytes
 * that begin in the first and end in the last cluster of a plan: from *span_start
 * to *span_end everything, whether payload or copied.  first and last are the
 * clusters' entries.
 *
 * Subclusters outside the span keep their state.  In a new cluster the span
 * therefore takes in every subcluster that holds data.  In a cluster that is
 * filled, subclusters that hold data already are not copied, because other
 * requests may be writing to them in place; with exclusive there are none, and
 * the span is made of whole subclusters.
 */
void qcf_plan_span(const struct qcf_geometry *g, enum qcf_write_action action,
                   struct qcf_l2_raw first, struct qcf_l2_raw last,
                   bool exclusive, uint64_t start, uint64_t end,
                   uint64_t *span_start, uint64_t *span_end);

/*
 * The entry of a cluster after bytes [from, to) of it were written to the host
 * cluster at host_offset.
 */
struct qcf_l2_raw qcf_written_entry(const struct qcf_geometry *g,
                                    enum qcf_write_action action,
                                    struct qcf_l2_raw old, uint64_t host_offset,
                                    uint64_t from, uint64_t to);

/* A new entry for a cluster, and whether the old host cluster is freed. */
struct qcf_entry_change {
	struct qcf_l2_raw entry;
	bool changed;
	bool frees;
	bool impossible; /* zeros have to be written as data */
};

/*
 * Make a cluster read as zeros, or with extended L2 those of its subclusters
 * that are set in the mask; version 3 only.
 */
struct qcf_entry_change qcf_zero_plan(const struct qcf_geometry *g,
                                      struct qcf_l2_raw entry, uint32_t mask,
                                      bool may_unmap);

/*
 * Discard a cluster; in version 2 only without a backing file.  With extended L2
 * those of its subclusters that are set in the mask: the host cluster is freed
 * with the last of them, and a compressed cluster stays.
 */
struct qcf_entry_change qcf_discard_plan(const struct qcf_geometry *g,
                                         struct qcf_l2_raw entry, uint32_t mask,
                                         bool has_backing);

/* Make a cluster unallocated. */
struct qcf_entry_change qcf_drop_plan(const struct qcf_geometry *g,
                                      struct qcf_l2_raw entry);

/*
 * How many counted host clusters the mapping of an entry refers to, and the
 * first.  The clusters of a data file are not counted.
 */
uint64_t qcf_entry_host_clusters(const struct qcf_geometry *g,
                                 struct qcf_l2_raw entry, uint64_t *first);

#endif
