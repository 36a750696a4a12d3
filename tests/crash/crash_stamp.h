/* SPDX-License-Identifier: MIT */
/*
 * crash_stamp.h - sectors that tell what they are
 *
 * A sector that was written holds its stamp, mixed differently into each of its
 * 64 words: the number of the write and of the sector.  So a sector of another
 * place, an older one that was to be gone, and one that is half old cannot be
 * taken for the right one.  Stamp 0 is a sector of zeros.
 */
#ifndef QCF_CRASH_STAMP_H
#define QCF_CRASH_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#define SECTOR_SIZE 512u

void fill_sector(uint8_t *bytes, uint64_t stamp);
bool sector_holds(const uint8_t *bytes, uint64_t stamp);

/* The stamp that a sector looks like, going by its first word. */
uint64_t sector_stamp(const uint8_t *bytes);

#endif
