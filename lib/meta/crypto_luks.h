/* SPDX-License-Identifier: MIT */
/*
 * crypto_luks.h - keys in and out of the slots of a LUKS header
 *
 * A slot keeps the master key, split over stripes and encrypted with a key that
 * is derived from a passphrase.  No I/O here: key material comes and goes as
 * bytes.
 */
#ifndef QCF_CRYPTO_LUKS_H
#define QCF_CRYPTO_LUKS_H

#include "cipher.h"
#include "luks_header.h"

struct qcf_passphrase {
	const void *bytes; /* not NULL */
	size_t len;
};

/* What a header says the cipher is; strings belong to the header. */
struct qcf_cipher_spec qcf_luks_spec(const struct qcf_luks_header *h);

/* -ENOTSUP if this build lacks what a header names. */
int qcf_luks_check_supported(const struct qcf_luks_header *h,
                             struct qcowfmt_error **errp);

/*
 * Try a passphrase on a slot whose key material is given.  Returns 1 and the
 * master key, of h->key_len bytes, if it fits; 0 if not.
 */
int qcf_luks_open_slot(const struct qcf_luks_header *h, uint32_t index,
                       const struct qcf_passphrase *passphrase,
                       const uint8_t *material, uint8_t *master_key,
                       struct qcowfmt_error **errp);

/*
 * Make salt, iterations and key material of a slot for a passphrase that takes
 * about iter_time_ms to try (0 = 2000).  LIMIT if that is more than
 * max_iterations.  key_sector and stripes of the slot stay.
 */
struct qcf_luks_seal {
	uint32_t iter_time_ms;
	uint32_t max_iterations;
};

int qcf_luks_seal_slot(const struct qcf_luks_header *h,
                       const struct qcf_passphrase *passphrase,
                       const struct qcf_luks_seal *how,
                       const uint8_t *master_key, struct qcf_luks_slot *slot,
                       uint8_t *material, struct qcowfmt_error **errp);

/* The digest by which a master key is recognised. */
int qcf_luks_digest(const struct qcf_luks_header *h, const uint8_t *master_key,
                    uint8_t digest[QCF_LUKS_DIGEST_LEN],
                    struct qcowfmt_error **errp);

#endif
