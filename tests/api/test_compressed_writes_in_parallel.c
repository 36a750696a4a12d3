/* SPDX-License-Identifier: MIT */
/*
 * Promise: threads that write compressed clusters, ordinary ones, discards and
 * flushes at the same time lose nothing, and no host space is given back that
 * compressed data is just being packed into.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "compressed_data.h"
#include "wrap_storage.h"

#define CLUSTER ((uint64_t)4096)
#define COUNT   256
#define SIZE    (COUNT * CLUSTER)
#define THREADS 6
#define ROUNDS  400

static struct qcowfmt_image *image;

/* ------------------------------------------------------------------- threads */

struct worker {
	pthread_t thread;
	unsigned int number;
	uint8_t flat[SIZE]; /* its own clusters: number modulo THREADS */
	bool failed;
};

static int one_step(struct worker *w, struct unit_random *random, int step)
{
	uint64_t cluster =
		unit_random_below(random, COUNT / THREADS) * THREADS +
		w->number;
	uint64_t at = cluster * CLUSTER;
	uint8_t *bytes = w->flat + at;

	switch (unit_random_below(random, 10)) {
	case 0:
		memset(bytes, 0, CLUSTER);
		return qcowfmt_discard(image, at, CLUSTER, NULL);
	case 1:
		return step % 8 == 0 ? qcowfmt_flush(image, NULL) : 0;
	case 2:
	case 3:
		memset(bytes + 100, step, 1000);
		return qcowfmt_pwrite(image, bytes + 100, 1000, at + 100, NULL);
	default:
		compressed_fill(bytes, CLUSTER, (uint64_t)step + w->number);
		return qcowfmt_pwrite_compressed(image, bytes, CLUSTER, at,
		                                 NULL);
	}
}

/* Other threads' clusters are not compared here: they change. */
static bool reads_back(const struct worker *w)
{
	for (uint64_t i = w->number; i < COUNT; i += THREADS) {
		uint8_t have[CLUSTER];

		if (qcowfmt_pread(image, have, CLUSTER, i * CLUSTER, NULL) < 0)
			return false;
		if (memcmp(have, w->flat + i * CLUSTER, CLUSTER) != 0)
			return false;
	}
	return true;
}

static void *work(void *opaque)
{
	struct worker *w = opaque;
	struct unit_random random = { w->number + 1 };

	for (int i = 0; i < ROUNDS && !w->failed; i++) {
		w->failed = one_step(w, &random, i) < 0;
		if (i % 100 == 99)
			w->failed |= !reads_back(w);
	}
	return NULL;
}

static void create(uint32_t refcount_bits)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
		.refcount_bits = refcount_bits,
	};

	API_OK(qcowfmt_create_file(scratch_path("t.qcow2"), &options,
	                           &api_error));
}

START_TEST(threads_lose_nothing)
{
	struct worker *workers = calloc(THREADS, sizeof(*workers));

	ck_assert_ptr_nonnull(workers);
	create(_i == 0 ? 16 : 2);
	image = api_open(scratch_path("t.qcow2"), API_RW);
	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i].number = i;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work,
		                                &workers[i]),
		                 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert_msg(!workers[i].failed && reads_back(&workers[i]),
		              "thread %u", i);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("t.qcow2"));
	image = api_open(scratch_path("t.qcow2"), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert_msg(reads_back(&workers[i]), "thread %u", i);
	api_close(image);
	free(workers);
}

END_TEST

/* ------------------------------------------------------- discard and packing */

/* What happens just before host space is given back. */
struct intruder {
	atomic_bool armed;
	atomic_bool done;
	int result;
};

static void *write_while_discarding(void *opaque)
{
	struct intruder *intruder = opaque;
	uint8_t bytes[CLUSTER];

	compressed_fill(bytes, sizeof(bytes), 7);
	intruder->result = qcowfmt_pwrite_compressed(
		image, bytes, sizeof(bytes), 8 * CLUSTER, NULL);
	return NULL;
}

static int before_call(void *opaque, struct storage_call *call)
{
	struct intruder *intruder = opaque;
	pthread_t thread;

	if (call->verb != VERB_DISCARD ||
	    !atomic_exchange(&intruder->armed, false))
		return 0;
	if (pthread_create(&thread, NULL, write_while_discarding, intruder) !=
	    0)
		return -EIO;
	pthread_join(thread, NULL);
	atomic_store(&intruder->done, true);
	return 0;
}

START_TEST(discard_meets_no_new_data)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct intruder intruder = { .armed = false };
	struct qcowfmt_storage *storage = NULL;

	create(16);
	API_OK(qcowfmt_storage_open_file(scratch_path("t.qcow2"), NULL,
	                                 &storage, &api_error));
	storage = wrap_storage_new(storage, before_call, &intruder);
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	compressed_write(image, 0, CLUSTER, 1);
	API_OK(qcowfmt_flush(image, &api_error));
	API_OK(qcowfmt_discard(image, 0, CLUSTER, &api_error));
	atomic_store(&intruder.armed, true);
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert(atomic_load(&intruder.done));
	ck_assert_int_eq(intruder.result, 0);
	compressed_expect(image, 8 * CLUSTER, CLUSTER, 7);
	api_check_clean(image);
	api_close(image);
	image = api_open(scratch_path("t.qcow2"), 0);
	compressed_expect(image, 8 * CLUSTER, CLUSTER, 7);
	api_close(image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, threads_lose_nothing, 0, 2);
	tcase_add_test(tcase, discard_meets_no_new_data);
}

int main(int argc, char **argv)
{
	return api_main("compressed_writes_in_parallel", add_tests, argc, argv);
}
