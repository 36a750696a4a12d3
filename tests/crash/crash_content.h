/* SPDX-License-Identifier: MIT */
/* crash_content.h - whether the guest finds what it may find */
#ifndef QCF_CRASH_CONTENT_H
#define QCF_CRASH_CONTENT_H

#include "crash_world.h"

/*
 * Every sector reads as it may after a power cut at a position of the log;
 * prints and returns false otherwise.
 */
bool world_content_is_legal(const struct world *w, struct qcowfmt_image *image,
                            size_t position);

/* The same of a data file that is a raw image, read as it is; of so many
 * clusters. */
bool world_raw_view_is_legal(const struct world *w,
                             const struct byte_image *data, uint64_t clusters,
                             size_t position);

/* Every snapshot that must be there is, none that must not, and each has what
 * the disk had when it was taken.  The image is open on these bytes. */
bool world_snapshots_are_legal(const struct world *w,
                               struct qcowfmt_image *image,
                               struct byte_image *bytes, size_t position);

/* The open image reads as it was written last; the same for the rest. */
bool world_content_is_newest(const struct world *w);

#endif
