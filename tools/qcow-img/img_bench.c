/* SPDX-License-Identifier: MIT */
/*
 * img_bench.c - "qcow-img bench": how fast requests on an image are
 *
 * As many threads as requests are to be in flight each take the next request
 * until there are none left.  For a flush, whoever takes the last request of an
 * interval waits until the others are done, unless told not to.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "img_command.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_size.h"

#define DEFAULT_COUNT 75000
#define DEFAULT_DEPTH 64
#define DEFAULT_SIZE  4096
#define MAX_DEPTH     1024
#define ALIGNMENT     4096

#define OPTION_PATTERN  (QCF_OPTION_LONG + 1)
#define OPTION_FLUSH    (QCF_OPTION_LONG + 2)
#define OPTION_NO_DRAIN (QCF_OPTION_LONG + 3)

static const struct qcf_tool_option options[] = {
	{ 'c', "count", "COUNT", "how many requests (default: 75000)", false },
	{ 'd', "depth", "DEPTH", "how many in parallel (default: 64)", false },
	QCF_OPTION_FORMAT,
	{ OPTION_FLUSH, "flush-interval", "COUNT",
	  "flush after so many requests (only with -w)", false },
	{ 'i', "aio", "MODE", "threads, native or io_uring: all use threads",
	  false },
	{ 'n', "native", NULL, "the same as -i native", false },
	{ OPTION_NO_DRAIN, "no-drain", NULL,
	  "flush while requests are in flight", false },
	{ 'o', "offset", "OFFSET", "where the first request is (default: 0)",
	  false },
	{ OPTION_PATTERN, "pattern", "BYTE", "what to write (default: 0)",
	  false },
	{ 'q', "quiet", NULL, "accepted; results are printed all the same",
	  false },
	{ 's', "buffer-size", "SIZE", "size of a request (default: 4k)",
	  false },
	{ 'S', "step-size", "SIZE",
	  "from one request to the next (default: the buffer size)", false },
	{ 't', "cache", "MODE", QCF_CACHE_HELP, false },
	{ 'w', "write", NULL, "write instead of reading", false },
	QCF_OPTION_FORCE_SHARE,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	uint64_t count;
	uint64_t depth;
	uint64_t flush_interval; /* 0: never */
	uint64_t offset;
	uint64_t size; /* of a buffer */
	uint64_t step; /* 0: the same */
	uint64_t pattern;
	bool write;
	bool no_drain;
	bool native;
};

/* A run; all but the first members are guarded by lock. */
struct bench {
	struct qcowfmt_image *image;
	const struct request *request;
	uint64_t image_size;
	unsigned char *pattern; /* what is written, by all threads */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t next;      /* number of the next request */
	uint64_t offset;    /* of it */
	uint64_t in_flight; /* requests, without the flush */
	bool is_flushing;   /* no new requests may start */
	int failure;        /* the first one, a negative errno value */
};

/* ------------------------------------------------------------------ options */

static bool take_number(const char *text, uint64_t lowest, uint64_t highest,
                        const char *what, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (end != text && *end == '\0' && errno == 0 && *text != '-' &&
	    *value >= lowest && *value <= highest)
		return true;
	qcf_tool_error("Invalid %s specified", what);
	return false;
}

static bool take_size(const char *text, const char *what, uint64_t *size)
{
	int ret = qcf_parse_size(text, size);

	if (ret == -EINVAL)
		return qcf_parse_size_argument(text, what, size);
	if (ret == 0 && *size <= INT_MAX)
		return true;
	qcf_tool_error("Invalid %s specified. Must be between 0 and %d.", what,
	               INT_MAX);
	return false;
}

static bool take_aio(const char *name, struct request *r)
{
	r->native = strcmp(name, "native") == 0;
	if (r->native || strcmp(name, "threads") == 0 ||
	    strcmp(name, "io_uring") == 0)
		return true;
	qcf_tool_error("Invalid aio option: %s", name);
	return false;
}

static bool take_cache(const char *name, struct request *r)
{
	if (qcf_parse_cache_mode(name, &r->image.open.cache))
		return true;
	qcf_tool_error("Invalid cache mode");
	return false;
}

