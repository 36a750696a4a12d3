/* SPDX-License-Identifier: MIT */
/*
 * queue_rig.h - images of many kinds for queues, and what they should hold
 *
 * The model is an array of bytes as long as the disk.
 */
#ifndef QUEUE_RIG_H
#define QUEUE_RIG_H

#include "api_test.h"

#define RIG_SIZE ((uint64_t)2 << 20)

struct rig_kind {
	const char *name;
	int32_t format; /* RAW, or 0 */
	uint32_t version;
	uint64_t cluster_size;
	uint32_t create_flags;
	uint32_t open_flags;
	bool backing;    /* has a backing file with data */
	bool compressed; /* has compressed clusters */
	bool encrypted;
	bool data_file;
	bool bitmap; /* an enabled one */
};

extern const struct rig_kind rig_kinds[];
extern const size_t rig_kind_count;

struct rig {
	const struct rig_kind *kind;
	struct qcowfmt_image *image; /* with a small cache */
	uint8_t *model;              /* RIG_SIZE bytes */
	uint64_t random;
};

/* Make an image with something in it and open it for writing. */
void rig_open(struct rig *rig, const struct rig_kind *kind, uint64_t seed);

/* The disk is what the model says: now, and when it is opened again, without any
 * damage.  Closes. */
void rig_judge(struct rig *rig);

/* A number below a limit. */
uint64_t rig_draw(struct rig *rig, uint64_t below);
void rig_fill(struct rig *rig, void *buffer, size_t len);

/* A queue; uring 0 does without io_uring. */
struct qcowfmt_queue *rig_queue(struct qcowfmt_image *image, uint32_t depth,
                                int uring);

/* Whether io_uring is to be had; says so loudly if not. */
bool rig_has_uring(void);

#endif
