/* SPDX-License-Identifier: MIT */
/*
 * bench_queue.c - what requests in queues take: one turn of one side
 *
 *   bench_queue WHAT FILE SIZE REQUESTS THREADS WORKERS
 *
 * WHAT is raw-read or raw-write, a loop of io_uring on a raw file; read or write, a
 * queue on an image; allocate, the same on an image that is made anew.  The disk
 * has SIZE bytes.  Each thread has a ring or a queue of its own with 64 requests of
 * 4 KiB under way; a queue has so many workers, 0 for as many as it likes.
 *
 * Prints the seconds from the first request to the last answer, and the processor
 * seconds, of the kernel too.  queues.py makes the files and compares.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <liburing.h>
#include <qcowfmt.h>

#define BLOCK       4096u
#define DEPTH       64
#define CLUSTER     65536u
#define MAX_THREADS 2

struct bench {
	const char *path;
	uint64_t size;  /* of the disk */
	uint64_t count; /* requests of each thread */
	struct qcowfmt_image *disk;
	pthread_barrier_t start;
};

enum mode { RAW_READ, RAW_WRITE, LIB_READ, LIB_WRITE, LIB_ALLOCATE };

static const char *const mode_names[] = { "raw-read", "raw-write", "read",
	                                  "write", "allocate" };

struct worker {
	struct bench *bench;
	enum mode mode;
	uint32_t workers; /* threads of its queue */
	unsigned int number;
	unsigned int team;
	uint8_t *buffers;
	uint64_t random;
	double begin;
	double end;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_queue: %s: %s\n", what, why);
	exit(1);
}

static void check(int ret, const char *what, struct qcowfmt_error *error)
{
	if (ret < 0)
		die(what, qcowfmt_error_message(error));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Processor time of all threads, in the kernel too. */
static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Scattered blocks; for allocating writes each thread takes every other
 * cluster once, as far as the disk goes. */
static uint64_t next_offset(struct worker *w, uint64_t i)
{
	uint64_t clusters = w->bench->size / CLUSTER;

	if (w->mode == LIB_ALLOCATE)
		return (i * w->team + w->number) % clusters * CLUSTER;
	w->random = w->random * UINT64_C(6364136223846793005) + 1442695041;
	return (w->random >> 20) % (w->bench->size / BLOCK) * BLOCK;
}

/* ------------------------------------------------------------------- the sides */

/* As the library asks for it. */
#define SETUP (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)

static void put_raw(struct worker *w, struct io_uring *ring, int fd, uint64_t i,
                    uint64_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint8_t *buffer = w->buffers + slot * BLOCK;

	if (w->mode == RAW_WRITE)
		io_uring_prep_write(sqe, fd, buffer, BLOCK, next_offset(w, i));
	else
		io_uring_prep_read(sqe, fd, buffer, BLOCK, next_offset(w, i));
	sqe->user_data = slot;
}

static void loop_raw(struct worker *w)
{
	int fd = open(w->bench->path, O_RDWR);
	uint64_t begun = 0;
	uint64_t done = 0;
	struct io_uring ring;

	if (fd < 0 || io_uring_queue_init(DEPTH, &ring, SETUP) < 0)
		die(w->bench->path, "cannot be used");
	for (uint64_t slot = 0; slot < DEPTH; slot++)
		put_raw(w, &ring, fd, begun++, slot);
	while (done < w->bench->count) {
		struct io_uring_cqe *cqe;
		unsigned int head;
		unsigned int count = 0;

		if (io_uring_submit_and_wait(&ring, 1) < 0)
			die("io_uring", "submission failed");
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			if (cqe->res != BLOCK)
				die("io_uring", "short");
			count++;
			done++;
			if (begun < w->bench->count)
				put_raw(w, &ring, fd, begun++, cqe->user_data);
		}
		io_uring_cq_advance(&ring, count);
	}
	io_uring_queue_exit(&ring);
	close(fd);
}

static void put_lib(struct worker *w, struct qcowfmt_queue *queue, uint64_t i,
                    uint64_t slot)
{
	struct qcowfmt_error *error = NULL;
	uint8_t *buffer = w->buffers + slot * BLOCK;

	if (w->mode == LIB_READ)
		check(qcowfmt_queue_pread(queue, buffer, BLOCK,
		                          next_offset(w, i), slot, &error),
		      "read", error);
	else
		check(qcowfmt_queue_pwrite(queue, buffer, BLOCK,
		                           next_offset(w, i), slot, &error),
		      "write", error);
}

