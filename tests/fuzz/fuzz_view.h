/* SPDX-License-Identifier: MIT */
/* fuzz_view.h - what a guest sees of all disks of an image */
#ifndef QCF_FUZZ_VIEW_H
#define QCF_FUZZ_VIEW_H

#include "fuzz_base.h"

struct fuzz_views {
	struct fuzz_view disks[1 + FUZZ_MAX_SNAPSHOTS];
};

/* Read the first 256 KiB of an open image, and its end, in many ways that have to
 * agree. */
void fuzz_view_read(struct qcowfmt_image *image, struct fuzz_view *view);

/* Open and read the active disk and the snapshots 1 and up. */
void fuzz_views_read(struct fuzz_image *fi, uint32_t flags,
                     struct fuzz_view *disks);

/*
 * Take for unreadable what does not read as in the sound image: where tables are
 * taken for data anything may become of it.
 */
void fuzz_views_keep_right(struct fuzz_views *views,
                           const struct fuzz_base *base);

/* What was readable, from one disk on, reads the same. */
void fuzz_views_expect(const struct fuzz_view *before,
                       const struct fuzz_view *after, size_t first,
                       const char *why);

/* Everything else that can be asked of an open image: no answer matters. */
void fuzz_ask_all(struct qcowfmt_image *image);

#endif
