/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever goes through a queue, in whatever order it is put in, begun,
 * waited for and reaped, has the effect that synchronous requests have, on images
 * of every kind, with io_uring and without.
 *
 * Requests that are in the queue together touch different ranges, so each has one
 * right result.  Waiting is done in all ways there are; one that hangs is a
 * completion that nobody was told of.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "figure.h"
#include "queue_rig.h"
#include "thin.h"

#define DEPTH       16
#define MAX_LEN     (3u << 12)
#define ROOM        (MAX_LEN + 4096u) /* of a buffer */
#define MAX_VECTOR  7
#define STEPS       4000
#define TOO_LONG_MS 30000

enum act { ACT_READ, ACT_WRITE, ACT_ZERO, ACT_DISCARD, ACT_FLUSH, ACT_COUNT };

struct pending {
	bool used;
	enum act act;
	uint64_t start;
	uint64_t len;
	uint8_t *buffer;
};

struct run {
	struct rig rig;
	struct qcowfmt_queue *queue;
	struct pending pending[DEPTH];
	unsigned int used;
	uint64_t done[ACT_COUNT];
	uint8_t *buffers; /* aligned, MAX_LEN for each */
};

static bool is_free_range(const struct run *run, uint64_t start, uint64_t len)
{
	for (size_t i = 0; i < DEPTH; i++) {
		const struct pending *p = &run->pending[i];

		if (p->used && start < p->start + p->len &&
		    p->start < start + len)
			return false;
	}
	return true;
}

/* Half of them in blocks, half at any byte; some long. */
static void draw_range(struct run *run, struct pending *p)
{
	uint64_t unit = rig_draw(&run->rig, 3) > 0 ? 4096 : 1;

	do {
		p->len = (1 + rig_draw(&run->rig, MAX_LEN / unit)) * unit;
		p->start = rig_draw(&run->rig, (RIG_SIZE - p->len) / unit + 1) *
		           unit;
	} while (!is_free_range(run, p->start, p->len));
}

/* A vector with empty elements and others. */
static int split(struct run *run, struct pending *p, struct iovec *iov)
{
	int count = 1 + (int)rig_draw(&run->rig, MAX_VECTOR);
	uint64_t at = 0;

	for (int i = 0; i < count; i++) {
		uint64_t part = i == count - 1
		                        ? p->len - at
		                        : rig_draw(&run->rig, p->len - at + 1);

		if (rig_draw(&run->rig, 2) == 0 && i < count - 1)
			part = part / 512 * 512;
		iov[i].iov_base = p->buffer + at;
		iov[i].iov_len = (size_t)part;
		at += part;
	}
	return count;
}

static void put_transfer(struct run *run, struct pending *p, uint64_t tag)
{
	struct iovec iov[MAX_VECTOR];
	int count = 1;

	iov[0].iov_base = p->buffer;
	iov[0].iov_len = (size_t)p->len;
	if (rig_draw(&run->rig, 2) == 0)
		count = split(run, p, iov);
	if (p->act == ACT_READ) {
		memset(p->buffer, 0xee, p->len);
		API_OK(qcowfmt_queue_preadv(run->queue, iov, count, p->start,
		                            tag, &api_error));
	} else {
		rig_fill(&run->rig, p->buffer, p->len);
		API_OK(qcowfmt_queue_pwritev(run->queue, iov, count, p->start,
		                             tag, &api_error));
	}
	/* The queue has a copy of the vector. */
	memset(iov, 0xff, sizeof(iov));
}

static void put(struct run *run)
{
	static const enum act acts[] = { ACT_READ, ACT_READ,    ACT_READ,
		                         ACT_READ, ACT_WRITE,   ACT_WRITE,
		                         ACT_ZERO, ACT_DISCARD, ACT_FLUSH };

	uint64_t tag = 0;
	struct pending *p;

	while (run->pending[tag].used)
		tag++;
	p = &run->pending[tag];
	*p = (struct pending){
		.act = acts[rig_draw(&run->rig, QCF_ARRAY_LEN(acts))],
		.buffer = run->buffers + tag * ROOM +
		          (rig_draw(&run->rig, 2) ? 0 : 24),
	};
	if (p->act != ACT_FLUSH)
		draw_range(run, p);
	if (p->act == ACT_READ || p->act == ACT_WRITE)
		put_transfer(run, p, tag);
	else if (p->act == ACT_ZERO)
		API_OK(qcowfmt_queue_write_zeroes(
			run->queue, p->start, p->len,
			(uint32_t)rig_draw(&run->rig, 2), tag, &api_error));
	else if (p->act == ACT_DISCARD)
		API_OK(qcowfmt_queue_discard(run->queue, p->start, p->len, tag,
		                             &api_error));
	else
		API_OK(qcowfmt_queue_flush(run->queue, tag, &api_error));
	p->used = true;
	run->used++;
}

