/* SPDX-License-Identifier: MIT */
/*
 * cipher.c - sectors to and from ciphertext, by libgcrypt
 *
 * A libgcrypt handle holds an IV, so it serves one thread at a time.  A cipher
 * keeps idle handles; who finds none opens another, so nobody ever waits.
 *
 * The IV is set for each sector.  libgcrypt counts XTS data units up by itself,
 * which would be a little faster, but nothing promises that it always will.
 */
#include <endian.h>
#include <gcrypt.h>
#include <string.h>

#include "cipher.h"
#include "crypt_lib.h"
#include "lock.h"
#include "secret.h"

/* Handles beyond this are closed after use: as many threads are rarely busy
 * with one image. */
#define MAX_IDLE 16

#define MAX_BLOCK_LEN 16u

/* IVs made at once: ESSIV encrypts them in one call. */
#define IV_BATCH 32u

enum iv_kind {
	IV_PLAIN,
	IV_PLAIN64,
	IV_ESSIV,
};

struct family {
	const char *name;
	size_t block_len;

	struct {
		size_t key_len;
		int algo;
	} keys[3];
};

static const struct family families[] = {
	{ "aes",
	  16,
	  { { 16, GCRY_CIPHER_AES128 },
	    { 24, GCRY_CIPHER_AES192 },
	    { 32, GCRY_CIPHER_AES256 } } },
	{ "serpent",
	  16,
	  { { 16, GCRY_CIPHER_SERPENT128 },
	    { 24, GCRY_CIPHER_SERPENT192 },
	    { 32, GCRY_CIPHER_SERPENT256 } } },
	/* libgcrypt has no Twofish with 192 bits. */
	{ "twofish",
	  16,
	  { { 16, GCRY_CIPHER_TWOFISH128 }, { 32, GCRY_CIPHER_TWOFISH } } },
	{ "cast5", 8, { { 16, GCRY_CIPHER_CAST5 } } },
};

static const struct {
	const char *name;
	int mode;
} modes[] = {
	{ "ecb", GCRY_CIPHER_MODE_ECB },
	{ "cbc", GCRY_CIPHER_MODE_CBC },
	{ "xts", GCRY_CIPHER_MODE_XTS },
	{ "ctr", GCRY_CIPHER_MODE_CTR },
};

static const struct {
	const char *name;
	enum iv_kind kind;
} ivgens[] = {
	{ "plain", IV_PLAIN },
	{ "plain64", IV_PLAIN64 },
	{ "essiv", IV_ESSIV },
};

/* A spec in libgcrypt's numbers. */
struct recipe {
	int algo;
	int mode;
	size_t key_len;
	size_t block_len;
	enum iv_kind iv_kind;
	int iv_hash; /* essiv */
	int iv_algo; /* essiv */
};

struct handle {
	gcry_cipher_hd_t data;
	gcry_cipher_hd_t iv; /* essiv, else NULL */
};

struct qcf_cipher {
	struct recipe recipe;
	struct qcf_secret key;
	struct qcf_secret iv_key; /* essiv */

	/* guarded by lock */
	struct qcf_mutex lock;
	struct handle idle[MAX_IDLE];
	size_t idle_count;
};

/* -------------------------------------------------------------------- names */

static const struct family *find_family(const char *name)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(families); i++) {
		if (strcmp(name, families[i].name) == 0)
			return &families[i];
	}
	return NULL;
}

/* libgcrypt's number of a cipher with keys of a length, or 0. */
static int find_algo(const struct family *family, size_t key_len)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(family->keys); i++) {
		int algo = family->keys[i].algo;

		if (algo != 0 && family->keys[i].key_len == key_len)
			return gcry_cipher_test_algo(algo) == 0 ? algo : 0;
	}
	return 0;
}

static bool find_mode(const char *name, int *mode)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(modes); i++) {
		if (strcmp(name, modes[i].name) == 0) {
			*mode = modes[i].mode;
			return true;
		}
	}
	return false;
}

static bool find_ivgen(const char *name, enum iv_kind *kind)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(ivgens); i++) {
		if (strcmp(name, ivgens[i].name) == 0) {
			*kind = ivgens[i].kind;
			return true;
		}
	}
	return false;
}

/* The IV cipher is of the same family, its key as long as the digest. */
static const char *resolve_essiv(const struct qcf_cipher_spec *spec,
                                 const struct family *family,
                                 struct recipe *recipe)
{
	if (spec->hash == NULL)
		return "the IV generator essiv needs a hash";
	recipe->iv_hash = qcf_hash_algo(spec->hash);
	if (recipe->iv_hash == 0)
		return "the hash of the IV generator is not known";
	recipe->iv_algo = find_algo(family, qcf_hash_len(recipe->iv_hash));
	if (recipe->iv_algo == 0)
		return "the digest of the IV generator's hash is no key length "
		       "of the cipher";
	return NULL;
}

