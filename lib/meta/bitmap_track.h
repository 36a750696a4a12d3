/* SPDX-License-Identifier: MIT */
/*
 * bitmap_track.h - recording guest writes in dirty bitmaps
 *
 * A write, zeroing or discard calls qcf_bitmaps_track() before it changes
 * anything the guest can see; then what is dirty is never more than what the
 * bitmaps say.
 */
#ifndef QCF_BITMAP_TRACK_H
#define QCF_BITMAP_TRACK_H

#include "meta.h"

int qcf_bitmaps_record(struct qcf_meta *meta, uint64_t guest_offset,
                       uint64_t len, struct qcowfmt_error **errp);

/*
 * Mark a guest range in all enabled bitmaps.  The first time, "in use" is made
 * stable on storage for all bitmaps (CS-7).  The part of a range behind the
 * virtual size does not count.  After a failure, which is one of storage or of
 * memory, the range must not be changed.  The caller holds no lock.
 */
static inline int qcf_bitmaps_track(struct qcf_meta *meta,
                                    uint64_t guest_offset, uint64_t len,
                                    struct qcowfmt_error **errp)
{
	if (meta->bitmaps.count == 0 && !meta->bitmaps.damaged)
		return 0;
	return qcf_bitmaps_record(meta, guest_offset, len, errp);
}

#endif
