/* SPDX-License-Identifier: MIT */
/* planted_script.c - a fault to be found: resizing says yes and does nothing */
#include "resize.h"

int __wrap_qcf_resize(struct qcowfmt_image *image, uint64_t virtual_size,
                      const struct qcowfmt_resize_options *options,
                      struct qcowfmt_error **errp);

int __wrap_qcf_resize(struct qcowfmt_image *image, uint64_t virtual_size,
                      const struct qcowfmt_resize_options *options,
                      struct qcowfmt_error **errp)
{
	(void)image;
	(void)virtual_size;
	(void)options;
	(void)errp;
	return 0;
}
