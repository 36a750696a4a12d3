/* SPDX-License-Identifier: MIT */
/* convert_target.h - pieces of a disk, written into an image */
#ifndef QCF_CONVERT_TARGET_H
#define QCF_CONVERT_TARGET_H

#include <stdatomic.h>

#include "convert_pipe.h"

struct qcf_target {
	struct qcf_sink sink; /* first */
	struct qcowfmt_image *image;
	uint64_t size;
	uint64_t unit;
	uint64_t zeros_below; /* behind it the target reads as zeros where
			       * nothing is written */
	bool compress;        /* units are clusters then */
	bool resize;          /* grow as input comes */
	const struct qcf_fill *fill;
	bool share;                    /* let storage copy ranges */
	atomic_bool cannot_share;      /* which was tried in vain */
	_Atomic uint64_t data_bytes;   /* written as data */
	_Atomic uint64_t shared_bytes; /* of these, copied by storage */
};

/* Set the functions of the sink; the rest is the caller's. */
void qcf_target_init(struct qcf_target *target);

/* So many bytes were written as data, and of these copied by storage. */
static inline void qcf_target_count(struct qcf_target *target, uint64_t data,
                                    uint64_t shared)
{
	atomic_fetch_add(&target->data_bytes, data);
	atomic_fetch_add(&target->shared_bytes, shared);
}

/* Let the target have so many bytes. */
int qcf_target_set_size(struct qcf_target *target, uint64_t size,
                        struct qcowfmt_error **errp);

/* Write a piece that was read, zeros apart from the rest. */
int qcf_target_write(struct qcf_target *target, const struct qcf_slot *slot,
                     struct qcowfmt_error **errp);

#endif
