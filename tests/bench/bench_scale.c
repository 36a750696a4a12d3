/* SPDX-License-Identifier: MIT */
/*
 * bench_scale.c - what opening and requests cost on an image of any size
 *
 *   bench_scale fill FILE SIZE             data at the first places
 *   bench_scale snapshots FILE SIZE COUNT  data at the second places, before and
 *                                          after COUNT snapshots
 *   bench_scale time FILE SIZE COUNT ROUND
 *
 * Places are spread evenly over the whole disk.  The last form prints a line of
 * JSON: microseconds to open, to read from the first places, to write in place to
 * the second ones, and to write where nothing is allocated yet; each is of 4 KiB,
 * and the mean of COUNT, or of PASSES times as many for what exists already.  A
 * ROUND, from 0 to 3, has new clusters to allocate.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <qcowfmt.h>

#define CLUSTER UINT64_C(65536)
#define BLOCK   4096u
#define PLACES  128u
#define OPENS   5u
/* Requests to what exists are made so many times more, as they take less time. */
#define PASSES 16u
/* Allocating writes go to so many groups of clusters of the first 512 MiB, which
 * have one L2 table; the first two of a group may be places. */
#define GROUPS     256u
#define GROUP_SIZE 32u
#define MAX_COUNT  (GROUPS * 7u)

static uint8_t buffer[CLUSTER];

static void die(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "bench_scale: %s: %s\n", what,
	        error ? qcowfmt_error_message(error) : "wrong");
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t number(const char *text, uint64_t limit)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || end == text || value > limit)
		die(text, NULL);
	return value;
}

static struct qcowfmt_image *open_image(const char *path)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
		.max_chain_depth = 1024,
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_image *image = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		die(path, error);
	return image;
}

static void close_image(struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_close(image, &error) < 0)
		die("closing", error);
}

static void put(struct qcowfmt_image *image, size_t len, uint64_t at)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_pwrite(image, buffer, len, at, &error) < 0)
		die("writing", error);
}

static void get(struct qcowfmt_image *image, size_t len, uint64_t at)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_pread(image, buffer, len, at, &error) < 0)
		die("reading", error);
}

/* Where request number i of each kind goes; those of a disk's places jump about. */
static uint64_t place(uint64_t size, uint64_t i)
{
	return i * 37 % PLACES * (size / PLACES / CLUSTER * CLUSTER);
}

static uint64_t second_place(uint64_t size, uint64_t i)
{
	return place(size, i) + CLUSTER + i / PLACES % 16 * BLOCK;
}

static uint64_t new_place(uint64_t round, uint64_t i)
{
	uint64_t in_group = 2 + round * (MAX_COUNT / GROUPS) + i / GROUPS;

	return (i % GROUPS * GROUP_SIZE + in_group) * CLUSTER;
}

static void fill(struct qcowfmt_image *image, uint64_t size, uint64_t distance)
{
	for (uint64_t i = 0; i < PLACES; i++)
		put(image, CLUSTER, place(size, i) + distance);
}

static void take_snapshots(struct qcowfmt_image *image, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		char name[32];
		const struct qcowfmt_snapshot_options options = {
			.struct_size = sizeof(options),
			.name = name,
		};
		struct qcowfmt_error *error = NULL;

		snprintf(name, sizeof(name), "s%" PRIu64, i);
		if (qcowfmt_snapshot_create(image, &options, &error) < 0)
			die("taking a snapshot", error);
	}
}

static double time_opens(const char *path)
{
	double start = now();

	for (unsigned int i = 0; i < OPENS; i++)
		close_image(open_image(path));
	return (now() - start) / OPENS;
}

static double time_reads(struct qcowfmt_image *image, uint64_t size,
                         uint64_t count)
{
	double start;

	for (uint64_t i = 0; i < PLACES; i++)
		get(image, BLOCK, place(size, i));
	start = now();
	for (uint64_t i = 0; i < count; i++)
		get(image, BLOCK, place(size, i) + i / PLACES % 16 * BLOCK);
	return (now() - start) / (double)count;
}

static double time_writes(struct qcowfmt_image *image, uint64_t size,
                          uint64_t count)
{
	double start;

	for (uint64_t i = 0; i < PLACES; i++)
		put(image, BLOCK, second_place(size, i));
	start = now();
	for (uint64_t i = 0; i < count; i++)
		put(image, BLOCK, second_place(size, i));
	return (now() - start) / (double)count;
}

static double time_allocations(struct qcowfmt_image *image, uint64_t round,
                               uint64_t count)
{
	double start = now();

	for (uint64_t i = 0; i < count; i++)
		put(image, BLOCK, new_place(round, i));
	return (now() - start) / (double)count;
}

static void time_all(const char *path, uint64_t size, uint64_t count,
                     uint64_t round)
{
	double opening = time_opens(path);
	struct qcowfmt_image *image = open_image(path);
	double reads = time_reads(image, size, count * PASSES);
	double writes = time_writes(image, size, count * PASSES);
	double allocations = time_allocations(image, round, count);

	close_image(image);
	printf("{\"open\": %.3f, \"read\": %.3f, \"write in place\": %.3f, "
	       "\"allocating write\": %.3f}\n",
	       opening, reads, writes, allocations);
}

int main(int argc, char **argv)
{
	struct qcowfmt_image *image;
	uint64_t size;

	memset(buffer, 0x5a, sizeof(buffer));
	if (argc < 4)
		die("usage", NULL);
	size = number(argv[3], INT64_MAX);
	if (argc == 6 && strcmp(argv[1], "time") == 0) {
		time_all(argv[2], size, number(argv[4], MAX_COUNT),
		         number(argv[5], 3));
		return 0;
	}
	image = open_image(argv[2]);
	if (argc == 4 && strcmp(argv[1], "fill") == 0) {
		fill(image, size, 0);
	} else if (argc == 5 && strcmp(argv[1], "snapshots") == 0) {
		fill(image, size, CLUSTER);
		take_snapshots(image, number(argv[4], 65535));
		fill(image, size, CLUSTER);
	} else {
		die("usage", NULL);
	}
	close_image(image);
	return 0;
}
