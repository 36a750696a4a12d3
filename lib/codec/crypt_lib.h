/* SPDX-License-Identifier: MIT */
/*
 * crypt_lib.h - what all cryptography here needs from outside
 *
 * Ciphers, hashes and key derivation are libgcrypt's; random bytes are the
 * kernel's.
 */
#ifndef QCF_CRYPT_LIB_H
#define QCF_CRYPT_LIB_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Long enough for the digest of any hash in the table. */
#define QCF_MAX_DIGEST_LEN 64u

/*
 * Make libgcrypt ready, once in the life of the process and whichever thread
 * comes first.  An application that has initialised it keeps its settings.
 */
int qcf_crypt_lib_init(struct qcowfmt_error **errp);

/* libgcrypt's number of a hash by its name, or 0 if this build lacks it. */
int qcf_hash_algo(const char *name);
size_t qcf_hash_len(int algo);

/* digest has qcf_hash_len() bytes.  gcry_md_hash_buffer() cannot fail: for some
 * hashes it ends the process if there is no memory. */
int qcf_hash_bytes(int algo, const void *bytes, size_t len, uint8_t *digest,
                   struct qcowfmt_error **errp);

/* Raise the error of a libgcrypt call; returns the negative errno. */
int qcf_crypt_fail(struct qcowfmt_error **errp, unsigned int gcrypt_error,
                   const char *doing);

/* Random bytes fit for keys. */
int qcf_random_bytes(void *bytes, size_t len, struct qcowfmt_error **errp);

#endif
