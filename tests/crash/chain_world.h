/* SPDX-License-Identifier: MIT */
/*
 * chain_world.h - an overlay and what is below it, for tests that break off an
 * operation on both
 *
 * The overlay names its backing file "base"; files are supplied by name, from
 * memory.
 */
#ifndef QCF_CHAIN_WORLD_H
#define QCF_CHAIN_WORLD_H

#include <stdbool.h>

#include "byte_image.h"
#include "qcowfmt.h"

#define CHAIN_CAPACITY ((size_t)4 << 20)
#define CHAIN_MAX_DISK ((uint64_t)1 << 20)
#define CHAIN_SECTOR   UINT64_C(512)

/* How an image is made. */
struct chain_image {
	int32_t format; /* enum qcowfmt_format */
	uint32_t version;
	uint32_t flags; /* QCOWFMT_CREATE_* */
	uint64_t cluster_size;
	uint64_t size;
	bool encrypted;
};

/* Create an image in a storage, which stays the caller's, and write to it: seed
 * tells images apart, density how many eighths of it hold data. */
void chain_create(struct qcowfmt_storage *storage,
                  const struct chain_image *how, const char *backing,
                  const char *backing_format);
void chain_fill(struct qcowfmt_image *image, uint8_t seed, unsigned density);

/* Files by name. */
struct chain_file {
	const char *name;
	struct byte_image *bytes;
};

#define CHAIN_FILES 3

struct chain_files {
	struct chain_file files[CHAIN_FILES];
};

/*
 * Open an image; what it names comes from files (NULL: nothing is named), read-only.
 * The storage is the image's.  Ends the test if that fails.
 */
struct qcowfmt_image *chain_open(struct qcowfmt_storage *storage,
                                 int32_t format, uint32_t flags,
                                 uint32_t chain_limit,
                                 struct chain_files *files);

/* Read the whole disk of an image; buffer has room for CHAIN_MAX_DISK. */
uint64_t chain_read(struct qcowfmt_image *image, uint8_t *buffer);

/* The disk is these bytes, and zeros if it is longer; name is for messages. */
void chain_expect(struct qcowfmt_image *image, const uint8_t *want,
                  uint64_t size, const char *name);

/* The check finds nothing worse than leaks. */
void chain_expect_sound(struct qcowfmt_image *image, const char *name);

/* Whether the top image maps anything itself. */
bool chain_is_empty(struct qcowfmt_image *image);

#endif
