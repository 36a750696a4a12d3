/* SPDX-License-Identifier: MIT */
/* img_convert_stream.h - "convert" to standard output */
#ifndef QCF_IMG_CONVERT_STREAM_H
#define QCF_IMG_CONVERT_STREAM_H

#include "img_convert_target.h"

/* Make the image and write it, from first byte to last; false with a
 * message. */
bool qcf_convert_stream(struct img_convert_request *r,
                        struct img_source *source);

#endif
