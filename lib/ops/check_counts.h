/* SPDX-License-Identifier: MIT */
/*
 * check_counts.h - how often each host cluster is referenced
 *
 * Counts of 32 neighbouring clusters are a group; groups are found through a
 * hash table and exist only where something is referenced.  Memory is 2.5 bytes
 * for each cluster of a packed image and at most 80 for a cluster that is alone,
 * however far apart they lie.
 *
 * Nearly all counts are small, so a group holds 16 bits of each; what does not
 * fit is carried to a second table like the first.
 */
#ifndef QCF_CHECK_COUNTS_H
#define QCF_CHECK_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define QCF_COUNT_GROUP_BITS 5u
#define QCF_COUNT_GROUP      32u /* clusters */

struct qcf_count_group {
	uint64_t number; /* of its first cluster, divided by the group size */
	uint16_t counts[QCF_COUNT_GROUP];
};

struct qcf_count_table {
	struct qcf_count_group **slabs; /* groups never move */
	size_t slab_room;
	uint32_t group_count;
	uint32_t *slots;              /* number of a group + 1; 0 = empty */
	uint64_t slot_count;          /* a power of two; 0 at first */
	struct qcf_count_group *last; /* the one asked for last; may be NULL */
};

struct qcf_counts {
	struct qcf_count_table low;  /* 16 bits of each count */
	struct qcf_count_table high; /* the 16 bits above */
	bool shared;                 /* some count has been above 1 */
};

/* A zeroed structure counts nothing. */
void qcf_counts_fini(struct qcf_counts *counts);

/* Add n to each of count clusters; a count stays at its maximum of 2^32 - 1
 * rather than wrap. */
int qcf_counts_add(struct qcf_counts *counts, uint64_t first, uint64_t count,
                   uint32_t n, struct qcowfmt_error **errp);

/* Take away n that had been added. */
void qcf_counts_subtract(struct qcf_counts *counts, uint64_t first,
                         uint64_t count, uint32_t n);

uint64_t qcf_counts_get(struct qcf_counts *counts, uint64_t cluster);

/* The low bits of a group's counts; NULL if all of them are zero. */
const uint16_t *qcf_counts_group(struct qcf_counts *counts, uint64_t number);

/* Whether low bits are all there is. */
static inline bool qcf_counts_are_low(const struct qcf_counts *counts)
{
	return counts->high.group_count == 0;
}

/* The numbers of all groups that exist, ascending; the caller frees them. */
int qcf_counts_sorted(const struct qcf_counts *counts, uint64_t **numbers,
                      size_t *count, struct qcowfmt_error **errp);

/* Behind the last cluster with a count above zero. */
uint64_t qcf_counts_end(struct qcf_counts *counts);

#endif
