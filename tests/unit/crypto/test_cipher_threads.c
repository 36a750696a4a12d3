/* SPDX-License-Identifier: MIT */
/*
 * Promise: threads that use one cipher at once, more of them than it keeps
 * handles for, never mix up each other's sectors.
 */
#include <pthread.h>

#include "crypto_test.h"

#define THREADS 24 /* more than idle handles are kept */
#define ROUNDS  150
#define LEN     (37 * 512u)

struct job {
	struct qcf_cipher *cipher;
	uint64_t first_sector;
	uint8_t plain[LEN];
	uint8_t want[LEN];
	bool failed;
};

static void *work(void *opaque)
{
	struct job *job = opaque;
	uint8_t out[LEN];

	for (int i = 0; i < ROUNDS && !job->failed; i++) {
		job->failed =
			qcf_cipher_encrypt(job->cipher, job->plain, out, LEN,
		                           job->first_sector, NULL) < 0 ||
			memcmp(out, job->want, LEN) != 0 ||
			qcf_cipher_decrypt(job->cipher, out, out, LEN,
		                           job->first_sector, NULL) < 0 ||
			memcmp(out, job->plain, LEN) != 0;
	}
	return NULL;
}

static void prepare(struct job *job, struct qcf_cipher *cipher, size_t number)
{
	job->cipher = cipher;
	job->first_sector = number << 30;
	for (size_t i = 0; i < LEN; i++)
		job->plain[i] = (uint8_t)(i * number + number);
	ck_assert_int_eq(qcf_cipher_encrypt(cipher, job->plain, job->want, LEN,
	                                    job->first_sector, NULL),
	                 0);
}

START_TEST(threads_share_a_cipher)
{
	static const struct qcf_cipher_spec specs[] = {
		{ "aes", "xts", "plain64", NULL, 64 },
		{ "aes", "cbc", "essiv", "sha256", 32 },
		{ "twofish", "ctr", "plain", NULL, 16 },
	};
	static struct job jobs[THREADS];
	pthread_t threads[THREADS];
	struct qcf_cipher *cipher = NULL;
	uint8_t key[QCF_MAX_CIPHER_KEY];

	count_up(key, sizeof(key));
	ck_assert_int_eq(qcf_cipher_new(&specs[_i], key, &cipher, NULL), 0);
	for (size_t i = 0; i < THREADS; i++)
		prepare(&jobs[i], cipher, i);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert(!jobs[i].failed);
	}
	qcf_cipher_free(cipher);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, threads_share_a_cipher, 0, 3);
}

int main(void)
{
	return unit_run("cipher_threads", add_tests);
}