static void loop_lib(struct worker *w)
{
	const struct qcowfmt_queue_options o = {
		.struct_size = sizeof(o),
		.depth = DEPTH,
		.workers = w->workers,
	};
	struct qcowfmt_completion c[DEPTH];
	struct qcowfmt_queue *queue = NULL;
	struct qcowfmt_error *error = NULL;
	uint64_t begun = 0;
	uint64_t done = 0;

	check(qcowfmt_queue_new(w->bench->disk, &o, &queue, &error), "queue",
	      error);
	for (uint64_t slot = 0; slot < DEPTH; slot++)
		put_lib(w, queue, begun++, slot);
	while (done < w->bench->count) {
		int count = qcowfmt_queue_reap(queue, c, DEPTH, -1);

		for (int i = 0; i < count; i++) {
			check(c[i].result, "request", c[i].error);
			done++;
			if (begun < w->bench->count)
				put_lib(w, queue, begun++, c[i].user_data);
		}
	}
	qcowfmt_queue_free(queue);
}

static void *work(void *argument)
{
	struct worker *w = argument;

	pthread_barrier_wait(&w->bench->start);
	w->begin = now();
	if (w->mode == RAW_READ || w->mode == RAW_WRITE)
		loop_raw(w);
	else
		loop_lib(w);
	w->end = now();
	return NULL;
}

/* -------------------------------------------------------------------- the turn */

static void open_image(struct bench *b, bool anew)
{
	const struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = b->size,
		.cluster_size = CLUSTER,
	};
	const struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_error *error = NULL;

	if (anew)
		check(qcowfmt_create_file(b->path, &create, &error), b->path,
		      error);
	check(qcowfmt_open_file(b->path, &open, &b->disk, &error), b->path,
	      error);
}

static void close_image(struct bench *b)
{
	struct qcowfmt_error *error = NULL;

	check(qcowfmt_close(b->disk, &error), "close", error);
}

/* Returns how long so many threads take. */
static double run_team(struct bench *b, enum mode mode, unsigned int team,
                       uint32_t workers)
{
	struct worker w[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	double begin = 0;
	double end = 0;

	pthread_barrier_init(&b->start, NULL, team);
	for (unsigned int i = 0; i < team; i++) {
		w[i] = (struct worker){
			.bench = b,
			.mode = mode,
			.workers = workers,
			.number = i,
			.team = team,
			.buffers = aligned_alloc(4096, DEPTH * BLOCK),
			.random = i + 1,
		};
		if (w[i].buffers == NULL)
			die("buffers", "no memory");
		memset(w[i].buffers, 0x5a, DEPTH * BLOCK);
		pthread_create(&threads[i], NULL, work, &w[i]);
	}
	for (unsigned int i = 0; i < team; i++) {
		pthread_join(threads[i], NULL);
		free(w[i].buffers);
		begin = i == 0 || w[i].begin < begin ? w[i].begin : begin;
		end = i == 0 || w[i].end > end ? w[i].end : end;
	}
	pthread_barrier_destroy(&b->start);
	return end - begin;
}

static enum mode mode_of(const char *name)
{
	for (unsigned int i = 0; i <= LIB_ALLOCATE; i++)
		if (strcmp(name, mode_names[i]) == 0)
			return (enum mode)i;
	die(name, "is no kind of request");
	return RAW_READ;
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };
	unsigned int team;
	uint32_t workers;
	enum mode mode;
	double cpu;
	double seconds;

	if (argc != 7)
		die("usage", "WHAT FILE SIZE REQUESTS THREADS WORKERS");
	mode = mode_of(argv[1]);
	b.path = argv[2];
	b.size = strtoull(argv[3], NULL, 10);
	b.count = strtoull(argv[4], NULL, 10);
	team = (unsigned int)strtoul(argv[5], NULL, 10);
	workers = (uint32_t)strtoul(argv[6], NULL, 10);
	if (b.size < CLUSTER || b.count < DEPTH || team < 1 ||
	    team > MAX_THREADS)
		die("usage", "a number is too small or too large");
	if (mode >= LIB_READ)
		open_image(&b, mode == LIB_ALLOCATE);
	cpu = cpu_now();
	seconds = run_team(&b, mode, team, workers);
	cpu = cpu_now() - cpu;
	if (mode >= LIB_READ)
		close_image(&b);
	printf("%.6f %.6f\n", seconds, cpu);
	return 0;
}
