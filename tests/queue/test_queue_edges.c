/* SPDX-License-Identifier: MIT */
/*
 * Promise: a queue has bounds and says so, tells of completions as long as there
 * are any, reports failures with the request that failed, and ends whenever it is
 * told to, with all its requests.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api_disk.h"
#include "queue_rig.h"

#define BLOCK 4096u

static struct qcowfmt_image *image;
static struct qcowfmt_queue *queue;
static uint8_t buffer[BLOCK];
static uint8_t buffers[8][BLOCK]; /* for requests that go on together */

static void open_queue(uint32_t depth, int uring)
{
	api_create(scratch_path("disk"), RIG_SIZE, 0);
	image = api_open(scratch_path("disk"), API_RW);
	queue = rig_queue(image, depth, uring);
}

static void close_queue(void)
{
	qcowfmt_queue_free(queue);
	api_close(image);
}

static bool is_readable(void)
{
	struct pollfd fd = { .fd = qcowfmt_queue_event_fd(queue),
		             .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

static void wait_readable(void)
{
	struct pollfd fd = { .fd = qcowfmt_queue_event_fd(queue),
		             .events = POLLIN };

	ck_assert_int_eq(poll(&fd, 1, 30000), 1);
}

/* The one completion there is. */
static struct qcowfmt_completion reap_one(uint64_t user_data)
{
	struct qcowfmt_completion c[2];

	ck_assert_int_eq(qcowfmt_queue_reap(queue, c, 2, -1), 1);
	ck_assert_uint_eq(c[0].user_data, user_data);
	return c[0];
}

static void expect_failure(uint64_t user_data, int err, int code)
{
	struct qcowfmt_completion c = reap_one(user_data);

	api_error = c.error;
	API_FAILS(c.result, err, code);
}

static void expect_success(uint64_t user_data)
{
	struct qcowfmt_completion c = reap_one(user_data);

	api_error = c.error;
	API_OK(c.result);
}

/* All tests come twice: with threads, and with io_uring where that is. */
static bool has_backend(int uring)
{
	return uring == 0 || rig_has_uring();
}

START_TEST(a_full_queue_says_so)
{
	struct qcowfmt_completion c[8];
	int count = 0;

	if (!has_backend(_i))
		return;
	open_queue(8, _i);
	for (uint64_t round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < 8; i++)
			API_OK(qcowfmt_queue_pread(queue, buffers[i], 512,
			                           i * 512, i, &api_error));
		for (int i = 0; i < 3; i++) {
			API_FAILS(qcowfmt_queue_pread(queue, buffer, 512, 0, 9,
			                              &api_error),
			          EAGAIN, QCOWFMT_ERR_LIMIT);
			API_FAILS(qcowfmt_queue_flush(queue, 9, &api_error),
			          EAGAIN, QCOWFMT_ERR_LIMIT);
			qcowfmt_queue_submit(queue);
		}
		/* One place is free for each that was reaped. */
		ck_assert_int_eq(qcowfmt_queue_reap(queue, c, 1, -1), 1);
		API_OK(qcowfmt_queue_pread(queue, buffers[c[0].user_data], 512,
		                           0, 1, &api_error));
		API_FAILS(qcowfmt_queue_pread(queue, buffer, 512, 0, 9, NULL) ==
		                          -EAGAIN
		                  ? qcowfmt_queue_flush(queue, 9, &api_error)
		                  : 0,
		          EAGAIN, QCOWFMT_ERR_LIMIT);
		for (count = 0; count < 8;)
			count += qcowfmt_queue_reap(queue, c, 8, -1);
		ck_assert_int_eq(count, 8);
	}
	close_queue();
}

END_TEST

START_TEST(an_empty_queue_does_not_wait)
{
	struct qcowfmt_completion c;

	if (!has_backend(_i))
		return;
	open_queue(4, _i);
	ck_assert_int_eq(qcowfmt_queue_reap(queue, &c, 1, -1), 0);
	ck_assert_int_eq(qcowfmt_queue_reap(queue, &c, 1, 100000), 0);
	API_OK(qcowfmt_queue_flush(queue, 1, &api_error));
	ck_assert_int_eq(qcowfmt_queue_reap(queue, &c, 0, -1), 0);
	expect_success(1);
	close_queue();
}

END_TEST

START_TEST(the_descriptor_is_readable_as_long_as_there_is_something)
{
	struct qcowfmt_completion c;

	if (!has_backend(_i))
		return;
	open_queue(8, _i);
	ck_assert(!is_readable());
	ck_assert_int_eq(qcowfmt_queue_event_fd(queue),
	                 qcowfmt_queue_event_fd(queue));
	for (int round = 0; round < 20; round++) {
		for (uint64_t i = 0; i < 4; i++) {
			API_OK(qcowfmt_queue_pread(queue, buffers[i], BLOCK, 0,
			                           i, &api_error));
			API_OK(qcowfmt_queue_pwrite(queue, buffers[4 + i],
			                            BLOCK, BLOCK * (1 + i), i,
			                            &api_error));
		}
		ck_assert(!is_readable());
		qcowfmt_queue_submit(queue);
		for (int left = 8; left > 0; left--) {
			do {
				wait_readable();
			} while (qcowfmt_queue_reap(queue, &c, 1, 0) == 0);
			ck_assert_int_eq(c.result, 0);
		}
		ck_assert_int_eq(qcowfmt_queue_reap(queue, &c, 1, 0), 0);
		ck_assert(!is_readable());
	}
	close_queue();
}

END_TEST

START_TEST(failures_come_with_the_request)
{
	if (!has_backend(_i))
		return;
	open_queue(4, _i);
	API_OK(qcowfmt_queue_pread(queue, buffer, BLOCK, RIG_SIZE - 512, 7,
	                           &api_error));
	expect_failure(7, EINVAL, QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, UINT64_MAX - 5, 8,
	                            &api_error));
	expect_failure(8, EINVAL, QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_queue_discard(queue, RIG_SIZE, 512, 9, &api_error));
	expect_failure(9, EINVAL, QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_queue_write_zeroes(queue, 0, RIG_SIZE + 1, 0, 10,
	                                  &api_error));
	expect_failure(10, EINVAL, QCOWFMT_ERR_USAGE);
	close_queue();

	image = api_open(scratch_path("disk"), 0);
	queue = rig_queue(image, 4, _i);
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 0, 11, &api_error));
	expect_failure(11, EROFS, QCOWFMT_ERR_READ_ONLY);
	API_OK(qcowfmt_queue_flush(queue, 12, &api_error));
	expect_success(12);
	close_queue();
}

