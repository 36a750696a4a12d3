/* SPDX-License-Identifier: MIT */
/*
 * Promise: short transfers, failures, interruptions, a kernel that takes only part
 * of what it is given and one that has no io_uring make no difference to what a
 * queue does.
 *
 * The ring is wrapped.  A result is changed after the kernel has done all of it, and
 * of a read the bytes are spoiled that it is then told to have left out.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include <liburing.h>

#include "figure.h"
#include "queue_request.h"
#include "queue_rig.h"
#include "ring.h"

#define BLOCK  4096u
#define DEPTH  32u
#define ROUNDS 300

static int refuse_new;     /* errno value of making a ring */
static bool changes_look;  /* results are changed */
static bool takes_in_part; /* submissions stop early */
static bool takes_nothing; /* submissions fail */
static uint64_t turns;
static uint64_t changed;
static uint64_t not_taken;

int __real_qcf_ring_new(uint32_t entries, struct qcf_ring **ring);
int __wrap_qcf_ring_new(uint32_t entries, struct qcf_ring **ring);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
struct qcf_ring_result __real_qcf_ring_look(const struct qcf_ring *ring,
                                            uint32_t i);
struct qcf_ring_result __wrap_qcf_ring_look(const struct qcf_ring *ring,
                                            uint32_t i);

int __wrap_qcf_ring_new(uint32_t entries, struct qcf_ring **ring)
{
	return refuse_new != 0 ? -refuse_new
	                       : __real_qcf_ring_new(entries, ring);
}

/* Interrupted, none taken, some taken and then no more, or all. */
int __wrap_io_uring_submit(struct io_uring *ring)
{
	unsigned int ready = io_uring_sq_ready(ring);
	unsigned int hidden;
	int ret;

	if (takes_nothing) {
		not_taken += ready;
		return -EAGAIN;
	}
	if (!takes_in_part)
		return __real_io_uring_submit(ring);
	switch (turns++ % 5) {
	case 0:
		return -EINTR;
	case 1:
		not_taken += ready;
		return -EAGAIN;
	case 2:
		hidden = ready / 2;
		ring->sq.sqe_tail -= hidden;
		ret = __real_io_uring_submit(ring);
		ring->sq.sqe_tail += hidden;
		return ret == 0 ? -EBUSY : ret;
	default:
		return __real_io_uring_submit(ring);
	}
}

static void spoil(const struct qcf_queue_request *r, uint64_t kept)
{
	const struct iovec *iov = qcf_queue_request_iov(r);

	for (int i = 0; i < r->iovcnt; i++) {
		uint8_t *bytes = iov[i].iov_base;

		for (size_t j = 0; j < iov[i].iov_len; j++) {
			if (kept > 0)
				kept--;
			else
				bytes[j] = 0xcc;
		}
	}
}

struct qcf_ring_result __wrap_qcf_ring_look(const struct qcf_ring *ring,
                                            uint32_t i)
{
	struct qcf_ring_result result = __real_qcf_ring_look(ring, i);
	const struct qcf_queue_request *r = result.tag;
	const int32_t values[] = {
		512, 1, 0, -EINTR, -EAGAIN, -EIO, -ECANCELED
	};

	if (!changes_look || r == NULL || r->storage == NULL ||
	    result.value < 1024 || turns++ % 3 != 0)
		return result;
	result.value = values[turns / 3 % QCF_ARRAY_LEN(values)];
	if (r->operation == QCF_QUEUE_READ)
		spoil(r, result.value > 0 ? (uint64_t)result.value : 0);
	changed++;
	return result;
}

struct world {
	struct qcowfmt_image *image;
	struct qcowfmt_queue *queue;
	uint8_t *model;
	uint8_t *buffers;
};

static void open_world(struct world *w, int uring)
{
	w->model = malloc(RIG_SIZE);
	w->buffers = malloc(DEPTH * BLOCK);
	ck_assert(w->model != NULL && w->buffers != NULL);
	memset(w->model, 'm', RIG_SIZE);
	api_create(scratch_path("disk"), RIG_SIZE, 0);
	w->image = api_open(scratch_path("disk"), API_RW);
	api_write(w->image, 0, RIG_SIZE, 'm');
	w->queue = rig_queue(w->image, DEPTH, uring);
}

