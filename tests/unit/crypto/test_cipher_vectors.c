/* SPDX-License-Identifier: MIT */
/*
 * Promise: ciphers, IV generators, key derivation, splitter and the legacy AES
 * encryption give the bytes of published vectors.
 */
#include "crypto_test.h"

static struct qcf_cipher *cipher_of(const char *mode, const char *ivgen,
                                    const char *hash, size_t key_len)
{
	struct qcf_cipher_spec spec = { "aes", mode, ivgen, hash, key_len };
	struct qcf_cipher *cipher = NULL;
	uint8_t key[QCF_MAX_CIPHER_KEY];

	count_up(key, sizeof(key));
	ck_assert_ptr_null(qcf_cipher_refusal(&spec));
	ck_assert_int_eq(qcf_cipher_new(&spec, key, &cipher, NULL), 0);
	return cipher;
}

static const struct {
	const char *mode;
	const char *ivgen;
	const char *hash;
	size_t key_len;
	uint64_t sector;
	const char *first;
} sectors[] = {
	{ "xts", "plain64", NULL, 32, 1,
	  "a8ce33a288a211258599d867beceaf25af22ac0c12e00c7d57fe1dcd3273c74b" },
	{ "xts", "plain64", NULL, 64, 0x1280,
	  "10d3cc486cc504d07ba69e3b3ba0347eb1464fb7e935b1c7a7c9dae7ea2a4e51" },
	{ "cbc", "plain64", NULL, 16, 1,
	  "e37cd363dd7c87a09aff0e3e60e09c824c2a00ebf9374a6ea4784775870112fb" },
	{ "cbc", "essiv", "sha256", 16, 1,
	  "fe58062f6a4a8afefc6fa80c447ff6d3c05214a34adabb8ab0828a34b6f76b6e" },
	{ "ctr", "plain64", NULL, 16, 1,
	  "e37cd363dd7c87a09aff0e3e60e09c827fe6e7fa6b07ff190da174c7d7c9f362" },
};

START_TEST(sectors_of_zeros)
{
	struct qcf_cipher *cipher =
		cipher_of(sectors[_i].mode, sectors[_i].ivgen, sectors[_i].hash,
	                  sectors[_i].key_len);
	uint8_t bytes[512] = { 0 };

	ck_assert_int_eq(qcf_cipher_encrypt(cipher, bytes, bytes, sizeof(bytes),
	                                    sectors[_i].sector, NULL),
	                 0);
	assert_hex(bytes, sectors[_i].first);
	qcf_cipher_free(cipher);
}

END_TEST

/* CBC of zeros begins with the IV encrypted as by ECB. */
static void check_essiv(size_t key_len, uint64_t sector, const char *iv)
{
	struct qcf_cipher *cbc = cipher_of("cbc", "essiv", "sha256", key_len);
	struct qcf_cipher *ecb = cipher_of("ecb", "plain64", NULL, key_len);
	uint8_t zeros[512] = { 0 };
	uint8_t block[512] = { 0 };

	ck_assert_int_eq(qcf_cipher_encrypt(cbc, zeros, zeros, sizeof(zeros),
	                                    sector, NULL),
	                 0);
	from_hex(iv, block);
	ck_assert_int_eq(
		qcf_cipher_encrypt(ecb, block, block, sizeof(block), 0, NULL),
		0);
	ck_assert_mem_eq(zeros, block, 16);
	qcf_cipher_free(cbc);
	qcf_cipher_free(ecb);
}

START_TEST(essiv_ivs)
{
	check_essiv(16, 1, "c10509c8cf7d6eee55d7205db7845a6f");
	check_essiv(32, 0x1280, "d2d30095f827d378db3d290ea3624667");
}

END_TEST

START_TEST(plain_wraps_and_plain64_does_not)
{
	struct qcf_cipher *plain = cipher_of("xts", "plain", NULL, 64);
	struct qcf_cipher *plain64 = cipher_of("xts", "plain64", NULL, 64);
	const uint64_t far = (UINT64_C(1) << 32) + 7;
	uint8_t out[3][512] = { 0 };

	ck_assert_int_eq(
		qcf_cipher_encrypt(plain, out[0], out[0], 512, 7, NULL), 0);
	ck_assert_int_eq(
		qcf_cipher_encrypt(plain, out[1], out[1], 512, far, NULL), 0);
	ck_assert_int_eq(
		qcf_cipher_encrypt(plain64, out[2], out[2], 512, far, NULL), 0);
	ck_assert_mem_eq(out[0], out[1], 512);
	ck_assert_mem_ne(out[0], out[2], 512);
	qcf_cipher_free(plain);
	qcf_cipher_free(plain64);
}

