/* SPDX-License-Identifier: MIT */
/* encryption_api.c - exported functions on encryption and keys */
#include "encryption.h"
#include "options.h"

int qcowfmt_get_encryption_info(struct qcowfmt_image *image, uint32_t depth,
                                struct qcowfmt_encryption_info *info,
                                struct qcowfmt_error **errp)
{
	struct qcowfmt_encryption_info ours = { 0 };
	int ret = qcf_encryption_describe(image, depth, &ours, errp);

	return ret < 0 ? ret
	               : qcf_result_copy(info, &ours, sizeof(ours),
	                                 "qcowfmt_encryption_info", errp);
}

int qcowfmt_add_key(struct qcowfmt_image *image,
                    const struct qcowfmt_key_options *options,
                    struct qcowfmt_error **errp)
{
	struct qcowfmt_key_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_key_options", errp);

	return ret < 0 ? ret : qcf_encryption_add_key(image, &o, errp);
}

int qcowfmt_erase_key(struct qcowfmt_image *image,
                      const struct qcowfmt_key_options *options,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_key_options o;
	int ret = qcf_options_copy(&o, sizeof(o), options,
	                           "qcowfmt_key_options", errp);

	return ret < 0 ? ret : qcf_encryption_erase_key(image, &o, errp);
}
