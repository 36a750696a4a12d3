/* SPDX-License-Identifier: MIT */
/*
 * Promise: an encryption option acts or is refused by name, and what is made
 * from good ones opens with the secret it was made with.
 */
#include "crypto_test.h"

static struct qcowfmt_encryption_options luks(void)
{
	return (struct qcowfmt_encryption_options){
		.struct_size = sizeof(struct qcowfmt_encryption_options),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = "open",
		.secret_len = 4,
	};
}

/* Both the check and the plan refuse, with the same error. */
static void refused(const struct qcowfmt_encryption_options *options, int err,
                    int code, const char *word)
{
	struct qcf_crypto_plan plan;
	struct qcowfmt_error *error = NULL;

	ck_assert_int_eq(qcf_crypto_check_options(options, &error), -err);
	ck_assert_int_eq(qcowfmt_error_code(error), code);
	ck_assert_msg(strstr(qcowfmt_error_message(error), word) != NULL,
	              "'%s' does not say '%s'", qcowfmt_error_message(error),
	              word);
	qcowfmt_error_free(error);
	ck_assert_int_eq(qcf_crypto_plan_init(&plan, options, NULL), -err);
}

START_TEST(unknown_names_are_refused)
{
	struct qcowfmt_encryption_options o = luks();

	o.cipher_alg = "des";
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "'des'");
	o = luks();
	o.cipher_alg = "aes";
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "'aes'");
	o = luks();
	o.cipher_mode = "gcm";
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "'gcm'");
	o = luks();
	o.ivgen_alg = "";
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "IV generator");
	o = luks();
	o.ivgen_hash_alg = "sha257";
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "'sha257'");
	o = luks();
	o.hash_alg = "sha-256";
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "'sha-256'");
	o = luks();
	o.encryption = 3;
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "3");
	o.encryption = QCOWFMT_ENCRYPTION_NONE;
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "0");
}

END_TEST

START_TEST(names_that_do_not_go_together_are_refused)
{
	static const struct {
		const char *alg;
		const char *mode;
		const char *ivgen;
		const char *ivgen_hash;
		const char *word;
	} rows[] = {
		{ "aes-192", "cbc", NULL, NULL, "aes-192" },
		{ "serpent-192", "ctr", NULL, NULL, "serpent-192" },
		{ "twofish-192", "ecb", NULL, NULL, "twofish-192" },
		{ "twofish-192", "xts", NULL, NULL, "twofish" },
		{ "cast5-128", "xts", NULL, NULL, "xts" },
		{ "cast5-128", "cbc", "essiv", NULL, "essiv" },
		{ "aes-256", "cbc", "essiv", "sha1", "essiv:sha1" },
		{ "aes-256", "cbc", "essiv", "sha512", "essiv:sha512" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcowfmt_encryption_options o = luks();

		o.cipher_alg = rows[i].alg;
		o.cipher_mode = rows[i].mode;
		o.ivgen_alg = rows[i].ivgen;
		o.ivgen_hash_alg = rows[i].ivgen_hash;
		refused(&o, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, rows[i].word);
	}
}

END_TEST

START_TEST(a_secret_is_needed)
{
	static const char text[QCOWFMT_MAX_SECRET + 1];
	struct qcowfmt_encryption_options o = luks();

	o.secret = NULL;
	refused(&o, ENOKEY, QCOWFMT_ERR_NO_SECRET, "secret");
	o.secret = text;
	o.secret_len = sizeof(text);
	refused(&o, EINVAL, QCOWFMT_ERR_USAGE, "secret");
	o = (struct qcowfmt_encryption_options){
		.encryption = QCOWFMT_ENCRYPTION_AES
	};
	refused(&o, ENOKEY, QCOWFMT_ERR_NO_SECRET, "secret");
}

END_TEST

START_TEST(legacy_aes_has_nothing_to_choose)
{
	struct qcowfmt_encryption_options o[6];
	struct qcf_crypto_plan plan;

	for (size_t i = 0; i < 6; i++)
		o[i] = (struct qcowfmt_encryption_options){
			.encryption = QCOWFMT_ENCRYPTION_AES,
			.secret = "",
		};
	ck_assert_int_eq(qcf_crypto_plan_init(&plan, &o[0], NULL), 0);
	ck_assert_uint_eq(plan.method, QCOWFMT_ENCRYPTION_AES);
	ck_assert_uint_eq(plan.area_len, 0);
	ck_assert_ptr_null(plan.area);
	qcf_crypto_plan_fini(&plan);
	o[0].cipher_alg = "aes-128";
	o[1].cipher_mode = "cbc";
	o[2].ivgen_alg = "plain64";
	o[3].ivgen_hash_alg = "sha256";
	o[4].hash_alg = "sha256";
	o[5].iter_time_ms = 1;
	for (size_t i = 0; i < 6; i++)
		refused(&o[i], EINVAL, QCOWFMT_ERR_USAGE, "AES");
}

END_TEST

/* ------------------------------------------------------------------- areas */

static void open_plan(const struct qcf_crypto_plan *plan, const char *secret,
                      struct test_image *image, struct qcf_crypto **crypto)
{
	test_image_init(image, plan->method, plan->area, plan->area_len);
	ck_assert_int_eq(test_image_unlock(image, secret, crypto, NULL), 0);
}

START_TEST(defaults_are_the_documented_ones)
{
	struct qcowfmt_encryption_options o = luks();
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	struct qcf_crypto_plan plan;
	struct qcf_crypto *crypto = NULL;
	struct test_image image;

	ck_assert_int_eq(qcf_crypto_plan_init(&plan, &o, NULL), 0);
	ck_assert_uint_eq(plan.area_len, 0x1f9000);
	open_plan(&plan, "open", &image, &crypto);
	qcf_crypto_describe(crypto, &info);
	ck_assert_str_eq(info.cipher_alg, "aes-256");
	ck_assert_str_eq(info.cipher_mode, "xts");
	ck_assert_str_eq(info.ivgen_alg, "plain64");
	ck_assert_ptr_null(info.ivgen_hash_alg);
	ck_assert_str_eq(info.hash_alg, "sha256");
	ck_assert_uint_eq(info.payload_offset, plan.area_len);
	ck_assert_uint_ge(info.slots[0].iterations, QCF_MIN_ITERATIONS);
	ck_assert_uint_ge(info.master_key_iterations, QCF_MIN_ITERATIONS);
	ck_assert_uint_eq(strlen(info.uuid), 36);
	ck_assert_int_eq(info.uuid[14], '4');
	qcf_crypto_free(crypto);
	test_image_fini(&image);
	qcf_crypto_plan_fini(&plan);
}

END_TEST

static const struct {
	const char *alg;
	const char *mode;
	size_t area_len;
} lengths[] = {
	{ "aes-128", "cbc", 0x81000 },      { "cast5-128", "ecb", 0x81000 },
	{ "aes-256", "ctr", 0x101000 },     { "aes-128", "xts", 0x101000 },
	{ "serpent-192", "xts", 0x179000 }, { "twofish-256", "xts", 0x1f9000 },
};

START_TEST(areas_are_as_long_as_the_key_asks)
{
	struct qcowfmt_encryption_options o = luks();
	struct qcf_crypto_plan plan;
	struct qcf_crypto *crypto = NULL;
	struct test_image image;

	o.cipher_alg = lengths[_i].alg;
	o.cipher_mode = lengths[_i].mode;
	ck_assert_int_eq(qcf_crypto_plan_init(&plan, &o, NULL), 0);
	ck_assert_uint_eq(plan.area_len, lengths[_i].area_len);
	open_plan(&plan, "open", &image, &crypto);
	qcf_crypto_free(crypto);
	test_image_fini(&image);
	qcf_crypto_plan_fini(&plan);
}

END_TEST

/* Nothing of two areas is alike but names and layout. */
START_TEST(areas_are_random)
{
	struct qcowfmt_encryption_options o = luks();
	struct qcf_crypto_plan plans[2];
	struct qcf_luks_header h[2];

	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(qcf_crypto_plan_init(&plans[i], &o, NULL), 0);
		ck_assert_int_eq(qcf_luks_header_decode(&h[i], plans[i].area,
		                                        plans[i].area_len,
		                                        plans[i].area_len, 0,
		                                        NULL),
		                 0);
	}
	ck_assert_mem_ne(h[0].digest, h[1].digest, sizeof(h[0].digest));
	ck_assert_mem_ne(h[0].digest_salt, h[1].digest_salt,
	                 sizeof(h[0].digest_salt));
	ck_assert_mem_ne(h[0].slots[0].salt, h[1].slots[0].salt,
	                 sizeof(h[0].slots[0].salt));
	ck_assert_str_ne(h[0].uuid, h[1].uuid);
	ck_assert_mem_ne(plans[0].area + 4096, plans[1].area + 4096, 256000);
	qcf_crypto_plan_fini(&plans[0]);
	qcf_crypto_plan_fini(&plans[1]);
}

