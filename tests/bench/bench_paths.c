/* SPDX-License-Identifier: MIT */
/*
 * bench_paths.c - each hot path of guest I/O a few hundred times, for counting
 * instructions
 *
 *   bench_paths DIRECTORY
 *
 * Makes its images in the directory.  For each path it prints a line with the
 * name and the number of requests, after it has called measured_requests()
 * once, which makes them: whoever counts the instructions of that function
 * (instructions.py) has one figure for each line, in the same order.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcowfmt.h>

#define KIB       UINT64_C(1024)
#define BLOCK     (4 * KIB)
#define CLUSTER   (64 * KIB)
#define DISK      (512 * CLUSTER)
#define REQUESTS  UINT64_C(256)
#define BETWEEN   50u
#define SCATTERED (311 * CLUSTER + 5 * BLOCK)

enum action {
	READ,
	WRITE,
	ZERO,
	DISCARD,
	FLUSH,
};

/* What is in the image before the requests. */
enum content {
	EMPTY,   /* nothing */
	FULL,    /* data in each cluster, but for what other paths took away */
	OVERLAY, /* nothing, over that one */
	CHAIN,   /* nothing, nor in the many images between the two */
};

struct path {
	const char *name;
	enum action action;
	enum content content;
	uint64_t len;   /* of a request */
	uint64_t start; /* offset of the first one */
	uint64_t step;  /* from one to the next, modulo the disk */
	bool warm;      /* all are made once before those that count */
};

static const struct path paths[] = {
	{ "read", READ, FULL, BLOCK, 0, SCATTERED, true },
	{ "read zeros", READ, EMPTY, BLOCK, 0, SCATTERED, true },
	{ "read backing file", READ, OVERLAY, BLOCK, 0, SCATTERED, true },
	{ "read through a long chain", READ, CHAIN, BLOCK, 0, SCATTERED, true },
	{ "read 1 MiB", READ, FULL, 16 * CLUSTER, 0, 16 * CLUSTER, true },
	{ "write in place", WRITE, FULL, BLOCK, 0, SCATTERED, true },
	{ "write 64 KiB, allocating", WRITE, EMPTY, CLUSTER, 0, CLUSTER },
	{ "write 4 KiB, allocating", WRITE, EMPTY, BLOCK, 0, CLUSTER },
	{ "write 4 KiB, copying", WRITE, OVERLAY, BLOCK, 0, CLUSTER },
	{ "flush", FLUSH, FULL, 0, 0, 0, true },
	{ "zero 64 KiB", ZERO, FULL, CLUSTER, 0, CLUSTER },
	{ "discard 64 KiB", DISCARD, FULL, CLUSTER, DISK / 2, CLUSTER },
};

struct kind {
	const char *name;
	uint32_t version;
	uint32_t flags;
};

static const struct kind kinds[] = {
	{ "version 3", 3, 0 },
	{ "version 2", 2, 0 },
	{ "extended L2", 3, QCOWFMT_CREATE_EXTENDED_L2 },
};

static unsigned char buffer[16 * CLUSTER] __attribute__((aligned(4096)));

static void die(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "bench_paths: %s: %s\n", what,
	        error == NULL ? "failed" : qcowfmt_error_message(error));
	exit(1);
}

static int request(struct qcowfmt_image *image, const struct path *path,
                   uint64_t offset, struct qcowfmt_error **error)
{
	switch (path->action) {
	case READ:
		return qcowfmt_pread(image, buffer, path->len, offset, error);
	case WRITE:
		return qcowfmt_pwrite(image, buffer, path->len, offset, error);
	case ZERO:
		return qcowfmt_write_zeroes(image, offset, path->len,
		                            QCOWFMT_ZERO_MAY_UNMAP, error);
	case DISCARD:
		return qcowfmt_discard(image, offset, path->len, error);
	case FLUSH:
		return qcowfmt_flush(image, error);
	}
	return -1;
}

static void make_requests(struct qcowfmt_image *image, const struct path *path)
{
	struct qcowfmt_error *error = NULL;
	uint64_t offset = path->start;

	for (uint64_t i = 0; i < REQUESTS; i++) {
		if (request(image, path, offset, &error) < 0)
			die(path->name, error);
		offset = (offset + path->step) % DISK;
	}
}

__attribute__((noinline)) static void measured_requests(
	struct qcowfmt_image *image, const struct path *path)
{
	make_requests(image, path);
}

static void create(const char *name, const struct kind *kind,
                   const char *backing)
{
	const struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK,
		.format = QCOWFMT_FORMAT_QCOW2,
		.version = kind->version,
		.flags = kind->flags,
		.backing_filename = backing,
		.backing_format = backing == NULL ? NULL : "qcow2",
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(name, &options, &error) < 0)
		die(name, error);
}

static struct qcowfmt_image *open_image(const char *name)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(name, &options, &image, &error) < 0)
		die(name, error);
	return image;
}

static void close_image(struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_close(image, &error) < 0)
		die("close", error);
}

static void fill(const char *name)
{
	struct qcowfmt_image *image = open_image(name);
	struct qcowfmt_error *error = NULL;

	for (uint64_t at = 0; at < DISK; at += sizeof(buffer)) {
		if (qcowfmt_pwrite(image, buffer, sizeof(buffer), at, &error) <
		    0)
			die(name, error);
	}
	close_image(image);
}

/* Images each over the one before, the last of which is name, over "full". */
static void create_chain(const char *name, const struct kind *kind)
{
	char below[16] = "full";
	char above[16];

	for (unsigned int i = 1; i < BETWEEN; i++) {
		snprintf(above, sizeof(above), "between%u", i);
		create(above, kind, below);
		memcpy(below, above, sizeof(below));
	}
	create(name, kind, below);
}

static void run(const struct kind *kind, const struct path *path)
{
	const char *name = path->content == FULL ? "full" : "disk";
	struct qcowfmt_image *image;

	if (path->content == CHAIN)
		create_chain(name, kind);
	else if (path->content != FULL)
		create(name, kind, path->content == OVERLAY ? "full" : NULL);
	image = open_image(name);
	if (path->warm)
		make_requests(image, path);
	measured_requests(image, path);
	close_image(image);
	printf("%s: %s\t%" PRIu64 "\n", kind->name, path->name, REQUESTS);
}

int main(int argc, char **argv)
{
	if (argc != 2 || chdir(argv[1]) != 0) {
		fprintf(stderr, "usage: bench_paths DIRECTORY\n");
		return 2;
	}
	memset(buffer, 0x5a, sizeof(buffer));
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		create("full", &kinds[k], NULL);
		fill("full");
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
			run(&kinds[k], &paths[i]);
	}
	return 0;
}
