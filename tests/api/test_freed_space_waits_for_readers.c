/* SPDX-License-Identifier: MIT */
/*
 * Promise: host space of clusters that were discarded is not written to while a
 * request may still be reading it, and not before the discard is stable; after that
 * it is used again.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "api_test.h"
#include "byte_image.h"
#include "image_storage.h"
#include "wrap_storage.h"

#define CLUSTER  ((uint64_t)65536)
#define SIZE     (64 * CLUSTER)
#define CAPACITY ((size_t)(48 * CLUSTER))

static struct byte_image *bytes;
static struct qcowfmt_image *image;

/* The cluster that is given up. */
static atomic_uint_fast64_t place;
static atomic_bool watched; /* a write to it is noted */
static atomic_bool written;
static atomic_bool stopping; /* a read of it waits */
static atomic_bool stopped;
static atomic_bool failing; /* the next write does */

static bool hits_place(const struct storage_call *call)
{
	uint64_t first = atomic_load(&place);

	return call->offset < first + CLUSTER &&
	       call->offset + call->len > first;
}

static int watch(void *opaque, struct storage_call *call)
{
	(void)opaque;
	if (call->verb == VERB_WRITE && atomic_exchange(&failing, false))
		return -EIO;
	if (!atomic_load(&watched) || !hits_place(call))
		return 0;
	if ((VERB_BIT(call->verb) & VERB_CHANGES) != 0)
		atomic_store(&written, true);
	if (call->verb == VERB_READ && atomic_load(&stopping)) {
		atomic_store(&stopped, true);
		while (atomic_load(&stopping))
			sched_yield();
	}
	return 0;
}

static uint64_t place_of(uint64_t guest_offset)
{
	struct qcowfmt_extent extent;

	API_OK(qcowfmt_map(image, guest_offset, CLUSTER, 0, &extent, 1,
	                   &api_error));
	return extent.host_offset;
}

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
		.discard_mode = QCOWFMT_DISCARD_UNMAP,
	};
	struct qcowfmt_storage *storage;

	bytes = byte_image_new(CAPACITY);
	storage = wrap_storage_new(image_storage_new(bytes, true), watch, NULL);
	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	api_write(image, 0, CLUSTER, 'x');
	api_write(image, CLUSTER, CLUSTER, 'y');
	API_OK(qcowfmt_flush(image, &api_error));
	atomic_store(&place, place_of(0));
	atomic_store(&written, false);
	atomic_store(&watched, true);
}

static void finish(void)
{
	atomic_store(&watched, false);
	API_OK(qcowfmt_flush(image, &api_error));
	api_check_clean(image);
	api_close(image);
	byte_image_free(bytes);
}

/* Write clusters that were never written until one comes to the place. */
static bool comes_back(uint64_t cluster)
{
	for (uint64_t i = 0; i < 4; i++) {
		api_write(image, (cluster + i) * CLUSTER, CLUSTER, 'n');
		if (place_of((cluster + i) * CLUSTER) == atomic_load(&place))
			return true;
	}
	return false;
}

START_TEST(until_it_is_stable)
{
	make_image();
	API_OK(qcowfmt_discard(image, 0, CLUSTER, &api_error));
	ck_assert(!comes_back(10));
	ck_assert(!atomic_load(&written));
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert(comes_back(20));
	finish();
}

END_TEST

static void *read_in_a_thread(void *buffer)
{
	ck_assert_int_eq(qcowfmt_pread(image, buffer, CLUSTER, 0, NULL), 0);
	return buffer;
}

START_TEST(until_readers_have_ended)
{
	static uint8_t read[CLUSTER];
	pthread_t thread;

	make_image();
	atomic_store(&stopped, false);
	atomic_store(&stopping, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, read_in_a_thread, read),
	                 0);
	while (!atomic_load(&stopped))
		sched_yield();
	API_OK(qcowfmt_discard(image, 0, CLUSTER, &api_error));
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert(!comes_back(10));
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert(!comes_back(20));
	ck_assert(!atomic_load(&written));
	atomic_store(&stopping, false);
	pthread_join(thread, NULL);
	for (uint64_t i = 0; i < CLUSTER; i++)
		ck_assert_int_eq(read[i], 'x');
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert(comes_back(30));
	finish();
}

END_TEST

/* Returns the first cluster for which there is no space. */
static uint64_t fill_up(void)
{
	uint8_t bytes_of[CLUSTER] = { 'n' };
	uint64_t cluster = 10;

	atomic_store(&watched, false);
	while (cluster < 60 && qcowfmt_pwrite(image, bytes_of, CLUSTER,
	                                      cluster * CLUSTER, NULL) == 0)
		cluster++;
	ck_assert_uint_gt(cluster, 11);
	ck_assert_uint_lt(cluster, 60);
	return cluster;
}

/* The request that needs the space is no reader of it. */
START_TEST(but_not_for_who_needs_it)
{
	uint64_t cluster;

	make_image();
	cluster = fill_up();
	API_OK(qcowfmt_discard(image, 0, 2 * CLUSTER, &api_error));
	api_write(image, cluster * CLUSTER, CLUSTER, 'm');
	api_expect(image, cluster * CLUSTER, CLUSTER, 'm');
	finish();
}

END_TEST

/* A flush that failed has not used up the space. */
START_TEST(also_when_a_flush_has_failed)
{
	uint64_t cluster;

	make_image();
	cluster = fill_up();
	API_OK(qcowfmt_flush(image, &api_error));
	API_OK(qcowfmt_discard(image, 0, 2 * CLUSTER, &api_error));
	atomic_store(&failing, true);
	API_FAILS(qcowfmt_flush(image, &api_error), EIO, QCOWFMT_ERR_IO);
	api_write(image, cluster * CLUSTER, CLUSTER, 'm');
	api_expect(image, cluster * CLUSTER, CLUSTER, 'm');
	finish();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, until_it_is_stable);
	tcase_add_test(tcase, until_readers_have_ended);
	tcase_add_test(tcase, but_not_for_who_needs_it);
	tcase_add_test(tcase, also_when_a_flush_has_failed);
}

int main(int argc, char **argv)
{
	return api_main("freed_space_waits_for_readers", add, argc, argv);
}
