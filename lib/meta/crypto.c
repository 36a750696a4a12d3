/* SPDX-License-Identifier: MIT */
/*
 * crypto.c - open and unlock the encryption of an image, and use it
 *
 * What the header says is checked before a secret is asked for, so a damaged
 * image is told apart from a wrong secret.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "check_id.h"
#include "checked.h"
#include "crypto_state.h"

/* AES: the passphrase itself, cut or padded with zeros. */
#define AES_KEY_LEN 16u

#define EXTENSION_LEN 16u /* u64 offset, u64 length */

/* --------------------------------------------------------------------- area */

static bool read_pointer(const struct qcf_header *h, uint64_t *host_offset,
                         uint64_t *len)
{
	const struct qcf_extension *ext =
		qcf_header_extension(h, QCF_EXT_ENCRYPTION);
	struct qcf_reader reader;

	if (h->crypt_method != QCOWFMT_ENCRYPTION_LUKS || ext == NULL ||
	    ext->len != EXTENSION_LEN)
		return false;
	reader = qcf_reader_init(ext->data, ext->len);
	*host_offset = qcf_read_u64(&reader);
	*len = qcf_read_u64(&reader);
	return true;
}

void qcf_crypto_area(const struct qcf_header *h, uint64_t *host_offset,
                     uint64_t *len)
{
	*host_offset = 0;
	*len = 0;
	(void)read_pointer(h, host_offset, len);
}

static int find_area(struct qcf_crypto *crypto, struct qcowfmt_storage *storage,
                     const struct qcf_header *h, const struct qcf_geometry *g,
                     struct qcowfmt_error **errp)
{
	uint64_t offset;
	uint64_t len;
	uint64_t file_size;
	int ret;

	if (!read_pointer(h, &offset, &len))
		return qcf_corruptf(
			errp, QCF_CHECK_LUKS_AREA, QCOWFMT_NO_OFFSET,
			"want a header extension of %u bytes", EXTENSION_LEN);
	ret = qcf_storage_get_size(storage, &file_size, errp);
	if (ret < 0)
		return ret;
	if (offset == 0 || !qcf_is_aligned(offset, g->cluster_size) ||
	    !qcf_range_within(offset, len,
	                      qcf_align_up(file_size, g->cluster_size)))
		return qcf_corruptf(errp, QCF_CHECK_LUKS_AREA, offset,
		                    "have %" PRIu64
		                    " bytes, want a multiple of %" PRIu64
		                    " inside the file",
		                    len, g->cluster_size);
	crypto->area_offset = offset;
	crypto->area_len = len;
	return 0;
}

static void name_cipher(struct qcf_crypto *crypto)
{
	const struct qcf_luks_header *h = &crypto->header;
	uint32_t keys = strcmp(h->cipher_mode, "xts") == 0 ? 2 : 1;

	snprintf(crypto->cipher_alg, sizeof(crypto->cipher_alg), "%s-%" PRIu32,
	         h->cipher, h->key_len * 8 / keys);
}

static int read_header(struct qcf_crypto *crypto,
                       struct qcowfmt_storage *storage,
                       struct qcowfmt_error **errp)
{
	uint8_t bytes[QCF_LUKS_HEADER_LEN];
	int64_t got = qcf_storage_pread_padded(storage, bytes, sizeof(bytes),
	                                       crypto->area_offset, errp);
	int ret;

	if (got < 0)
		return (int)got;
	ret = qcf_luks_header_decode(&crypto->header, bytes, (size_t)got,
	                             crypto->area_len, crypto->area_offset,
	                             errp);
	if (ret == 0)
		name_cipher(crypto);
	return ret;
}

int qcf_crypto_read_material(struct qcf_crypto *crypto,
                             struct qcowfmt_storage *storage, uint32_t index,
                             uint8_t **material, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *bytes = NULL;
	size_t len = qcf_luks_material_len(crypto->header.key_len);
	uint64_t at = (uint64_t)crypto->header.slots[index].key_sector *
	              QCF_LUKS_SECTOR;
	int64_t got;

	bytes = malloc(len);
	if (bytes == NULL)
		return qcf_fail_oom(errp);
	got = qcf_storage_pread_padded(storage, bytes, len,
	                               crypto->area_offset + at, errp);
	if (got < 0)
		return (int)got;
	*material = qcf_take(&bytes);
	return 0;
}

