/* SPDX-License-Identifier: MIT */
/* crash_qemu.h - what QEMU says about a state after a power cut */
#ifndef QCF_CRASH_QEMU_H
#define QCF_CRASH_QEMU_H

#include "crash_world.h"

/*
 * qemu-img finds no corruption (leaks are allowed), reads what the library
 * reads, and finds the snapshot as it was.  A dirty state is repaired by it; one
 * with wrong COPIED flags is only read.  Prints and returns false otherwise.
 */
bool qemu_approves(struct world *w, const struct crash_state *state,
                   const char *qemu_img, bool dirty, bool flags);

/* False if it cannot be written. */
bool write_image_file(const struct byte_image *image, const char *path);

#endif
