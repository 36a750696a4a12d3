/* SPDX-License-Identifier: MIT */
/* crypto_state.h - what crypto.c and crypto_keys.c know of an encrypted image */
#ifndef QCF_CRYPTO_STATE_H
#define QCF_CRYPTO_STATE_H

#include "crypto.h"
#include "crypto_luks.h"
#include "lock.h"
#include "secret.h"

/* "twofish-256" and shorter */
#define QCF_CIPHER_ALG_LEN (QCF_LUKS_NAME_LEN + sizeof("-256"))

struct qcf_crypto {
	uint32_t method;           /* enum qcowfmt_encryption */
	struct qcf_cipher *cipher; /* NULL while locked */
	/* LUKS only */
	uint64_t area_offset;
	uint64_t area_len;
	uint32_t max_iterations;
	struct qcf_secret master_key; /* unlocked: of header.key_len bytes */
	char cipher_alg[QCF_CIPHER_ALG_LEN];
	struct qcf_luks_header header; /* only its slots ever change */

	/* one change of the slots at a time */
	struct qcf_mutex keys_lock;

	/* guards header.slots; who holds keys_lock may read without it */
	struct qcf_mutex slots_lock;
};

/* The key material of a slot, which the caller frees. */
int qcf_crypto_read_material(struct qcf_crypto *crypto,
                             struct qcowfmt_storage *storage, uint32_t index,
                             uint8_t **material, struct qcowfmt_error **errp);

/*
 * Try a passphrase on an active slot.  Returns 1 and the master key if it fits,
 * 0 if not; LIMIT if that would take too many iterations.
 */
int qcf_crypto_try_slot(struct qcf_crypto *crypto,
                        struct qcowfmt_storage *storage, uint32_t index,
                        const struct qcf_passphrase *passphrase,
                        uint8_t *master_key, struct qcowfmt_error **errp);

#endif
