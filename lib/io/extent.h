/* SPDX-License-Identifier: MIT */
/* extent.h - guest range to extent, through the backing chain */
#ifndef QCF_EXTENT_H
#define QCF_EXTENT_H

#include "image.h"
#include "map_range.h"

/* A guest range that comes from one layer. */
struct qcf_extent {
	struct qcf_run
		run;    /* UNALLOCATED: no layer has it, it reads as zeros */
	uint32_t depth; /* the layer; UNALLOCATED: the deepest one asked */
};

/*
 * The extent that begins at guest_offset, at most len bytes, looking no deeper
 * than layer last.  The range is inside the virtual disk, or VM state behind it.
 */
int qcf_extent_lookup(struct qcowfmt_image *image, uint64_t guest_offset,
                      uint64_t len, uint32_t last, struct qcf_extent *extent,
                      struct qcowfmt_error **errp);

/*
 * The extent of a range inside the virtual disk, looked up in the whole chain and in
 * memory alone, without waiting.  False if that is not enough, or if the range is
 * more than one extent.
 */
bool qcf_extent_peek(struct qcowfmt_image *image, uint64_t guest_offset,
                     uint64_t len, struct qcf_extent *extent);

/* Whether nothing is known of an extent because the image below the last layer
 * was left out. */
bool qcf_extent_is_left_out(const struct qcowfmt_image *image,
                            const struct qcf_extent *extent);

/* The same through the whole chain; -ENOTSUP where the chain is incomplete. */
int qcf_extent_lookup_chain(struct qcowfmt_image *image, uint64_t guest_offset,
                            uint64_t len, struct qcf_extent *extent,
                            struct qcowfmt_error **errp);

/*
 * Whether a guest range is known to read as zeros without looking at data.  It
 * may reach beyond the virtual disk, where there is nothing but zeros.
 */
int qcf_extent_is_zero(struct qcowfmt_image *image, uint64_t guest_offset,
                       uint64_t len, bool *is_zero,
                       struct qcowfmt_error **errp);

#endif
