/* SPDX-License-Identifier: MIT */
/* map_range.c - from L2 entries to runs of equal clusters */
#include "map_range.h"

/* Whether a mapping goes on where another one, n clusters earlier, began. */
static bool continues(const struct qcf_geometry *g,
                      const struct qcf_mapping *first,
                      const struct qcf_mapping *next, uint64_t n)
{
	if (next->kind != first->kind)
		return false;
	switch (first->kind) {
	case QCF_UNALLOCATED:
	case QCF_ZERO_PLAIN:
		return true;
	case QCF_DATA:
	case QCF_ZERO_ALLOCATED:
		return next->copied == first->copied &&
		       next->host_offset ==
		               first->host_offset + (n << g->cluster_bits);
	case QCF_COMPRESSED:
		return false;
	}
	return false;
}

uint64_t qcf_map_range(const struct qcf_geometry *g,
                       const struct qcf_be64 *entries, uint64_t count,
                       struct qcf_mapping *first, uint32_t *corruption)
{
	uint64_t n = 1;

	*corruption = qcf_mapping_check(g, entries[0]);
	*first = qcf_l2_entry_decode(g, entries[0]);
	if (*corruption != 0)
		return 0;
	for (; n < count; n++) {
		struct qcf_mapping next = qcf_l2_entry_decode(g, entries[n]);

		if (!continues(g, first, &next, n) ||
		    qcf_mapping_check(g, entries[n]) != 0)
			break;
	}
	return n;
}

bool qcf_run_append(struct qcf_run *run, const struct qcf_run *next)
{
	bool has_offset =
		run->kind == QCF_DATA || run->kind == QCF_ZERO_ALLOCATED;

	if (run->length == 0) {
		*run = *next;
		return true;
	}
	if (run->kind != next->kind || run->kind == QCF_COMPRESSED)
		return false;
	if (has_offset && (run->copied != next->copied ||
	                   run->host_offset + run->length != next->host_offset))
		return false;
	run->length += next->length;
	return true;
}
