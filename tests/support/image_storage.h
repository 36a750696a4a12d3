/* SPDX-License-Identifier: MIT */
/* image_storage.h - a byte image as storage, for one thread at a time */
#ifndef QCF_IMAGE_STORAGE_H
#define QCF_IMAGE_STORAGE_H

#include "byte_image.h"
#include "storage.h"

/* The image stays the caller's and outlives the storage.  Ends the program
 * without memory. */
struct qcowfmt_storage *image_storage_new(struct byte_image *image,
                                          bool writable);

#endif
