/* SPDX-License-Identifier: MIT */
/* image_flags.h - dirty, corrupt and autoclear bits in the header (CS-7) */
#ifndef QCF_IMAGE_FLAGS_H
#define QCF_IMAGE_FLAGS_H

#include "check_id.h"
#include "meta.h"

/*
 * Change incompatible feature bits in the header and make that stable.  Both
 * are one 8-byte write.  The caller holds commit.lock or is alone.
 */
int qcf_flags_set_incompatible(struct qcf_meta *meta, uint64_t bits,
                               struct qcowfmt_error **errp);
int qcf_flags_clear_incompatible(struct qcf_meta *meta, uint64_t bits,
                                 struct qcowfmt_error **errp);

/* Clear autoclear bits that this library does not maintain, before the first
 * write to an image. */
int qcf_flags_autoclear(struct qcf_meta *meta, struct qcowfmt_error **errp);

/*
 * Metadata contradicts itself: raise the error and, if the image is writable,
 * poison it and set its corrupt bit (version 3).  Returns the negative errno.
 * The caller holds no lock above QCF_RANK_POISON.
 */
int qcf_meta_corrupt(struct qcf_meta *meta, enum qcf_check id,
                     uint64_t host_offset, struct qcowfmt_error **errp);

#endif
