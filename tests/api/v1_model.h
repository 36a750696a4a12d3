/* SPDX-License-Identifier: MIT */
/*
 * v1_model.h - a version 1 image under random steps, and what it should hold
 *
 * The model is a window of the guest's disk; the rest of the disk stays empty.
 */
#ifndef QCF_API_V1_MODEL_H
#define QCF_API_V1_MODEL_H

#include "v1_image.h"

/* Ends in the middle of a cluster of any size but a sector. */
#define V1_WINDOW ((192u << 10) + 1536u)

struct v1_model {
	struct qcowfmt_image
		*image; /* between v1_open_model() and api_close() */
	char path[200];
	uint64_t start; /* guest offset of the window */
	uint64_t cluster_size;
	bool encrypted; /* with the secret "123456" */
	struct unit_random random;
	uint8_t bytes[V1_WINDOW]; /* what the guest should see */
};

extern struct v1_model v1;

/* An empty window at guest offset 0 of a file in the scratch directory. */
void v1_start(const char *name, uint32_t cluster_bits);

/* The same, with an image whose first two L2 tables meet inside the window, if
 * a table maps more than that.  Sets the virtual size. */
void v1_make_window(const char *name, struct forged_v1 *spec);

uint64_t v1_below(uint64_t limit);

void v1_open_model(uint32_t flags);

/* The open image shows what it should. */
void v1_expect(void);

/* QEMU sees the same in the file; without QEMU nothing is checked. */
void v1_expect_by_qemu(void);

/* Write, zero, discard, read, flush; with compress also write compressed. */
void v1_random_steps(int count, bool compress);

/* Open, step, look and close, several times; then QEMU looks. */
void v1_sessions(int sessions, int steps, bool compress);

#endif
