/* SPDX-License-Identifier: MIT */
/*
 * Promise: no secret, a wrong secret, too much work and a damaged header are
 * four different errors, and a locked image can still be described.
 */
#include "luks_vectors.h"

struct locked {
	struct luks_area area;
	struct test_image image;
};

static void locked_init(struct locked *locked, const struct luks_vector *v)
{
	*locked = (struct locked){ 0 };
	luks_area_build(&locked->area, v);
	test_image_init(&locked->image, QCOWFMT_ENCRYPTION_LUKS,
	                locked->area.bytes, locked->area.len);
}

static void locked_fini(struct locked *locked)
{
	test_image_fini(&locked->image);
	luks_area_free(&locked->area);
}

static int try_source(struct locked *locked,
                      const struct qcf_secret_source *source, int *code)
{
	struct qcf_crypto *crypto = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcf_crypto_open(locked->image.storage, &locked->image.header,
	                          &locked->image.geometry, source, &crypto,
	                          &error);

	*code = qcowfmt_error_code(error);
	qcowfmt_error_free(error);
	qcf_crypto_free(crypto);
	return ret;
}

START_TEST(wrong_secrets_are_rejected)
{
	static const char *const wrong[] = { "", "correct", "correct horse\n",
		                             "Correct horse" };
	struct locked locked;

	locked_init(&locked, &luks_vectors[_i]);
	for (size_t i = 0; i < QCF_ARRAY_LEN(wrong); i++) {
		struct qcf_secret_source source = { .secret = wrong[i],
			                            .secret_len =
			                                    strlen(wrong[i]) };
		int code;

		ck_assert_int_eq(try_source(&locked, &source, &code),
		                 -EKEYREJECTED);
		ck_assert_int_eq(code, QCOWFMT_ERR_WRONG_SECRET);
	}
	locked_fini(&locked);
}

END_TEST

START_TEST(without_a_secret_there_is_none)
{
	struct qcf_secret_source source = { 0 };
	struct locked locked;
	int code;

	locked_init(&locked, &luks_vectors[0]);
	ck_assert_int_eq(try_source(&locked, &source, &code), -ENOKEY);
	ck_assert_int_eq(code, QCOWFMT_ERR_NO_SECRET);
	locked.image.header.crypt_method = QCOWFMT_ENCRYPTION_AES;
	ck_assert_int_eq(try_source(&locked, &source, &code), -ENOKEY);
	ck_assert_int_eq(code, QCOWFMT_ERR_NO_SECRET);
	locked_fini(&locked);
}

END_TEST

