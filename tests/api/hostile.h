/* SPDX-License-Identifier: MIT */
/*
 * hostile.h - images that somebody has tampered with
 *
 * All results are allowed; what matters is that they come, and that nothing is
 * written which must not be.
 */
#ifndef QCF_HOSTILE_H
#define QCF_HOSTILE_H

#include "api_disk.h"
#include "api_test.h"

struct hostile_kind {
	const char *name;
	uint32_t version; /* 1, 2 or 3 */
	uint32_t cluster_size;
	bool extended_l2;
	bool data_file;
	int32_t encryption; /* enum qcowfmt_encryption */
};

/* An image and its data file. */
struct hostile {
	const struct hostile_kind *kind;
	struct api_disk image;
	struct api_disk data;
};

#define HOSTILE_SIZE   ((uint64_t)256 << 10) /* of the disk, bytes */
#define HOSTILE_SECRET "sesame"

/* Make a sound one: several L2 tables, data, zeros and free space. */
void hostile_make(struct hostile *h, const struct hostile_kind *kind);

/* A copy to be spoilt; the caller ends it with hostile_fini(). */
struct hostile hostile_copy(const struct hostile *h);
void hostile_fini(struct hostile *h);

/* Big-endian numbers in the image. */
void hostile_put(struct hostile *h, uint64_t at, size_t width, uint64_t value);
uint64_t hostile_get(const struct hostile *h, uint64_t at, size_t width);

/* Open, read everything, check and close: nothing is written. */
void hostile_read(const struct hostile *h);

/* Open with further flags, write, read and close; with REPAIR repair first. */
void hostile_write(const struct hostile *h, uint32_t flags);

/* All of that. */
void hostile_try(const struct hostile *h);

/* Values that somebody might have forgotten. */
extern const uint64_t hostile_values[];
extern const size_t hostile_value_count;

/* An entry somewhere in a table; offsets of real clusters are the most fun. */
uint64_t hostile_entry(const struct hostile *h, struct unit_random *random);

/* This process never took much memory. */
void hostile_check_memory(void);

#endif
