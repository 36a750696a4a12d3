/* SPDX-License-Identifier: MIT */
/* img_holes.h - when to ask the host file for holes */
#ifndef QCF_IMG_HOLES_H
#define QCF_IMG_HOLES_H

#include <stdbool.h>

#include "tool_util.h"

/*
 * Whether holes in the file of an image say something about its data.
 *
 * Of a raw image they say what is allocated.  Of a qcow2 image only where much
 * of the file is a hole, as after preallocation: else asking is a waste of
 * time, and a cluster that was written in part would fall into pieces.  The
 * limits are those that QEMU's program was seen to apply: two clusters, or a
 * tenth of the file.
 */
bool qcf_shows_holes(const struct qcowfmt_info *info);

/* QCOWFMT_MAP_HOLES if that is so of any image of the chain, else 0. */
uint32_t qcf_hole_flags(struct qcowfmt_image *image);

#endif
