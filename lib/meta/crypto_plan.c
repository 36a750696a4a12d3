/* SPDX-License-Identifier: MIT */
/*
 * crypto_plan.c - the encryption of an image that is being created
 *
 * Names are checked one by one, so that an error can say what would be right,
 * and then whether they go together.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crypt_lib.h"
#include "crypto.h"
#include "crypto_luks.h"
#include "secret.h"

/* The master key is as good as random, so recognising it needs fewer. */
#define DIGEST_ITERATION_SHARE 8u
#define MIN_DIGEST_ITERATIONS  1000u

static const struct {
	const char *name;
	const char *family;
	uint32_t key_len;
} algs[] = {
	{ "aes-128", "aes", 16 },         { "aes-192", "aes", 24 },
	{ "aes-256", "aes", 32 },         { "serpent-128", "serpent", 16 },
	{ "serpent-192", "serpent", 24 }, { "serpent-256", "serpent", 32 },
	{ "twofish-128", "twofish", 16 }, { "twofish-192", "twofish", 24 },
	{ "twofish-256", "twofish", 32 }, { "cast5-128", "cast5", 16 },
};

static const char *const modes[] = { "ecb", "cbc", "xts", "ctr" };
static const char *const ivgens[] = { "plain", "plain64", "essiv" };
static const char *const hashes[] = { "md5",    "sha1",   "sha224",   "sha256",
	                              "sha384", "sha512", "ripemd160" };

/* The options with defaults filled in. */
struct choice {
	const char *alg;
	const char *mode;
	const char *ivgen;
	const char *ivgen_hash; /* NULL = none */
	const char *hash;
};

static struct choice choose(const struct qcowfmt_encryption_options *options)
{
	struct choice choice = {
		options->cipher_alg, options->cipher_mode,
		options->ivgen_alg,  options->ivgen_hash_alg,
		options->hash_alg,
	};

	if (choice.alg == NULL)
		choice.alg = "aes-256";
	if (choice.mode == NULL)
		choice.mode = "xts";
	if (choice.ivgen == NULL)
		choice.ivgen = "plain64";
	if (choice.ivgen_hash == NULL && strcmp(choice.ivgen, "essiv") == 0)
		choice.ivgen_hash = "sha256";
	if (choice.hash == NULL)
		choice.hash = "sha256";
	return choice;
}

/* ------------------------------------------------------------------- checks */

static int check_name(const char *option, const char *name,
                      const char *const *names, size_t count,
                      struct qcowfmt_error **errp)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0)
			return 0;
	}
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s '%s' is not known",
	                option, name);
}

static int check_names(const struct choice *choice, struct qcowfmt_error **errp)
{
	int ret = check_name("cipher mode", choice->mode, modes,
	                     QCF_ARRAY_LEN(modes), errp);

	if (ret == 0)
		ret = check_name("IV generator", choice->ivgen, ivgens,
		                 QCF_ARRAY_LEN(ivgens), errp);
	if (ret == 0 && choice->ivgen_hash != NULL)
		ret = check_name("IV generator hash", choice->ivgen_hash,
		                 hashes, QCF_ARRAY_LEN(hashes), errp);
	if (ret == 0)
		ret = check_name("hash", choice->hash, hashes,
		                 QCF_ARRAY_LEN(hashes), errp);
	return ret;
}

/* Set the names and the key length of a header. */
static int set_names(struct qcf_luks_header *h, const struct choice *choice,
                     struct qcowfmt_error **errp)
{
	uint32_t keys = strcmp(choice->mode, "xts") == 0 ? 2 : 1;
	int ret = check_names(choice, errp);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < QCF_ARRAY_LEN(algs); i++) {
		if (strcmp(choice->alg, algs[i].name) != 0)
			continue;
		snprintf(h->cipher, sizeof(h->cipher), "%s", algs[i].family);
		h->key_len = algs[i].key_len * keys;
	}
	if (h->key_len == 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "cipher '%s' is not known", choice->alg);
	snprintf(h->hash, sizeof(h->hash), "%s", choice->hash);
	if (!qcf_luks_header_set_mode(h, choice->mode, choice->ivgen,
	                              choice->ivgen_hash))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "cipher mode, IV generator and hash are too "
		                "long together");
	return 0;
}

/*
 * A key of 24 bytes gives key material that is no whole number of sectors;
 * other software fails on that.
 */
static int set_cipher(struct qcf_luks_header *h, const struct choice *choice,
                      struct qcowfmt_error **errp)
{
	int ret = set_names(h, choice, errp);

	if (ret == 0 && h->key_len == 24)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "cipher %s with mode %s is not supported: "
		                "with 192 bits only xts is",
		                choice->alg, choice->mode);
	return ret < 0 ? ret : qcf_luks_check_supported(h, errp);
}

static int check_secret(const struct qcowfmt_encryption_options *options,
                        struct qcowfmt_error **errp)
{
	if (options->secret == NULL)
		return qcf_fail(errp, ENOKEY, QCOWFMT_ERR_NO_SECRET,
		                "an encrypted image needs a secret");
	if (options->secret_len > QCOWFMT_MAX_SECRET)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the secret has %zu bytes, want at most %d",
		                options->secret_len, QCOWFMT_MAX_SECRET);
	return 0;
}