static bool take_depth(const char *text, struct request *r)
{
	if (!take_number(text, 1, INT_MAX, "queue depth", &r->depth))
		return false;
	if (r->depth <= MAX_DEPTH)
		return true;
	qcf_tool_error("A queue depth above %d is not supported by this "
	               "version",
	               MAX_DEPTH);
	return false;
}

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	switch (option) {
	case 'c':
		return take_number(optarg, 0, INT_MAX, "request count",
		                   &r->count);
	case 'd':
		return take_depth(optarg, r);
	case 'i':
		return take_aio(optarg, r);
	case 'n':
		return take_aio("native", r);
	case 'o':
		return qcf_parse_size_argument(optarg, "offset", &r->offset);
	case 's':
		return take_size(optarg, "buffer size", &r->size);
	case 'S':
		return take_size(optarg, "step_size", &r->step);
	case 't':
		return take_cache(optarg, r);
	case 'w':
		r->write = true;
		r->image.open.flags |= QCOWFMT_OPEN_READ_WRITE;
		break;
	case OPTION_PATTERN:
		return take_number(optarg, 0, 0xff, "pattern byte",
		                   &r->pattern);
	case OPTION_FLUSH:
		return take_number(optarg, 0, INT_MAX, "flush interval",
		                   &r->flush_interval);
	case OPTION_NO_DRAIN:
		r->no_drain = true;
		break;
	default: /* -q */
		break;
	}
	return true;
}

/* ----------------------------------------------------------------- requests */

/* One request and, in cache mode writethrough, the flush behind it. */
static int transfer(struct bench *b, void *buffer, uint64_t offset)
{
	const struct request *r = b->request;
	size_t size = (size_t)r->size;
	int ret;

	if (offset > b->image_size || size > b->image_size - offset)
		return -EIO;
	if (!r->write)
		return qcowfmt_pread(b->image, buffer, size, offset, NULL);
	ret = qcowfmt_pwrite(b->image, b->pattern, size, offset, NULL);
	if (ret == 0 && r->image.open.cache.write_through)
		ret = qcowfmt_flush(b->image, NULL);
	return ret;
}

/* Take the next request, once it may start; false if there is none.  The lock
 * is held. */
static bool take_request(struct bench *b, uint64_t *offset)
{
	const struct request *r = b->request;

	while (b->is_flushing && b->failure == 0)
		(void)pthread_cond_wait(&b->changed, &b->lock);
	if (b->failure != 0 || b->next == r->count)
		return false;
	*offset = b->offset;
	b->next++;
	b->offset =
		b->image_size == 0 ? 0 : (b->offset + r->step) % b->image_size;
	b->in_flight++;
	/* Whoever took the last one of an interval will flush. */
	if (r->flush_interval != 0 && b->next % r->flush_interval == 0)
		b->is_flushing = !r->no_drain;
	return true;
}

/* After the last request of an interval.  The lock is held, but not meanwhile. */
static void flush(struct bench *b)
{
	int ret;

	while (!b->request->no_drain && b->in_flight > 0 && b->failure == 0)
		(void)pthread_cond_wait(&b->changed, &b->lock);
	(void)pthread_mutex_unlock(&b->lock);
	ret = qcowfmt_flush(b->image, NULL);
	(void)pthread_mutex_lock(&b->lock);
	if (ret < 0 && b->failure == 0)
		b->failure = ret;
	b->is_flushing = false;
}

static void work(struct bench *b, void *buffer)
{
	uint64_t interval = b->request->flush_interval;
	uint64_t offset;

	(void)pthread_mutex_lock(&b->lock);
	while (take_request(b, &offset)) {
		bool is_last = interval != 0 && b->next % interval == 0;
		int ret;

		(void)pthread_mutex_unlock(&b->lock);
		ret = transfer(b, buffer, offset);
		(void)pthread_mutex_lock(&b->lock);
		b->in_flight--;
		if (ret < 0 && b->failure == 0)
			b->failure = ret;
		if (is_last)
			flush(b);
		if (interval != 0 || b->failure != 0)
			(void)pthread_cond_broadcast(&b->changed);
	}
	(void)pthread_mutex_unlock(&b->lock);
}

static unsigned char *new_buffer(const struct request *r)
{
	size_t size = (size_t)qcf_max(r->size, 1);
	void *memory;

	if (posix_memalign(&memory, ALIGNMENT, size) != 0) {
		qcf_tool_error("Cannot allocate %zu bytes of memory", size);
		exit(EXIT_FAILURE);
	}
	memset(memory, (int)r->pattern, size);
	return memory;
}

