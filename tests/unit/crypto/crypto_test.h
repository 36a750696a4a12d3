/* SPDX-License-Identifier: MIT */
/*
 * crypto_test.h - what the tests of encryption share: bytes in hex, and images
 * that are no more than a header and a LUKS area
 */
#ifndef QCF_CRYPTO_TEST_H
#define QCF_CRYPTO_TEST_H

#include <errno.h>
#include <gcrypt.h>
#include <string.h>

#include "bytes.h"
#include "check_id.h"
#include "cipher.h"
#include "crypt_lib.h"
#include "crypto.h"
#include "crypto_luks.h"
#include "luks_keys.h"
#include "unit.h"

#define AREA_OFFSET UINT64_C(0x20000)

/* The bytes of a text of hex digits; returns their number. */
static inline size_t from_hex(const char *hex, uint8_t *bytes)
{
	size_t len = strlen(hex) / 2;

	for (size_t i = 0; i < len; i++) {
		unsigned int byte;

		ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		bytes[i] = (uint8_t)byte;
	}
	return len;
}

static inline void assert_hex(const void *bytes, const char *hex)
{
	uint8_t want[256];

	ck_assert_uint_le(strlen(hex) / 2, sizeof(want));
	ck_assert_mem_eq(bytes, want, from_hex(hex, want));
}

static inline void assert_sha256(const void *bytes, size_t len, const char *hex)
{
	uint8_t digest[32];

	ck_assert_int_eq(qcf_crypt_lib_init(NULL), 0);
	gcry_md_hash_buffer(GCRY_MD_SHA256, digest, bytes, len);
	assert_hex(digest, hex);
}

/* 00 01 02 ... */
static inline void count_up(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)i;
}

/* An image in memory as far as qcf_crypto_open() looks at it. */
struct test_image {
	struct qcf_header header;
	struct qcf_geometry geometry;
	struct qcf_extension extension;
	uint8_t pointer[16];
	struct qcowfmt_storage *storage;
};

static inline void test_image_point(struct test_image *image, uint64_t offset,
                                    uint64_t len)
{
	struct qcf_writer writer = qcf_writer_init(image->pointer, 16);

	qcf_write_u64(&writer, offset);
	qcf_write_u64(&writer, len);
}

/* The image is not moved afterwards. */
static inline void test_image_init(struct test_image *image, uint32_t method,
                                   const void *area, size_t area_len)
{
	*image = (struct test_image){ 0 };
	ck_assert_int_eq(
		qcf_geometry_init(&image->geometry, 3, 16, 4, false, NULL), 0);
	ck_assert_int_eq(qcowfmt_storage_new_memory(0, &image->storage, NULL),
	                 0);
	image->header.version = 3;
	image->header.cluster_bits = 16;
	image->header.crypt_method = method;
	if (area == NULL)
		return;
	ck_assert_int_eq(qcf_storage_pwrite(image->storage, area, area_len,
	                                    AREA_OFFSET, NULL),
	                 0);
	test_image_point(image, AREA_OFFSET, area_len);
	image->extension.type = QCF_EXT_ENCRYPTION;
	image->extension.len = sizeof(image->pointer);
	image->extension.data = image->pointer;
	image->header.extensions = &image->extension;
	image->header.extension_count = 1;
}

static inline void test_image_fini(struct test_image *image)
{
	qcowfmt_storage_free(image->storage);
}

static inline int test_image_unlock(struct test_image *image,
                                    const char *secret,
                                    struct qcf_crypto **crypto,
                                    struct qcowfmt_error **errp)
{
	struct qcf_secret_source source = {
		.secret = secret,
		.secret_len = secret == NULL ? 0 : strlen(secret),
		.name = "test",
	};

	return qcf_crypto_open(image->storage, &image->header, &image->geometry,
	                       &source, crypto, errp);
}

#endif
