/* SPDX-License-Identifier: MIT */
/*
 * convert_pipe.h - pieces of a disk, prepared by many threads and stored in order
 */
#ifndef QCF_CONVERT_PIPE_H
#define QCF_CONVERT_PIPE_H

#include "convert_pace.h"
#include "convert_slot.h"

/* Workers beyond this would only take memory. */
#define QCF_MAX_WORKERS 64u

/* Where pieces go. */
struct qcf_sink {
	/* Whether a piece is to be stored without having been read.  NULL:
	 * never.  From any thread, several at once, like prepare. */
	bool (*skips_reading)(struct qcf_sink *sink,
	                      const struct qcf_slot *slot);
	/* Work on data that was read.  NULL: nothing to do. */
	int (*prepare)(struct qcf_sink *sink, struct qcf_slot *slot,
	               struct qcowfmt_error **errp);
	/* Store a piece.  Called in the order of offsets by one thread, unless
	 * out_of_order. */
	int (*store)(struct qcf_sink *sink, struct qcf_slot *slot,
	             struct qcowfmt_error **errp);
};

struct qcf_pipe_options {
	struct qcf_planner *planner;
	struct qcf_sink *sink;
	struct qcf_fill fill;
	struct qcf_pace *pace;
	uint32_t threads; /* 0: the caller's does everything */
	bool pack;        /* slots have room for compressed clusters */
	bool out_of_order;
	bool in_order; /* read pieces one after the other, too */
	qcowfmt_salvage_callback salvage;
	void *salvage_opaque;
	struct qcowfmt_convert_result *result; /* gets what was done */
};

/* Move everything that the planner finds. */
int qcf_pipe_run(const struct qcf_pipe_options *options,
                 struct qcowfmt_error **errp);

#endif
