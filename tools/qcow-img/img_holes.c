/* SPDX-License-Identifier: MIT */
/* img_holes.c - when to ask the host file for holes */
#include "img_holes.h"

bool qcf_shows_holes(const struct qcowfmt_info *info)
{
	uint64_t clusters;
	uint64_t allocated;

	if (info->format == QCOWFMT_FORMAT_RAW)
		return true;
	if (info->format != QCOWFMT_FORMAT_QCOW2 ||
	    info->encryption != QCOWFMT_ENCRYPTION_NONE ||
	    (info->flags & QCOWFMT_INFO_DATA_FILE) != 0 ||
	    info->cluster_size == 0)
		return false;
	clusters = info->file_size / info->cluster_size +
	           (info->file_size % info->cluster_size != 0);
	allocated = info->allocated_size / info->cluster_size;
	return clusters >= allocated + 2 &&
	       clusters >= allocated + allocated / 9;
}

uint32_t qcf_hole_flags(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint32_t depth;

	for (depth = 0; qcowfmt_get_info(image, depth, &info, NULL) == 0;
	     depth++) {
		if (qcf_shows_holes(&info))
			return QCOWFMT_MAP_HOLES;
	}
	return 0;
}
