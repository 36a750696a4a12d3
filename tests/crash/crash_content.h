/* SPDX-License-Identifier: MIT */
/* crash_content.h - whether the guest finds what it may find */
#ifndef QCF_CRASH_CONTENT_H
#define QCF_CRASH_CONTENT_H

#include "crash_world.h"

/*
 * Every sector reads as it may after a power cut at a position of the log;
 * prints and returns false otherwise.
 */
bool world_content_is_legal(struct world *w, struct qcowfmt_image *image,
                            size_t position);

/* The same of a data file that is a raw image, read as it is; of so many
 * clusters. */
bool world_raw_view_is_legal(struct world *w, const struct byte_image *data,
                             uint64_t clusters, size_t position);

/* Every snapshot that must be there is, none that must not, and each has what
 * the disk had when it was taken.  The image is open on these bytes. */
bool world_snapshots_are_legal(struct world *w, struct qcowfmt_image *image,
                               struct byte_image *bytes, size_t position);

/* The image is of a version it may have, on what it may be put on, and so on;
 * each as it was or all as it is to be. */
bool world_traits_are_legal(const struct world *w,
                            const struct qcowfmt_info *info, size_t position);

/* The secrets that must open it do, and no others. */
bool world_keys_are_legal(struct world *w, struct qcowfmt_image *image,
                          const struct crash_state *state);

/* After the content was looked at: dirty bitmaps know what was written, or say
 * that they do not. */
bool world_bitmaps_are_legal(const struct world *w, struct qcowfmt_image *image,
                             size_t position);

/* The turn up to which everything is stable at a position. */
uint32_t world_stable_turn(const struct world *w, size_t position);

/* The open image reads as it was written last; the same for the rest. */
bool world_content_is_newest(struct world *w);

#endif
