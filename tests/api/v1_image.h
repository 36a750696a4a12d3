/* SPDX-License-Identifier: MIT */
/* v1_image.h - version 1 images made by hand in files, and opening them */
#ifndef QCF_API_V1_IMAGE_H
#define QCF_API_V1_IMAGE_H

#include "api_test.h"
#include "forge_v1.h"

#define V1_COMPRESSED (UINT64_C(1) << 63)

/* Put an image made by hand into a file. */
static inline void v1_make(const char *path, const struct forged_v1 *spec)
{
	size_t len;
	QCF_AUTO_FREE uint8_t *bytes = forge_v1(spec, &len);

	api_write_file(path, bytes, len);
}

/* Backing files are found beside the image and taken for raw. */
static inline struct qcowfmt_open_options v1_options(uint32_t flags)
{
	return (struct qcowfmt_open_options){
		.struct_size = sizeof(struct qcowfmt_open_options),
		.format = QCOWFMT_FORMAT_QCOW,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
		.undeclared_format = QCOWFMT_UNDECLARED_RAW,
	};
}

#endif