/* ------------------------------------------------------------------- secret */

static int no_secret(struct qcowfmt_error **errp)
{
	return qcf_fail(errp, ENOKEY, QCOWFMT_ERR_NO_SECRET,
	                "the image is encrypted and there is no secret for it");
}

static int ask_secret(const struct qcf_crypto *crypto,
                      const struct qcf_secret_source *source,
                      struct qcf_secret *secret, struct qcowfmt_error **errp)
{
	struct qcowfmt_secret_request request = {
		.struct_size = sizeof(request),
		.encryption = (int32_t)crypto->method,
		.depth = source->depth,
		.name = source->name,
	};
	int ret = qcf_secret_init(secret, QCOWFMT_MAX_SECRET, errp);
	int64_t got;

	if (ret < 0)
		return ret;
	got = source->callback(source->opaque, &request, secret->bytes,
	                       secret->len);
	if (got == -ENOKEY)
		return no_secret(errp);
	if (got < 0 && got >= -INT32_MAX)
		return qcf_fail_sys(errp, (int)-got, "asking for the secret");
	if (got < 0 || got > QCOWFMT_MAX_SECRET)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the secret callback returned %" PRId64
		                ", want at most %d",
		                got, QCOWFMT_MAX_SECRET);
	secret->len = (size_t)got;
	return 0;
}

static int get_secret(const struct qcf_crypto *crypto,
                      const struct qcf_secret_source *source,
                      struct qcf_secret *secret, struct qcowfmt_error **errp)
{
	if (source->secret == NULL)
		return source->callback == NULL
		               ? no_secret(errp)
		               : ask_secret(crypto, source, secret, errp);
	if (source->secret_len > QCOWFMT_MAX_SECRET)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the secret has %zu bytes, want at most %d",
		                source->secret_len, QCOWFMT_MAX_SECRET);
	return qcf_secret_copy(secret, source->secret, source->secret_len,
	                       errp);
}

/* ------------------------------------------------------------------- unlock */

static int unlock_aes(struct qcf_crypto *crypto,
                      const struct qcf_secret_source *source,
                      struct qcowfmt_error **errp)
{
	static const struct qcf_cipher_spec spec = { "aes", "cbc", "plain64",
		                                     NULL, AES_KEY_LEN };
	QCF_AUTO_SECRET struct qcf_secret secret = { 0 };
	QCF_AUTO_SECRET struct qcf_secret key = { 0 };
	int ret = get_secret(crypto, source, &secret, errp);

	if (ret == 0)
		ret = qcf_secret_init(&key, AES_KEY_LEN, errp);
	if (ret < 0)
		return ret;
	memcpy(key.bytes, secret.bytes, QCF_MIN(secret.len, key.len));
	return qcf_cipher_new(&spec, key.bytes, &crypto->cipher, errp);
}

static int check_iterations(const struct qcf_crypto *crypto, uint32_t index,
                            struct qcowfmt_error **errp)
{
	uint32_t slot = crypto->header.slots[index].iterations;
	uint32_t digest = crypto->header.digest_iterations;

	if (QCF_MAX(slot, digest) <= crypto->max_iterations)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_LIMIT,
	                "trying LUKS key slot %" PRIu32 " takes %" PRIu32
	                " iterations and %" PRIu32
	                " for the master key, at most %" PRIu32 " are allowed",
	                index, slot, digest, crypto->max_iterations);
}

int qcf_crypto_try_slot(struct qcf_crypto *crypto,
                        struct qcowfmt_storage *storage, uint32_t index,
                        const struct qcf_passphrase *passphrase,
                        uint8_t *master_key, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *material = NULL;
	int ret = check_iterations(crypto, index, errp);

	if (ret == 0)
		ret = qcf_crypto_read_material(crypto, storage, index,
		                               &material, errp);
	if (ret == 0)
		ret = qcf_luks_open_slot(&crypto->header, index, passphrase,
		                         material, master_key, errp);
	return ret;
}

