/* SPDX-License-Identifier: MIT */
/* bitmap_track.c - recording guest writes in dirty bitmaps */
#include <errno.h>

#include "bitmap_track.h"
#include "checked.h"

static int begin_use(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcf_bitmaps *b = &meta->bitmaps;
	QCF_GUARD(&b->lock);

	if (atomic_load(&b->in_use))
		return 0;
	if (b->damaged)
		return qcf_fail(errp, EIO, QCOWFMT_ERR_CORRUPT,
		                "the dirty bitmaps of the image are damaged: "
		                "it can only be read until it is repaired");
	return qcf_bitmaps_write_flags(meta, true, errp);
}

static int record_in(struct qcf_bitmap *bitmap, uint64_t start, uint64_t end,
                     struct qcowfmt_error **errp)
{
	uint32_t shift = bitmap->entry.granularity_bits;
	uint64_t first = start >> shift;

	return qcf_bits_set(&bitmap->dirty, first,
	                    ((end - 1) >> shift) - first + 1, errp);
}

int qcf_bitmaps_record(struct qcf_meta *meta, uint64_t guest_offset,
                       uint64_t len, struct qcowfmt_error **errp)
{
	const struct qcf_bitmaps *b = &meta->bitmaps;
	uint64_t size = meta->header.virtual_size;
	uint64_t end;
	int ret = 0;

	if (len == 0 || guest_offset >= size)
		return 0;
	end = guest_offset + QCF_MIN(len, size - guest_offset);
	if (!atomic_load(&b->in_use))
		ret = begin_use(meta, errp);
	for (uint32_t i = 0; ret == 0 && i < b->enabled_count; i++)
		ret = record_in(b->enabled[i], guest_offset, end, errp);
	return ret;
}