/* Returns why not, or NULL. */
static const char *resolve(const struct qcf_cipher_spec *spec,
                           struct recipe *recipe)
{
	const struct family *family = find_family(spec->family);
	size_t keys = 1;

	*recipe = (struct recipe){ .key_len = spec->key_len };
	if (family == NULL)
		return "the cipher is not known";
	if (!find_mode(spec->mode, &recipe->mode))
		return "the cipher mode is not known";
	if (!find_ivgen(spec->ivgen, &recipe->iv_kind))
		return "the IV generator is not known";
	if (recipe->mode == GCRY_CIPHER_MODE_XTS) {
		if (family->block_len != MAX_BLOCK_LEN)
			return "xts needs a cipher with blocks of 16 bytes";
		keys = 2;
	}
	recipe->block_len = family->block_len;
	if (spec->key_len % keys == 0)
		recipe->algo = find_algo(family, spec->key_len / keys);
	if (recipe->algo == 0)
		return "the cipher is not built in with keys of this length";
	return recipe->iv_kind == IV_ESSIV ? resolve_essiv(spec, family, recipe)
	                                   : NULL;
}

const char *qcf_cipher_refusal(const struct qcf_cipher_spec *spec)
{
	struct recipe recipe;

	if (qcf_crypt_lib_init(NULL) < 0)
		return "libgcrypt does not start";
	return resolve(spec, &recipe);
}

/* ------------------------------------------------------------------ handles */

static void handle_close(struct handle *handle)
{
	gcry_cipher_close(handle->data);
	gcry_cipher_close(handle->iv);
}

static gcry_error_t open_keyed(gcry_cipher_hd_t *out, int algo, int mode,
                               const struct qcf_secret *key)
{
	gcry_error_t error = gcry_cipher_open(out, algo, mode, 0);

	if (error == 0)
		error = gcry_cipher_setkey(*out, key->bytes, key->len);
	return error;
}

static int handle_open(const struct qcf_cipher *cipher, struct handle *handle,
                       struct qcowfmt_error **errp)
{
	const struct recipe *recipe = &cipher->recipe;
	gcry_error_t error;

	*handle = (struct handle){ 0 };
	error = open_keyed(&handle->data, recipe->algo, recipe->mode,
	                   &cipher->key);
	if (error == 0 && recipe->iv_kind == IV_ESSIV)
		error = open_keyed(&handle->iv, recipe->iv_algo,
		                   GCRY_CIPHER_MODE_ECB, &cipher->iv_key);
	if (error == 0)
		return 0;
	handle_close(handle);
	return qcf_crypt_fail(errp, error, "opening a cipher");
}

static int handle_take(struct qcf_cipher *cipher, struct handle *handle,
                       struct qcowfmt_error **errp)
{
	{
		QCF_GUARD(&cipher->lock);
		if (cipher->idle_count > 0) {
			*handle = cipher->idle[--cipher->idle_count];
			return 0;
		}
	}
	return handle_open(cipher, handle, errp);
}

static void handle_give(struct qcf_cipher *cipher, struct handle *handle)
{
	{
		QCF_GUARD(&cipher->lock);
		if (cipher->idle_count < MAX_IDLE) {
			cipher->idle[cipher->idle_count++] = *handle;
			return;
		}
	}
	handle_close(handle);
}

/* --------------------------------------------------------------- life cycle */

static int init_keys(struct qcf_cipher *cipher, const uint8_t *key,
                     struct qcowfmt_error **errp)
{
	const struct recipe *recipe = &cipher->recipe;
	int ret = qcf_secret_copy(&cipher->key, key, recipe->key_len, errp);

	if (ret < 0 || recipe->iv_kind != IV_ESSIV)
		return ret;
	ret = qcf_secret_init(&cipher->iv_key, qcf_hash_len(recipe->iv_hash),
	                      errp);
	if (ret < 0)
		return ret;
	return qcf_hash_bytes(recipe->iv_hash, cipher->key.bytes,
	                      cipher->key.len, cipher->iv_key.bytes, errp);
}

/* Opening the first handle here finds out what libgcrypt will not do. */
static int init_cipher(struct qcf_cipher *cipher, const uint8_t *key,
                       struct qcowfmt_error **errp)
{
	struct handle handle;
	int ret = init_keys(cipher, key, errp);

	if (ret == 0)
		ret = handle_take(cipher, &handle, errp);
	if (ret == 0)
		handle_give(cipher, &handle);
	return ret;
}

int qcf_cipher_new(const struct qcf_cipher_spec *spec, const uint8_t *key,
                   struct qcf_cipher **out, struct qcowfmt_error **errp)
{
	struct qcf_cipher *cipher;
	const char *refusal;
	int ret = qcf_crypt_lib_init(errp);

