/* SPDX-License-Identifier: MIT */
/*
 * threads.c - several threads on one image
 *
 *   threads IMAGE
 *
 * One handle serves any number of threads at once and needs no lock around it.
 * Requests to different ranges go on side by side; a flush covers every write
 * that had returned before it, whichever thread made it.  Only the close is
 * special: it must be the last call, so the threads are joined first.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qcowfmt.h>

#define THREAD_COUNT 4
#define BLOCK_SIZE   (24u << 10) /* less than a cluster: threads share some */
#define BLOCKS_EACH  60

struct job {
	pthread_t thread;
	struct qcowfmt_image *image;
	unsigned index;              /* which of the threads this is */
	struct qcowfmt_error *error; /* the failure that ended it, or NULL */
	int mismatch;                /* a block did not read back */
};

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

/* The blocks of the threads lie between each other like the teeth of combs. */
static uint64_t block_offset(unsigned index, unsigned block)
{
	return ((uint64_t)block * THREAD_COUNT + index) * BLOCK_SIZE;
}

/* Never 0, so a block that was lost is not taken for one that was written. */
static unsigned char block_byte(unsigned index, unsigned block)
{
	return (unsigned char)(1 + index * BLOCKS_EACH + block);
}

static void *write_blocks(void *argument)
{
	struct job *job = argument;
	unsigned char buffer[BLOCK_SIZE];

	for (unsigned block = 0; block < BLOCKS_EACH; block++) {
		memset(buffer, block_byte(job->index, block), sizeof(buffer));
		if (qcowfmt_pwrite(job->image, buffer, sizeof(buffer),
		                   block_offset(job->index, block),
		                   &job->error) < 0)
			return NULL;
	}
	qcowfmt_flush(job->image, &job->error);
	return NULL;
}

/* Each thread checks what its neighbour wrote. */
static void *check_blocks(void *argument)
{
	struct job *job = argument;
	unsigned index = (job->index + 1) % THREAD_COUNT;
	unsigned char buffer[BLOCK_SIZE];

	for (unsigned block = 0; block < BLOCKS_EACH; block++) {
		if (qcowfmt_pread(job->image, buffer, sizeof(buffer),
		                  block_offset(index, block), &job->error) < 0)
			return NULL;
		for (size_t i = 0; i < sizeof(buffer); i++) {
			if (buffer[i] != block_byte(index, block))
				job->mismatch = 1;
		}
	}
	return NULL;
}

static int run(struct qcowfmt_image *image, void *(*work)(void *))
{
	struct job jobs[THREAD_COUNT] = { 0 };
	unsigned started = 0;
	int failed = 0;

	for (; started < THREAD_COUNT; started++) {
		struct job *job = &jobs[started];

		job->image = image;
		job->index = started;
		if (pthread_create(&job->thread, NULL, work, job) != 0) {
			fprintf(stderr, "no more threads\n");
			failed = 1;
			break;
		}
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(jobs[i].thread, NULL);
		if (jobs[i].error)
			failed = report("thread", jobs[i].error);
		if (jobs[i].mismatch) {
			fprintf(stderr, "thread %u read wrong bytes\n", i);
			failed = 1;
		}
	}
	return failed;
}

static int create(const char *path)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size =
			(uint64_t)THREAD_COUNT * BLOCKS_EACH * BLOCK_SIZE,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	return 0;
}

int main(int argc, char **argv)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int failed;

	if (argc != 2) {
		fprintf(stderr, "usage: threads IMAGE\n");
		return 2;
	}
	if (create(argv[1]))
		return 1;
	if (qcowfmt_open_file(argv[1], &options, &image, &error) < 0)
		return report("open", error);
	failed = run(image, write_blocks) || run(image, check_blocks);
	if (qcowfmt_close(image, &error) < 0)
		failed = report("close", error);
	if (!failed)
		printf("%d threads wrote and checked %d blocks each\n",
		       THREAD_COUNT, BLOCKS_EACH);
	return failed;
}
