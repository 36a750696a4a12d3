/* SPDX-License-Identifier: MIT */
/*
 * l2_bounds.h - what going through all L2 tables may cost
 *
 * A few bytes of a file can claim more L2 tables than anybody can go through: an
 * L1 table may name one table again and again, and tables may lie in a hole of
 * the file, which takes no space however long it is.
 *
 *   - No image that makes sense has a table twice in one L1 table.  What goes
 *     through a whole disk refuses images with many of these.
 *   - A table of zeros is legal.  After many of them in an image that is not
 *     written to, storage is asked how far the hole goes, and tables in there are
 *     not read.
 */
#ifndef QCF_L2_BOUNDS_H
#define QCF_L2_BOUNDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct qcf_meta;

struct qcf_l2_bounds {
	atomic_bool few_repeats; /* looked at, and not refused */
	_Atomic uint64_t zeros;  /* bytes of tables read that were zeros */
	atomic_bool has_hole;

	/* guarded by the map lock */
	uint64_t hole; /* a hole of the file: bytes [hole, hole_end) */
	uint64_t hole_end;
};

/* Entries of L2 tables that entries of the L1 table repeat may be so many. */
#define QCF_MAX_REPEATED (UINT64_C(1) << 20)

/* Tables of zeros are read, not taken for zeros by what storage says, up to here. */
#define QCF_ASK_FOR_HOLES_FROM (UINT64_C(256) << 20)

/* An error if the active L1 table names L2 tables too often. */
int qcf_l2_check_repeats(struct qcf_meta *meta, struct qcowfmt_error **errp);

/* A piece of an L2 table was read: if it is zeros, learn where there are more. */
void qcf_l2_note_zeros(struct qcf_meta *meta, uint64_t host_offset,
                       const void *bytes, size_t len);

/* Whether a piece of an L2 table is in a hole of storage, and where that ends. */
bool qcf_l2_is_in_hole(struct qcf_meta *meta, uint64_t host_offset,
                       uint64_t len, uint64_t *end);

#endif
