/* SPDX-License-Identifier: MIT */
/* whole_extras.h - dirty bitmaps and VM state of images for whole_image.h */
#ifndef QCF_WHOLE_EXTRAS_H
#define QCF_WHOLE_EXTRAS_H

#include "byte_image.h"
#include "qcowfmt.h"

#define EXTRAS_TEXT 2048

/* The name of the snapshot with VM state. */
#define EXTRAS_SNAPSHOT "vm"

/* A big-endian number in an image. */
uint64_t extras_get(const uint8_t *bytes, size_t at, size_t width);

/* Everything that can be known of the bitmaps of an image. */
void extras_describe_bitmaps(struct qcowfmt_image *image,
                             char text[EXTRAS_TEXT]);

/* Mark a bitmap as one that was in use when the power went. */
void extras_mark_in_use(struct byte_image *image, const char *name);

/* Move the first refcount block to the end of the file, where another block counts
 * it, of an image with clusters of 512 bytes and counts of 64 bits. */
void extras_move_block(struct byte_image *image);

/* Give an image VM state, and take a snapshot that has it. */
void extras_add_vm_state(struct qcowfmt_image *image);

/* The image shows that snapshot: the state is there. */
void extras_expect_vm_state(struct qcowfmt_image *image, const char *name);

#endif
