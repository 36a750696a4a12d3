/* SPDX-License-Identifier: MIT */
/* img_convert_bitmaps.c - dirty bitmaps that "convert" takes along */
#include <stdio.h>

#include "img_convert_keep.h"
#include "tool_error.h"
#include "tool_text.h"

static bool can_hold_bitmaps(struct qcowfmt_image *image,
                             struct qcowfmt_info *info)
{
	*info = (struct qcowfmt_info){ .struct_size = sizeof(*info) };
	return qcowfmt_get_info(image, 0, info, NULL) == 0 &&
	       info->format == QCOWFMT_FORMAT_QCOW2 && info->version >= 3;
}

bool qcf_keep_bitmaps_has_source(struct qcowfmt_image *source)
{
	struct qcowfmt_info info;

	if (can_hold_bitmaps(source, &info))
		return true;
	qcf_tool_error("Source lacks bitmap support");
	return false;
}

static bool supports_bitmaps(struct qcowfmt_image *target)
{
	struct qcowfmt_info info;

	if (can_hold_bitmaps(target, &info))
		return true;
	qcf_tool_error("Format driver '%s' does not support bitmaps",
	               qcowfmt_format_name(info.format));
	return false;
}

/* Call a function for each bitmap, as long as it returns true. */
static bool for_each(struct qcowfmt_image *source,
                     bool (*act)(const struct qcowfmt_bitmap *bitmap,
                                 void *opaque),
                     void *opaque)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_bitmap_list *list = NULL;
	bool ok = true;
	uint32_t i;

	if (qcowfmt_bitmap_list(source, 0, &list, &error) < 0) {
		qcf_tool_error("%s", qcowfmt_error_message(error));
		return false;
	}
	for (i = 0; ok && i < qcowfmt_bitmap_list_count(list); i++) {
		struct qcowfmt_bitmap bitmap = {
			.struct_size = sizeof(bitmap),
		};

		ok = qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) == 0 &&
		     act(&bitmap, opaque);
	}
	qcowfmt_bitmap_list_free(list);
	return ok;
}

static bool check_bitmap(const struct qcowfmt_bitmap *bitmap, void *opaque)
{
	const struct img_convert_request *r = opaque;
	QCF_AUTO_FREE char *name = qcf_plain_text(bitmap->name);

	if ((bitmap->flags & QCOWFMT_BITMAP_INCONSISTENT) == 0)
		return true;
	if (r->skip_broken_bitmaps) {
		qcf_tool_warning("Skipping inconsistent bitmap '%s'", name);
		return true;
	}
	qcf_tool_error("Cannot copy inconsistent bitmap '%s'", name);
	fprintf(stderr,
	        "Try --skip-broken-bitmaps, or use '%s bitmap --remove' to "
	        "delete it\n",
	        qcf_tool_program());
	return false;
}

bool qcf_keep_bitmaps_check(const struct img_convert_request *r,
                            struct qcowfmt_image *source,
                            struct qcowfmt_image *target)
{
	return supports_bitmaps(target) &&
	       for_each(source, check_bitmap, (void *)(uintptr_t)r);
}

struct keeping {
	struct qcowfmt_image *source;
	struct qcowfmt_image *target;
};

static bool keep_bitmap(const struct qcowfmt_bitmap *bitmap, void *opaque)
{
	const struct keeping *k = opaque;
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_bitmap_action actions[3];
	size_t count = 0;

	if ((bitmap->flags & QCOWFMT_BITMAP_INCONSISTENT) != 0)
		return true;
	actions[count++] = (struct qcowfmt_bitmap_action){
		.kind = QCOWFMT_BITMAP_ADD,
		.granularity = bitmap->granularity,
	};
	if ((bitmap->flags & QCOWFMT_BITMAP_ENABLED) == 0)
		actions[count++] = (struct qcowfmt_bitmap_action){
			.kind = QCOWFMT_BITMAP_DISABLE,
		};
	actions[count++] = (struct qcowfmt_bitmap_action){
		.kind = QCOWFMT_BITMAP_MERGE,
		.source = k->source,
		.source_name = bitmap->name,
	};
	for (size_t i = 0; i < count; i++) {
		actions[i].struct_size = sizeof(actions[i]);
		actions[i].image = k->target;
		actions[i].name = bitmap->name;
	}
	if (qcowfmt_bitmap_change(actions, count, NULL, &error) == 0)
		return true;

	QCF_AUTO_FREE char *name = qcf_plain_text(bitmap->name);

	qcf_tool_error("Failed to create bitmap %s: %s", name,
	               qcowfmt_error_message(error));
	return false;
}

bool qcf_keep_bitmaps(const struct img_convert_request *r,
                      struct qcowfmt_image *source,
                      struct qcowfmt_image *target)
{
	struct keeping k = { .source = source, .target = target };

	(void)r;
	return for_each(source, keep_bitmap, &k);
}
