/* SPDX-License-Identifier: MIT */
/*
 * Promise: every damage to a LUKS header is found and told apart, whatever the
 * bytes; what is good comes back from decode and encode as it was.
 */
#include "luks_vectors.h"

/* One thing wrong with the area of the first vector. */
struct damage {
	uint32_t at;
	uint32_t width;
	uint64_t value;
	enum qcf_check id;
};

#define SLOT(index, at) (208 + 48 * (index) + (at))

static const struct damage damages[] = {
	{ 0, 1, 'l', QCF_CHECK_LUKS_MAGIC },
	{ 5, 1, 0, QCF_CHECK_LUKS_MAGIC },
	/* no room for two slots, for the last one, for the first one */
	{ 104, 4, 7, QCF_CHECK_LUKS_PAYLOAD },
	{ 104, 4, 1, QCF_CHECK_LUKS_PAYLOAD },
	{ 104, 4, 8, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ 104, 4, 8 + 8 * 504 - 1, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ 108, 4, 0, QCF_CHECK_LUKS_KEY_LENGTH },
	{ 108, 4, 17, QCF_CHECK_LUKS_KEY_LENGTH },
	{ 108, 4, 65, QCF_CHECK_LUKS_KEY_LENGTH },
	{ 108, 4, UINT32_MAX, QCF_CHECK_LUKS_KEY_LENGTH },
	{ 164, 4, 0, QCF_CHECK_LUKS_DIGEST_ITERATIONS },
	{ SLOT(0, 0), 4, 0, QCF_CHECK_LUKS_SLOT_STATE },
	{ SLOT(7, 0), 4, 0xdeae, QCF_CHECK_LUKS_SLOT_STATE },
	{ SLOT(0, 4), 4, 0, QCF_CHECK_LUKS_SLOT_ITERATIONS },
	{ SLOT(0, 44), 4, 0, QCF_CHECK_LUKS_SLOT_STRIPES },
	{ SLOT(5, 44), 4, UINT32_MAX, QCF_CHECK_LUKS_SLOT_STRIPES },
	{ SLOT(0, 40), 4, 7, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ SLOT(7, 40), 4, UINT32_MAX, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ SLOT(7, 40), 4, 3537, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ SLOT(7, 40), 4, 3535, QCF_CHECK_LUKS_SLOT_OVERLAP },
	{ SLOT(3, 40), 4, 8, QCF_CHECK_LUKS_SLOT_OVERLAP },
	{ 44, 1, ' ', QCF_CHECK_NONE },
	{ 43, 1, ' ', QCF_CHECK_LUKS_MODE },
};

static void open_fails(const uint8_t *bytes, size_t len, int ret, int code,
                       uint32_t id)
{
	struct test_image image;
	struct qcf_crypto *crypto = NULL;
	struct qcowfmt_error *error = NULL;

	test_image_init(&image, QCOWFMT_ENCRYPTION_LUKS, bytes, len);
	ck_assert_int_eq(
		test_image_unlock(&image, VECTOR_SECRET, &crypto, &error), ret);
	ck_assert_int_eq(qcowfmt_error_code(error), code);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(error), id);
	if (id != 0)
		ck_assert_uint_ge(qcowfmt_error_host_offset(error),
		                  AREA_OFFSET);
	ck_assert_ptr_null(crypto);
	qcowfmt_error_free(error);
	test_image_fini(&image);
}

START_TEST(damaged_fields_are_named)
{
	struct luks_area area = { 0 };

	luks_area_build(&area, &luks_vectors[0]);
	for (size_t i = 0; i < QCF_ARRAY_LEN(damages); i++) {
		const struct damage *d = &damages[i];
		uint8_t saved[8];
		struct qcf_writer writer =
			qcf_writer_init(area.bytes + d->at, sizeof(saved));

		memcpy(saved, area.bytes + d->at, sizeof(saved));
		qcf_write_be(&writer, d->value, d->width);
		if (d->id == QCF_CHECK_NONE)
			open_fails(area.bytes, area.len, -ENOTSUP,
			           QCOWFMT_ERR_UNSUPPORTED, 0);
		else
			open_fails(area.bytes, area.len, -EINVAL,
			           QCOWFMT_ERR_CORRUPT, d->id);
		memcpy(area.bytes + d->at, saved, sizeof(saved));
	}
	luks_area_free(&area);
}

END_TEST

