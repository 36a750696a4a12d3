/* SPDX-License-Identifier: MIT */
/*
 * stamp.h - sectors that say where they belong and who wrote them
 *
 * A sector is 64 words of 8 bytes.  Even words depend on the sector number
 * alone; odd words are the version: thread and sequence number of the write.
 * Zeros stand for "never written, zeroed or discarded".
 */
#ifndef QCF_STAMP_H
#define QCF_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "finding.h"

#define QCF_SECTOR       512u
#define QCF_MAX_MIXTURE  4
#define QCF_VERSION_ZERO UINT64_C(0)

/* Version of a write: never 0. */
static inline uint64_t qcf_version(int thread, uint64_t sequence)
{
	return ((uint64_t)thread + 1) << 40 | (sequence + 1);
}

static inline int qcf_version_thread(uint64_t version)
{
	return (int)(version >> 40) - 1;
}

static inline uint64_t qcf_version_sequence(uint64_t version)
{
	return (version & ((UINT64_C(1) << 40) - 1)) - 1;
}

/* What a sector that was read turned out to hold. */
struct qcf_reading {
	int count;                          /* of different versions */
	uint64_t versions[QCF_MAX_MIXTURE]; /* the first ones found */
};

/* Fill whole sectors from the given one on. */
void qcf_stamp_fill(void *buffer, uint64_t first_sector, uint64_t count,
                    uint64_t version);

/*
 * Read the stamp of a sector.  A word that belongs to no version of this
 * sector, such as one of another sector, is a finding.
 */
bool qcf_stamp_read(const void *buffer, uint64_t sector,
                    struct qcf_reading *reading, struct qcf_finding *finding);

#endif