static void close_world(struct world *w)
{
	uint8_t *all = malloc(RIG_SIZE);

	ck_assert_ptr_nonnull(all);
	qcowfmt_queue_free(w->queue);
	API_OK(qcowfmt_pread(w->image, all, RIG_SIZE, 0, &api_error));
	ck_assert(memcmp(all, w->model, RIG_SIZE) == 0);
	api_check_clean(w->image);
	api_close(w->image);
	free(all);
	free(w->model);
	free(w->buffers);
}

/* Long before a reaping that is not woken would look by itself. */
static void wait_readable(struct qcowfmt_queue *queue)
{
	struct pollfd fd = { .fd = qcowfmt_queue_event_fd(queue),
		             .events = POLLIN };

	ck_assert_int_eq(poll(&fd, 1, 20000), 1);
}

static int reap(struct world *w, struct qcowfmt_completion *c, bool by_event)
{
	struct timespec begin;
	struct timespec end;
	int n;

	if (by_event) {
		qcowfmt_queue_submit(w->queue);
		wait_readable(w->queue);
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	n = qcowfmt_queue_reap(w->queue, c, DEPTH, 30000);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ck_assert_int_lt(end.tv_sec - begin.tv_sec, 20);
	return n;
}

/* Reads in one half of the blocks, writes in the other. */
static void put_round(struct world *w, unsigned int round)
{
	for (uint64_t i = 0; i < DEPTH; i++) {
		uint64_t at = (round * 7 + i) % (RIG_SIZE / BLOCK) * BLOCK;
		uint8_t *bytes = w->buffers + i * BLOCK;
		struct iovec iov[2] = { { bytes, 1000 },
			                { bytes + 1000, BLOCK - 1000 } };

		memset(bytes, (int)(round + i), BLOCK);
		if (i % 2 == 0)
			API_OK(qcowfmt_queue_preadv(w->queue, iov, 2, at, i,
			                            &api_error));
		else
			API_OK(qcowfmt_queue_pwrite(w->queue, bytes, BLOCK, at,
			                            i, &api_error));
	}
}

static void end_round(struct world *w, unsigned int round)
{
	struct qcowfmt_completion c[DEPTH];
	unsigned int count = 0;

	while (count < DEPTH) {
		int n = reap(w, c, round % 2 == 1);

		ck_assert(n > 0 || round % 2 == 1);
		count += (unsigned int)n;
		for (int i = 0; i < n; i++) {
			uint64_t tag = c[i].user_data;
			uint64_t at =
				(round * 7 + tag) % (RIG_SIZE / BLOCK) * BLOCK;
			uint8_t *bytes = w->buffers + tag * BLOCK;

			ck_assert_int_eq(c[i].result, 0);
			if (tag % 2 == 0)
				ck_assert(memcmp(bytes, w->model + at, BLOCK) ==
				          0);
			else
				memcpy(w->model + at, bytes, BLOCK);
		}
	}
}

static void use(int uring)
{
	struct world w;

	open_world(&w, uring);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		put_round(&w, round);
		end_round(&w, round);
	}
	close_world(&w);
}

START_TEST(a_result_that_is_not_all)
{
	if (!rig_has_uring())
		return;
	changes_look = true;
	use(1);
	ck_assert_uint_gt(changed, 100);
	figure_add("queue-ring-results", "changed", changed);
}

END_TEST

START_TEST(a_submission_that_is_not_all)
{
	if (!rig_has_uring())
		return;
	takes_in_part = true;
	use(1);
	ck_assert_uint_gt(not_taken, 100);
}

END_TEST

/* Threads do everything, and have to be heard of all the same. */
START_TEST(a_kernel_that_takes_nothing)
{
	if (!rig_has_uring())
		return;
	takes_nothing = true;
	use(1);
	ck_assert_uint_gt(not_taken, 100);
}

END_TEST

START_TEST(both)
{
	if (!rig_has_uring())
		return;
	changes_look = true;
	takes_in_part = true;
	use(1);
}

END_TEST

START_TEST(no_io_uring)
{
	static const int reasons[] = { ENOSYS, EPERM, ENOMEM, EINVAL, EMFILE };

	for (size_t i = 0; i < QCF_ARRAY_LEN(reasons); i++) {
		refuse_new = reasons[i];
		use(0);
	}
}

END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_result_that_is_not_all);
	tcase_add_test(tc, a_submission_that_is_not_all);
	tcase_add_test(tc, a_kernel_that_takes_nothing);
	tcase_add_test(tc, both);
	tcase_add_test(tc, no_io_uring);
}

int main(int argc, char **argv)
{
	int status;

	figure_init();
	status = api_main("the kernel may do less", add, argc, argv);
	figure_print();
	return status;
}
