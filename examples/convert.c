/* SPDX-License-Identifier: MIT */
/*
 * convert.c - copy a disk, show how far it has come, and change one's mind
 *
 *   convert DIRECTORY
 *
 * Makes DIRECTORY/source.qcow2, copies it into DIRECTORY/copy.qcow2, and begins
 * a second copy that is cancelled half-way.
 *
 * What to take away: the callback runs in the thread that called, so it may use
 * what belongs to that thread; what it returns goes on or cancels.  The target
 * is made by the caller and is not flushed for it, so closing it is what tells
 * whether the copy is safe.  A target that was not finished holds part of the
 * data: remove it.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <qcowfmt.h>

#define DISK_SIZE (256u << 20)
#define STEP      (8u << 20)
#define DATA_LEN  (1u << 20)

struct progress {
	int cancel_at; /* percent; more than 100: never */
	int shown;     /* percent that was printed last */
};

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static int create(const char *path)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK_SIZE,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	return 0;
}

static struct qcowfmt_image *open_image(const char *path, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		report("open", error);
	return image;
}

/* A disk with some data here and there. */
static int make_source(const char *path)
{
	static unsigned char data[DATA_LEN];
	struct qcowfmt_image *image;
	struct qcowfmt_error *error = NULL;

	if (create(path))
		return 1;
	image = open_image(path, QCOWFMT_OPEN_READ_WRITE);
	if (!image)
		return 1;
	for (uint64_t offset = 0; offset < DISK_SIZE; offset += STEP) {
		memset(data, 1 + (int)(offset / STEP), sizeof(data));
		if (qcowfmt_pwrite(image, data, sizeof(data), offset, &error) <
		    0) {
			qcowfmt_close(image, NULL);
			return report("write", error);
		}
	}
	if (qcowfmt_close(image, &error) < 0)
		return report("close", error);
	return 0;
}

/* Called now and then.  Anything but 0 cancels.  While the source is being looked
 * at for what there is to copy, total is 0. */
static int show(void *opaque, uint64_t done, uint64_t total)
{
	struct progress *progress = opaque;
	int percent = total > 0 ? (int)(done * 100 / total) : 0;

	if (percent >= progress->shown + 25) {
		progress->shown = percent;
		printf("%d %% of %" PRIu64 " bytes\n", percent, total);
	}
	return percent >= progress->cancel_at;
}

/* The result of qcowfmt_convert(). */
static int copy(struct qcowfmt_image *source, struct qcowfmt_image *target,
                int cancel_at, struct qcowfmt_error **errp)
{
	struct progress progress = { .cancel_at = cancel_at };
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		/* A new image reads as zeros. */
		.flags = QCOWFMT_CONVERT_TARGET_IS_ZERO,
		.threads = 2,
		.progress = show,
		.progress_opaque = &progress,
	};

	return qcowfmt_convert(&source, 1, target, &options, errp);
}

static int copy_all(struct qcowfmt_image *source, const char *path)
{
	struct qcowfmt_image *target;
	struct qcowfmt_error *error = NULL;

	if (create(path))
		return 1;
	target = open_image(path, QCOWFMT_OPEN_READ_WRITE);
	if (!target)
		return 1;
	if (copy(source, target, 101, &error) < 0) {
		qcowfmt_close(target, NULL);
		return report("convert", error);
	}
	if (qcowfmt_close(target, &error) < 0)
		return report("close", error);
	return 0;
}

static int copy_half(struct qcowfmt_image *source, const char *path)
{
	struct qcowfmt_image *target;
	struct qcowfmt_error *error = NULL;

	if (create(path))
		return 1;
	target = open_image(path, QCOWFMT_OPEN_READ_WRITE);
	if (!target)
		return 1;
	copy(source, target, 50, &error);
	qcowfmt_close(target, NULL);
	unlink(path);
	if (qcowfmt_error_code(error) != QCOWFMT_ERR_CANCELLED) {
		fprintf(stderr, "the copy was not cancelled\n");
		qcowfmt_error_free(error);
		return 1;
	}
	printf("cancelled: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 0;
}

static int compare(const char *first_path, const char *second_path)
{
	static unsigned char first[DATA_LEN];
	static unsigned char second[DATA_LEN];
	struct qcowfmt_image *a = open_image(first_path, 0);
	struct qcowfmt_image *b = open_image(second_path, 0);
	int same = a && b;

	for (uint64_t offset = 0; same && offset < DISK_SIZE;
	     offset += DATA_LEN)
		same = qcowfmt_pread(a, first, DATA_LEN, offset, NULL) == 0 &&
		       qcowfmt_pread(b, second, DATA_LEN, offset, NULL) == 0 &&
		       memcmp(first, second, DATA_LEN) == 0;
	qcowfmt_close(a, NULL);
	qcowfmt_close(b, NULL);
	printf("the copy is %s\n", same ? "the same" : "different");
	return !same;
}

int main(int argc, char **argv)
{
	char source_path[4096];
	char copy_path[4096];
	char half_path[4096];
	struct qcowfmt_image *source;
	int failed;

	if (argc != 2 || strlen(argv[1]) > sizeof(source_path) - 32) {
		fprintf(stderr, "usage: convert DIRECTORY\n");
		return 2;
	}
	snprintf(source_path, sizeof(source_path), "%s/source.qcow2", argv[1]);
	snprintf(copy_path, sizeof(copy_path), "%s/copy.qcow2", argv[1]);
	snprintf(half_path, sizeof(half_path), "%s/half.qcow2", argv[1]);

	if (make_source(source_path))
		return 1;
	source = open_image(source_path, 0);
	if (!source)
		return 1;
	failed = copy_all(source, copy_path) || copy_half(source, half_path);
	qcowfmt_close(source, NULL);
	return failed || compare(source_path, copy_path);
}
