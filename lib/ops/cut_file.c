/* SPDX-License-Identifier: MIT */
/* cut_file.c - giving back the end of an image file */
#include "cut_file.h"
#include "alloc.h"

int qcf_cut_file(struct qcf_layer *layer, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = layer->meta;
	uint64_t size = 0;
	uint64_t end = 0;
	int ret = 0;

	if (!meta->storage->fixed_size)
		ret = qcf_alloc_end(meta, &end, errp);
	if (ret == 0 && end > 0)
		ret = qcf_storage_get_size(meta->storage, &size, errp);
	if (ret < 0 || end >= size)
		return ret;
	ret = qcf_storage_truncate(meta->storage, end, errp);
	if (ret == 0)
		qcf_alloc_file_cut(meta, end);
	atomic_store(&layer->known_size, 0);
	return ret;
}