END_TEST

START_TEST(bad_requests_are_not_taken)
{
	static struct iovec many[1025];
	struct iovec bad[2] = { { buffer, SIZE_MAX }, { buffer, SIZE_MAX } };
	struct qcowfmt_completion c;

	if (!has_backend(_i))
		return;
	for (size_t i = 0; i < QCF_ARRAY_LEN(many); i++)
		many[i] = (struct iovec){ buffer, 1 };
	open_queue(4, _i);
	API_FAILS(qcowfmt_queue_preadv(queue, bad, 2, 0, 1, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_queue_preadv(queue, bad, -1, 0, 1, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_queue_pwritev(queue, NULL, 1, 0, 1, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_queue_pwritev(queue, many, 1025, 0, 1, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_queue_write_zeroes(queue, 0, 512, 2, 1, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	ck_assert_int_eq(qcowfmt_queue_reap(queue, &c, 1, -1), 0);

	API_OK(qcowfmt_queue_pwritev(queue, many, 1024, 0, 2, &api_error));
	expect_success(2);
	API_OK(qcowfmt_queue_preadv(queue, many, 1024, 0, 3, &api_error));
	expect_success(3);
	API_OK(qcowfmt_queue_preadv(queue, NULL, 0, 0, 4, &api_error));
	expect_success(4);
	close_queue();
}

END_TEST

START_TEST(options_have_bounds)
{
	struct qcowfmt_queue_options o = { .struct_size = sizeof(o) };
	struct qcowfmt_queue *queues[65];

	api_create(scratch_path("disk"), RIG_SIZE, 0);
	image = api_open(scratch_path("disk"), API_RW);
	o.depth = 4097;
	API_FAILS(qcowfmt_queue_new(image, &o, &queue, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	o.depth = 4096;
	o.workers = 65;
	API_FAILS(qcowfmt_queue_new(image, &o, &queue, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	o.workers = 64;
	o.flags = 2;
	API_FAILS(qcowfmt_queue_new(image, &o, &queue, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	o.flags = 0;
	API_OK(qcowfmt_queue_new(image, &o, &queue, &api_error));
	qcowfmt_queue_free(queue);
	qcowfmt_queue_free(NULL);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 64; i++)
			API_OK(qcowfmt_queue_new(image, NULL, &queues[i],
			                         &api_error));
		API_FAILS(
			qcowfmt_queue_new(image, NULL, &queues[64], &api_error),
			EBUSY, QCOWFMT_ERR_LIMIT);
		for (int i = 0; i < 64; i++)
			qcowfmt_queue_free(queues[i]);
	}
	api_close(image);
}

END_TEST

START_TEST(what_has_not_begun_can_be_taken_back)
{
	struct qcowfmt_completion c[8];
	int count = 0;

	if (!has_backend(_i))
		return;
	open_queue(8, _i);
	memset(buffer, 'x', sizeof(buffer));
	for (uint64_t i = 0; i < 8; i++)
		API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, i * BLOCK, i,
		                            &api_error));
	qcowfmt_queue_cancel(queue);
	while (count < 8) {
		wait_readable();
		count += qcowfmt_queue_reap(queue, c + count, 8 - count, 0);
	}
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(c[i].result, -ECANCELED);
		ck_assert_int_eq(qcowfmt_error_code(c[i].error),
		                 QCOWFMT_ERR_CANCELLED);
		qcowfmt_error_free(c[i].error);
	}
	api_expect(image, 0, 8 * BLOCK, 0);
	/* It is as good as new. */
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 0, 1, &api_error));
	expect_success(1);
	api_expect(image, 0, BLOCK, 'x');
	close_queue();
}

END_TEST

/* With requests in every state, and completions that nobody reaps. */
START_TEST(ending_needs_no_reaping)
{
	static uint8_t blocks[64 * BLOCK];
	int uring = _i % 2;
	bool by_close = _i / 2 == 1;

	if (!has_backend(uring))
		return;
	for (int round = 0; round < 30; round++) {
		open_queue(64, uring);
		api_write(image, 0, 32 * BLOCK, 'a');
		for (uint64_t i = 0; i < 64; i++) {
			void *at = blocks + i * BLOCK;

			if (i % 2 == 0)
				API_OK(qcowfmt_queue_pread(queue, at, BLOCK,
				                           i * BLOCK, i,
				                           &api_error));
			else
				API_OK(qcowfmt_queue_pwrite(queue, at, BLOCK,
				                            i * BLOCK, i,
				                            &api_error));
			if (i == (uint64_t)round * 2)
				qcowfmt_queue_submit(queue);
		}
		if (!by_close) {
			qcowfmt_queue_free(queue);
			memset(blocks, 'b', sizeof(blocks));
		}
		api_close(image);
		memset(blocks, 'c', sizeof(blocks));
		image = api_open(scratch_path("disk"), API_RW);
		api_check_clean(image);
		api_close(image);
	}
}

END_TEST

/* The first snapshot of that name: each block as it was before the first round of
 * writes, or after. */
static void judge_snapshot(void)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.snapshot_name = "x",
	};
	struct qcowfmt_image *then = NULL;

	API_OK(qcowfmt_open_file(scratch_path("disk"), &options, &then,
	                         &api_error));
	for (uint64_t i = 0; i < 64; i++) {
		uint8_t found[BLOCK];

		API_OK(qcowfmt_pread(then, found, BLOCK, i * BLOCK,
		                     &api_error));
		ck_assert(found[0] == 'a' || found[0] == 'b');
		ck_assert(memcmp(found, found + 1, BLOCK - 1) == 0);
	}
	api_close(then);
}

/* The gate is closed by the thread whose requests keep it open. */
START_TEST(whole_image_changes_wait_for_requests)
{
	static uint8_t blocks[64 * BLOCK];
	struct qcowfmt_completion c[64];

	if (!has_backend(_i))
		return;
	open_queue(64, _i);
	api_write(image, 0, 64 * BLOCK, 'a');
	for (int round = 0; round < 20; round++) {
		int count = 0;

		memset(blocks, 'b' + round, sizeof(blocks));
		for (uint64_t i = 0; i < 64; i++)
			API_OK(qcowfmt_queue_pwrite(queue, blocks + i * BLOCK,
			                            BLOCK, i * BLOCK, i,
			                            &api_error));
		if (round % 2 == 0)
			qcowfmt_queue_submit(queue);
		api_take_snapshot(image, round % 3 == 0 ? "x" : "y");
		while (count < 64) {
			int n = qcowfmt_queue_reap(queue, c, 64, -1);

			ck_assert_int_gt(n, 0);
			for (int i = 0; i < n; i++)
				ck_assert_int_eq(c[i].result, 0);
			count += n;
		}
		api_expect(image, 0, 64 * BLOCK, (uint8_t)('b' + round));
	}
	api_check_clean(image);
	close_queue();
	judge_snapshot();
}

END_TEST

/* Also writes to places that are there already are marked. */
START_TEST(bitmaps_see_all_writes)
{
	uint64_t start = 0;
	uint64_t len = 0;

	if (!has_backend(_i))
		return;
	open_queue(4, _i);
	api_write(image, 0, RIG_SIZE, 'a');
	api_add_bitmap(image, "marks");
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 1 << 20, 1,
	                            &api_error));
	expect_success(1);
	ck_assert_int_eq(qcowfmt_bitmap_next(image, "marks", 0, &start, &len,
	                                     &api_error),
	                 1);
	ck_assert_uint_eq(start, 1 << 20);
	close_queue();
}

END_TEST

static struct api_disk disk;

static void open_on_storage(int uring)
{
	const struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = RIG_SIZE,
	};
	const struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&disk);

	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &open, &image, &api_error));
	queue = rig_queue(image, 4, uring);
}