START_TEST(names_without_an_end_are_damage)
{
	const size_t names[] = { 8, 40, 72 };
	struct luks_area area = { 0 };

	luks_area_build(&area, &luks_vectors[0]);
	for (size_t i = 0; i < QCF_ARRAY_LEN(names); i++) {
		uint8_t saved[32];

		memcpy(saved, area.bytes + names[i], 32);
		memset(area.bytes + names[i], 'a', 32);
		open_fails(area.bytes, area.len, -EINVAL, QCOWFMT_ERR_CORRUPT,
		           QCF_CHECK_LUKS_NAME);
		memcpy(area.bytes + names[i], saved, 32);
	}
	luks_area_free(&area);
}

END_TEST

/* The names are known or not; which it is needs no secret. */
START_TEST(unknown_names_are_not_supported)
{
	static const struct {
		size_t at;
		const char *name;
	} rows[] = {
		{ 8, "des" },
		{ 8, "AES" },
		{ 8, "" },
		{ 40, "xts-plain65" },
		{ 40, "gcm-plain64" },
		{ 40, "-plain64" },
		{ 40, "xts-" },
		{ 40, "xts-essiv" },
		{ 40, "xts-essiv:" },
		{ 40, "xts-essiv:sha1" },
		{ 40, "xts-essiv:sm3" },
		{ 72, "sha3" },
		{ 72, "" },
		{ 8, "cast5" },
		{ 6, "\2" },
	};
	struct luks_area area = { 0 };

	luks_area_build(&area, &luks_vectors[0]);
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		uint8_t saved[32];
		size_t width = rows[i].at == 6 ? 2 : 32;

		memcpy(saved, area.bytes + rows[i].at, 32);
		memset(area.bytes + rows[i].at, 0, width);
		memcpy(area.bytes + rows[i].at, rows[i].name,
		       strlen(rows[i].name));
		open_fails(area.bytes, area.len, -ENOTSUP,
		           QCOWFMT_ERR_UNSUPPORTED, 0);
		memcpy(area.bytes + rows[i].at, saved, 32);
	}
	luks_area_free(&area);
}

END_TEST

START_TEST(a_hash_that_is_not_needed_is_ignored)
{
	struct luks_area area = { 0 };
	struct test_image image;
	struct qcf_crypto *crypto = NULL;
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };

	luks_area_build(&area, &luks_vectors[0]);
	memcpy(area.bytes + 40, "xts-plain64:sha1", 17);
	test_image_init(&image, QCOWFMT_ENCRYPTION_LUKS, area.bytes, area.len);
	ck_assert_int_eq(
		test_image_unlock(&image, VECTOR_SECRET, &crypto, NULL), 0);
	qcf_crypto_describe(crypto, &info);
	ck_assert_str_eq(info.ivgen_alg, "plain64");
	ck_assert_ptr_null(info.ivgen_hash_alg);
	qcf_crypto_free(crypto);
	test_image_fini(&image);
	luks_area_free(&area);
}

END_TEST

static const struct {
	uint64_t offset;
	uint64_t len;
	uint32_t extension_len;
} pointers[] = {
	{ AREA_OFFSET, 0x1f9000, 15 },
	{ AREA_OFFSET, 0x1f9000, 0 },
	{ 0, 0x1f9000, 16 },
	{ AREA_OFFSET + 512, 0x1f8000, 16 },
	{ AREA_OFFSET, 0x200001, 16 },
	{ AREA_OFFSET, UINT64_MAX, 16 },
	{ AREA_OFFSET, UINT64_MAX - AREA_OFFSET, 16 },
	{ UINT64_C(0xffffffffffff0000), 0x20000, 16 },
	{ AREA_OFFSET << 20, 0x1f9000, 16 },
};

START_TEST(bad_pointers_are_damage)
{
	struct luks_area area = { 0 };
	struct test_image image;
	struct qcf_crypto *crypto = NULL;
	struct qcowfmt_error *error = NULL;

	luks_area_build(&area, &luks_vectors[0]);
	test_image_init(&image, QCOWFMT_ENCRYPTION_LUKS, area.bytes, area.len);
	test_image_point(&image, pointers[_i].offset, pointers[_i].len);
	image.extension.len = pointers[_i].extension_len;
	ck_assert_int_eq(
		test_image_unlock(&image, VECTOR_SECRET, &crypto, &error),
		-EINVAL);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(error),
	                  QCF_CHECK_LUKS_AREA);
	qcowfmt_error_free(error);
	error = NULL;
	image.header.extension_count = 0;
	ck_assert_int_eq(
		test_image_unlock(&image, VECTOR_SECRET, &crypto, &error),
		-EINVAL);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(error),
	                  QCF_CHECK_LUKS_AREA);
	qcowfmt_error_free(error);
	test_image_fini(&image);
	luks_area_free(&area);
}

END_TEST

