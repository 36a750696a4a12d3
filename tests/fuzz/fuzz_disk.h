/* SPDX-License-Identifier: MIT */
/*
 * fuzz_disk.h - a file in memory with a ceiling for what is done to it
 *
 * No input may have the library read, write or call more than the ceilings say:
 * that is a finding, on any machine, however fast it is.
 */
#ifndef QCF_FUZZ_DISK_H
#define QCF_FUZZ_DISK_H

#include "fuzz.h"
#include "qcowfmt.h"

/* No file gets longer: more is -ENOSPC. */
#define FUZZ_DISK_ROOM ((size_t)16 << 20)

#define FUZZ_DISK_PIECE  ((size_t)64 << 10)
#define FUZZ_DISK_PIECES (FUZZ_DISK_ROOM / FUZZ_DISK_PIECE)

struct fuzz_disk {
	uint8_t *bytes; /* FUZZ_DISK_ROOM of them; NULL before the first use */
	uint64_t size;
	bool touched[FUZZ_DISK_PIECES]; /* may not be zeros */
	/* Since the last reset */
	uint64_t bytes_moved;
	uint64_t calls;
	uint64_t writes; /* and other changes */
};

/* Make it hold these bytes, and begin to count. */
void fuzz_disk_reset(struct fuzz_disk *disk, const void *bytes, size_t len);

/* Change it, not counted.  False if it is beyond the room. */
bool fuzz_disk_poke(struct fuzz_disk *disk, uint64_t at, const void *bytes,
                    size_t len);
bool fuzz_disk_set_size(struct fuzz_disk *disk, uint64_t size);

/* A number of 1 to 8 bytes, big-endian; bytes behind the end are zeros. */
uint64_t fuzz_disk_get(const struct fuzz_disk *disk, uint64_t at, size_t width);

/* A storage on the disk, which outlives it. */
struct qcowfmt_storage *fuzz_disk_storage(struct fuzz_disk *disk,
                                          bool writable);

/* A copy of its bytes, for a look at what has changed. */
struct fuzz_bytes {
	uint8_t *bytes;
	uint64_t size;
};

struct fuzz_bytes fuzz_disk_copy(const struct fuzz_disk *disk);
bool fuzz_disk_equals(const struct fuzz_disk *disk,
                      const struct fuzz_bytes *bytes);

#endif
