/* SPDX-License-Identifier: MIT */
/* holes.h - when to ask the host file of an image for holes */
#ifndef QCF_HOLES_H
#define QCF_HOLES_H

#include "image.h"

/*
 * QCOWFMT_MAP_HOLES if holes in a file of the chain say something about guest
 * data, else 0.
 *
 * Of a raw image they say what is allocated.  Of a qcow2 image only where much
 * of the file is a hole, as after preallocation: else asking is a waste of
 * time, and a cluster that was written in part would fall into pieces.
 */
uint32_t qcf_hole_map_flags(struct qcowfmt_image *image);

#endif
