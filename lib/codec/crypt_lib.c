/* SPDX-License-Identifier: MIT */
/*
 * crypt_lib.c - libgcrypt made ready, hashes by name, random bytes
 *
 * libgcrypt has one state for the whole process.  If the application has begun
 * to set it up, finishing is its business; otherwise we do it, without secure
 * memory: its pool is small and fixed, and keys have qcf_secret.
 *
 * Random bytes come from getrandom(), because libgcrypt's generator ends the
 * process when it cannot get any.  It also does when it finds no memory for a
 * digest, which deriving a key needs for each iteration: so there is a reserve for
 * small blocks, which are given back at once.  And it does when it finds none while
 * it starts, when nobody can give it functions of his own yet: so a piece ten times
 * as large as what it takes is looked for before.  Only another thread could take
 * that meanwhile.
 */
#include <errno.h>
#include <gcrypt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "crypt_lib.h"

#define OLDEST_GCRYPT "1.8.0"

/* Larger than any digest; more than there are threads that derive a key at the
 * same time without memory. */
#define RESERVE_SIZE  128u
#define RESERVE_COUNT 64u

/* It takes about 6 KiB to start. */
#define START_SIZE (64u * 1024)

/* For anything, as malloc()'s. */
#define BLOCK_ALIGNMENT 16

static struct {
	_Alignas(BLOCK_ALIGNMENT) uint8_t blocks[RESERVE_COUNT][RESERVE_SIZE];
	atomic_bool taken[RESERVE_COUNT];
} reserve;

static void *take_reserve(size_t size)
{
	for (size_t i = 0; size <= RESERVE_SIZE && i < RESERVE_COUNT; i++) {
		if (!atomic_exchange(&reserve.taken[i], true))
			return reserve.blocks[i];
	}
	errno = ENOMEM;
	return NULL;
}

/* The block of the reserve that memory is, or RESERVE_COUNT. */
static size_t reserve_index(const void *memory)
{
	uintptr_t at = (uintptr_t)memory - (uintptr_t)reserve.blocks;

	return at < sizeof(reserve.blocks) ? at / RESERVE_SIZE : RESERVE_COUNT;
}

static void *new_memory(size_t size)
{
	void *memory = NULL;

	return posix_memalign(&memory, BLOCK_ALIGNMENT, size) == 0
	               ? memory
	               : take_reserve(size);
}

static void free_memory(void *memory)
{
	size_t i = reserve_index(memory);

	if (i == RESERVE_COUNT) {
		free(memory);
		return;
	}
	explicit_bzero(reserve.blocks[i], RESERVE_SIZE);
	atomic_store(&reserve.taken[i], false);
}

static void *resize_memory(void *memory, size_t size)
{
	size_t i = reserve_index(memory);
	void *moved;

	if (i == RESERVE_COUNT)
		return realloc(memory, size);
	moved = new_memory(size);
	if (moved == NULL)
		return NULL;
	memcpy(moved, memory, size < RESERVE_SIZE ? size : RESERVE_SIZE);
	free_memory(memory);
	return moved;
}

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static atomic_bool init_done;

/*
 * With the first key that a cipher gets libgcrypt tests it.  Where there is no memory
 * for that, no key is accepted from then on: so it happens now.
 */
static void test_ciphers(void)
{
	static const int algos[] = { GCRY_CIPHER_AES128, GCRY_CIPHER_SERPENT128,
		                     GCRY_CIPHER_TWOFISH128,
		                     GCRY_CIPHER_CAST5 };
	static const uint8_t key[16];

	for (size_t i = 0; i < QCF_ARRAY_LEN(algos); i++) {
		gcry_cipher_hd_t hd = NULL;

		if (gcry_cipher_open(&hd, algos[i], GCRY_CIPHER_MODE_ECB, 0) ==
		    0)
			(void)gcry_cipher_setkey(hd, key, sizeof(key));
		gcry_cipher_close(hd);
	}
}

static void init_gcrypt(void)
{
	bool begun = gcry_control(GCRYCTL_ANY_INITIALIZATION_P) != 0;

	if (gcry_check_version(OLDEST_GCRYPT) == NULL)
		return;
	/* Functions of ours would end that mode.  What was allocated before is
	 * malloc()'s, too. */
	if (!begun && !gcry_fips_mode_active())
		gcry_set_allocation_handler(new_memory, new_memory, NULL,
		                            resize_memory, free_memory);
	if (!begun) {
		gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
		gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	}
	test_ciphers();
	init_done = true;
}

/* Volatile, or the compiler leaves both calls out. */
static bool has_memory_to_start(void)
{
	void *volatile memory = malloc(START_SIZE);
	bool is_there = memory != NULL;

	free(memory);
	return is_there;
}

int qcf_crypt_lib_init(struct qcowfmt_error **errp)
{
	if (init_done)
		return 0;
	if (!has_memory_to_start())
		return qcf_fail_oom(errp);
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

int qcf_hash_bytes(int algo, const void *bytes, size_t len, uint8_t *digest,
                   struct qcowfmt_error **errp)
{
	gcry_md_hd_t md;
	gcry_error_t error = gcry_md_open(&md, algo, 0);

	if (error != 0)
		return qcf_crypt_fail(errp, error, "opening a hash");
	gcry_md_write(md, bytes, len);
	memcpy(digest, gcry_md_read(md, algo), qcf_hash_len(algo));
	gcry_md_close(md);
	return 0;
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