/*
 * A slot that would take too long is passed over: another one may open.  If
 * none does, it is the reason.
 */
static int open_any_slot(struct qcf_crypto *crypto,
                         struct qcowfmt_storage *storage,
                         const struct qcf_passphrase *passphrase,
                         struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *limit = NULL;
	bool limited = false;

	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		int ret;

		if (!crypto->header.slots[i].active)
			continue;
		if (check_iterations(crypto, i, &limit) < 0) {
			limited = true;
			continue;
		}
		ret = qcf_crypto_try_slot(crypto, storage, i, passphrase,
		                          crypto->master_key.bytes, errp);
		if (ret != 0)
			return QCF_MIN(ret, 0);
	}
	if (limited) {
		qcf_error_move(errp, qcf_take(&limit));
		return -EINVAL;
	}
	return qcf_fail(errp, EKEYREJECTED, QCOWFMT_ERR_WRONG_SECRET,
	                "the secret opens no key slot");
}

static int unlock_luks(struct qcf_crypto *crypto,
                       struct qcowfmt_storage *storage,
                       const struct qcf_secret_source *source,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_SECRET struct qcf_secret secret = { 0 };
	struct qcf_passphrase passphrase;
	struct qcf_cipher_spec spec = qcf_luks_spec(&crypto->header);
	int ret = qcf_luks_check_supported(&crypto->header, errp);

	if (ret == 0)
		ret = get_secret(crypto, source, &secret, errp);
	if (ret == 0)
		ret = qcf_secret_init(&crypto->master_key,
		                      crypto->header.key_len, errp);
	if (ret < 0)
		return ret;
	passphrase = (struct qcf_passphrase){ secret.bytes, secret.len };
	ret = open_any_slot(crypto, storage, &passphrase, errp);
	if (ret == 0)
		ret = qcf_cipher_new(&spec, crypto->master_key.bytes,
		                     &crypto->cipher, errp);
	return ret;
}

/* --------------------------------------------------------------------- open */

static int open_luks(struct qcf_crypto *crypto, struct qcowfmt_storage *storage,
                     const struct qcf_header *h, const struct qcf_geometry *g,
                     const struct qcf_secret_source *source,
                     struct qcowfmt_error **errp)
{
	int ret = find_area(crypto, storage, h, g, errp);

	if (ret == 0)
		ret = read_header(crypto, storage, errp);
	if (ret == 0 && source != NULL)
		ret = unlock_luks(crypto, storage, source, errp);
	return ret;
}

static int open_method(struct qcf_crypto *crypto,
                       struct qcowfmt_storage *storage,
                       const struct qcf_header *h, const struct qcf_geometry *g,
                       const struct qcf_secret_source *source,
                       struct qcowfmt_error **errp)
{
	switch (h->crypt_method) {
	case QCOWFMT_ENCRYPTION_AES:
		return source == NULL ? 0 : unlock_aes(crypto, source, errp);
	case QCOWFMT_ENCRYPTION_LUKS:
		return open_luks(crypto, storage, h, g, source, errp);
	default:
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "encryption method %" PRIu32
		                " is not supported",
		                h->crypt_method);
	}
}

int qcf_crypto_open(struct qcowfmt_storage *storage, const struct qcf_header *h,
                    const struct qcf_geometry *g,
                    const struct qcf_secret_source *source,
                    struct qcf_crypto **out, struct qcowfmt_error **errp)
{
	struct qcf_crypto *crypto = calloc(1, sizeof(*crypto));
	int ret;

	if (crypto == NULL)
		return qcf_fail_oom(errp);
	crypto->method = h->crypt_method;
	crypto->max_iterations = source == NULL || source->max_iterations == 0
	                                 ? QCF_DEFAULT_MAX_ITERATIONS
	                                 : source->max_iterations;
	qcf_mutex_init(&crypto->keys_lock, QCF_RANK_KEYS);
	qcf_mutex_init(&crypto->slots_lock, QCF_RANK_KEY_SLOTS);
	ret = open_method(crypto, storage, h, g, source, errp);
	if (ret < 0)
		qcf_crypto_free(crypto);
	else
		*out = crypto;
	return ret;
}