/* It has no descriptor, so threads do it all. */
START_TEST(storage_of_the_application_works_and_fails)
{
	if (!has_backend(_i))
		return;
	open_on_storage(_i);
	memset(buffer, 'q', sizeof(buffer));
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 0, 1, &api_error));
	expect_success(1);
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 0, 2, &api_error));
	expect_success(2);
	API_OK(qcowfmt_queue_pread(queue, buffer, BLOCK, 0, 3, &api_error));
	expect_success(3);
	ck_assert_int_eq(buffer[BLOCK - 1], 'q');

	disk.fail_pread = EIO;
	API_OK(qcowfmt_queue_pread(queue, buffer, BLOCK, 0, 4, &api_error));
	expect_failure(4, EIO, QCOWFMT_ERR_IO);
	disk.fail_pread = 0;
	disk.fail_flush = EIO;
	API_OK(qcowfmt_queue_flush(queue, 5, &api_error));
	expect_failure(5, EIO, QCOWFMT_ERR_IO);
	disk.fail_flush = 0;
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 0, 6, &api_error));
	expect_failure(6, EIO, QCOWFMT_ERR_POISONED);
	API_OK(qcowfmt_queue_pread(queue, buffer, BLOCK, 0, 7, &api_error));
	expect_success(7);
	qcowfmt_queue_free(queue);
	ck_assert_int_lt(qcowfmt_close(image, &api_error), 0);
	api_error_reset();
	api_disk_fini(&disk);
}

