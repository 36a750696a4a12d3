/* SPDX-License-Identifier: MIT */
/*
 * encryption.h - how an image is encrypted, and which keys open it
 *
 * Key changes do not enter the gate: deriving a key takes seconds, the LUKS area
 * belongs to no request, and changes wait for each other by themselves.
 */
#ifndef QCF_ENCRYPTION_H
#define QCF_ENCRYPTION_H

#include "image.h"

/* As qcowfmt_get_encryption_info(), into a structure of this version. */
int qcf_encryption_describe(struct qcowfmt_image *image, uint32_t depth,
                            struct qcowfmt_encryption_info *info,
                            struct qcowfmt_error **errp);

/* As qcowfmt_add_key() and qcowfmt_erase_key(). */
int qcf_encryption_add_key(struct qcowfmt_image *image,
                           const struct qcowfmt_key_options *options,
                           struct qcowfmt_error **errp);
int qcf_encryption_erase_key(struct qcowfmt_image *image,
                             const struct qcowfmt_key_options *options,
                             struct qcowfmt_error **errp);

#endif
