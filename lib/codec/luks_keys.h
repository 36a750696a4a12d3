/* SPDX-License-Identifier: MIT */
/*
 * luks_keys.h - passphrases to keys, and keys spread over stripes
 *
 * The anti-forensic splitter stores a key as stripes of its length, all of
 * which are needed to get it back: losing any part of them destroys the key.
 *
 * hash is a name that qcf_hash_algo() knows.
 */
#ifndef QCF_LUKS_KEYS_H
#define QCF_LUKS_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* No fewer iterations are ever written, however slow the machine. */
#define QCF_MIN_ITERATIONS 1000u

struct qcf_kdf {
	const char *hash;
	const uint8_t *salt;
	size_t salt_len;
	uint32_t iterations; /* not 0 */
};

/* PBKDF2 with HMAC. */
int qcf_kdf_derive(const struct qcf_kdf *kdf, const void *secret,
                   size_t secret_len, uint8_t *key, size_t key_len,
                   struct qcowfmt_error **errp);

/*
 * How many iterations make deriving a key of key_len bytes take time_ms of
 * this processor; at least QCF_MIN_ITERATIONS.
 */
int qcf_kdf_calibrate(const char *hash, size_t key_len, uint32_t time_ms,
                      uint64_t *iterations, struct qcowfmt_error **errp);

/*
 * material is stripes * key_len bytes.  To split, all stripes but the last
 * have been filled with random bytes; the last one is set so that merging gives
 * the key.
 */
int qcf_af_split(const char *hash, const uint8_t *key, size_t key_len,
                 size_t stripes, uint8_t *material,
                 struct qcowfmt_error **errp);
int qcf_af_merge(const char *hash, const uint8_t *material, size_t key_len,
                 size_t stripes, uint8_t *key, struct qcowfmt_error **errp);

#endif
