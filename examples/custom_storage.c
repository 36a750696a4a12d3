/* SPDX-License-Identifier: MIT */
/*
 * custom_storage.c - an image that lives where only the application can reach
 *
 *   custom_storage FILE
 *
 * Keeps a qcow2 image inside a window of a larger file, as a backup archive
 * might.  The library never sees the file: it calls the functions below, which
 * could as well talk to a network or an object store.
 *
 * What the library asks of them: each may be called from any thread and several
 * at once (pread() and pwrite() on a descriptor are fine with that); a failure
 * is a negative errno value; a write is complete or has failed; and flush must
 * really reach the medium, because every promise about power cuts rests on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <qcowfmt.h>

#define WINDOW_START (1u << 20)
#define WINDOW_SIZE  (8u << 20)
#define DISK_SIZE    (64u << 20)

static const char text[] = "kept in a window of a larger file";

/* The window, and how much of it the image uses. */
struct window {
	int fd;
	pthread_mutex_t lock; /* guards used */
	uint64_t used;        /* bytes from the start of the window */
};

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static int window_get_size(void *opaque, uint64_t *size)
{
	struct window *window = opaque;

	pthread_mutex_lock(&window->lock);
	*size = window->used;
	pthread_mutex_unlock(&window->lock);
	return 0;
}

static int64_t window_pread(void *opaque, void *buffer, size_t len,
                            uint64_t offset)
{
	struct window *window = opaque;
	size_t done = 0;
	uint64_t used;

	window_get_size(window, &used);
	if (offset >= used)
		return 0;
	if (len > used - offset)
		len = (size_t)(used - offset);
	while (done < len) {
		ssize_t got =
			pread(window->fd, (char *)buffer + done, len - done,
		              (off_t)(WINDOW_START + offset + done));

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			return -EIO; /* the file is shorter than we know */
		if (got > 0)
			done += (size_t)got;
	}
	return (int64_t)len;
}

static int window_pwrite(void *opaque, const void *buffer, size_t len,
                         uint64_t offset)
{
	struct window *window = opaque;
	size_t done = 0;

	/* A full window is like a full disk: the write fails, the image stays
	 * consistent. */
	if (offset > WINDOW_SIZE || len > WINDOW_SIZE - offset)
		return -ENOSPC;
	while (done < len) {
		ssize_t put = pwrite(window->fd, (const char *)buffer + done,
		                     len - done,
		                     (off_t)(WINDOW_START + offset + done));

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0)
			done += (size_t)put;
	}
	pthread_mutex_lock(&window->lock);
	if (offset + len > window->used)
		window->used = offset + len;
	pthread_mutex_unlock(&window->lock);
	return 0;
}

static int window_flush(void *opaque)
{
	struct window *window = opaque;

	return fdatasync(window->fd) < 0 ? -errno : 0;
}

/*
 * Bytes that a later, longer size brings back must read as zeros.  The file is
 * this program's alone, with nothing behind the window, so cutting the file
 * off and growing it again does that.
 */
static int window_truncate(void *opaque, uint64_t size)
{
	struct window *window = opaque;
	int ret = 0;

	if (size > WINDOW_SIZE)
		return -ENOSPC;
	pthread_mutex_lock(&window->lock);
	if (ftruncate(window->fd, (off_t)(WINDOW_START + size)) < 0)
		ret = -errno;
	else
		window->used = size;
	pthread_mutex_unlock(&window->lock);
	return ret;
}

static const struct qcowfmt_storage_ops window_ops = {
	.struct_size = sizeof(window_ops),
	.pread = window_pread,
	.pwrite = window_pwrite,
	.flush = window_flush,
	.get_size = window_get_size,
	.truncate = window_truncate,
	/* zero, discard, extent and close are left out: the library writes
	 * zeros itself and takes everything for data. */
};

/* Write the text into the image and read it back. */
static int use_image(struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;
	char back[sizeof(text)];

	if (qcowfmt_pwrite(image, text, sizeof(text), DISK_SIZE / 2, &error) <
	            0 ||
	    qcowfmt_flush(image, &error) < 0 ||
	    qcowfmt_pread(image, back, sizeof(back), DISK_SIZE / 2, &error) < 0)
		return report("using the image", error);
	if (memcmp(back, text, sizeof(text)) != 0) {
		fprintf(stderr, "read back something else than was written\n");
		return 1;
	}
	return 0;
}

static int make_and_use(struct qcowfmt_storage *storage)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = DISK_SIZE,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int failed;

	if (qcowfmt_create(storage, &create, &error) < 0 ||
	    qcowfmt_open(storage, &options, &image, &error) < 0) {
		qcowfmt_storage_free(storage); /* still ours */
		return report("making the image", error);
	}
	failed = use_image(image);
	if (qcowfmt_close(image, &error) < 0) /* frees the storage as well */
		failed = report("close", error);
	return failed;
}

int main(int argc, char **argv)
{
	struct window window = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_error *error = NULL;
	int failed;

	if (argc != 2) {
		fprintf(stderr, "usage: custom_storage FILE\n");
		return 2;
	}
	window.fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (window.fd < 0) {
		perror(argv[1]);
		return 1;
	}
	if (qcowfmt_storage_new_custom(&window_ops, &window, "window", &storage,
	                               &error) < 0)
		failed = report("storage", error);
	else
		failed = make_and_use(storage);
	if (!failed)
		printf("the image takes %llu bytes from offset %u of %s\n",
		       (unsigned long long)window.used, WINDOW_START, argv[1]);
	close(window.fd);
	return failed;
}
