/* SPDX-License-Identifier: MIT */
/*
 * Promise: after a flush of the storage has failed nothing that depends on it
 * succeeds any more: not another flush, not one that was under way in another
 * thread, no change of the image or its keys, and not closing, although the storage
 * says that all is well.  Such a change writes nothing.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "api_test.h"
#include "byte_image.h"
#include "image_storage.h"
#include "wrap_storage.h"

#define CAPACITY ((size_t)4 << 20)
#define SIZE     ((uint64_t)1 << 20)
#define SECRET   "open sesame"

static struct byte_image *bytes;
static struct qcowfmt_image *image;

/* The next flush fails; it takes until another thread has had time to come. */
static atomic_bool armed;
static atomic_bool failing;

static void pause_a_moment(void)
{
	const struct timespec moment = { .tv_nsec = 50000000 };

	nanosleep(&moment, NULL);
}

static atomic_bool changed; /* storage was */

static int fail_a_flush(void *opaque, struct storage_call *call)
{
	(void)opaque;
	if ((VERB_BIT(call->verb) & VERB_CHANGES) != 0)
		atomic_store(&changed, true);
	if (call->verb != VERB_FLUSH || !atomic_exchange(&armed, false))
		return 0;
	atomic_store(&failing, true);
	pause_a_moment();
	return -EIO;
}

static void make_image_with(int32_t format,
                            const struct qcowfmt_encryption_options *encryption)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.format = format,
		.virtual_size = SIZE,
		.encryption = encryption,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = format,
		.flags = API_RW,
		.secret = encryption == NULL ? NULL : SECRET,
		.secret_len = encryption == NULL ? 0 : strlen(SECRET),
	};
	struct qcowfmt_storage *storage;

	bytes = byte_image_new(CAPACITY);
	storage = wrap_storage_new(image_storage_new(bytes, true), fail_a_flush,
	                           NULL);
	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	api_write(image, 0, 65536, 'x');
}

static void make_image(int32_t format)
{
	make_image_with(format, NULL);
}

static const int32_t formats[] = { QCOWFMT_FORMAT_RAW, QCOWFMT_FORMAT_QCOW2 };

START_TEST(by_the_next_ones)
{
	make_image(formats[_i]);
	atomic_store(&armed, true);
	API_FAILS(qcowfmt_flush(image, &api_error), EIO, QCOWFMT_ERR_IO);
	API_FAILS(qcowfmt_flush(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	byte_image_free(bytes);
}

END_TEST

START_TEST(by_closing)
{
	make_image(formats[_i]);
	atomic_store(&armed, true);
	ck_assert_int_lt(qcowfmt_flush(image, NULL), 0);
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	byte_image_free(bytes);
}

END_TEST

static void *flush_in_a_thread(void *unused)
{
	ck_assert_int_lt(qcowfmt_flush(image, NULL), 0);
	return unused;
}

/* The second flush begins while the first one has not failed yet. */
START_TEST(by_one_that_waits)
{
	pthread_t thread;

	make_image(QCOWFMT_FORMAT_QCOW2);
	atomic_store(&failing, false);
	atomic_store(&armed, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, flush_in_a_thread, NULL),
	                 0);
	while (!atomic_load(&failing))
		sched_yield();
	ck_assert_int_lt(qcowfmt_flush(image, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert_int_lt(qcowfmt_close(image, NULL), 0);
	byte_image_free(bytes);
}

END_TEST

static void fail_and_forget(void)
{
	atomic_store(&armed, true);
	ck_assert_int_lt(qcowfmt_flush(image, NULL), 0);
	atomic_store(&changed, false);
}

static void expect_nothing_written(void)
{
	ck_assert(!atomic_load(&changed));
	ck_assert_int_lt(qcowfmt_close(image, NULL), 0);
	byte_image_free(bytes);
}

START_TEST(by_resizing)
{
	make_image(formats[_i]);
	fail_and_forget();
	API_FAILS(qcowfmt_resize(image, 2 * SIZE, NULL, &api_error), EIO,
	          QCOWFMT_ERR_POISONED);
	expect_nothing_written();
}

END_TEST

START_TEST(by_changing_keys)
{
	const struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	const struct qcowfmt_key_options key = {
		.struct_size = sizeof(key),
		.secret = "another word",
		.secret_len = strlen("another word"),
		.iter_time_ms = 1,
	};

	make_image_with(QCOWFMT_FORMAT_QCOW2, &encryption);
	fail_and_forget();
	API_FAILS(qcowfmt_add_key(image, &key, &api_error), EIO,
	          QCOWFMT_ERR_POISONED);
	expect_nothing_written();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, by_resizing, 0, 2);
	tcase_add_test(tcase, by_changing_keys);
	tcase_add_loop_test(tcase, by_the_next_ones, 0, 2);
	tcase_add_loop_test(tcase, by_closing, 0, 2);
	tcase_add_test(tcase, by_one_that_waits);
}

int main(int argc, char **argv)
{
	return api_main("a_failed_flush_is_remembered", add, argc, argv);
}