END_TEST

START_TEST(longer_times_take_more_iterations)
{
	uint64_t few = 0;
	uint64_t many = 0;

	ck_assert_int_eq(qcf_kdf_calibrate("sha256", 64, 20, &few, NULL), 0);
	ck_assert_int_eq(qcf_kdf_calibrate("sha256", 64, 2000, &many, NULL), 0);
	/* Any machine does these in the time given, none so many. */
	ck_assert_uint_ge(few, QCF_MIN_ITERATIONS);
	ck_assert_uint_gt(many, 20 * few);
	ck_assert_uint_lt(many, QCF_DEFAULT_MAX_ITERATIONS);
	ck_assert_int_eq(qcf_kdf_calibrate("sha256", 64, 0, &few, NULL), 0);
	ck_assert_uint_eq(few, QCF_MIN_ITERATIONS);
}

END_TEST

/* What would be too much to open is not made. */
START_TEST(endless_times_are_refused)
{
	struct qcowfmt_encryption_options o = luks();
	struct qcf_crypto_plan plan;
	struct qcowfmt_error *error = NULL;

	o.iter_time_ms = UINT32_MAX;
	ck_assert_int_eq(qcf_crypto_plan_init(&plan, &o, &error), -EINVAL);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_LIMIT);
	ck_assert_ptr_null(plan.area);
	qcowfmt_error_free(error);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, unknown_names_are_refused);
	tcase_add_test(tcase, names_that_do_not_go_together_are_refused);
	tcase_add_test(tcase, a_secret_is_needed);
	tcase_add_test(tcase, legacy_aes_has_nothing_to_choose);
	tcase_add_test(tcase, defaults_are_the_documented_ones);
	tcase_add_loop_test(tcase, areas_are_as_long_as_the_key_asks, 0,
	                    (int)QCF_ARRAY_LEN(lengths));
	tcase_add_test(tcase, areas_are_random);
	tcase_add_test(tcase, longer_times_take_more_iterations);
	tcase_add_test(tcase, endless_times_are_refused);
}

int main(void)
{
	return unit_run("encryption_options", add_tests);
}
