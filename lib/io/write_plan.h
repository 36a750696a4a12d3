/* SPDX-License-Identifier: MIT */
/* write_plan.h - what to do with a range of L2 entries; pure functions */
#ifndef QCF_WRITE_PLAN_H
#define QCF_WRITE_PLAN_H

#include "l2_entry.h"

enum qcf_write_action {
	QCF_WRITE_IN_PLACE, /* the host clusters are private: just write */
	QCF_WRITE_FILL,     /* private clusters that read as zeros: write all of
			     * each cluster, then change the mapping */
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
                                     const struct qcf_be64 *entries,
                                     uint64_t count);

/* A new entry for a cluster, and whether the old host cluster is freed. */
struct qcf_entry_change {
	struct qcf_be64 entry;
	bool changed;
	bool frees;
};

/* Make a cluster read as zeros; version 3 only. */
struct qcf_entry_change qcf_zero_plan(const struct qcf_geometry *g,
                                      struct qcf_be64 entry, bool may_unmap);

/* Discard a cluster; in version 2 only without a backing file. */
struct qcf_entry_change qcf_discard_plan(const struct qcf_geometry *g,
                                         struct qcf_be64 entry,
                                         bool has_backing);

/* How many host clusters the mapping of an entry refers to, and the first. */
uint64_t qcf_entry_host_clusters(const struct qcf_geometry *g,
                                 struct qcf_be64 entry, uint64_t *first);

#endif
