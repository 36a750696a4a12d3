/* SPDX-License-Identifier: MIT */
/*
 * Promise: LUKS areas come out byte for byte as published vectors have them,
 * open with the passphrase, and give the sectors other software reads.
 */
#include "luks_vectors.h"

START_TEST(areas_have_the_known_bytes)
{
	const struct luks_vector *v = &luks_vectors[_i];
	struct luks_area area = { 0 };
	size_t plain_len = (size_t)v->key_len * QCF_LUKS_STRIPES;

	luks_area_build(&area, v);
	assert_hex(area.header.digest, v->digest);
	assert_hex(area.slot_key, v->slot_key);
	assert_hex(area.plain + plain_len - v->key_len, v->last_stripe);
	assert_sha256(area.plain, plain_len, v->plain_sha256);
	assert_sha256(luks_area_material(&area, v), plain_len,
	              v->material_sha256);
	assert_hex(luks_area_material(&area, v), v->material);
	assert_sha256(area.bytes, QCF_LUKS_HEADER_LEN, v->header_sha256);
	luks_area_free(&area);
}

END_TEST

static void check_sectors(struct qcf_crypto *crypto,
                          const struct luks_vector *v)
{
	uint8_t plain[1024];
	uint8_t sealed[1024];
	uint8_t back[1024];

	memset(plain, 0, sizeof(plain));
	memset(plain, 'Q', 512);
	/* LUKS goes by the host offset, whatever the guest's is. */
	ck_assert_int_eq(qcf_crypto_encrypt(crypto, plain, sealed,
	                                    sizeof(plain), 65536,
	                                    v->data_offset, NULL),
	                 0);
	assert_hex(sealed, v->data);
	assert_sha256(sealed, 512, v->data_sha256);
	ck_assert_int_eq(qcf_crypto_decrypt(crypto, sealed, back, sizeof(back),
	                                    0, v->data_offset, NULL),
	                 0);
	ck_assert_mem_eq(back, plain, sizeof(plain));
	ck_assert_int_eq(qcf_crypto_decrypt(crypto, sealed, sealed,
	                                    sizeof(sealed), 0, v->data_offset,
	                                    NULL),
	                 0);
	ck_assert_mem_eq(sealed, plain, sizeof(plain));
}

START_TEST(areas_open_with_the_passphrase)
{
	const struct luks_vector *v = &luks_vectors[_i];
	struct luks_area area = { 0 };
	struct test_image image;
	struct qcf_crypto *crypto = NULL;

	luks_area_build(&area, v);
	test_image_init(&image, QCOWFMT_ENCRYPTION_LUKS, area.bytes, area.len);
	ck_assert_int_eq(
		test_image_unlock(&image, VECTOR_SECRET, &crypto, NULL), 0);
	check_sectors(crypto, v);
	qcf_crypto_free(crypto);
	test_image_fini(&image);
	luks_area_free(&area);
}

END_TEST

static void add_tests(TCase *tcase)
{
	int count = (int)QCF_ARRAY_LEN(luks_vectors);

	tcase_add_loop_test(tcase, areas_have_the_known_bytes, 0, count);
	tcase_add_loop_test(tcase, areas_open_with_the_passphrase, 0, count);
}

int main(void)
{
	return unit_run("luks_vectors", add_tests);
}
