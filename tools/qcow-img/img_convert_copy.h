/* SPDX-License-Identifier: MIT */
/* img_convert_copy.h - moving the data of "convert" from source to target */
#ifndef QCF_IMG_CONVERT_COPY_H
#define QCF_IMG_CONVERT_COPY_H

#include "img_convert_target.h"

/* Copy everything; false with a message. */
bool qcf_copy(const struct img_convert_request *r,
              const struct img_source *source, struct qcowfmt_image *target);

#endif
