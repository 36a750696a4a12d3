/* SPDX-License-Identifier: MIT */
/*
 * crypto.h - how the guest data of one image is encrypted
 *
 * AES (legacy) takes its IV from the guest offset, LUKS from the host offset.
 * Callers give both and need not know.  The unit is the sector of 512 bytes.
 *
 * Encrypting and decrypting may be done by any number of threads at once.
 */
#ifndef QCF_CRYPTO_H
#define QCF_CRYPTO_H

#include "geometry.h"
#include "header.h"
#include "poison.h"
#include "storage.h"

/*
 * A key derivation that asks for more iterations is refused, unless the caller
 * allows more: the count comes from the image and costs processor time.  One
 * that takes the usual two seconds has 4 to 16 million on a fast machine of
 * today, so this is about 10 to 30 seconds for each slot.
 */
#define QCF_DEFAULT_MAX_ITERATIONS (UINT32_C(1) << 26)

struct qcf_crypto;

/* Where the secret of an image comes from. */
struct qcf_secret_source {
	const void *secret; /* used if not NULL */
	size_t secret_len;
	qcowfmt_secret_callback callback; /* else asked, if not NULL */
	void *opaque;
	uint32_t depth;          /* of the image in the chain */
	const char *name;        /* of the image */
	uint32_t max_iterations; /* 0 = QCF_DEFAULT_MAX_ITERATIONS */
};

/*
 * Read the encryption header of an image with a crypt_method, and unlock it.
 * source NULL: read the header only; encrypting is not possible then.
 *
 * Errors: NO_SECRET (-ENOKEY), WRONG_SECRET (-EKEYREJECTED), CORRUPT for a
 * damaged header, UNSUPPORTED (-ENOTSUP) for an algorithm this build lacks,
 * LIMIT (-EINVAL) if only slots with too many iterations are left to try.
 */
int qcf_crypto_open(struct qcowfmt_storage *storage, const struct qcf_header *h,
                    const struct qcf_geometry *g,
                    const struct qcf_secret_source *source,
                    struct qcf_crypto **crypto, struct qcowfmt_error **errp);

/* Wipe the keys and free; NULL is allowed. */
void qcf_crypto_free(struct qcf_crypto *crypto);

/*
 * Encrypt or decrypt len bytes, whole sectors, that are at guest_offset and
 * host_offset.  out may be in.
 */
int qcf_crypto_encrypt(struct qcf_crypto *crypto, const void *in, void *out,
                       size_t len, uint64_t guest_offset, uint64_t host_offset,
                       struct qcowfmt_error **errp);
int qcf_crypto_decrypt(struct qcf_crypto *crypto, const void *in, void *out,
                       size_t len, uint64_t guest_offset, uint64_t host_offset,
                       struct qcowfmt_error **errp);

/* What the image says about its encryption; strings belong to crypto. */
void qcf_crypto_describe(struct qcf_crypto *crypto,
                         struct qcowfmt_encryption_info *info);

/* The LUKS area in the image file, for reference counting and overlap
 * protection: length 0 if there is none. */
void qcf_crypto_area(const struct qcf_header *h, uint64_t *host_offset,
                     uint64_t *len);

/* ------------------------------------------------------------------- create */

/* The encryption of an image that is being created. */
struct qcf_crypto_plan {
	uint32_t method; /* for the header: crypt_method */
	size_t area_len; /* LUKS: bytes, a multiple of 512; 0 for AES */
	uint8_t *area;   /* owned: what the area holds */
};

/* Check the options only; what fails here fails before any file changes. */
int qcf_crypto_check_options(const struct qcowfmt_encryption_options *options,
                             struct qcowfmt_error **errp);

/* How long the LUKS area will be; 0 for AES. */
int qcf_crypto_area_size(const struct qcowfmt_encryption_options *options,
                         uint64_t *len, struct qcowfmt_error **errp);

/* Make keys and headers.  Takes about as long as iter_time_ms says.  On failure
 * *plan needs no qcf_crypto_plan_fini(). */
int qcf_crypto_plan_init(struct qcf_crypto_plan *plan,
                         const struct qcowfmt_encryption_options *options,
                         struct qcowfmt_error **errp);
void qcf_crypto_plan_fini(struct qcf_crypto_plan *plan);

/* --------------------------------------------------------------------- keys */

/*
 * As qcowfmt_add_key() and qcowfmt_erase_key(), on an image whose storage is
 * writable.  Key changes wait for each other; encrypting and decrypting go on
 * meanwhile.  A failed flush poisons.
 */
int qcf_crypto_add_key(struct qcf_crypto *crypto,
                       struct qcowfmt_storage *storage,
                       struct qcf_poison *poison,
                       const struct qcowfmt_key_options *options,
                       struct qcowfmt_error **errp);
int qcf_crypto_erase_key(struct qcf_crypto *crypto,
                         struct qcowfmt_storage *storage,
                         struct qcf_poison *poison,
                         const struct qcowfmt_key_options *options,
                         struct qcowfmt_error **errp);

#endif
