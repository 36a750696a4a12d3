/* SPDX-License-Identifier: MIT */
/*
 * create_write_read.c - the first program: make an image, write it, read it
 *
 *   create_write_read IMAGE
 *
 * What to take away: a failing call returns a negative errno value and hands
 * out an error object, which the caller frees.  Written data survives a power
 * cut only after a flush or a close that returned 0, so look at both results.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qcowfmt.h>

#define DISK_SIZE  (64u << 20)
#define DATA_START 1000000u /* no alignment is asked of the caller */

static const char data[] = "Hello from inside a qcow2 image.";

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static int create(const char *path)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options), .virtual_size = DISK_SIZE,
		/* Everything else is zero and so has its default: a version 3
		 * image with clusters of 64 KiB. */
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	return 0;
}

static int write_data(const char *path)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		/* State the format instead of letting the content decide: what
		 * a guest writes to a raw disk can look like any format. */
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		return report("open for writing", error);
	if (qcowfmt_pwrite(image, data, sizeof(data), DATA_START, &error) < 0) {
		qcowfmt_close(image, NULL);
		return report("write", error);
	}
	if (qcowfmt_close(image, &error) < 0)
		return report("close", error);
	return 0;
}

static int read_data(const char *path)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	char back[sizeof(data)];

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		return report("open for reading", error);
	if (qcowfmt_pread(image, back, sizeof(back), DATA_START, &error) < 0) {
		qcowfmt_close(image, NULL);
		return report("read", error);
	}
	printf("disk of %llu bytes says: %s\n",
	       (unsigned long long)qcowfmt_get_size(image), back);
	qcowfmt_close(image, NULL); /* read-only: there is nothing to lose */
	if (memcmp(back, data, sizeof(data)) != 0) {
		fprintf(stderr, "read back something else than was written\n");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: create_write_read IMAGE\n");
		return 2;
	}
	if (create(argv[1]) || write_data(argv[1]))
		return 1;
	return read_data(argv[1]);
}