END_TEST

static void *use_elsewhere(void *unused)
{
	(void)unused;
	API_OK(qcowfmt_queue_pwrite(queue, buffer, BLOCK, 0, 1, &api_error));
	qcowfmt_queue_submit(queue);
	return NULL;
}

/* One thread at a time, but not always the same one; what it began goes on when
 * it has ended. */
START_TEST(a_queue_moves_between_threads)
{
	if (!has_backend(_i))
		return;
	open_queue(4, _i);
	api_write(image, 0, BLOCK, 'a');
	for (int round = 0; round < 20; round++) {
		pthread_t thread;

		memset(buffer, 'b' + round, sizeof(buffer));
		ck_assert_int_eq(
			pthread_create(&thread, NULL, use_elsewhere, NULL), 0);
		pthread_join(thread, NULL);
		expect_success(1);
		api_expect(image, 0, BLOCK, (uint8_t)('b' + round));
	}
	close_queue();
}

END_TEST

static atomic_bool has_begun;
static atomic_bool may_stop;

/* Begins writes and then computes, without a system call. */
static void *begin_and_compute(void *unused)
{
	(void)unused;
	for (uint64_t i = 0; i < 8; i++)
		API_OK(qcowfmt_queue_pwrite(queue, buffers[i], BLOCK, i * BLOCK,
		                            i, &api_error));
	qcowfmt_queue_submit(queue);
	atomic_store(&has_begun, true);
	while (!atomic_load(&may_stop)) {
	}
	return NULL;
}

