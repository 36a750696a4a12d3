/* SPDX-License-Identifier: MIT */
/*
 * api_disk.h - application-supplied storage whose failures a test controls
 *
 * A growing array of bytes behind qcowfmt_storage_new_custom().
 */
#ifndef QCF_API_DISK_H
#define QCF_API_DISK_H

#include <stdint.h>

#include "qcowfmt.h"

struct api_disk {
	uint8_t *bytes;
	uint64_t size;
	uint64_t room;  /* bytes that were asked for; 0 = not known */
	uint64_t limit; /* growing beyond it is ENOSPC; 0 = no limit */

	int fail_flush;       /* errno of every flush, 0 = none */
	int fail_pwrite;      /* errno of every write, 0 = none */
	int fail_pread;       /* errno of every read, 0 = none */
	unsigned int flushes; /* that succeeded */
	unsigned int closed;  /* calls of the close function */
};

void api_disk_fini(struct api_disk *disk);

/* A storage on the disk, which outlives it. */
struct qcowfmt_storage *api_disk_storage(struct api_disk *disk);

/* Its functions, to build variants from. */
struct qcowfmt_storage_ops api_disk_ops(void);

#endif
