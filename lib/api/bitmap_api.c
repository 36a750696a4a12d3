/* SPDX-License-Identifier: MIT */
/* bitmap_api.c - exported functions on dirty bitmaps */
#include <errno.h>

#include "bitmap_change.h"
#include "bitmap_ops.h"
#include "options.h"

static int missing_name(struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "the name of a bitmap or a journal is missing");
}

int qcowfmt_bitmap_list(struct qcowfmt_image *image, uint32_t depth,
                        struct qcowfmt_bitmap_list **list,
                        struct qcowfmt_error **errp)
{
	return qcf_bitmap_list(image, depth, list, errp);
}

uint32_t qcowfmt_bitmap_list_count(const struct qcowfmt_bitmap_list *list)
{
	return qcf_bitmap_list_count(list);
}

int qcowfmt_bitmap_list_get(const struct qcowfmt_bitmap_list *list,
                            uint32_t index, struct qcowfmt_bitmap *bitmap,
                            struct qcowfmt_error **errp)
{
	struct qcowfmt_bitmap ours = { 0 };
	int ret = qcf_bitmap_list_get(list, index, &ours, errp);

	return ret < 0 ? ret
	               : qcf_result_copy(bitmap, &ours, sizeof(ours),
	                                 "qcowfmt_bitmap", errp);
}

void qcowfmt_bitmap_list_free(struct qcowfmt_bitmap_list *list)
{
	qcf_bitmap_list_free(list);
}

/* The size of the first action is the distance of all. */
static int copy_actions(struct qcowfmt_bitmap_action *ours,
                        const struct qcowfmt_bitmap_action *theirs,
                        size_t count, struct qcowfmt_error **errp)
{
	const char *at = (const char *)theirs;
	size_t step = theirs->struct_size;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < count; i++, at += step) {
		ret = qcf_options_copy(&ours[i], sizeof(ours[i]), at,
		                       "qcowfmt_bitmap_action", errp);
		if (ret == 0 && ours[i].struct_size != step)
			ret = qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
			               "struct_size differs from action to "
			               "action");
	}
	return ret;
}

int qcowfmt_bitmap_change(const struct qcowfmt_bitmap_action *actions,
                          size_t count, const char *journal,
                          struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcowfmt_bitmap_action *ours = NULL;
	int ret;

	if (count == 0)
		return 0;
	ours = calloc(count, sizeof(*ours));
	if (ours == NULL)
		return qcf_fail_oom(errp);
	ret = copy_actions(ours, actions, count, errp);
	return ret < 0 ? ret : qcf_bitmap_change(ours, count, journal, errp);
}

int qcowfmt_bitmap_recover(const char *journal, struct qcowfmt_error **errp)
{
	return journal == NULL ? missing_name(errp)
	                       : qcf_bitmap_recover(journal, errp);
}

int qcowfmt_bitmap_next(struct qcowfmt_image *image, const char *name,
                        uint64_t guest_offset, uint64_t *dirty_offset,
                        uint64_t *dirty_len, struct qcowfmt_error **errp)
{
	return name == NULL ? missing_name(errp)
	                    : qcf_bitmap_next(image, name, guest_offset,
	                                      dirty_offset, dirty_len, errp);
}
