/* SPDX-License-Identifier: MIT */
/*
 * snapshot_trial.h - one operation on snapshots, on one kind of image
 *
 * The image has two snapshots that share data with each other and with the
 * active state, and VM state in all three.  What each of them holds is remembered
 * when it is written.  There is one trial in a process.
 */
#ifndef QCF_SNAPSHOT_TRIAL_H
#define QCF_SNAPSHOT_TRIAL_H

#include "byte_image.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "unit.h"

/* Images need no more. */
#define TRIAL_CAPACITY ((size_t)16 << 20)

enum { CREATE, APPLY, DELETE };

struct trial_kind {
	const char *name;
	uint32_t version;
	uint32_t create_flags;
	uint32_t refcount_bits;
	uint64_t cluster_size;
	uint64_t size;
	int32_t encryption;
	bool compressed;
	uint64_t cache_size; /* of metadata, bytes; 0 = the default */
};

struct trial_action {
	const char *name;
	int what;
	const char *snapshot;
	uint64_t resize; /* sectors added before it; not in version 2 */
};

/* The trial has these; what was seen is counted for the test to print. */
struct trial {
	const struct trial_kind *kind;
	const struct trial_action *action;
	uint64_t before; /* images judged in which it has not happened */
	uint64_t after;
	uint64_t seen_by_qemu;
};

extern struct trial trial;

/* Trials are numbered from 0. */
extern const int trial_count;

/* Begin a trial: make its image in a log, and forget how. */
void trial_begin(int number, struct rec_log *log);

/* Open the image; do to it what the trial is about, and return the result. */
struct qcowfmt_image *trial_open(struct qcowfmt_storage *storage,
                                 uint32_t flags);
int trial_act(struct qcowfmt_image *image, struct qcowfmt_error **error);

/* Whether it has happened, as far as an open image says. */
bool trial_has_happened(struct qcowfmt_image *image);

/*
 * The disk and its VM state are what they should be before or after, and the
 * check finds no corruption; of version 2 it may find COPIED flags that are
 * clear.  strictly: it finds nothing at all.
 */
void trial_expect_active(struct qcowfmt_image *image, bool after);
void trial_expect_sound(struct qcowfmt_image *image, bool strictly);

/*
 * An image is as it was before or as it is after, in all its snapshots, and
 * stays so when the disk is written to.  The bytes change.  Returns whether it has
 * happened.
 */
bool trial_judge(struct byte_image *bytes);

/* What the operation leaves is all stable: not even a leak is to be found, and no
 * dirty bit. */
void trial_expect_settled(struct byte_image *bytes);

#endif