END_TEST

/* Batches of IVs do not show, nor where a run of sectors begins. */
START_TEST(many_sectors_are_as_one_by_one)
{
	const char *modes[] = { "ecb", "cbc", "xts", "ctr" };
	struct qcf_cipher *cipher = cipher_of(modes[_i], "essiv", "sha256", 32);
	static uint8_t in[100 * 512];
	static uint8_t all[100 * 512];
	uint8_t one[512];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + i / 512);
	ck_assert_int_eq(
		qcf_cipher_encrypt(cipher, in, all, sizeof(in), 1000, NULL), 0);
	for (size_t i = 0; i < 100; i++) {
		ck_assert_int_eq(qcf_cipher_encrypt(cipher, in + i * 512, one,
		                                    512, 1000 + i, NULL),
		                 0);
		ck_assert_mem_eq(one, all + i * 512, 512);
	}
	ck_assert_int_eq(
		qcf_cipher_decrypt(cipher, all, all, sizeof(all), 1000, NULL),
		0);
	ck_assert_mem_eq(all, in, sizeof(in));
	qcf_cipher_free(cipher);
}

END_TEST

static void check_kdf(const char *hash, const char *want)
{
	uint8_t salt[32];
	uint8_t key[16];
	struct qcf_kdf kdf = { hash, salt, sizeof(salt), 2 };

	memset(salt, 0x22, sizeof(salt));
	ck_assert_int_eq(qcf_kdf_derive(&kdf, "correct horse", 13, key,
	                                sizeof(key), NULL),
	                 0);
	assert_hex(key, want);
}

START_TEST(keys_derive)
{
	check_kdf("sha1", "4d94c97bc59c23ed7df8e16061e2196f");
	check_kdf("sha256", "b0dd4fc23c20677062881afdfe3b5e7c");
	check_kdf("sha512", "e36619fcf88b76ef5705b484a5162474");
}

END_TEST

static const struct {
	const char *hash;
	size_t key_len;
	size_t stripes;
	const char *last;
} splits[] = {
	{ "sha1", 16, 4, "a69d46d9ce969d30e63928db060ab134" },
	{ "sha256", 16, 4, "b31596fa5f97cbe978bc49e992619870" },
	{ "sha1", 40, 3,
	  "2f23d0c7e26d28243a500135be8172fce1240689c1d028d78bbc57b25d8418f6"
	  "faf2b6172dc101d2" },
	{ "sha256", 40, 3,
	  "495ec6cc7a28b8f2a928841300b21ccfc02f35207764ba2c79d2ff7285ee89b7"
	  "6db69fb20afc03d7" },
};

START_TEST(keys_split_and_merge)
{
	uint8_t material[4 * 40];
	uint8_t key[40];
	uint8_t back[40];
	size_t key_len = splits[_i].key_len;
	size_t stripes = splits[_i].stripes;

	count_up(key, sizeof(key));
	for (size_t i = 0; i < stripes; i++)
		memset(material + i * key_len, (int)i, key_len);
	ck_assert_int_eq(qcf_af_split(splits[_i].hash, key, key_len, stripes,
	                              material, NULL),
	                 0);
	assert_hex(material + (stripes - 1) * key_len, splits[_i].last);
	ck_assert_int_eq(qcf_af_merge(splits[_i].hash, material, key_len,
	                              stripes, back, NULL),
	                 0);
	ck_assert_mem_eq(back, key, key_len);
}

END_TEST

