/* SPDX-License-Identifier: MIT */
/* encryption.c - how an image is encrypted, and which keys open it */
#include <errno.h>

#include "crypto.h"
#include "encryption.h"

int qcf_encryption_describe(struct qcowfmt_image *image, uint32_t depth,
                            struct qcowfmt_encryption_info *info,
                            struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta;
	struct qcf_layer *layer;
	int ret = qcf_image_layer(image, depth, &layer, errp);

	if (ret < 0)
		return ret;
	meta = layer->meta;
	*info = (struct qcowfmt_encryption_info){
		.struct_size = info->struct_size,
		.encryption = QCOWFMT_ENCRYPTION_NONE,
	};
	if (meta != NULL && meta->crypto != NULL)
		qcf_crypto_describe(meta->crypto, info);
	return 0;
}

/* Whether the keys of an image can be changed at all. */
static int check_changeable(const struct qcf_layer *layer,
                            struct qcowfmt_error **errp)
{
	if (!layer->writable)
		return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
		                "%s is opened read-only", layer->storage->name);
	if (layer->meta == NULL || layer->meta->crypto == NULL)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s is not encrypted and has no keys",
		                layer->storage->name);
	return qcf_poison_check(&layer->meta->poison, errp);
}

int qcf_encryption_add_key(struct qcowfmt_image *image,
                           const struct qcowfmt_key_options *options,
                           struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	int ret = check_changeable(top, errp);

	if (ret < 0)
		return ret;
	ret = qcf_crypto_add_key(top->meta->crypto, top->storage,
	                         &top->meta->poison, options, errp);
	return ret < 0 ? qcf_wrap(errp, top->storage->name, ret) : ret;
}

int qcf_encryption_erase_key(struct qcowfmt_image *image,
                             const struct qcowfmt_key_options *options,
                             struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	int ret = check_changeable(top, errp);

	if (ret < 0)
		return ret;
	ret = qcf_crypto_erase_key(top->meta->crypto, top->storage,
	                           &top->meta->poison, options, errp);
	return qcf_wrap(errp, top->storage->name, ret);
}
