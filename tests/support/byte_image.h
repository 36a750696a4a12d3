/* SPDX-License-Identifier: MIT */
/*
 * byte_image.h - the bytes of a small image file, with undo and a fingerprint
 *
 * Crash tests look at very many states that differ in a few pages.  Changing
 * such an image, taking its fingerprint and changing it back costs as much as
 * the pages changed, not the whole.
 *
 * Not for several threads at once.
 */
#ifndef QCF_BYTE_IMAGE_H
#define QCF_BYTE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct byte_image;

/* Empty, growing up to capacity bytes.  Ends the program without memory. */
struct byte_image *byte_image_new(size_t capacity);
void byte_image_free(struct byte_image *image);

/* Make one image like another, which has the same or a lower capacity. */
void byte_image_copy(struct byte_image *to, const struct byte_image *from);

const uint8_t *byte_image_bytes(const struct byte_image *image);
size_t byte_image_size(const struct byte_image *image);
size_t byte_image_capacity(const struct byte_image *image);

/*
 * Change bytes; data NULL stands for zeros.  The size stays: bytes beyond it
 * are kept, and are seen once it grows.  The range is within the capacity.
 */
void byte_image_poke(struct byte_image *image, size_t offset, const void *data,
                     size_t len);

/* Set the size.  Bytes beyond a smaller one become zeros. */
void byte_image_set_size(struct byte_image *image, size_t size);

/* poke and, if need be, grow; false if it is beyond the capacity. */
bool byte_image_write(struct byte_image *image, size_t offset, const void *data,
                      size_t len);

/* Equal for equal bytes and size. */
uint64_t byte_image_fingerprint(struct byte_image *image);

/*
 * Changes since the last byte_image_save() can be undone, newest save first.
 * Saves nest.
 */
void byte_image_save(struct byte_image *image);
void byte_image_undo(struct byte_image *image);

#endif
