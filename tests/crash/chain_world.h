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
#include "check_once.h"
#include "crash_states.h"
#include "qcowfmt.h"
#include "rec_storage.h"

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

/* It finds nothing at all in a state that the operation has left, opened for
 * reading, and no dirty bit is set. */
void chain_expect_settled(struct byte_image *bytes, int32_t format,
                          const char *name);

/*
 * qemu-img finds nothing worse than leaks in the qcow2 image of a state, dirty
 * ones repaired.  Nothing is asked where QCF_QEMU_IMG is not in the environment, of
 * encrypted images, and of most states: nth says which one it is.
 */
void chain_ask_qemu(const struct byte_image *bytes,
                    const struct chain_image *how, uint64_t nth,
                    const char *name);

/* States that were seen, by what the operation had done. */
struct chain_tally {
	uint64_t before;
	uint64_t after;
	size_t promised; /* from here on in the log there must be no before */
};

/* Count a state of the log at a position. */
void chain_count(struct chain_tally *tally, size_t position, bool after,
                 const char *name);

/* The operation has returned. */
void chain_promise(struct chain_tally *tally, struct rec_log *log);

/* Judge every state that a power cut during what was recorded could leave; some
 * must be from before the end of the operation, and, if ends, some from after it.
 * Frees the log. */
void chain_visit(struct rec_log *log, crash_visitor judge, void *opaque,
                 const struct chain_tally *tally, const char *name, bool ends);

/* The main() of a test. */
int chain_main(const char *name, void (*add)(TCase *tcase));

/* Whether the top image maps anything itself. */
bool chain_is_empty(struct qcowfmt_image *image);

#endif
