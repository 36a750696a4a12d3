/* SPDX-License-Identifier: MIT */
/* v1_image.h - version 1 images made by hand, and opening them */
#ifndef QCF_API_V1_IMAGE_H
#define QCF_API_V1_IMAGE_H

#include "api_test.h"

#define V1_COMPRESSED (UINT64_C(1) << 63)

/* What a header by hand says. */
struct v1_spec {
	uint32_t cluster_bits;
	uint32_t l2_bits;
	uint64_t virtual_size;
	uint64_t l1_offset;  /* 0: directly behind the header and name */
	const char *backing; /* NULL: none */
	uint32_t crypt_method;
};

/* Host bytes for all entries of the L1 table. */
static inline uint64_t v1_l1_len(const struct v1_spec *spec)
{
	uint64_t span = UINT64_C(1) << (spec->cluster_bits + spec->l2_bits);

	return (spec->virtual_size + span - 1) / span * 8;
}

static inline uint64_t v1_l1_offset(const struct v1_spec *spec)
{
	uint64_t name_len = spec->backing == NULL ? 0 : strlen(spec->backing);

	return spec->l1_offset != 0 ? spec->l1_offset
	                            : (48 + name_len + 7) / 8 * 8;
}

/* Header, name and an empty L1 table. */
static inline void v1_make(const char *path, const struct v1_spec *spec)
{
	uint64_t l1 = v1_l1_offset(spec);
	size_t len = (size_t)(l1 + v1_l1_len(spec));
	QCF_AUTO_FREE uint8_t *bytes = calloc(1, len);

	ck_assert_ptr_nonnull(bytes);
	if (spec->backing != NULL)
		memcpy(bytes + 48, spec->backing, strlen(spec->backing));
	api_write_file(path, bytes, len);
	api_put(path, 0, 4, 0x514649fb);
	api_put(path, 4, 4, 1);
	if (spec->backing != NULL) {
		api_put(path, 8, 8, 48);
		api_put(path, 16, 4, strlen(spec->backing));
	}
	api_put(path, 24, 8, spec->virtual_size);
	api_put(path, 32, 1, spec->cluster_bits);
	api_put(path, 33, 1, spec->l2_bits);
	api_put(path, 36, 4, spec->crypt_method);
	api_put(path, 40, 8, l1);
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
