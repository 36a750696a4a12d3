/* SPDX-License-Identifier: MIT */
/*
 * Promise: a write of part of a cluster that is in the backing file, or shared with
 * a snapshot, is one write of the whole cluster; and threads that flush while
 * another one does share the next flush.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "api_test.h"
#include "count_storage.h"

#define CLUSTER UINT64_C(65536)
#define SIZE    (16 * CLUSTER)
#define BLOCK   4096u

static struct storage_counts counts;
static struct qcowfmt_image *image;

static struct qcowfmt_storage *open_file(const char *name)
{
	const struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
	};
	struct qcowfmt_storage *storage = NULL;

	API_OK(qcowfmt_storage_open_file(scratch_path(name), &options, &storage,
	                                 &api_error));
	return storage;
}

static void open_on(struct qcowfmt_storage *storage)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};

	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
}

static void make_base(const char *name)
{
	api_create(scratch_path(name), SIZE, CLUSTER);
	image = api_open(scratch_path(name), API_RW);
	api_write(image, 0, (size_t)SIZE, 'b');
	api_close(image);
}

static void open_counted(const char *name)
{
	open_on(count_storage_new(open_file(name), &counts));
}

/* ---------------------------------------------------------------------- copying */

/* The part in the middle, at the start, at the end, and a range across the border
 * of two clusters. */
static void expect_one_write_each(void)
{
	const struct {
		uint64_t at;
		uint32_t len;
		uint32_t clusters;
	} writes[] = {
		{ 2 * CLUSTER + 5 * BLOCK, BLOCK, 1 },
		{ 4 * CLUSTER, BLOCK, 1 },
		{ 7 * CLUSTER - BLOCK, BLOCK, 1 },
		{ 10 * CLUSTER - BLOCK, 2 * BLOCK, 2 },
	};

	/* So that the L2 table is there. */
	api_write(image, 0, (size_t)CLUSTER, 'w');
	for (size_t i = 0; i < QCF_ARRAY_LEN(writes); i++) {
		storage_counts_reset(&counts);
		api_write(image, writes[i].at, writes[i].len, 'w');
		ck_assert_uint_eq(counts.calls[VERB_WRITE], 1);
		ck_assert_uint_eq(counts.bytes[VERB_WRITE],
		                  writes[i].clusters * CLUSTER);
		ck_assert_uint_eq(counts.calls[VERB_FLUSH], 0);
	}
	api_expect(image, 2 * CLUSTER, 5 * BLOCK, 'b');
	api_expect(image, 2 * CLUSTER + 5 * BLOCK, BLOCK, 'w');
	api_expect(image, 2 * CLUSTER + 6 * BLOCK, (size_t)CLUSTER - 6 * BLOCK,
	           'b');
	api_expect(image, 10 * CLUSTER - BLOCK, 2 * BLOCK, 'w');
	api_expect(image, 10 * CLUSTER + BLOCK, BLOCK, 'b');
}

START_TEST(from_a_backing_file)
{
	make_base("base");
	api_create_overlay(scratch_path("top"), SIZE, "base", "qcow2");
	open_counted("top");
	expect_one_write_each();
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("top"));
}

END_TEST

START_TEST(from_a_snapshot)
{
	make_base("base");
	image = api_open(scratch_path("base"), API_RW);
	api_take_snapshot(image, "s");
	api_close(image);
	open_counted("base");
	expect_one_write_each();
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("base"));
}

END_TEST

/* --------------------------------------------------------------------- flushing */

#define THREADS 8

static atomic_bool holds;      /* the next flush of storage waits */
static atomic_bool is_waiting; /* as it does now */
static atomic_uint flushes;

static int wait_in_flush(void *opaque, struct storage_call *call)
{
	(void)opaque;
	if (call->verb != VERB_FLUSH)
		return 0;
	atomic_fetch_add(&flushes, 1);
	if (!atomic_exchange(&holds, false))
		return 0;
	atomic_store(&is_waiting, true);
	while (atomic_load(&is_waiting))
		usleep(1000);
	return 0;
}

static void *write_and_flush(void *argument)
{
	const uint64_t *at = argument;
	uint8_t bytes[BLOCK];
	int ret;

	memset(bytes, 'f', sizeof(bytes));
	ret = qcowfmt_pwrite(image, bytes, sizeof(bytes), *at, NULL);
	if (ret == 0)
		ret = qcowfmt_flush(image, NULL);
	return ret < 0 ? argument : NULL;
}

/* One thread is inside a flush; the others come meanwhile. */
static unsigned int flush_together(void)
{
	static uint64_t places[THREADS];
	pthread_t threads[THREADS];

	atomic_store(&flushes, 0);
	atomic_store(&holds, true);
	for (unsigned int i = 0; i < THREADS; i++) {
		places[i] = i * CLUSTER;
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
		                                write_and_flush, &places[i]),
		                 0);
		while (i == 0 && !atomic_load(&is_waiting))
			usleep(1000);
	}
	/* Time for all to have called; more of it only spares flushes. */
	usleep(300000);
	atomic_store(&is_waiting, false);
	for (unsigned int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	return atomic_load(&flushes);
}

START_TEST(flushes_are_shared)
{
	unsigned int alone;

	make_base("base");
	open_on(wrap_storage_new(open_file("base"), wait_in_flush, NULL));
	api_write(image, 0, BLOCK, 'a');
	atomic_store(&flushes, 0);
	API_OK(qcowfmt_flush(image, &api_error));
	alone = atomic_load(&flushes);
	ck_assert_uint_gt(alone, 0);
	/* The first one, and one for all that came meanwhile. */
	ck_assert_uint_le(flush_together(), 3 * alone);
	api_close(image);
}

END_TEST

static void add(TCase *tests)
{
	tcase_add_test(tests, from_a_backing_file);
	tcase_add_test(tests, from_a_snapshot);
	tcase_add_test(tests, flushes_are_shared);
}

int main(int argc, char **argv)
{
	return api_main("writes are gathered", add, argc, argv);
}
