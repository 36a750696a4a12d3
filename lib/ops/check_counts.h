/* SPDX-License-Identifier: MIT */
/*
 * check_counts.h - how often each host cluster is referenced
 *
 * Counts of 64 neighbouring clusters are a group; groups are found through a
 * hash table and exist only where something is referenced.  Counts are cut into
 * digits of 4 bits with a table for each digit, and nearly all counts have one
 * digit.  So memory is 0.8 bytes for each cluster of a packed image and at most
 * 56 for a cluster that is alone, however far apart they lie.
 *
 * Bit i of the counts of a group is one word, its plane i, so adding to all 64 is
 * as fast as adding to one.
 */
#ifndef QCF_CHECK_COUNTS_H
#define QCF_CHECK_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define QCF_COUNT_GROUP_BITS 6u
#define QCF_COUNT_GROUP      64u /* clusters */
#define QCF_COUNT_PLANES     4u  /* bits of a digit */
#define QCF_COUNT_DIGITS     8u  /* of a count of 32 bits */

struct qcf_count_group {
	uint64_t number; /* of its first cluster, divided by the group size */
	uint64_t planes[QCF_COUNT_PLANES];
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
	/* The lowest digit first.  A group of a higher one is in all below. */
	struct qcf_count_table digits[QCF_COUNT_DIGITS];
	bool shared; /* some count has been above 1 */
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

/* Whether any count of a group is above zero. */
bool qcf_counts_in_group(struct qcf_counts *counts, uint64_t number);

/* Whether anything has ever been counted. */
static inline bool qcf_counts_any(const struct qcf_counts *counts)
{
	return counts->digits[0].group_count > 0;
}

/* The counts of a group, one by one. */
void qcf_counts_group(struct qcf_counts *counts, uint64_t number,
                      uint32_t values[QCF_COUNT_GROUP]);

/* Whether all counts of a group are the same, and then which. */
bool qcf_counts_are_equal(struct qcf_counts *counts, uint64_t number,
                          uint32_t *value);

/* Bit i is set if the count of cluster i of a group is exactly 1. */
uint64_t qcf_counts_ones(struct qcf_counts *counts, uint64_t number);

/* The numbers of all groups that exist, ascending; the caller frees them. */
int qcf_counts_sorted(const struct qcf_counts *counts, uint64_t **numbers,
                      size_t *count, struct qcowfmt_error **errp);

/* Behind the last cluster with a count above zero. */
uint64_t qcf_counts_end(struct qcf_counts *counts);

#endif