/* What a discard leaves is the old content or zeros. */
static void adopt_discard(struct run *run, const struct pending *p)
{
	uint8_t *model = run->rig.model + p->start;
	bool wrong = false;

	API_OK(qcowfmt_pread(run->rig.image, p->buffer, p->len, p->start,
	                     &api_error));
	for (uint64_t i = 0; i < p->len; i++)
		wrong |= p->buffer[i] != 0 && p->buffer[i] != model[i];
	ck_assert(!wrong);
	memcpy(model, p->buffer, p->len);
}

static void take(struct run *run, const struct qcowfmt_completion *c)
{
	struct pending *p = &run->pending[c->user_data];
	uint8_t *model = run->rig.model + p->start;

	ck_assert_uint_lt(c->user_data, DEPTH);
	ck_assert(p->used);
	ck_assert_msg(c->result == 0, "%s: %s", run->rig.kind->name,
	              qcowfmt_error_message(c->error));
	ck_assert_ptr_null(c->error);
	if (p->act == ACT_READ)
		ck_assert_msg(memcmp(p->buffer, model, p->len) == 0,
		              "%s: read %" PRIu64 " bytes at %" PRIu64,
		              run->rig.kind->name, p->len, p->start);
	else if (p->act == ACT_WRITE)
		memcpy(model, p->buffer, p->len);
	else if (p->act == ACT_ZERO)
		memset(model, 0, p->len);
	else if (p->act == ACT_DISCARD)
		adopt_discard(run, p);
	run->done[p->act]++;
	p->used = false;
	run->used--;
}

/* Returns how many completions there were. */
static int reap(struct run *run, int max, int timeout)
{
	struct qcowfmt_completion completions[DEPTH];
	int count = qcowfmt_queue_reap(run->queue, completions, max, timeout);

	ck_assert_int_le(count, max);
	for (int i = 0; i < count; i++)
		take(run, &completions[i]);
	return count;
}

static void wait_in_some_way(struct run *run)
{
	struct pollfd fd = { .fd = qcowfmt_queue_event_fd(run->queue),
		             .events = POLLIN };
	int max = 1 + (int)rig_draw(&run->rig, DEPTH);

	switch (rig_draw(&run->rig, 3)) {
	case 0:
		ck_assert_int_gt(reap(run, max, -1), 0);
		break;
	case 1:
		ck_assert_int_gt(reap(run, max, TOO_LONG_MS), 0);
		break;
	default:
		qcowfmt_queue_submit(run->queue);
		do {
			ck_assert_int_eq(poll(&fd, 1, TOO_LONG_MS), 1);
		} while (reap(run, max, 0) == 0);
	}
}

/* An operation on the whole image waits for requests, although the thread that
 * has to reap them is the one that waits. */
static void check_between(struct run *run)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	if (run->rig.kind->format != 0)
		return;
	qcowfmt_queue_submit(run->queue);
	API_OK(qcowfmt_check(run->rig.image, 0, NULL, NULL, &result,
	                     &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
}

static void step(struct run *run)
{
	uint64_t what = rig_draw(&run->rig, 20);

	if (what < 12 && run->used < DEPTH)
		put(run);
	else if (what < 14)
		qcowfmt_queue_submit(run->queue);
	else if (what < 16)
		(void)reap(run, 1 + (int)rig_draw(&run->rig, DEPTH), 0);
	else if (run->used > 0)
		wait_in_some_way(run);
	if (rig_draw(&run->rig, 500) == 0)
		check_between(run);
}

static void try_kind(const struct rig_kind *kind, int uring, unsigned int steps)
{
	struct run run = { .used = 0 };

	rig_open(&run.rig, kind, (uint64_t)(kind - rig_kinds) * 2 + 1);
	run.buffers = aligned_alloc(4096, ROOM * DEPTH);
	ck_assert_ptr_nonnull(run.buffers);
	run.queue = rig_queue(run.rig.image, DEPTH, uring);
	for (unsigned int i = 0; i < steps; i++)
		step(&run);
	while (run.used > 0)
		wait_in_some_way(&run);
	ck_assert_int_eq(reap(&run, 1, -1), 0);
	for (int i = 0; i < ACT_COUNT; i++) {
		ck_assert_uint_gt(run.done[i], 0);
		figure_add("queue-requests", "requests", run.done[i]);
	}
	qcowfmt_queue_free(run.queue);
	free(run.buffers);
	rig_judge(&run.rig);
}

static unsigned int steps(void)
{
	return (getenv("QCF_LONG") != NULL ? 20u : 1u) * STEPS / thin_factor();
}

START_TEST(with_threads)
{
	try_kind(&rig_kinds[_i], 0, steps());
}

END_TEST

START_TEST(with_io_uring)
{
	if (rig_has_uring())
		try_kind(&rig_kinds[_i], 1, steps());
}

END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, with_threads, 0, (int)rig_kind_count);
	tcase_add_loop_test(tc, with_io_uring, 0, (int)rig_kind_count);
}

int main(int argc, char **argv)
{
	int status;

	figure_init();
	status = api_main("queues do what was asked", add, argc, argv);
	figure_print();
	return status;
}
