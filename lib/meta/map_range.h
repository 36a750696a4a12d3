/* SPDX-License-Identifier: MIT */
/* map_range.h - from L2 entries to runs of equal bytes; pure functions */
#ifndef QCF_MAP_RANGE_H
#define QCF_MAP_RANGE_H

#include "l2_entry.h"

/* A guest range that is of one kind and contiguous on the host. */
struct qcf_run {
	enum qcf_kind kind;
	uint64_t length;      /* guest bytes */
	uint64_t host_offset; /* of the first guest byte; COMPRESSED: of the
			       * compressed data; 0 if not applicable */
	uint64_t compressed_len;
	bool copied; /* writes may go in place */
};

/*
 * The run inside one cluster that begins offset bytes into it: to the end of the
 * cluster, or of the subclusters that are alike.
 */
struct qcf_run qcf_mapping_piece(const struct qcf_geometry *g,
                                 const struct qcf_mapping *mapping,
                                 uint64_t offset);

/*
 * The run that begins offset bytes into the first of count entries, at most len
 * bytes.  Returns 0, or the corruption id if the first entry makes no sense; an
 * entry further on that makes none ends the run before it.
 */
uint32_t qcf_map_range(const struct qcf_geometry *g,
                       const struct qcf_l2_raw *entries, uint64_t count,
                       uint64_t offset, uint64_t len, struct qcf_run *run);

/*
 * Append a run to another if they make one longer run.  *run with length 0
 * takes over the second.
 */
bool qcf_run_append(struct qcf_run *run, const struct qcf_run *next);

#endif
