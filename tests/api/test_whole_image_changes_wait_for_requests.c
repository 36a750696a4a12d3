/* SPDX-License-Identifier: MIT */
/*
 * Promise: what looks at or changes an image as a whole waits for requests that are
 * under way, those on an image whose bitmaps are merged into another one, too.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "api_test.h"
#include "byte_image.h"
#include "image_storage.h"
#include "wrap_storage.h"

#define CLUSTER  ((uint64_t)65536)
#define SIZE     (64 * CLUSTER)
#define CAPACITY ((size_t)(48 * CLUSTER))

/* The first is written to; the other one has a bitmap of its own. */
enum { WRITTEN, OTHER, IMAGES };

static struct byte_image *bytes[IMAGES];
static struct qcowfmt_image *images[IMAGES];

static atomic_bool stopping; /* the next write waits */
static atomic_bool stopped;
static atomic_bool done;

static int stop(void *opaque, struct storage_call *call)
{
	(void)opaque;
	if (call->verb != VERB_WRITE || !atomic_load(&stopping) ||
	    atomic_exchange(&stopped, true))
		return 0;
	while (atomic_load(&stopping))
		sched_yield();
	return 0;
}

static void make_image(int i)
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

	bytes[i] = byte_image_new(CAPACITY);
	storage = image_storage_new(bytes[i], true);
	if (i == WRITTEN)
		storage = wrap_storage_new(storage, stop, NULL);
	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &images[i], &api_error));
	api_add_bitmap(images[i], "bits");
	/* The bitmap is marked as being in use. */
	api_write(images[i], 0, CLUSTER, 'x');
}

static int check(void)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	return qcowfmt_check(images[WRITTEN], 0, NULL, NULL, &result, NULL);
}

static int take_snapshot(void)
{
	return qcowfmt_snapshot_create(images[WRITTEN], NULL, NULL);
}

static int merge_from_it(void)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = images[OTHER],
		.name = "bits",
		.kind = QCOWFMT_BITMAP_MERGE,
		.source = images[WRITTEN],
		.source_name = "bits",
	};

	return qcowfmt_bitmap_change(&action, 1, NULL, NULL);
}

static int (*const changes[])(void) = { check, take_snapshot, merge_from_it };

static void *write_in_a_thread(void *unused)
{
	static uint8_t data[CLUSTER];

	memset(data, 'y', sizeof(data));
	ck_assert_int_eq(qcowfmt_pwrite(images[WRITTEN], data, sizeof(data),
	                                7 * CLUSTER, NULL),
	                 0);
	return unused;
}

static void *change_in_a_thread(void *opaque)
{
	int (*const *change)(void) = opaque;

	ck_assert_int_eq((*change)(), 0);
	atomic_store(&done, true);
	return NULL;
}

static void pause_a_moment(void)
{
	const struct timespec moment = { .tv_nsec = 60000000 };

	nanosleep(&moment, NULL);
}

START_TEST(changes_wait)
{
	int (*change)(void) = changes[_i];
	pthread_t threads[2];

	for (int i = 0; i < IMAGES; i++)
		make_image(i);
	atomic_store(&stopping, true);
	ck_assert_int_eq(
		pthread_create(&threads[0], NULL, write_in_a_thread, NULL), 0);
	while (!atomic_load(&stopped))
		sched_yield();
	ck_assert_int_eq(
		pthread_create(&threads[1], NULL, change_in_a_thread, &change),
		0);
	pause_a_moment();
	ck_assert_msg(!atomic_load(&done), "it did not wait for a write");
	atomic_store(&stopping, false);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert(atomic_load(&done));
	for (int i = 0; i < IMAGES; i++) {
		api_check_clean(images[i]);
		api_close(images[i]);
		byte_image_free(bytes[i]);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, changes_wait, 0,
	                    (int)QCF_ARRAY_LEN(changes));
}

int main(int argc, char **argv)
{
	return api_main("whole_image_changes_wait_for_requests", add, argc,
	                argv);
}
