/* SPDX-License-Identifier: MIT */
/*
 * convert_plan.h - cutting the disk that convert reads into pieces
 *
 * Pieces start and end at units, so that a unit is dealt with as a whole.  A
 * unit that holds any data counts as data.
 */
#ifndef QCF_CONVERT_PLAN_H
#define QCF_CONVERT_PLAN_H

#include "convert_source.h"

/* A part of the disk that is dealt with at once. */
struct qcf_copy_piece {
	enum qcf_source_content content; /* DATA or ZERO */
	uint64_t offset;
	uint64_t length;
	uint64_t progress; /* what it adds to the progress, bytes */
};

/*
 * The next range from offset on that is to be copied at all.  Returns 1, 0 if
 * there is none, or a negative errno value.
 */
typedef int (*qcf_dirty_callback)(void *opaque, uint64_t offset,
                                  uint64_t *start, uint64_t *len,
                                  struct qcowfmt_error **errp);

/* Asked now and then during long searches; a negative value ends them. */
typedef int (*qcf_poll_callback)(void *opaque, struct qcowfmt_error **errp);

struct qcf_planner {
	struct qcf_source *source;
	uint64_t unit;        /* need not be a power of two */
	uint64_t buffer_size; /* most data in a piece; a multiple of unit */
	uint64_t zeros_below; /* zeros at or behind it are left alone */
	bool write_all;       /* zeros are read and written like data */
	qcf_dirty_callback next_dirty; /* NULL: everything is to be copied */
	void *dirty_opaque;

	uint64_t position;  /* where the next piece starts */
	uint64_t dirty_end; /* of the range that position is in */
};

/* Start again at the beginning. */
void qcf_plan_rewind(struct qcf_planner *planner);

/* The next piece that needs work.  Returns 1, or 0 at the end. */
int qcf_plan_next(struct qcf_planner *planner, qcf_poll_callback poll,
                  void *poll_opaque, struct qcf_copy_piece *piece,
                  struct qcowfmt_error **errp);

/* What all pieces add to the progress; the planner is at the beginning before
 * and after. */
int qcf_plan_count(struct qcf_planner *planner, qcf_poll_callback poll,
                   void *poll_opaque, uint64_t *total,
                   struct qcowfmt_error **errp);

/* Rounding to units. */
static inline uint64_t qcf_unit_down(uint64_t offset, uint64_t unit)
{
	return offset - offset % unit;
}

static inline uint64_t qcf_unit_up(uint64_t offset, uint64_t unit)
{
	return offset % unit == 0 ? offset : offset + (unit - offset % unit);
}

#endif
