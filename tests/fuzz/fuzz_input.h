/* SPDX-License-Identifier: MIT */
/*
 * fuzz_input.h - an image as the changes of a base image, and a script
 *
 *   byte 0      the base image
 *        1      count: how many patches follow
 *        2 ...  patches
 *                 0          len
 *                 1 ... 3    offset; the highest bit: in the backing file
 *                 4 ...      len bytes to put there; none: the file's new size
 *               what the target makes of it: flags, operations
 *
 * Any bytes are an input: what is missing at the end is zero or not there.
 */
#ifndef QCF_FUZZ_INPUT_H
#define QCF_FUZZ_INPUT_H

#include "fuzz_base.h"

#define FUZZ_MAX_PATCHES   40u
#define FUZZ_PATCH_BACKING 0x800000u
#define FUZZ_PATCH_MAX     255u

struct fuzz_patch {
	uint32_t offset;
	uint8_t len;
	uint8_t bytes[FUZZ_PATCH_MAX];
};

struct fuzz_input {
	uint8_t base;
	size_t patch_count;
	struct fuzz_patch patches[FUZZ_MAX_PATCHES];
	const uint8_t *script; /* in the bytes that were parsed */
	size_t script_len;
};

void fuzz_input_parse(struct fuzz_input *in, const uint8_t *data, size_t size);

/* Returns the length; what does not fit is left out. */
size_t fuzz_input_write(const struct fuzz_input *in, uint8_t *out, size_t room);

/* Make the files that it stands for. */
void fuzz_input_apply(const struct fuzz_input *in, struct fuzz_image *fi);

#endif
