/* SPDX-License-Identifier: MIT */
/* chain.h - opening an image and its backing files */
#ifndef QCF_CHAIN_H
#define QCF_CHAIN_H

#include "image.h"
#include "reference.h"

/*
 * Open the image in a storage and the chain below it into an image that has no
 * layers yet.  options describes the first layer.  On failure the image is to
 * be given up with qcf_image_abandon().
 */
int qcf_chain_open(struct qcowfmt_image *image, struct qcowfmt_storage *storage,
                   const struct qcf_layer_options *options,
                   const struct qcf_reference_rules *rules,
                   struct qcowfmt_error **errp);

#endif
