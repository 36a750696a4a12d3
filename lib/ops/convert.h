/* SPDX-License-Identifier: MIT */
/*
 * convert.h - copying the disks of images into another image
 *
 * convert_source   what is read, and where data is
 * convert_input    the same, if it comes through a function
 * convert_plan     cutting it into pieces
 * convert_slot     reading a piece, looking for zeros
 * convert_pipe     many threads, one order
 * convert_target   writing pieces into an image
 * convert_share    letting storage copy them
 * convert_pace     progress, cancelling, rate limit
 * stream*          the same, out of a pipe end
 */
#ifndef QCF_CONVERT_H
#define QCF_CONVERT_H

#include "convert_pipe.h"

/* As qcowfmt_convert(), with options of this library's version; result is never
 * NULL. */
int qcf_convert(struct qcowfmt_image *const *sources, size_t source_count,
                struct qcowfmt_image *target,
                const struct qcowfmt_convert_options *options,
                struct qcowfmt_convert_result *result,
                struct qcowfmt_error **errp);

/* A pipe and what it works on, for whatever sink. */
struct qcf_convert {
	struct qcf_source source;
	struct qcf_input input;
	struct qcf_planner planner;
	struct qcf_pace pace;
	struct qcf_pipe_options pipe;
	const char *bitmap; /* of the source; NULL: everything is copied */
};

/*
 * Prepare for sources and options; the structure must stay where it is.  Holes are
 * whole units of hole_unit.  The sink and zeros_below of the planner are the
 * caller's to set.
 */
int qcf_convert_init(struct qcf_convert *c,
                     struct qcowfmt_image *const *sources, size_t source_count,
                     uint64_t hole_unit,
                     const struct qcowfmt_convert_options *options,
                     struct qcowfmt_convert_result *result,
                     struct qcowfmt_error **errp);
void qcf_convert_fini(struct qcf_convert *c);

/* Find out how much there is to do, if somebody wants to know and it can be
 * known. */
int qcf_convert_count(struct qcf_convert *c, struct qcowfmt_error **errp);

/* The same, and do it. */
int qcf_convert_run(struct qcf_convert *c, struct qcowfmt_error **errp);

#endif
