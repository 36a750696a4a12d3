/* SPDX-License-Identifier: MIT */
/*
 * cipher.h - sectors of 512 bytes to and from ciphertext
 *
 * Each sector stands for itself: its IV follows from its number.
 *
 *   plain    low 32 bits of the number, little endian, then zeros
 *   plain64  all 64 bits, likewise
 *   essiv    plain64, encrypted with the hash of the key
 *
 * Any number of threads may use one cipher at once.
 */
#ifndef QCF_CIPHER_H
#define QCF_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define QCF_CIPHER_SECTOR  512u
#define QCF_MAX_CIPHER_KEY 64u

/* A cipher by the names that LUKS gives it. */
struct qcf_cipher_spec {
	const char *family; /* "aes", "serpent", "twofish", "cast5" */
	const char *mode;   /* "ecb", "cbc", "xts", "ctr" */
	const char *ivgen;  /* "plain", "plain64", "essiv" */
	const char *hash;   /* of essiv; otherwise not looked at */
	size_t key_len;     /* bytes; two keys in one for xts */
};

struct qcf_cipher;

/* Why this build cannot do a cipher, in words; NULL if it can. */
const char *qcf_cipher_refusal(const struct qcf_cipher_spec *spec);

/* spec is one that is not refused.  The key, of spec->key_len, is copied. */
int qcf_cipher_new(const struct qcf_cipher_spec *spec, const uint8_t *key,
                   struct qcf_cipher **cipher, struct qcowfmt_error **errp);

/* Wipe the key and free; NULL is allowed.  No other call is running. */
void qcf_cipher_free(struct qcf_cipher *cipher);

/* Process whole sectors that follow each other.  out may be in. */
int qcf_cipher_encrypt(struct qcf_cipher *cipher, const void *in, void *out,
                       size_t len, uint64_t first_sector,
                       struct qcowfmt_error **errp);
int qcf_cipher_decrypt(struct qcf_cipher *cipher, const void *in, void *out,
                       size_t len, uint64_t first_sector,
                       struct qcowfmt_error **errp);

#endif
