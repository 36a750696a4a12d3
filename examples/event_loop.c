/* SPDX-License-Identifier: MIT */
/*
 * event_loop.c - a queue in the event loop of an application
 *
 *   event_loop IMAGE
 *
 * One thread keeps up to 32 requests going without ever waiting for one of them:
 * the descriptor of the queue is one more that the loop polls, beside a timer here.
 * Each block is written, then read back and compared; at the end there is a flush,
 * which covers the writes because their completions were reaped before.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <qcowfmt.h>

#define BLOCK_SIZE  (16u << 10)
#define BLOCK_COUNT 1000u
#define DEPTH       32u
#define FLUSH       UINT64_MAX /* the user data of the flush */

/* What is going on in one of the buffers. */
struct slot {
	unsigned char bytes[BLOCK_SIZE];
	unsigned int block;
	int reading;
};

struct state {
	struct qcowfmt_queue *queue;
	struct slot slots[DEPTH];
	unsigned int begun;   /* blocks */
	unsigned int checked; /* blocks */
	unsigned int ticks;   /* of the timer */
	int done;
	int failed;
	struct qcowfmt_error *error;
};

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static unsigned char block_byte(unsigned int block)
{
	return (unsigned char)(1 + block % 251);
}

/* The next block into a free slot; after the last one, nothing. */
static void begin_write(struct state *s, unsigned int number)
{
	struct slot *slot = &s->slots[number];

	if (s->begun == BLOCK_COUNT)
		return;
	slot->block = s->begun++;
	slot->reading = 0;
	memset(slot->bytes, block_byte(slot->block), BLOCK_SIZE);
	if (qcowfmt_queue_pwrite(s->queue, slot->bytes, BLOCK_SIZE,
	                         (uint64_t)slot->block * BLOCK_SIZE, number,
	                         &s->error) < 0)
		s->failed = 1;
}

static void begin_read(struct state *s, unsigned int number)
{
	struct slot *slot = &s->slots[number];

	slot->reading = 1;
	memset(slot->bytes, 0, BLOCK_SIZE);
	if (qcowfmt_queue_pread(s->queue, slot->bytes, BLOCK_SIZE,
	                        (uint64_t)slot->block * BLOCK_SIZE, number,
	                        &s->error) < 0)
		s->failed = 1;
}

static void check_block(struct state *s, const struct slot *slot)
{
	for (size_t i = 0; i < BLOCK_SIZE; i++)
		s->failed |= slot->bytes[i] != block_byte(slot->block);
	if (++s->checked == BLOCK_COUNT &&
	    qcowfmt_queue_flush(s->queue, FLUSH, &s->error) < 0)
		s->failed = 1;
}

static void complete(struct state *s, const struct qcowfmt_completion *c)
{
	unsigned int number = (unsigned int)c->user_data;

	if (c->result < 0) {
		s->failed = 1;
		s->error = c->error;
	} else if (c->user_data == FLUSH) {
		s->done = 1;
	} else if (s->slots[number].reading) {
		check_block(s, &s->slots[number]);
		begin_write(s, number);
	} else {
		begin_read(s, number);
	}
}

/* Take what there is; what is begun meanwhile is submitted with the next call. */
static void reap(struct state *s)
{
	struct qcowfmt_completion completions[DEPTH];
	int count;

	do {
		count = qcowfmt_queue_reap(s->queue, completions, DEPTH, 0);
		for (int i = 0; i < count && !s->failed; i++)
			complete(s, &completions[i]);
	} while (count > 0 && !s->failed);
}

static int add_to_loop(int loop, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

static void run_loop(struct state *s, int loop, int timer)
{
	for (unsigned int i = 0; i < DEPTH; i++)
		begin_write(s, i);
	qcowfmt_queue_submit(s->queue);
	while (!s->done && !s->failed) {
		struct epoll_event events[2];
		int count = epoll_wait(loop, events, 2, -1);

		for (int i = 0; i < count; i++) {
			uint64_t ticks;

			if (events[i].data.fd != timer)
				reap(s);
			else if (read(timer, &ticks, sizeof(ticks)) > 0)
				s->ticks++;
		}
	}
}

static int run_timed(struct state *s)
{
	const struct itimerspec every = {
		.it_interval = { .tv_nsec = 5000000 },
		.it_value = { .tv_nsec = 5000000 },
	};
	int loop = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (loop < 0 || timer < 0 ||
	    timerfd_settime(timer, 0, &every, NULL) < 0 ||
	    add_to_loop(loop, timer) < 0 ||
	    add_to_loop(loop, qcowfmt_queue_event_fd(s->queue)) < 0) {
		perror("event loop");
		return 1;
	}
	run_loop(s, loop, timer);
	close(timer);
	close(loop);
	if (s->failed && s->error != NULL)
		return report("request", s->error);
	if (s->failed)
		fprintf(stderr, "a block did not read back\n");
	return s->failed;
}

int main(int argc, char **argv)
{
	static struct state state;
	const struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = UINT64_C(64) << 20,
	};
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image;
	int failed;

	if (argc != 2) {
		fprintf(stderr, "usage: event_loop IMAGE\n");
		return 1;
	}
	if (qcowfmt_create_file(argv[1], &create, &error) < 0)
		return report("create", error);
	if (qcowfmt_open_file(argv[1], &options, &image, &error) < 0)
		return report("open", error);
	if (qcowfmt_queue_new(image, NULL, &state.queue, &error) < 0)
		failed = report("queue", error);
	else
		failed = run_timed(&state);
	qcowfmt_queue_free(state.queue);
	if (qcowfmt_close(image, &error) < 0)
		return report("close", error);
	if (!failed)
		printf("%u blocks written and checked, %u ticks of the timer "
		       "meanwhile\n",
		       state.checked, state.ticks);
	return failed;
}
