/* SPDX-License-Identifier: MIT */
/*
 * Promise: however little memory is left, libgcrypt starts, ciphers are opened and
 * keys derived, or there is no memory for it: the process does not end.
 *
 * Nothing is planted here: a child uses up what it may have, but for so many bytes
 * in one piece, and tries.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypt_lib.h"
#include "crypto_test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Above what is in use. */
#define LIMIT (4u << 20)

static void set_limit(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;
	struct rlimit limit;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + LIMIT;
	limit.rlim_max = limit.rlim_cur;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Until not even 16 bytes are left beside one piece of a size. */
static void leave_only(size_t size)
{
	void *volatile piece = malloc(size);

	for (size_t next = 1 << 20; next >= 16; next /= 2) {
		void *volatile used;

		do
			used = malloc(next);
		while (used != NULL);
	}
	free(piece);
}

static int start(void)
{
	return qcf_crypt_lib_init(NULL);
}

static int open_cipher(const char *hash)
{
	const struct qcf_cipher_spec spec = { "aes", "cbc", "essiv", hash, 32 };
	static const uint8_t key[32];
	uint8_t bytes[512] = { 0 };
	struct qcf_cipher *cipher = NULL;
	int ret = qcf_cipher_new(&spec, key, &cipher, NULL);

	if (ret == 0)
		ret = qcf_cipher_encrypt(cipher, bytes, bytes, sizeof(bytes), 0,
		                         NULL);
	qcf_cipher_free(cipher);
	return ret;
}

static int open_with_sha256(void)
{
	return open_cipher("sha256");
}

/* Another way through libgcrypt, which has no function for the whole. */
static int open_with_md5(void)
{
	return open_cipher("md5");
}

static int derive(void)
{
	static const uint8_t salt[32];
	const struct qcf_kdf kdf = { "sha256", salt, sizeof(salt), 1000 };
	uint8_t key[32];

	return qcf_kdf_derive(&kdf, "x", 1, key, sizeof(key), NULL);
}

static const struct {
	const char *name;
	int (*call)(void);
	bool started;
	size_t step;
	size_t end;
} calls[] = {
	{ "starting", start, false, 1024, 160 << 10 },
	{ "opening a cipher", open_with_sha256, true, 96, 16 << 10 },
	{ "opening one with another hash", open_with_md5, true, 96, 16 << 10 },
	/* In small steps: enough for the hash, too little for its digest. */
	{ "deriving a key", derive, true, 16, 6 << 10 },
	{ "starting with a cipher", open_with_md5, false, 1024, 160 << 10 },
};

/* Returns what the call did, 0 or 1 for no memory. */
static int try_with(size_t index, size_t left)
{
	pid_t child = fork();
	int status = -1;

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		if (calls[index].started && start() < 0)
			_exit(2);
		set_limit();
		leave_only(left);

		int ret = calls[index].call();

		_exit(ret == 0 ? 0 : ret == -ENOMEM ? 1 : 2);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) <= 1,
	              "%s with %zu bytes left: status 0x%x", calls[index].name,
	              left, (unsigned int)status);
	return WEXITSTATUS(status);
}

START_TEST(it_works_or_says_so)
{
	size_t outcomes[2] = { 0 };

	for (size_t left = 0; left < calls[_i].end; left += calls[_i].step)
		outcomes[try_with((size_t)_i, left)]++;
	printf("%s: worked %zu times, no memory %zu times\n", calls[_i].name,
	       outcomes[0], outcomes[1]);
	ck_assert_uint_gt(outcomes[0], 0);
	ck_assert_uint_gt(outcomes[1], 0);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, it_works_or_says_so, 0,
	                    (int)QCF_ARRAY_LEN(calls));
}

int main(void)
{
#ifdef SANITIZED
	printf("SKIP: a sanitizer takes address space without end\n");
	return UNIT_SKIPPED;
#endif
	return unit_run("little_memory_for_ciphers", add_tests);
}
