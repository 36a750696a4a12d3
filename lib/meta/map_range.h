/* SPDX-License-Identifier: MIT */
/* map_range.h - from L2 entries to runs of equal clusters; pure functions */
#ifndef QCF_MAP_RANGE_H
#define QCF_MAP_RANGE_H

#include "l2_entry.h"

/* A guest range whose clusters are of one kind and contiguous on the host. */
struct qcf_run {
	enum qcf_kind kind;
	uint64_t length;      /* guest bytes */
	uint64_t host_offset; /* of the first guest byte; COMPRESSED: of the
			       * compressed data; 0 if not applicable */
	uint64_t compressed_len;
	bool copied; /* writes may go in place */
};

/*
 * The run that begins with the first of count entries: how many entries it
 * takes.  first gets the decoded first entry.  Returns 0 and sets *corruption
 * if the first entry makes no sense; an entry further on that makes none ends
 * the run before it.
 */
uint64_t qcf_map_range(const struct qcf_geometry *g,
                       const struct qcf_be64 *entries, uint64_t count,
                       struct qcf_mapping *first, uint32_t *corruption);

/*
 * Append a run to another if they make one longer run.  *run with length 0
 * takes over the second.
 */
bool qcf_run_append(struct qcf_run *run, const struct qcf_run *next);

#endif
