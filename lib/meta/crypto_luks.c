/* SPDX-License-Identifier: MIT */
/* crypto_luks.c - keys in and out of the slots of a LUKS header */
#include <inttypes.h>
#include <string.h>

#include "crypt_lib.h"
#include "crypto_luks.h"
#include "luks_keys.h"
#include "secret.h"

#define DEFAULT_ITER_TIME_MS 2000u

struct qcf_cipher_spec qcf_luks_spec(const struct qcf_luks_header *h)
{
	return (struct qcf_cipher_spec){
		.family = h->cipher,
		.mode = h->cipher_mode,
		.ivgen = h->ivgen,
		.hash = h->ivgen_hash[0] == '\0' ? NULL : h->ivgen_hash,
		.key_len = h->key_len,
	};
}

int qcf_luks_check_supported(const struct qcf_luks_header *h,
                             struct qcowfmt_error **errp)
{
	struct qcf_cipher_spec spec = qcf_luks_spec(h);
	const char *refusal;
	int ret = qcf_crypt_lib_init(errp);

	if (ret < 0)
		return ret;
	refusal = qcf_cipher_refusal(&spec);
	if (refusal == NULL && qcf_hash_algo(h->hash) == 0)
		refusal = "the hash of the key slots is not known";
	if (refusal == NULL)
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "LUKS with cipher %s, mode %s, hash %s and a key of "
	                "%" PRIu32 " bytes is not supported: %s",
	                h->cipher, h->mode, h->hash, h->key_len, refusal);
}

/* The key that encrypts a slot's material. */
static int slot_key(const struct qcf_luks_header *h,
                    const struct qcf_luks_slot *slot,
                    const struct qcf_passphrase *passphrase,
                    struct qcf_secret *key, struct qcowfmt_error **errp)
{
	struct qcf_kdf kdf = { h->hash, slot->salt, sizeof(slot->salt),
		               slot->iterations };
	int ret = qcf_secret_init(key, h->key_len, errp);

	return ret < 0 ? ret
	               : qcf_kdf_derive(&kdf, passphrase->bytes,
	                                passphrase->len, key->bytes, key->len,
	                                errp);
}

int qcf_luks_digest(const struct qcf_luks_header *h, const uint8_t *master_key,
                    uint8_t digest[QCF_LUKS_DIGEST_LEN],
                    struct qcowfmt_error **errp)
{
	struct qcf_kdf kdf = { h->hash, h->digest_salt, sizeof(h->digest_salt),
		               h->digest_iterations };

	return qcf_kdf_derive(&kdf, master_key, h->key_len, digest,
	                      QCF_LUKS_DIGEST_LEN, errp);
}

static void auto_cipher_free(struct qcf_cipher **cipher)
{
	qcf_cipher_free(*cipher);
}

/* Decrypt key material and put the stripes together. */
static int recover(const struct qcf_luks_header *h,
                   const struct qcf_secret *key, const uint8_t *material,
                   uint8_t *master_key, struct qcowfmt_error **errp)
{
	QCF_CLEANUP(auto_cipher_free) struct qcf_cipher *cipher = NULL;
	QCF_AUTO_SECRET struct qcf_secret plain = { 0 };
	struct qcf_cipher_spec spec = qcf_luks_spec(h);
	int ret = qcf_secret_init(&plain, qcf_luks_material_len(h->key_len),
	                          errp);

	if (ret == 0)
		ret = qcf_cipher_new(&spec, key->bytes, &cipher, errp);
	if (ret == 0)
		ret = qcf_cipher_decrypt(cipher, material, plain.bytes,
		                         plain.len, 0, errp);
	if (ret == 0)
		ret = qcf_af_merge(h->hash, plain.bytes, h->key_len,
		                   QCF_LUKS_STRIPES, master_key, errp);
	return ret;
}

int qcf_luks_open_slot(const struct qcf_luks_header *h, uint32_t index,
                       const struct qcf_passphrase *passphrase,
                       const uint8_t *material, uint8_t *master_key,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_SECRET struct qcf_secret key = { 0 };
	uint8_t digest[QCF_LUKS_DIGEST_LEN];
	int ret = slot_key(h, &h->slots[index], passphrase, &key, errp);

	if (ret == 0)
		ret = recover(h, &key, material, master_key, errp);
	if (ret == 0)
		ret = qcf_luks_digest(h, master_key, digest, errp);
	if (ret < 0)
		return ret;
	return memcmp(digest, h->digest, sizeof(digest)) == 0 ? 1 : 0;
}

/* Split the master key over stripes and encrypt them. */
static int conceal(const struct qcf_luks_header *h,
                   const struct qcf_secret *key, const uint8_t *master_key,
                   uint8_t *material, struct qcowfmt_error **errp)
{
	QCF_CLEANUP(auto_cipher_free) struct qcf_cipher *cipher = NULL;
	QCF_AUTO_SECRET struct qcf_secret plain = { 0 };
	struct qcf_cipher_spec spec = qcf_luks_spec(h);
	int ret = qcf_secret_init(&plain, qcf_luks_material_len(h->key_len),
	                          errp);

	if (ret == 0)
		ret = qcf_random_bytes(plain.bytes, plain.len, errp);
	if (ret == 0)
		ret = qcf_af_split(h->hash, master_key, h->key_len,
		                   QCF_LUKS_STRIPES, plain.bytes, errp);
	if (ret == 0)
		ret = qcf_cipher_new(&spec, key->bytes, &cipher, errp);
	if (ret == 0)
		ret = qcf_cipher_encrypt(cipher, plain.bytes, material,
		                         plain.len, 0, errp);
	return ret;
}

static int calibrate(const struct qcf_luks_header *h,
                     const struct qcf_luks_seal *how,
                     struct qcf_luks_slot *slot, struct qcowfmt_error **errp)
{
	uint32_t time_ms = how->iter_time_ms == 0 ? DEFAULT_ITER_TIME_MS
	                                          : how->iter_time_ms;
	uint64_t iterations = 0;
	int ret = qcf_kdf_calibrate(h->hash, h->key_len, time_ms, &iterations,
	                            errp);

	if (ret < 0)
		return ret;
	if (iterations > how->max_iterations)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_LIMIT,
		                "an iteration time of %" PRIu32 " ms takes "
		                "%" PRIu64 " iterations here, at most %" PRIu32
		                " are allowed",
		                time_ms, iterations, how->max_iterations);
	slot->iterations = (uint32_t)iterations;
	return 0;
}

int qcf_luks_seal_slot(const struct qcf_luks_header *h,
                       const struct qcf_passphrase *passphrase,
                       const struct qcf_luks_seal *how,
                       const uint8_t *master_key, struct qcf_luks_slot *slot,
                       uint8_t *material, struct qcowfmt_error **errp)
{
	QCF_AUTO_SECRET struct qcf_secret key = { 0 };
	int ret = calibrate(h, how, slot, errp);

	slot->active = true;
	if (ret == 0)
		ret = qcf_random_bytes(slot->salt, sizeof(slot->salt), errp);
	if (ret == 0)
		ret = slot_key(h, slot, passphrase, &key, errp);
	if (ret == 0)
		ret = conceal(h, &key, master_key, material, errp);
	return ret;
}