static void *run_thread(void *opaque)
{
	struct bench *b = opaque;
	QCF_AUTO_FREE unsigned char *buffer =
		b->request->write ? NULL : new_buffer(b->request);

	work(b, buffer);
	return NULL;
}

/* ---------------------------------------------------------------------- run */

static void announce(const struct request *r)
{
	printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, "
	       "%" PRIu64 " in parallel (starting at offset %" PRIu64
	       ", step size %" PRIu64 ")\n",
	       r->count, r->write ? "write" : "read", r->size, r->depth,
	       r->offset, r->step);
	if (r->flush_interval != 0)
		printf("Sending flush every %" PRIu64 " requests\n",
		       r->flush_interval);
	(void)fflush(stdout);
}

/* All threads that can be had, which at the end are one at least. */
static void run_threads(struct bench *b)
{
	uint64_t wanted = qcf_min(b->request->depth, b->request->count);
	QCF_AUTO_FREE pthread_t *threads =
		qcf_tool_alloc((size_t)qcf_max(wanted, 1) * sizeof(*threads));
	uint64_t count = 0;

	while (count < wanted &&
	       pthread_create(&threads[count], NULL, run_thread, b) == 0)
		count++;
	if (count < wanted) {
		qcf_tool_warning("Only %" PRIu64 " requests run in parallel",
		                 qcf_max(count, 1));
		if (count == 0)
			(void)run_thread(b);
	}
	while (count > 0)
		(void)pthread_join(threads[--count], NULL);
}

static int run(struct qcowfmt_image *image, void *opaque)
{
	const struct request *r = opaque;
	struct bench b = {
		.image = image,
		.request = r,
		.image_size = qcowfmt_get_size(image),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.offset = r->offset,
	};
	QCF_AUTO_FREE unsigned char *pattern = new_buffer(r);
	struct timespec start;
	struct timespec end;

	b.pattern = pattern;
	announce(r);
	clock_gettime(CLOCK_MONOTONIC, &start);
	run_threads(&b);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (b.failure != 0) {
		qcf_tool_error("Failed request: %s", strerror(-b.failure));
		return EXIT_FAILURE;
	}
	printf("Run completed in %.3f seconds.\n",
	       (double)(end.tv_sec - start.tv_sec) +
	               (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	return EXIT_SUCCESS;
}

static const struct qcf_image_command command = {
	{ "FILE", "Measure how fast requests on an image are.", options },
	take_option,
	run,
};

/* What cannot go together; NULL if all can. */
static const char *find_problem(const struct request *r)
{
	if (!r->write && r->flush_interval != 0)
		return "--flush-interval is only available in write tests";
	if (r->flush_interval != 0 && r->flush_interval < r->depth)
		return "Flush interval can't be smaller than depth";
	return NULL;
}

static int bench_image(struct request *r, const char *argument)
{
	const char *problem = find_problem(r);

	if (!qcf_image_args_take(&r->image, argument))
		return EXIT_FAILURE;
	if (problem != NULL) {
		qcf_tool_error("%s", problem);
		return EXIT_FAILURE;
	}
	if (r->native && !r->image.open.cache.direct)
		problem = "aio=native was specified, but it requires "
			  "cache.direct=on, which was not specified.";
	else if (r->write && (r->image.open.flags & QCOWFMT_OPEN_NO_LOCK) != 0)
		problem = "force-share=on can only be used with read-only "
			  "images";
	if (problem != NULL) {
		qcf_tool_error("Could not open '%s': %s", argument, problem);
		return EXIT_FAILURE;
	}
	if (r->step == 0)
		r->step = r->size;
	return qcf_image_args_work(&r->image, run, r);
}

int qcf_img_bench(int argc, char **argv)
{
	struct request r = {
		.count = DEFAULT_COUNT,
		.depth = DEFAULT_DEPTH,
		.size = DEFAULT_SIZE,
	};
	int status;

	if (qcf_image_args_parse(&r.image, &command, &r, argc, argv, &status)) {
		status = EXIT_FAILURE;
		if (argc - optind != 1)
			qcf_tool_usage_error("Expecting one image file name");
		else
			status = bench_image(&r, argv[optind]);
	}
	qcf_image_args_fini(&r.image);
	return status;
}
