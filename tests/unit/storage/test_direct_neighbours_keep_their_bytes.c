/* SPDX-License-Identifier: MIT */
/*
 * Promise: with O_DIRECT, threads that write different bytes of one block lose
 * nothing to each other, and the file ends where the last of them ended.
 */
#include <pthread.h>

#include "storage_test.h"

#define THREADS 4
#define PIECE   100u
#define PIECES  40u
#define ROUNDS  12

static struct qcowfmt_storage *storage;

static uint8_t value_of(unsigned int thread, unsigned int piece, int round)
{
	return (uint8_t)(1 + thread + THREADS * (piece + (unsigned int)round));
}

/* Each thread has every fourth piece of 100 bytes. */
static uint64_t offset_of(unsigned int thread, unsigned int piece)
{
	return (uint64_t)(piece * THREADS + thread) * PIECE;
}

static void *write_pieces(void *opaque)
{
	unsigned int thread = (unsigned int)(uintptr_t)opaque;
	uint8_t bytes[PIECE];

	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned int piece = 0; piece < PIECES; piece++) {
			memset(bytes, value_of(thread, piece, round), PIECE);
			if (qcf_storage_pwrite(storage, bytes, PIECE,
			                       offset_of(thread, piece),
			                       NULL) < 0)
				return opaque;
		}
	}
	return NULL;
}

static void check_pieces(void)
{
	uint8_t bytes[PIECE];
	uint64_t size;

	for (unsigned int thread = 0; thread < THREADS; thread++) {
		for (unsigned int piece = 0; piece < PIECES; piece++) {
			assert_works(qcf_storage_pread_exact(
				storage, bytes, PIECE, offset_of(thread, piece),
				errp));
			for (unsigned int i = 0; i < PIECE; i++)
				ck_assert_uint_eq(
					bytes[i],
					value_of(thread, piece, ROUNDS - 1));
		}
	}
	assert_works(qcf_storage_get_size(storage, &size, errp));
	ck_assert_uint_eq(size, (uint64_t)THREADS * PIECES * PIECE);
}

START_TEST(neighbours)
{
	pthread_t threads[THREADS];
	int ret = qcf_storage_file_open(
		scratch_path("direct"), NULL,
		QCOWFMT_FILE_CREATE | QCOWFMT_FILE_DIRECT, &storage, NULL);

	if (ret == -EINVAL) {
		printf("no O_DIRECT here: not tested\n");
		return;
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_pieces, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	check_pieces();
	qcowfmt_storage_free(storage);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, neighbours);
}

int main(void)
{
	return run_with_scratch("direct_neighbours_keep_their_bytes", add);
}
