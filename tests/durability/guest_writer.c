/* SPDX-License-Identifier: MIT */
/*
 * guest_writer.c - a program in a guest that writes to its disks
 *
 *   guest_writer SERIAL SEED DISK...
 *
 * Writes to one disk until that fails, then goes on with the next one, and so on,
 * for ever.  Linked statically: there is no library in the guest.  Says on the
 * serial line what is promised (durable_team.h), and of each turn
 *
 *   begin DISK FIRST   the number of its first operation
 *   lost DISK          nothing more will be said of it
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "durable_team.h"

static int write_data(void *opaque, const void *buffer, size_t len,
                      uint64_t offset)
{
	const int *fd = opaque;

	return pwrite(*fd, buffer, len, (off_t)offset) == (ssize_t)len ? 0 : -1;
}

static int write_zeroes(void *opaque, uint64_t len, uint64_t offset)
{
	const int *fd = opaque;
	uint64_t range[2] = { offset, len };

	return ioctl(*fd, BLKZEROOUT, range) < 0 ? -1 : 0;
}

static int flush(void *opaque)
{
	const int *fd = opaque;

	return fsync(*fd) < 0 ? -1 : 0;
}

/* A disk that was lost comes back. */
static void wait_for(int fd)
{
	static const struct timespec pause = { .tv_nsec = 50000000 };
	void *buffer = aligned_alloc(4096, 4096);

	while (buffer == NULL || pread(fd, buffer, 4096, 0) != 4096)
		nanosleep(&pause, NULL);
	free(buffer);
}

static uint32_t write_until_lost(const char *path, const struct history *h,
                                 uint32_t first, int serial)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	struct disk disk = {
		.opaque = &fd,
		.write = write_data,
		.zero = write_zeroes,
		.flush = flush,
	};

	wait_for(fd);
	if (team_say(serial, "begin %s %" PRIu32 "\n", path, first) < 0)
		exit(EXIT_FAILURE);
	first = team_run(&disk, h, first, serial);
	if (team_say(serial, "lost %s\n", path) < 0)
		exit(EXIT_FAILURE);
	close(fd);
	return first;
}

int main(int argc, char **argv)
{
	struct history h = { .threads = MAX_THREADS };
	uint32_t first = 1;
	int serial;

	if (argc < 4)
		return EXIT_FAILURE;
	serial = open(argv[1], O_WRONLY | O_NOCTTY | O_CLOEXEC);
	h.seed = strtoull(argv[2], NULL, 10);
	for (int turn = 0;; turn++)
		first = write_until_lost(argv[3 + turn % (argc - 3)], &h, first,
		                         serial);
}