START_TEST(short_areas_are_damage)
{
	struct luks_area area = { 0 };

	luks_area_build(&area, &luks_vectors[0]);
	for (size_t len = 1; len < QCF_LUKS_HEADER_LEN; len += 13)
		open_fails(area.bytes, len, -EINVAL, QCOWFMT_ERR_CORRUPT,
		           QCF_CHECK_LUKS_TRUNCATED);
	/* The header is whole, the slots are not. */
	open_fails(area.bytes, area.len - 512, -EINVAL, QCOWFMT_ERR_CORRUPT,
	           QCF_CHECK_LUKS_SLOT_OFFSET);
	luks_area_free(&area);
}

END_TEST

START_TEST(headers_round_trip)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(luks_vectors); i++) {
		struct luks_area area = { 0 };
		struct qcf_luks_header h;
		uint8_t bytes[QCF_LUKS_HEADER_LEN];

		luks_area_build(&area, &luks_vectors[i]);
		/* Also what follows the end of a name, and a long UUID. */
		memcpy(area.bytes + 8 + 20, "junk", 4);
		memset(area.bytes + 168, 'u', 40);
		ck_assert_int_eq(qcf_luks_header_decode(&h, area.bytes,
		                                        area.len, area.len,
		                                        AREA_OFFSET, NULL),
		                 0);
		qcf_luks_header_encode(&h, bytes);
		ck_assert_mem_eq(bytes, area.bytes, sizeof(bytes));
		ck_assert_uint_eq(strlen(h.uuid), 40);
		luks_area_free(&area);
	}
}

END_TEST

START_TEST(dump_tells_every_field)
{
	static const char *const words[] = {
		"cipher: aes\n",
		"mode: cbc-essiv:sha256\n",
		"hash: sha1\n",
		"uuid: 01234567-89ab-cdef-0123-456789abcdef\n",
		"payload_sector: 2056\n",
		"key_len: 32\n",
		"digest_iterations: 10\n",
		"slot 0: inactive, 0 iterations, sector 8, 4000 stripes\n",
		"slot 2: active, 20 iterations, sector 520, 4000 stripes\n",
		"slot 7: inactive",
	};
	struct luks_area area = { 0 };
	char *text;

	luks_area_build(&area, &luks_vectors[1]);
	memset(area.header.hash + 4, 0, 1);
	text = qcf_luks_header_dump(&area.header);
	ck_assert_ptr_nonnull(text);
	for (size_t i = 0; i < QCF_ARRAY_LEN(words); i++)
		ck_assert_msg(strstr(text, words[i]) != NULL, "no '%s' in\n%s",
		              words[i], text);
	free(text);
	luks_area_free(&area);
}

END_TEST

/* A few random bytes of a good header change; then nothing but random bytes. */
START_TEST(random_bytes_are_survived)
{
	struct unit_random random = unit_random_init();
	struct luks_area area = { 0 };
	struct qcf_luks_header h;
	unsigned int good = 0;

	luks_area_build(&area, &luks_vectors[0]);
	for (int i = 0; i < 200000; i++) {
		uint8_t bytes[QCF_LUKS_HEADER_LEN];
		uint64_t changes = unit_random_below(&random, 4);

		memcpy(bytes, area.bytes, sizeof(bytes));
		for (uint64_t j = 0; j < changes; j++)
			bytes[unit_random_below(&random, sizeof(bytes))] =
				(uint8_t)unit_random_u64(&random);
		if (i % 100 == 0) {
			for (size_t j = 8; j < sizeof(bytes); j++)
				bytes[j] = (uint8_t)unit_random_u64(&random);
		}
		if (qcf_luks_header_decode(&h, bytes, sizeof(bytes), area.len,
		                           0, NULL) < 0)
			continue;
		good++;
		for (uint32_t j = 0; j < QCF_LUKS_SLOTS; j++)
			ck_assert_uint_le(
				h.slots[j].key_sector * 512ull +
					qcf_luks_material_len(h.key_len),
				area.len);
	}
	ck_assert_uint_gt(good, 50000);
	luks_area_free(&area);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, damaged_fields_are_named);
	tcase_add_test(tcase, names_without_an_end_are_damage);
	tcase_add_test(tcase, unknown_names_are_not_supported);
	tcase_add_test(tcase, a_hash_that_is_not_needed_is_ignored);
	tcase_add_loop_test(tcase, bad_pointers_are_damage, 0,
	                    (int)QCF_ARRAY_LEN(pointers));
	tcase_add_test(tcase, short_areas_are_damage);
	tcase_add_test(tcase, headers_round_trip);
	tcase_add_test(tcase, dump_tells_every_field);
	tcase_add_test(tcase, random_bytes_are_survived);
}

int main(void)
{
	return unit_run("luks_header_is_checked", add_tests);
}
