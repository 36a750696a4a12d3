/* SPDX-License-Identifier: MIT */
/* exclusive.c - working on an image while no guest request runs */
#include <errno.h>

#include "exclusive.h"
#include "writeback.h"

int qcf_exclusive_begin(struct qcowfmt_image *image,
                        struct qcowfmt_error **errp)
{
	if (image->no_data)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s was opened without access to guest data",
		                qcf_image_top(image)->storage->name);
	return qcf_exclusive_begin_without_data(image, errp);
}

int qcf_exclusive_begin_without_data(struct qcowfmt_image *image,
                                     struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = qcf_image_top(image);
	int ret;

	if (!layer->writable)
		return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
		                "%s is opened read-only", layer->storage->name);
	qcf_gate_close(&image->gate);
	ret = qcf_poison_check(qcf_layer_poison(layer), errp);
	if (ret == 0 && layer->meta != NULL)
		ret = qcf_meta_check_usable(layer->meta, errp);
	if (ret == 0 && layer->meta != NULL)
		ret = qcf_writeback_drain(layer->meta, errp);
	if (ret < 0)
		qcf_gate_open(&image->gate);
	return ret;
}

void qcf_exclusive_end(struct qcowfmt_image *image)
{
	qcf_gate_open(&image->gate);
}
