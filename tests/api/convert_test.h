/* SPDX-License-Identifier: MIT */
/*
 * convert_test.h - disks for the tests of converting
 *
 * A model disk has clusters of every kind: noise, words, zeros that are written,
 * zeros by decree, and such that were never written.
 */
#ifndef QCF_CONVERT_TEST_H
#define QCF_CONVERT_TEST_H

#include "api_disk.h"
#include "api_test.h"

#define MODEL_SIZE ((uint64_t)(9 << 20) + 1536)

/* Its content; the same every time.  Freed by convert_model_free(). */
uint8_t *convert_model(void);

/* An image on a disk in memory with the content of the model. */
struct qcowfmt_image *convert_source(struct api_disk *disk);

/* The bytes of such an image are made in disk, but it is not open. */
void convert_source_bytes(struct api_disk *disk);

/* A new image in a disk, open read-write; options->virtual_size 0 is that of the
 * model. */
struct qcowfmt_image *convert_target(
	struct api_disk *disk, const struct qcowfmt_create_options *options,
	int level);

/* Open what is in a disk. */
struct qcowfmt_image *convert_open(struct api_disk *disk, int format,
                                   uint32_t flags);

/* The image holds the model, and zeros behind it. */
void convert_expect(struct qcowfmt_image *image);

/* Whether this thread is the only one, or soon is: one that was joined may be
 * listed for a moment. */
bool convert_no_thread_left(void);

#endif