void qcf_crypto_free(struct qcf_crypto *crypto)
{
	if (crypto == NULL)
		return;
	qcf_cipher_free(crypto->cipher);
	qcf_secret_fini(&crypto->master_key);
	qcf_mutex_fini(&crypto->slots_lock);
	qcf_mutex_fini(&crypto->keys_lock);
	free(crypto);
}

/* ---------------------------------------------------------------------- use */

/* AES goes by where the guest sees the data, LUKS by where it is stored. */
static int first_sector(const struct qcf_crypto *crypto, size_t len,
                        uint64_t guest_offset, uint64_t host_offset,
                        uint64_t *sector, struct qcowfmt_error **errp)
{
	uint64_t offset = crypto->method == QCOWFMT_ENCRYPTION_AES
	                          ? guest_offset
	                          : host_offset;

	if (crypto->cipher == NULL)
		return no_secret(errp);
	if (!qcf_is_aligned(offset | len, QCF_SECTOR_SIZE))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%zu encrypted bytes at offset 0x%" PRIx64
		                " are not whole sectors",
		                len, offset);
	*sector = offset / QCF_SECTOR_SIZE;
	return 0;
}

int qcf_crypto_encrypt(struct qcf_crypto *crypto, const void *in, void *out,
                       size_t len, uint64_t guest_offset, uint64_t host_offset,
                       struct qcowfmt_error **errp)
{
	uint64_t sector = 0;
	int ret = first_sector(crypto, len, guest_offset, host_offset, &sector,
	                       errp);

	return ret < 0 ? ret
	               : qcf_cipher_encrypt(crypto->cipher, in, out, len,
	                                    sector, errp);
}

int qcf_crypto_decrypt(struct qcf_crypto *crypto, const void *in, void *out,
                       size_t len, uint64_t guest_offset, uint64_t host_offset,
                       struct qcowfmt_error **errp)
{
	uint64_t sector = 0;
	int ret = first_sector(crypto, len, guest_offset, host_offset, &sector,
	                       errp);

	return ret < 0 ? ret
	               : qcf_cipher_decrypt(crypto->cipher, in, out, len,
	                                    sector, errp);
}

/* ----------------------------------------------------------------- describe */

static void describe_slots(struct qcf_crypto *crypto,
                           struct qcowfmt_key_slot *out)
{
	QCF_GUARD(&crypto->slots_lock);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		const struct qcf_luks_slot *slot = &crypto->header.slots[i];

		out[i] = (struct qcowfmt_key_slot){
			.active = slot->active ? 1 : 0,
			.iterations = slot->active ? slot->iterations : 0,
			.stripes = slot->stripes,
			.key_offset =
				(uint64_t)slot->key_sector * QCF_LUKS_SECTOR,
		};
	}
}

void qcf_crypto_describe(struct qcf_crypto *crypto,
                         struct qcowfmt_encryption_info *info)
{
	const struct qcf_luks_header *h = &crypto->header;

	*info = (struct qcowfmt_encryption_info){
		.struct_size = info->struct_size,
		.encryption = (int32_t)crypto->method,
	};
	if (crypto->method != QCOWFMT_ENCRYPTION_LUKS)
		return;
	info->detached_header = h->payload_sector == 0 ? 1 : 0;
	info->cipher_alg = crypto->cipher_alg;
	info->cipher_mode = h->cipher_mode;
	info->ivgen_alg = h->ivgen;
	/* Other generators ignore a hash that is named. */
	if (strcmp(h->ivgen, "essiv") == 0 && h->ivgen_hash[0] != '\0')
		info->ivgen_hash_alg = h->ivgen_hash;
	info->hash_alg = h->hash;
	info->uuid = h->uuid;
	info->payload_offset = (uint64_t)h->payload_sector * QCF_LUKS_SECTOR;
	info->master_key_iterations = h->digest_iterations;
	describe_slots(crypto, info->slots);
}