static int check_aes(const struct qcowfmt_encryption_options *options,
                     struct qcowfmt_error **errp)
{
	if (options->cipher_alg == NULL && options->cipher_mode == NULL &&
	    options->ivgen_alg == NULL && options->ivgen_hash_alg == NULL &&
	    options->hash_alg == NULL && options->iter_time_ms == 0)
		return 0;
	return qcf_fail(
		errp, EINVAL, QCOWFMT_ERR_USAGE,
		"AES encryption has no cipher, mode, IV generator, hash "
		"or iteration time to choose");
}

int qcf_crypto_check_options(const struct qcowfmt_encryption_options *options,
                             struct qcowfmt_error **errp)
{
	struct qcf_luks_header h = { 0 };
	struct choice choice = choose(options);
	int ret;

	switch (options->encryption) {
	case QCOWFMT_ENCRYPTION_AES:
		ret = check_aes(options, errp);
		break;
	case QCOWFMT_ENCRYPTION_LUKS:
		ret = set_cipher(&h, &choice, errp);
		break;
	default:
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "encryption %" PRId32 " is not known",
		                options->encryption);
	}
	return ret < 0 ? ret : check_secret(options, errp);
}

/* --------------------------------------------------------------------- plan */

/* A random UUID: version 4, variant 1. */
static int make_uuid(char *text, size_t size, struct qcowfmt_error **errp)
{
	uint8_t b[16] = { 0 };
	int ret = qcf_random_bytes(b, sizeof(b), errp);

	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(text, size,
	         "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
	         "%02x%02x%02x%02x%02x%02x",
	         b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
	         b[10], b[11], b[12], b[13], b[14], b[15]);
	return ret;
}

static int make_slot(struct qcf_luks_header *h,
                     const struct qcowfmt_encryption_options *options,
                     const struct qcf_secret *master_key, uint8_t *area,
                     struct qcowfmt_error **errp)
{
	struct qcf_passphrase passphrase = { options->secret,
		                             options->secret_len };
	struct qcf_luks_seal how = { options->iter_time_ms,
		                     QCF_DEFAULT_MAX_ITERATIONS };
	uint64_t at = (uint64_t)h->slots[0].key_sector * QCF_LUKS_SECTOR;

	return qcf_luks_seal_slot(h, &passphrase, &how, master_key->bytes,
	                          &h->slots[0], area + at, errp);
}

static int fill_area(struct qcf_luks_header *h,
                     const struct qcowfmt_encryption_options *options,
                     uint8_t *area, struct qcowfmt_error **errp)
{
	QCF_AUTO_SECRET struct qcf_secret master_key = { 0 };
	int ret = qcf_secret_init(&master_key, h->key_len, errp);

	if (ret == 0)
		ret = qcf_random_bytes(master_key.bytes, master_key.len, errp);
	if (ret == 0)
		ret = qcf_random_bytes(h->digest_salt, sizeof(h->digest_salt),
		                       errp);
	if (ret == 0)
		ret = make_uuid(h->uuid, sizeof(h->uuid), errp);
	if (ret == 0)
		ret = make_slot(h, options, &master_key, area, errp);
	if (ret < 0)
		return ret;
	h->digest_iterations =
		QCF_MAX(h->slots[0].iterations / DIGEST_ITERATION_SHARE,
	                MIN_DIGEST_ITERATIONS);
	ret = qcf_luks_digest(h, master_key.bytes, h->digest, errp);
	if (ret == 0)
		qcf_luks_header_encode(h, area);
	return ret;
}

int qcf_crypto_area_size(const struct qcowfmt_encryption_options *options,
                         uint64_t *len, struct qcowfmt_error **errp)
{
	struct qcf_luks_header h = { 0 };
	struct choice choice = choose(options);
	int ret;

	*len = 0;
	if (options->encryption != QCOWFMT_ENCRYPTION_LUKS)
		return 0;
	ret = set_cipher(&h, &choice, errp);
	if (ret < 0)
		return ret;
	qcf_luks_header_lay_out(&h);
	*len = (uint64_t)h.payload_sector * QCF_LUKS_SECTOR;
	return 0;
}

static int plan_luks(struct qcf_crypto_plan *plan,
                     const struct qcowfmt_encryption_options *options,
                     struct qcowfmt_error **errp)
{
	struct qcf_luks_header h = { 0 };
	struct choice choice = choose(options);
	int ret = set_cipher(&h, &choice, errp);

	if (ret < 0)
		return ret;
	qcf_luks_header_lay_out(&h);
	plan->area_len = (size_t)h.payload_sector * QCF_LUKS_SECTOR;
	plan->area = calloc(1, plan->area_len);
	if (plan->area == NULL)
		return qcf_fail_oom(errp);
	return fill_area(&h, options, plan->area, errp);
}

int qcf_crypto_plan_init(struct qcf_crypto_plan *plan,
                         const struct qcowfmt_encryption_options *options,
                         struct qcowfmt_error **errp)
{
	int ret = qcf_crypto_check_options(options, errp);

	*plan = (struct qcf_crypto_plan){ 0 };
	if (ret < 0)
		return ret;
	plan->method = (uint32_t)options->encryption;
	if (plan->method == QCOWFMT_ENCRYPTION_LUKS)
		ret = plan_luks(plan, options, errp);
	if (ret < 0)
		qcf_crypto_plan_fini(plan);
	return ret;
}

void qcf_crypto_plan_fini(struct qcf_crypto_plan *plan)
{
	free(plan->area);
	*plan = (struct qcf_crypto_plan){ 0 };
}
