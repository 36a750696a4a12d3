/* SPDX-License-Identifier: MIT */
/*
 * luks_keys.c - key derivation and the anti-forensic splitter
 *
 * With stripes s[0] ... s[n-1] of a key K:
 *
 *   d[0]   = diffuse(s[0])
 *   d[i]   = diffuse(d[i-1] ^ s[i])
 *   s[n-1] = d[n-2] ^ K
 *
 * diffuse() cuts a stripe into pieces of the digest's length, the last of which
 * may be shorter, and replaces piece i by as much as fits of the hash of i, as
 * a big-endian word, and the piece.
 */
#include <endian.h>
#include <gcrypt.h>
#include <string.h>
#include <time.h>

#include "crypt_lib.h"
#include "luks_keys.h"
#include "secret.h"

/* A measurement is good enough once it took this long, or this many
 * iterations, which no machine does in less than a few milliseconds. */
#define MEASURE_NS         (UINT64_C(50) * 1000 * 1000)
#define MEASURE_ITERATIONS (UINT32_C(1) << 22)

#define NS_PER_MS (UINT64_C(1000) * 1000)

int qcf_kdf_derive(const struct qcf_kdf *kdf, const void *secret,
                   size_t secret_len, uint8_t *key, size_t key_len,
                   struct qcowfmt_error **errp)
{
	gcry_error_t error;
	int ret = qcf_crypt_lib_init(errp);

	if (ret < 0)
		return ret;
	error = gcry_kdf_derive(secret, secret_len, GCRY_KDF_PBKDF2,
	                        qcf_hash_algo(kdf->hash), kdf->salt,
	                        kdf->salt_len, kdf->iterations, key_len, key);
	return error == 0 ? 0 : qcf_crypt_fail(errp, error, "deriving a key");
}

/* Time of this thread only: waiting for the processor does not count. */
static uint64_t now_ns(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

int qcf_kdf_calibrate(const char *hash, size_t key_len, uint32_t time_ms,
                      uint64_t *iterations, struct qcowfmt_error **errp)
{
	static const uint8_t salt[32];
	uint64_t enough = QCF_MIN(MEASURE_NS, time_ms * NS_PER_MS / 4);
	struct qcf_kdf kdf = { hash, salt, sizeof(salt), QCF_MIN_ITERATIONS };
	uint8_t key[QCF_MAX_DIGEST_LEN];
	uint64_t taken;

	if (key_len > sizeof(key))
		key_len = sizeof(key);
	for (;; kdf.iterations *= 2) {
		uint64_t start = now_ns();
		int ret = qcf_kdf_derive(&kdf, "", 0, key, key_len, errp);

		if (ret < 0)
			return ret;
		taken = QCF_MAX(now_ns() - start, UINT64_C(1));
		if (taken >= enough || kdf.iterations >= MEASURE_ITERATIONS)
			break;
	}
	/* Below 2^23 iterations and 2^52 ns: per millisecond first, so that
	 * nothing overflows. */
	*iterations = QCF_MAX(kdf.iterations * NS_PER_MS / taken * time_ms,
	                      (uint64_t)QCF_MIN_ITERATIONS);
	return 0;
}

static void diffuse(gcry_md_hd_t md, size_t digest_len, uint8_t *stripe,
                    size_t len)
{
	uint32_t number = 0;

	for (size_t at = 0; at < len; at += digest_len) {
		size_t piece_len = QCF_MIN(digest_len, len - at);
		uint32_t be = htobe32(number++);

		gcry_md_reset(md);
		gcry_md_write(md, &be, sizeof(be));
		gcry_md_write(md, stripe + at, piece_len);
		memcpy(stripe + at, gcry_md_read(md, 0), piece_len);
	}
}

static void xor_into(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] ^= from[i];
}

/* d[n-2] for n stripes. */
static int diffuse_all(const char *hash, const uint8_t *material,
                       size_t key_len, size_t stripes, uint8_t *d,
                       struct qcowfmt_error **errp)
{
	int algo = qcf_hash_algo(hash);
	gcry_md_hd_t md;
	gcry_error_t error = gcry_md_open(&md, algo, 0);

	if (error != 0)
		return qcf_crypt_fail(errp, error, "opening a hash");
	memset(d, 0, key_len);
	for (size_t i = 0; i + 1 < stripes; i++) {
		xor_into(d, material + i * key_len, key_len);
		diffuse(md, qcf_hash_len(algo), d, key_len);
	}
	gcry_md_close(md);
	return 0;
}

int qcf_af_split(const char *hash, const uint8_t *key, size_t key_len,
                 size_t stripes, uint8_t *material, struct qcowfmt_error **errp)
{
	uint8_t *last = material + (stripes - 1) * key_len;
	int ret = diffuse_all(hash, material, key_len, stripes, last, errp);

	if (ret == 0)
		xor_into(last, key, key_len);
	return ret;
}

int qcf_af_merge(const char *hash, const uint8_t *material, size_t key_len,
                 size_t stripes, uint8_t *key, struct qcowfmt_error **errp)
{
	int ret = diffuse_all(hash, material, key_len, stripes, key, errp);

	if (ret == 0)
		xor_into(key, material + (stripes - 1) * key_len, key_len);
	return ret;
}
