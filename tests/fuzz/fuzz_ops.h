/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ops.h - the operations of a script
 *
 * Four bytes each: what, where (two bytes), how much.  With a model every result
 * is compared with it; without one an operation may fail as it likes.
 */
#ifndef QCF_FUZZ_OPS_H
#define QCF_FUZZ_OPS_H

#include "fuzz_model.h"

struct fuzz_world {
	struct fuzz_image *fi;
	struct qcowfmt_image *image; /* open read-write */
	struct fuzz_model *model;    /* NULL: none */
	uint32_t flags;              /* of opening, beside READ_WRITE */
	uint32_t only;               /* FUZZ_OPS_*; 0: any operation */
	uint32_t operations;         /* done so far */
};

#define FUZZ_MAX_OPERATIONS 64u

/* Operations after which the disk, and snapshots that are not deleted, are the
 * same. */
#define FUZZ_OPS_METADATA 1u

/* Run operations until the script ends; false if the image could not be opened
 * again, and is closed. */
bool fuzz_run_script(struct fuzz_world *world, struct fuzz_cursor *script);

#endif
