/* SPDX-License-Identifier: MIT */
/*
 * fault_disk.h - the bytes of an image file, behind storage of an application
 *
 * A flat array, so that putting an image back as it was costs one copy.  Its
 * functions, given to qcowfmt_storage_new_custom(), visit the sites of
 * fault_points.h.
 */
#ifndef QCF_FAULT_DISK_H
#define QCF_FAULT_DISK_H

#include <stdbool.h>

#include "qcowfmt.h"

#define FAULT_DISK_CAPACITY ((size_t)8 << 20)

struct fault_disk {
	uint8_t *bytes; /* of FAULT_DISK_CAPACITY; zeros behind size */
	size_t size;
	size_t touched;        /* bytes behind it were never changed */
	uint64_t flush_faults; /* flushes of this disk that failed */
};

void fault_disk_init(struct fault_disk *disk);
void fault_disk_fini(struct fault_disk *disk);

/* Make a disk like another, or empty (NULL). */
void fault_disk_copy(struct fault_disk *to, const struct fault_disk *from);

/* Replace the content. */
void fault_disk_load(struct fault_disk *disk, const void *bytes, size_t len);

/* What qcowfmt_storage_new_custom() takes, with the disk as its opaque. */
struct qcowfmt_storage_ops fault_disk_ops(bool writable);

#endif
