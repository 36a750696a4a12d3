/* SPDX-License-Identifier: MIT */
/* bitmap_settle.c - bringing dirty bitmaps on storage up to date */
#include "bitmap_draft.h"
#include "header_ext.h"
#include "header_rewrite.h"
#include "writeback.h"

static bool has_new_bits(const struct qcf_bitmaps *b)
{
	for (uint32_t i = 0; i < b->enabled_count; i++) {
		if (!qcf_bits_is_empty(&b->enabled[i]->dirty))
			return true;
	}
	return false;
}

static int store(struct qcf_meta *meta, uint64_t virtual_size,
                 struct qcowfmt_error **errp)
{
	struct qcf_bitmap_draft draft;
	int ret = qcf_draft_begin(&draft, meta, virtual_size, errp);

	if (ret == 0)
		ret = qcf_draft_write(&draft, errp);
	if (ret == 0)
		ret = qcf_draft_switch(&draft, errp);
	qcf_draft_fini(&draft);
	return ret;
}

int qcf_bitmaps_settle(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcf_bitmaps *b = &meta->bitmaps;
	int ret;

	if (!meta->writable || b->count == 0 ||
	    (!atomic_load(&b->in_use) && !b->flags_uncertain))
		return 0;
	/* What the bitmaps describe is stable before they say so (CS-7). */
	ret = qcf_writeback_drain(meta, errp);
	if (ret < 0)
		return ret;
	ret = has_new_bits(b) ? store(meta, meta->header.virtual_size, errp)
	                      : qcf_bitmaps_write_flags(meta, false, errp);
	return qcf_wrap(errp, "the dirty bitmaps stay marked as in use", ret);
}

int qcf_bitmaps_resize(struct qcf_meta *meta, uint64_t virtual_size,
                       struct qcowfmt_error **errp)
{
	return store(meta, virtual_size, errp);
}

int qcf_bitmaps_drop(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	struct qcf_header h = { 0 };
	int ret = qcf_header_copy(&meta->header, &h, errp);

	if (ret < 0)
		return ret;
	qcf_header_remove_extension(&h, QCF_EXT_BITMAPS);
	h.autoclear_features &= ~QCF_AUTOCLEAR_BITMAPS;
	ret = qcf_header_rewrite(meta, &h, errp);
	qcf_header_fini(&h);
	if (ret == 0)
		ret = qcf_bitmaps_reload(meta, errp);
	return qcf_wrap(errp, "dropping the dirty bitmaps", ret);
}
