/* SPDX-License-Identifier: MIT */
/*
 * bench_disk.c - time plain reads or writes of a raw file or, through the
 * library, of an image
 *
 *   bench_disk raw|lib read|write FILE SIZE BLOCK STEP COUNT THREADS
 *
 * Request number i goes to offset i * STEP modulo SIZE; thread t of n makes the
 * t-th n-th of the COUNT requests.  Prints one line of JSON: seconds for the
 * requests, processor seconds for them, seconds for the flush and close after
 * them, peak resident memory, and a checksum of what was read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <qcowfmt.h>

#define MAX_THREADS 64

struct bench {
	bool writes;
	const char *path;
	uint64_t size;
	uint64_t block;
	uint64_t step;
	uint64_t count;
	unsigned int threads;
	int fd;                      /* raw; -1 otherwise */
	struct qcowfmt_image *image; /* lib; NULL otherwise */
	pthread_barrier_t start;
};

struct worker {
	struct bench *bench;
	unsigned int number;
	uint64_t checksum;
	double start; /* of its first request */
	double end;   /* of its last */
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_disk: %s: %s\n", what, why);
	exit(1);
}

static void die_of(const char *what, struct qcowfmt_error *error)
{
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

static void open_disk(struct bench *b, const char *engine)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = b->writes ? QCOWFMT_OPEN_READ_WRITE : 0,
	};
	struct qcowfmt_error *error = NULL;

	b->fd = -1;
	if (strcmp(engine, "raw") == 0) {
		b->fd = open(b->path, b->writes ? O_RDWR : O_RDONLY);
		if (b->fd < 0)
			die(b->path, strerror(errno));
	} else if (strcmp(engine, "lib") == 0) {
		if (qcowfmt_open_file(b->path, &options, &b->image, &error) < 0)
			die_of(b->path, error);
	} else {
		die(engine, "not an engine");
	}
}

static void close_disk(struct bench *b)
{
	struct qcowfmt_error *error = NULL;

	if (b->image) {
		if (qcowfmt_close(b->image, &error) < 0)
			die_of("close", error);
		return;
	}
	if (b->writes && fdatasync(b->fd) != 0)
		die("fdatasync", strerror(errno));
	close(b->fd);
}

static void raw_request(struct bench *b, void *buffer, uint64_t offset)
{
	ssize_t done;

	if (b->writes)
		done = pwrite(b->fd, buffer, b->block, (off_t)offset);
	else
		done = pread(b->fd, buffer, b->block, (off_t)offset);
	if (done != (ssize_t)b->block)
		die("raw request", done < 0 ? strerror(errno) : "short");
}

static void lib_request(struct bench *b, void *buffer, uint64_t offset)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	if (b->writes)
		ret = qcowfmt_pwrite(b->image, buffer, b->block, offset,
		                     &error);
	else
		ret = qcowfmt_pread(b->image, buffer, b->block, offset, &error);
	if (ret < 0)
		die_of("request", error);
}

static void *work(void *argument)
{
	struct worker *w = argument;
	struct bench *b = w->bench;
	uint64_t share = b->count / b->threads;
	uint64_t first = share * w->number;
	uint64_t offset = first % b->size * (b->step % b->size) % b->size;
	uint64_t *buffer = aligned_alloc(4096, (b->block + 4095) / 4096 * 4096);
	uint64_t i;

	if (!buffer)
		die("buffer", "no memory");
	memset(buffer, 0x5a, b->block);
	pthread_barrier_wait(&b->start);
	w->start = now();
	for (i = 0; i < share; i++) {
		if (b->image)
			lib_request(b, buffer, offset);
		else
			raw_request(b, buffer, offset);
		w->checksum += buffer[0] ^ offset;
		offset += b->step;
		if (offset >= b->size)
			offset -= b->size;
	}
	w->end = now();
	free(buffer);
	return NULL;
}

/* The seconds from the first worker's start to the last one's end. */
static double duration(const struct worker *workers, unsigned int count)
{
	double start = workers[0].start;
	double end = workers[0].end;
	unsigned int i;

	for (i = 1; i < count; i++) {
		if (workers[i].start < start)
			start = workers[i].start;
		if (workers[i].end > end)
			end = workers[i].end;
	}
	return end - start;
}

/* Returns the seconds that the requests took. */
static double run(struct bench *b, uint64_t *checksum)
{
	struct worker workers[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	unsigned int i;

	pthread_barrier_init(&b->start, NULL, b->threads);
	for (i = 0; i < b->threads; i++) {
		workers[i] = (struct worker){ .bench = b, .number = i };
		if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
			die("thread", "cannot start");
	}
	for (i = 0; i < b->threads; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < b->threads; i++)
		*checksum += workers[i].checksum;
	pthread_barrier_destroy(&b->start);
	return duration(workers, b->threads);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || end == text)
		die(text, "not a number");
	return value;
}

static void parse(struct bench *b, char **argv)
{
	b->writes = strcmp(argv[2], "write") == 0;
	if (!b->writes && strcmp(argv[2], "read") != 0)
		die(argv[2], "neither read nor write");
	b->path = argv[3];
	b->size = number(argv[4]);
	b->block = number(argv[5]);
	b->step = number(argv[6]);
	b->count = number(argv[7]);
	b->threads = (unsigned int)number(argv[8]);
	if (b->block < 8 || b->step > b->size || b->size % b->block != 0 ||
	    b->step % b->block != 0)
		die("arguments", "sizes do not fit");
	if (b->threads < 1 || b->threads > MAX_THREADS)
		die(argv[8], "threads");
}

int main(int argc, char **argv)
{
	struct bench bench = { 0 };
	struct rusage usage;
	uint64_t checksum = 0;
	double seconds;
	double cpu;
	double start;

	if (argc != 9)
		die("usage", "raw|lib read|write FILE SIZE BLOCK STEP COUNT "
		             "THREADS");
	parse(&bench, argv);
	open_disk(&bench, argv[1]);
	cpu = cpu_now();
	seconds = run(&bench, &checksum);
	cpu = cpu_now() - cpu;
	start = now();
	close_disk(&bench);
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, "
	       "\"close_seconds\": %.6f, "
	       "\"max_rss_kib\": %ld, \"checksum\": %" PRIu64 "}\n",
	       seconds, cpu, now() - start, usage.ru_maxrss, checksum);
	return 0;
}
