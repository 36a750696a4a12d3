/* SPDX-License-Identifier: MIT */
/* holes.c - when to ask the host file of an image for holes */
#include "holes.h"
#include "describe.h"

/* Two clusters, or a tenth of the file: what QEMU's program was seen to take
 * for a file with holes. */
static bool shows_holes(const struct qcowfmt_info *info)
{
	uint64_t clusters;
	uint64_t allocated;

	if (info->format == QCOWFMT_FORMAT_RAW)
		return true;
	if (info->format != QCOWFMT_FORMAT_QCOW2 ||
	    info->encryption != QCOWFMT_ENCRYPTION_NONE ||
	    (info->flags & QCOWFMT_INFO_DATA_FILE) != 0)
		return false;
	clusters = info->file_size / info->cluster_size +
	           (info->file_size % info->cluster_size != 0);
	allocated = info->allocated_size / info->cluster_size;
	return clusters >= allocated + 2 &&
	       clusters >= allocated + allocated / 9;
}

uint32_t qcf_hole_map_flags(struct qcowfmt_image *image)
{
	for (uint32_t depth = 0; depth < image->layer_count; depth++) {
		struct qcowfmt_info info = { 0 };

		if (qcf_describe(image, depth, &info, NULL) == 0 &&
		    shows_holes(&info))
			return QCOWFMT_MAP_HOLES;
	}
	return 0;
}