static const struct {
	const char *hash;
	size_t len;
	const char *want;
} diffusions[] = {
	{ "sha1", 16, "9cc7b1978058e5ad6dc4c6dfc630a8e0" },
	{ "sha256", 16, "d143db285bf2503ea8bebdc9e2502781" },
	{ "sha1", 40,
	  "84e066de1e0d3544386085dd64a6451af137c6f0763ce0597e836252b480a8de"
	  "10feea6c299aadfc" },
	{ "sha256", 40,
	  "bff51a6d513395979e3a870c8483769a5a70002e6e32c146c53e1d2edc467002"
	  "9168dfa0b824fbae" },
};

/* Of two stripes and a key of zeros the last one is the first one diffused. */
START_TEST(stripes_diffuse)
{
	static const uint8_t zeros[40];
	uint8_t material[80];
	size_t len = diffusions[_i].len;

	count_up(material, len);
	ck_assert_int_eq(qcf_af_split(diffusions[_i].hash, zeros, len, 2,
	                              material, NULL),
	                 0);
	assert_hex(material + len, diffusions[_i].want);
}

END_TEST

static const struct {
	const char *secret;
	uint64_t sector;
	uint8_t byte;
	const char *first;
	const char *sha256; /* NULL: not known */
} legacy[] = {
	{ "123456", 16, 0x41, "194c3ee1c4381c6c2ea2a5a15e952216",
	  "7f044c2c131d2daa0edfe093ed7031fe466ea4ac3a044aaefc7b3dc028fa3d91" },
	{ "123456", 17, 0x41, "e3105fe476dae2e9a6a2e420cf0562c1",
	  "77fe79d0221a12412df233b064a57024dfed44b3067caf10593df7889b031181" },
	{ "123456", 17, 0x00, "e7af43fa8642855e5ac2e755d1165fca", NULL },
	{ "123456", 18, 0x00, "d68662cbd682da7e3ee44e0118dd91b1",
	  "69de60253344cb81622f9ff02ae09036c9e8b0cfe273d145b605983d4eb6e782" },
	{ "abcdefghijklmnopqrstuvwxyz", 0, 0x00,
	  "f5657e278d0afad7c848b965898c31df68f55460e85cf2e83f2864b3351bd589",
	  NULL },
	{ "abcdefghijklmnop", 0, 0x00,
	  "f5657e278d0afad7c848b965898c31df68f55460e85cf2e83f2864b3351bd589",
	  NULL },
};

START_TEST(legacy_aes)
{
	struct test_image image;
	struct qcf_crypto *crypto = NULL;
	uint8_t plain[512];
	uint8_t sealed[512];

	test_image_init(&image, QCOWFMT_ENCRYPTION_AES, NULL, 0);
	ck_assert_int_eq(
		test_image_unlock(&image, legacy[_i].secret, &crypto, NULL), 0);
	memset(plain, legacy[_i].byte, sizeof(plain));
	/* It goes by the guest offset, wherever the data is stored. */
	ck_assert_int_eq(qcf_crypto_encrypt(crypto, plain, sealed, 512,
	                                    legacy[_i].sector * 512, 0x123400,
	                                    NULL),
	                 0);
	assert_hex(sealed, legacy[_i].first);
	if (legacy[_i].sha256 != NULL)
		assert_sha256(sealed, 512, legacy[_i].sha256);
	ck_assert_int_eq(qcf_crypto_decrypt(crypto, sealed, sealed, 512,
	                                    legacy[_i].sector * 512, 0, NULL),
	                 0);
	ck_assert_mem_eq(sealed, plain, 512);
	qcf_crypto_free(crypto);
	test_image_fini(&image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, sectors_of_zeros, 0,
	                    (int)QCF_ARRAY_LEN(sectors));
	tcase_add_test(tcase, essiv_ivs);
	tcase_add_test(tcase, plain_wraps_and_plain64_does_not);
	tcase_add_loop_test(tcase, many_sectors_are_as_one_by_one, 0, 4);
	tcase_add_test(tcase, keys_derive);
	tcase_add_loop_test(tcase, keys_split_and_merge, 0,
	                    (int)QCF_ARRAY_LEN(splits));
	tcase_add_loop_test(tcase, stripes_diffuse, 0,
	                    (int)QCF_ARRAY_LEN(diffusions));
	tcase_add_loop_test(tcase, legacy_aes, 0, (int)QCF_ARRAY_LEN(legacy));
}

int main(void)
{
	return unit_run("cipher_vectors", add_tests);
}