START_TEST(secrets_have_a_greatest_length)
{
	static const char text[QCOWFMT_MAX_SECRET + 1];
	struct qcf_secret_source source = { .secret = text,
		                            .secret_len = sizeof(text) };
	struct locked locked;
	int code;

	locked_init(&locked, &luks_vectors[2]);
	ck_assert_int_eq(try_source(&locked, &source, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_USAGE);
	source.secret_len--;
	ck_assert_int_eq(try_source(&locked, &source, &code), -EKEYREJECTED);
	locked_fini(&locked);
}

END_TEST

/* ---------------------------------------------------------------- callback */

struct asked {
	int64_t answer; /* 0: the right secret */
	struct qcowfmt_secret_request request;
	unsigned int count;
};

static int64_t answer(void *opaque,
                      const struct qcowfmt_secret_request *request,
                      void *buffer, size_t room)
{
	struct asked *asked = opaque;

	asked->request = *request;
	asked->count++;
	ck_assert_uint_eq(room, QCOWFMT_MAX_SECRET);
	memcpy(buffer, VECTOR_SECRET, strlen(VECTOR_SECRET));
	return asked->answer == 0 ? (int64_t)strlen(VECTOR_SECRET)
	                          : asked->answer;
}

static const struct {
	int64_t answer;
	int ret;
	int code;
} answers[] = {
	{ 0, 0, QCOWFMT_ERR_NONE },
	{ 3, -EKEYREJECTED, QCOWFMT_ERR_WRONG_SECRET },
	{ -ENOKEY, -ENOKEY, QCOWFMT_ERR_NO_SECRET },
	{ -EIO, -EIO, QCOWFMT_ERR_IO },
	{ QCOWFMT_MAX_SECRET + 1, -EINVAL, QCOWFMT_ERR_USAGE },
	{ INT64_MAX, -EINVAL, QCOWFMT_ERR_USAGE },
	{ INT64_MIN, -EINVAL, QCOWFMT_ERR_USAGE },
};

START_TEST(callbacks_are_asked_once)
{
	struct asked asked = { .answer = answers[_i].answer };
	struct qcf_secret_source source = {
		.callback = answer, .opaque = &asked, .depth = 3, .name = "disk"
	};
	struct locked locked;
	int code;

	locked_init(&locked, &luks_vectors[0]);
	ck_assert_int_eq(try_source(&locked, &source, &code), answers[_i].ret);
	ck_assert_int_eq(code, answers[_i].code);
	ck_assert_uint_eq(asked.count, 1);
	ck_assert_int_eq(asked.request.encryption, QCOWFMT_ENCRYPTION_LUKS);
	ck_assert_uint_eq(asked.request.depth, 3);
	ck_assert_str_eq(asked.request.name, "disk");
	locked_fini(&locked);
}

END_TEST

/* Damage is told before anybody is asked for a secret. */
START_TEST(nobody_is_asked_about_a_damaged_header)
{
	struct asked asked = { 0 };
	struct qcf_secret_source source = { .callback = answer,
		                            .opaque = &asked };
	struct locked locked;
	int code;

	locked_init(&locked, &luks_vectors[0]);
	ck_assert_int_eq(qcf_storage_pwrite(locked.image.storage, "", 1,
	                                    AREA_OFFSET, NULL),
	                 0);
	ck_assert_int_eq(try_source(&locked, &source, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_CORRUPT);
	ck_assert_uint_eq(asked.count, 0);
	locked_fini(&locked);
}

END_TEST

/* --------------------------------------------------------------- iterations */

static void set_u32(struct locked *locked, uint64_t at, uint32_t value)
{
	uint8_t bytes[4];
	struct qcf_writer writer = qcf_writer_init(bytes, sizeof(bytes));

	qcf_write_u32(&writer, value);
	ck_assert_int_eq(qcf_storage_pwrite(locked->image.storage, bytes, 4,
	                                    AREA_OFFSET + at, NULL),
	                 0);
}

static void activate(struct locked *locked, uint32_t index, uint32_t iterations)
{
	set_u32(locked, qcf_luks_slot_offset(index), 0x00ac71f3);
	set_u32(locked, qcf_luks_slot_offset(index) + 4, iterations);
}

START_TEST(endless_iterations_are_refused)
{
	struct qcf_secret_source source = { .secret = "wrong",
		                            .secret_len = 5 };
	struct locked locked;
	int code;

	locked_init(&locked, &luks_vectors[0]);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++)
		activate(&locked, i, UINT32_MAX);
	ck_assert_int_eq(try_source(&locked, &source, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_LIMIT);
	locked_fini(&locked);

	locked_init(&locked, &luks_vectors[0]);
	set_u32(&locked, 164, UINT32_MAX);
	ck_assert_int_eq(try_source(&locked, &source, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_LIMIT);
	locked_fini(&locked);
}

END_TEST

START_TEST(a_slot_with_too_many_iterations_hides_no_other)
{
	struct qcf_secret_source source = { .secret = VECTOR_SECRET,
		                            .secret_len =
		                                    strlen(VECTOR_SECRET) };
	struct locked locked;
	int code;

	/* The good slot is number 2. */
	locked_init(&locked, &luks_vectors[1]);
	activate(&locked, 0, QCF_DEFAULT_MAX_ITERATIONS + 1);
	activate(&locked, 7, UINT32_MAX);
	ck_assert_int_eq(try_source(&locked, &source, &code), 0);
	source.secret_len = 3;
	ck_assert_int_eq(try_source(&locked, &source, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_LIMIT);
	locked_fini(&locked);
}

END_TEST

START_TEST(the_limit_can_be_chosen)
{
	struct qcf_secret_source source = { .secret = VECTOR_SECRET,
		                            .secret_len = strlen(VECTOR_SECRET),
		                            .max_iterations = 19 };
	struct locked locked;
	int code;

	/* 20 iterations for the slot, 10 for the digest. */
	locked_init(&locked, &luks_vectors[0]);
	ck_assert_int_eq(try_source(&locked, &source, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_LIMIT);
	source.max_iterations = 20;
	ck_assert_int_eq(try_source(&locked, &source, &code), 0);
	locked_fini(&locked);
}

END_TEST

START_TEST(no_active_slot_opens_nothing)
{
	struct qcf_secret_source source = { .secret = VECTOR_SECRET,
		                            .secret_len =
		                                    strlen(VECTOR_SECRET) };
	struct locked locked;
	int code;

	locked_init(&locked, &luks_vectors[0]);
	set_u32(&locked, qcf_luks_slot_offset(0), 0xdead);
	ck_assert_int_eq(try_source(&locked, &source, &code), -EKEYREJECTED);
	ck_assert_int_eq(code, QCOWFMT_ERR_WRONG_SECRET);
	locked_fini(&locked);
}

END_TEST

/* ------------------------------------------------------------------ describe */

START_TEST(locked_images_are_described_and_not_decrypted)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	struct qcf_crypto *crypto = NULL;
	struct qcowfmt_error *error = NULL;
	uint8_t sector[512] = { 0 };
	struct locked locked;

	locked_init(&locked, &luks_vectors[1]);
	ck_assert_int_eq(
		qcf_crypto_open(locked.image.storage, &locked.image.header,
	                        &locked.image.geometry, NULL, &crypto, NULL),
		0);
	qcf_crypto_describe(crypto, &info);
	ck_assert_uint_eq(info.struct_size, sizeof(info));
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_LUKS);
	ck_assert_int_eq(info.detached_header, 0);
	ck_assert_str_eq(info.cipher_alg, "aes-256");
	ck_assert_str_eq(info.cipher_mode, "cbc");
	ck_assert_str_eq(info.ivgen_alg, "essiv");
	ck_assert_str_eq(info.ivgen_hash_alg, "sha256");
	ck_assert_str_eq(info.hash_alg, "sha1");
	ck_assert_str_eq(info.uuid, "01234567-89ab-cdef-0123-456789abcdef");
	ck_assert_uint_eq(info.payload_offset, 2056 * 512);
	ck_assert_uint_eq(info.master_key_iterations, 10);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		ck_assert_int_eq(info.slots[i].active, i == 2 ? 1 : 0);
		ck_assert_uint_eq(info.slots[i].iterations, i == 2 ? 20 : 0);
		ck_assert_uint_eq(info.slots[i].stripes, 4000);
		ck_assert_uint_eq(info.slots[i].key_offset,
		                  (8 + i * 256) * 512);
	}
	ck_assert_int_eq(
		qcf_crypto_decrypt(crypto, sector, sector, 512, 0, 0, &error),
		-ENOKEY);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_NO_SECRET);
	qcowfmt_error_free(error);
	qcf_crypto_free(crypto);
	locked_fini(&locked);
}

END_TEST

/* ----------------------------------------------------------------- key of 24 */

/* 187.5 sectors of key material: read as 188. */
START_TEST(keys_of_24_bytes_open)
{
	struct luks_vector v = luks_vectors[1];
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	struct qcf_secret_source source = { .secret = VECTOR_SECRET,
		                            .secret_len =
		                                    strlen(VECTOR_SECRET) };
	struct qcf_crypto *crypto = NULL;
	struct locked locked;

	v.key_len = 24;
	locked_init(&locked, &v);
	ck_assert_uint_eq(qcf_luks_material_len(24), 188 * 512);
	ck_assert_uint_eq(locked.area.len, 0xc1000);
	ck_assert_int_eq(
		qcf_crypto_open(locked.image.storage, &locked.image.header,
	                        &locked.image.geometry, &source, &crypto, NULL),
		0);
	qcf_crypto_describe(crypto, &info);
	ck_assert_str_eq(info.cipher_alg, "aes-192");
	qcf_crypto_free(crypto);
	locked_fini(&locked);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, wrong_secrets_are_rejected, 0, 4);
	tcase_add_test(tcase, without_a_secret_there_is_none);
	tcase_add_test(tcase, secrets_have_a_greatest_length);
	tcase_add_loop_test(tcase, callbacks_are_asked_once, 0,
	                    (int)QCF_ARRAY_LEN(answers));
	tcase_add_test(tcase, nobody_is_asked_about_a_damaged_header);
	tcase_add_test(tcase, endless_iterations_are_refused);
	tcase_add_test(tcase, a_slot_with_too_many_iterations_hides_no_other);
	tcase_add_test(tcase, the_limit_can_be_chosen);
	tcase_add_test(tcase, no_active_slot_opens_nothing);
	tcase_add_test(tcase, locked_images_are_described_and_not_decrypted);
	tcase_add_test(tcase, keys_of_24_bytes_open);
}

int main(void)
{
	return unit_run("secrets_are_told_apart", add_tests);
}