	if (ret < 0)
		return ret;
	refusal = qcf_cipher_refusal(spec);
	if (refusal != NULL)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "%s",
		                refusal);
	cipher = calloc(1, sizeof(*cipher));
	if (cipher == NULL)
		return qcf_fail_oom(errp);
	(void)resolve(spec, &cipher->recipe);
	qcf_mutex_init(&cipher->lock, QCF_RANK_CIPHER);
	ret = init_cipher(cipher, key, errp);
	if (ret < 0)
		qcf_cipher_free(cipher);
	else
		*out = cipher;
	return ret;
}

void qcf_cipher_free(struct qcf_cipher *cipher)
{
	if (cipher == NULL)
		return;
	while (cipher->idle_count > 0)
		handle_close(&cipher->idle[--cipher->idle_count]);
	qcf_mutex_fini(&cipher->lock);
	qcf_secret_fini(&cipher->iv_key);
	qcf_secret_fini(&cipher->key);
	free(cipher);
}

/* ------------------------------------------------------------------ sectors */

struct job {
	const struct recipe *recipe;
	const struct handle *handle;
	bool encrypt;
};

static gcry_error_t make_ivs(const struct job *job, uint64_t first_sector,
                             size_t count, uint8_t *ivs)
{
	size_t block_len = job->recipe->block_len;

	memset(ivs, 0, count * block_len);
	for (size_t i = 0; i < count; i++) {
		uint64_t sector = first_sector + i;
		uint64_t le;

		if (job->recipe->iv_kind == IV_PLAIN)
			sector &= UINT32_MAX;
		le = htole64(sector);
		memcpy(ivs + i * block_len, &le, sizeof(le));
	}
	if (job->recipe->iv_kind != IV_ESSIV)
		return 0;
	return gcry_cipher_encrypt(job->handle->iv, ivs, count * block_len,
	                           NULL, 0);
}

static gcry_error_t set_iv(const struct job *job, const uint8_t *iv)
{
	gcry_cipher_hd_t hd = job->handle->data;
	size_t len = job->recipe->block_len;

	if (job->recipe->mode == GCRY_CIPHER_MODE_ECB)
		return 0;
	return job->recipe->mode == GCRY_CIPHER_MODE_CTR
	               ? gcry_cipher_setctr(hd, iv, len)
	               : gcry_cipher_setiv(hd, iv, len);
}

/* libgcrypt wants to be told when it works in place. */
static gcry_error_t crypt_sector(const struct job *job, const uint8_t *in,
                                 uint8_t *out)
{
	gcry_cipher_hd_t hd = job->handle->data;
	size_t in_len = in == out ? 0 : QCF_CIPHER_SECTOR;

	if (in == out)
		in = NULL;
	return job->encrypt ? gcry_cipher_encrypt(hd, out, QCF_CIPHER_SECTOR,
	                                          in, in_len)
	                    : gcry_cipher_decrypt(hd, out, QCF_CIPHER_SECTOR,
	                                          in, in_len);
}

static gcry_error_t crypt_batch(const struct job *job, const uint8_t *in,
                                uint8_t *out, size_t count,
                                uint64_t first_sector)
{
	uint8_t ivs[IV_BATCH * MAX_BLOCK_LEN];
	gcry_error_t error = make_ivs(job, first_sector, count, ivs);

	for (size_t i = 0; error == 0 && i < count; i++) {
		size_t at = i * QCF_CIPHER_SECTOR;

		error = set_iv(job, ivs + i * job->recipe->block_len);
		if (error == 0)
			error = crypt_sector(job, in + at, out + at);
	}
	return error;
}

static int crypt_sectors(struct qcf_cipher *cipher, bool encrypt,
                         const uint8_t *in, uint8_t *out, size_t len,
                         uint64_t first_sector, struct qcowfmt_error **errp)
{
	size_t count = len / QCF_CIPHER_SECTOR;
	struct handle handle;
	struct job job = { &cipher->recipe, &handle, encrypt };
	gcry_error_t error = 0;
	int ret = handle_take(cipher, &handle, errp);

	if (ret < 0)
		return ret;
	for (size_t i = 0; error == 0 && i < count; i += IV_BATCH)
		error = crypt_batch(&job, in + i * QCF_CIPHER_SECTOR,
		                    out + i * QCF_CIPHER_SECTOR,
		                    QCF_MIN(count - i, (size_t)IV_BATCH),
		                    first_sector + i);
	handle_give(cipher, &handle);
	return error == 0
	               ? 0
	               : qcf_crypt_fail(errp, error,
	                                encrypt ? "encrypting" : "decrypting");
}

int qcf_cipher_encrypt(struct qcf_cipher *cipher, const void *in, void *out,
                       size_t len, uint64_t first_sector,
                       struct qcowfmt_error **errp)
{
	return crypt_sectors(cipher, true, in, out, len, first_sector, errp);
}

int qcf_cipher_decrypt(struct qcf_cipher *cipher, const void *in, void *out,
                       size_t len, uint64_t first_sector,
                       struct qcowfmt_error **errp)
{
	return crypt_sectors(cipher, false, in, out, len, first_sector, errp);
}
