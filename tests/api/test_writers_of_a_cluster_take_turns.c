/* SPDX-License-Identifier: MIT */
/*
 * Promise: of two requests that change the mapping of one cluster at the same time
 * each finds what the other one did: neither is lost, and no space is, either.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "api_test.h"
#include "wrap_storage.h"

#define CLUSTER  ((uint64_t)65536)
#define SIZE     (64 * CLUSTER)
#define CAPACITY (80 * CLUSTER)

static struct qcowfmt_image *image;

/* The first write of guest data waits until the other request has ended, or has
 * had time enough to. */
static atomic_bool armed;
static atomic_bool held;
static atomic_bool other_ended;

static int hold_first(void *opaque, struct storage_call *call)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	(void)opaque;
	if (call->verb != VERB_WRITE || !atomic_exchange(&armed, false))
		return 0;
	atomic_store(&held, true);
	for (int i = 0; i < 100 && !atomic_load(&other_ended); i++)
		nanosleep(&moment, NULL);
	return 0;
}

/* The cluster is there, so that an L2 table is. */
static void make_image(void)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct qcowfmt_storage *storage;

	API_OK(qcowfmt_storage_new_memory(CAPACITY, &storage, &api_error));
	storage = wrap_storage_new(storage, hold_first, NULL);
	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	api_write(image, 8 * CLUSTER, CLUSTER, 'x');
	API_OK(qcowfmt_flush(image, &api_error));
	atomic_store(&held, false);
	atomic_store(&other_ended, false);
	atomic_store(&armed, true);
}

static void *write_first_half(void *unused)
{
	static uint8_t half[CLUSTER / 2];

	memset(half, 'a', sizeof(half));
	ck_assert_int_eq(qcowfmt_pwrite(image, half, sizeof(half), 0, NULL), 0);
	return unused;
}

static void *write_second_half(void *unused)
{
	static uint8_t half[CLUSTER / 2];

	memset(half, 'b', sizeof(half));
	ck_assert_int_eq(
		qcowfmt_pwrite(image, half, sizeof(half), CLUSTER / 2, NULL),
		0);
	atomic_store(&other_ended, true);
	return unused;
}

static void *zero_the_cluster(void *unused)
{
	ck_assert_int_eq(qcowfmt_write_zeroes(image, 0, CLUSTER, 0, NULL), 0);
	atomic_store(&other_ended, true);
	return unused;
}

static void run_against(void *(*other)(void *))
{
	const struct timespec moment = { .tv_nsec = 100000 };
	pthread_t threads[2];

	make_image();
	pthread_create(&threads[0], NULL, write_first_half, NULL);
	while (!atomic_load(&held))
		nanosleep(&moment, NULL);
	pthread_create(&threads[1], NULL, other, NULL);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
}

static void finish(void)
{
	API_OK(qcowfmt_flush(image, &api_error));
	api_check_clean(image);
	api_close(image);
}

START_TEST(two_writes)
{
	run_against(write_second_half);
	api_expect(image, 0, CLUSTER / 2, 'a');
	api_expect(image, CLUSTER / 2, CLUSTER / 2, 'b');
	finish();
}

END_TEST

/* Zeros that were asked for later, and before the write has ended, come before or
 * after all of it. */
START_TEST(a_write_and_zeros)
{
	uint8_t first = 0;

	run_against(zero_the_cluster);
	API_OK(qcowfmt_pread(image, &first, 1, 0, &api_error));
	ck_assert(first == 0 || first == 'a');
	api_expect(image, 0, CLUSTER / 2, first);
	api_expect(image, CLUSTER / 2, CLUSTER / 2, 0);
	finish();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, two_writes);
	tcase_add_test(tcase, a_write_and_zeros);
}

int main(int argc, char **argv)
{
	return api_main("writers_of_a_cluster_take_turns", add, argc, argv);
}