/* Who waits for the descriptor, or for the requests to leave the gate, does not
 * depend on the owner looking. */
START_TEST(others_notice_while_the_owner_computes)
{
	struct pollfd fd = { .events = POLLIN };
	struct qcowfmt_completion c[8];

	if (!has_backend(_i))
		return;
	open_queue(8, _i);
	api_write(image, 0, 8 * BLOCK, 'a');
	fd.fd = qcowfmt_queue_event_fd(queue);
	for (int round = 0; round < 20; round++) {
		int count = 0;
		pthread_t thread;

		atomic_store(&has_begun, false);
		atomic_store(&may_stop, false);
		memset(buffers, 'b' + round, sizeof(buffers));
		ck_assert_int_eq(
			pthread_create(&thread, NULL, begin_and_compute, NULL),
			0);
		while (!atomic_load(&has_begun)) {
		}
		if (round % 2 == 0)
			ck_assert_int_eq(poll(&fd, 1, 30000), 1);
		else
			api_take_snapshot(image, "x");
		atomic_store(&may_stop, true);
		pthread_join(thread, NULL);
		while (count < 8)
			count += qcowfmt_queue_reap(queue, c, 8, -1);
		api_expect(image, 0, 8 * BLOCK, (uint8_t)('b' + round));
	}
	close_queue();
}

END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, others_notice_while_the_owner_computes, 0, 2);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_full_queue_says_so, 0, 2);
	tcase_add_loop_test(tc, an_empty_queue_does_not_wait, 0, 2);
	tcase_add_loop_test(
		tc, the_descriptor_is_readable_as_long_as_there_is_something, 0,
		2);
	tcase_add_loop_test(tc, failures_come_with_the_request, 0, 2);
	tcase_add_loop_test(tc, bad_requests_are_not_taken, 0, 2);
	tcase_add_test(tc, options_have_bounds);
	tcase_add_loop_test(tc, what_has_not_begun_can_be_taken_back, 0, 2);
	tcase_add_loop_test(tc, ending_needs_no_reaping, 0, 4);
	tcase_add_loop_test(tc, whole_image_changes_wait_for_requests, 0, 2);
	tcase_add_loop_test(tc, bitmaps_see_all_writes, 0, 2);
	tcase_add_loop_test(tc, storage_of_the_application_works_and_fails, 0,
	                    2);
	tcase_add_loop_test(tc, a_queue_moves_between_threads, 0, 2);
}

int main(int argc, char **argv)
{
	return api_main("queues have bounds and ends", add, argc, argv);
}
