/* SPDX-License-Identifier: MIT */
/*
 * bench_queue.c - queues beside plain loops of io_uring, in one run
 *
 *   bench_queue [--smoke] DIRECTORY
 *
 * Makes a raw file and an image of the same size in DIRECTORY and prints one line
 * for each case: thousands of requests per second of both sides, or of one and two
 * threads, the ratio, and that of requests per second of processor time, in which
 * others on the machine do not count.  Turns are interleaved, and the median of the
 * ratios of neighbouring turns counts.  Files are in the page cache: what is
 * measured is code.
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
#define MAX_TURNS   15
#define MAX_THREADS 2

struct bench {
	uint64_t size;  /* of the disk */
	uint64_t count; /* requests of each thread and turn */
	int turns;
	char raw[4096];
	char image[4096];
	struct qcowfmt_image *disk;
	pthread_barrier_t start;
};

/* One side of a comparison. */
enum mode { RAW_READ, RAW_WRITE, LIB_READ, LIB_WRITE, LIB_ALLOCATE };

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
	int fd = open(w->bench->raw, O_RDWR);
	uint64_t begun = 0;
	uint64_t done = 0;
	struct io_uring ring;

	if (fd < 0 || io_uring_queue_init(DEPTH, &ring, 0) < 0)
		die(w->bench->raw, "cannot be used");
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

/* ----------------------------------------------------------------------- turns */

static void make_image(struct bench *b, bool full)
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
	uint8_t *buffer = calloc(1, CLUSTER);

	if (buffer == NULL)
		die("buffer", "no memory");
	memset(buffer, 0x5a, CLUSTER);
	check(qcowfmt_create_file(b->image, &create, &error), b->image, error);
	check(qcowfmt_open_file(b->image, &open, &b->disk, &error), b->image,
	      error);
	for (uint64_t at = 0; full && at < b->size; at += CLUSTER)
		check(qcowfmt_pwrite(b->disk, buffer, CLUSTER, at, &error),
		      "write", error);
	if (full)
		check(qcowfmt_flush(b->disk, &error), "flush", error);
	free(buffer);
}

static void close_image(struct bench *b)
{
	struct qcowfmt_error *error = NULL;

	check(qcowfmt_close(b->disk, &error), "close", error);
}

static void make_raw(struct bench *b)
{
	int fd = open(b->raw, O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint8_t *buffer = malloc(CLUSTER);

	if (fd < 0 || buffer == NULL)
		die(b->raw, strerror(errno));
	memset(buffer, 0x5a, CLUSTER);
	for (uint64_t at = 0; at < b->size; at += CLUSTER)
		if (pwrite(fd, buffer, CLUSTER, (off_t)at) != CLUSTER)
			die(b->raw, "write");
	fsync(fd);
	close(fd);
	free(buffer);
}

struct speed {
	double per_second;
	double per_cpu_second;
};

/* The speed of so many threads. */
static struct speed turn(struct bench *b, enum mode mode, unsigned int team,
                         uint32_t workers)
{
	struct worker w[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	double requests = (double)(b->count * team);
	double begin = 0;
	double end = 0;
	double cpu;

	if (mode == LIB_ALLOCATE)
		make_image(b, false);
	pthread_barrier_init(&b->start, NULL, team);
	cpu = cpu_now();
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
	cpu = cpu_now() - cpu;
	pthread_barrier_destroy(&b->start);
	if (mode == LIB_ALLOCATE)
		close_image(b);
	return (struct speed){ requests / (end - begin), requests / cpu };
}

struct side {
	enum mode mode;
	unsigned int team;
	uint32_t workers; /* 0: as many as it likes */
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), by_value);
	return values[count / 2];
}

static void compare(struct bench *b, const char *name, double target,
                    struct side base, struct side other)
{
	double bases[MAX_TURNS];
	double others[MAX_TURNS];
	double ratios[MAX_TURNS];
	double cpu_ratios[MAX_TURNS];

	for (int i = 0; i < b->turns; i++) {
		struct speed x = turn(b, base.mode, base.team, base.workers);
		struct speed y = turn(b, other.mode, other.team, other.workers);

		bases[i] = x.per_second;
		others[i] = y.per_second;
		ratios[i] = y.per_second / x.per_second;
		cpu_ratios[i] = y.per_cpu_second / x.per_cpu_second;
	}
	printf("%-38s %8.1f %8.1f  ratio %.2f  by processor time %.2f", name,
	       median(bases, b->turns) / 1e3, median(others, b->turns) / 1e3,
	       median(ratios, b->turns), median(cpu_ratios, b->turns));
	if (target > 0)
		printf("  target %.2f", target);
	printf("\n");
	fflush(stdout);
}

static void run_all(struct bench *b)
{
	make_raw(b);
	make_image(b, true);
	compare(b, "reads, depth 64: raw, queue", 0.85,
	        (struct side){ RAW_READ, 1, 0 },
	        (struct side){ LIB_READ, 1, 0 });
	compare(b, "writes in place, depth 64: raw, queue", 0.85,
	        (struct side){ RAW_WRITE, 1, 0 },
	        (struct side){ LIB_WRITE, 1, 0 });
	compare(b, "reads: one queue, two", 1.8,
	        (struct side){ LIB_READ, 1, 0 },
	        (struct side){ LIB_READ, 2, 0 });
	compare(b, "reads of raw: one ring, two", 0,
	        (struct side){ RAW_READ, 1, 0 },
	        (struct side){ RAW_READ, 2, 0 });
	close_image(b);
	b->count = b->size / CLUSTER / 2;
	compare(b, "allocating writes: one queue, two", 1.6,
	        (struct side){ LIB_ALLOCATE, 1, 1 },
	        (struct side){ LIB_ALLOCATE, 2, 1 });
}

int main(int argc, char **argv)
{
	bool smoke = argc == 3 && strcmp(argv[1], "--smoke") == 0;
	struct bench b = {
		.size = UINT64_C(256) << 20,
		.count = 200000,
		.turns = 9,
	};

	if (argc != 2 && !smoke)
		die("usage", "[--smoke] DIRECTORY");
	if (smoke) {
		b.size = UINT64_C(16) << 20;
		b.count = 1000;
		b.turns = 1;
	}
	snprintf(b.raw, sizeof(b.raw), "%s/bench_queue.raw", argv[argc - 1]);
	snprintf(b.image, sizeof(b.image), "%s/bench_queue.qcow2",
	         argv[argc - 1]);
	printf("thousands of requests per second\n");
	run_all(&b);
	unlink(b.raw);
	unlink(b.image);
	return 0;
}
