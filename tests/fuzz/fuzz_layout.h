/* SPDX-License-Identifier: MIT */
/* fuzz_layout.h - where the structures of an image are */
#ifndef QCF_FUZZ_LAYOUT_H
#define QCF_FUZZ_LAYOUT_H

#include "fuzz_disk.h"

#define FUZZ_MAX_SPANS 96u

/* Fields of one width, one behind the other. */
struct fuzz_span {
	uint64_t at;
	uint64_t count;
	size_t width;
};

struct fuzz_layout {
	struct fuzz_span spans[FUZZ_MAX_SPANS];
	size_t count;
	uint64_t cluster_size;
};

/*
 * Find them, as far as the bytes make sense: in a damaged image pointers lead
 * anywhere, and what they lead to counts as what they say.
 */
void fuzz_layout_find(struct fuzz_layout *layout, const struct fuzz_disk *disk);

#endif
