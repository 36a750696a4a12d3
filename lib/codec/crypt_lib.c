/* SPDX-License-Identifier: MIT */
/*
 * crypt_lib.c - libgcrypt made ready, hashes by name, random bytes
 *
 * libgcrypt has one state for the whole process.  If the application has begun
 * to set it up, finishing is its business; otherwise we do it, without secure
 * memory: its pool is small and fixed, and keys have qcf_secret.
 *
 * Random bytes come from getrandom(), because libgcrypt's generator ends the
 * process when it cannot get any.
 */
#include <gcrypt.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include "crypt_lib.h"

#define OLDEST_GCRYPT "1.8.0"

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static bool init_done;

static void init_gcrypt(void)
{
	bool begun = gcry_control(GCRYCTL_ANY_INITIALIZATION_P) != 0;

	if (gcry_check_version(OLDEST_GCRYPT) == NULL)
		return;
	if (!begun) {
		gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
		gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	}
	init_done = true;
}

int qcf_crypt_lib_init(struct qcowfmt_error **errp)
{
	pthread_once(&init_once, init_gcrypt);
	if (init_done)
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "libgcrypt is older than " OLDEST_GCRYPT);
}

static const struct {
	const char *name;
	int algo;
} hashes[] = {
	{ "md5", GCRY_MD_MD5 },          { "sha1", GCRY_MD_SHA1 },
	{ "sha224", GCRY_MD_SHA224 },    { "sha256", GCRY_MD_SHA256 },
	{ "sha384", GCRY_MD_SHA384 },    { "sha512", GCRY_MD_SHA512 },
	{ "ripemd160", GCRY_MD_RMD160 },
};

int qcf_hash_algo(const char *name)
{
	if (qcf_crypt_lib_init(NULL) < 0)
		return 0;
	for (size_t i = 0; i < QCF_ARRAY_LEN(hashes); i++) {
		if (strcmp(name, hashes[i].name) == 0)
			return gcry_md_test_algo(hashes[i].algo) == 0
			               ? hashes[i].algo
			               : 0;
	}
	return 0;
}

size_t qcf_hash_len(int algo)
{
	return gcry_md_get_algo_dlen(algo);
}

int qcf_crypt_fail(struct qcowfmt_error **errp, unsigned int gcrypt_error,
                   const char *doing)
{
	if (gcry_err_code(gcrypt_error) == GPG_ERR_ENOMEM)
		return qcf_fail_oom(errp);
	return qcf_fail(errp, EIO, QCOWFMT_ERR_SYSTEM, "%s: libgcrypt: %s",
	                doing, gcry_strerror(gcrypt_error));
}

int qcf_random_bytes(void *bytes, size_t len, struct qcowfmt_error **errp)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = getrandom((char *)bytes + done, len - done, 0);

		if (got < 0 && errno != EINTR)
			return qcf_fail_sys(errp, errno,
			                    "getting random bytes");
		if (got > 0)
			done += (size_t)got;
	}
	return 0;
}
