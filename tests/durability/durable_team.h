/* SPDX-License-Identifier: MIT */
/*
 * durable_team.h - threads that write to a disk and say what is acknowledged
 *
 * Runs until something fails, or for ever.  Says on a pipe, each line in one write,
 * so that what is read from the pipe was said:
 *
 *   a N0 N1 N2 N3    a flush has succeeded that began when each thread had
 *                    completed its operation of this number
 */
#ifndef QCF_TEST_TEAM_H
#define QCF_TEST_TEAM_H

#include "durable_history.h"

/* Functions return 0, or -1 if the disk has failed. */
struct disk {
	void *opaque;
	int (*write)(void *opaque, const void *buffer, size_t len,
	             uint64_t offset);
	int (*zero)(void *opaque, uint64_t len, uint64_t offset);
	int (*flush)(void *opaque);
	/* NULL, or done now and then while no thread has an operation under
	 * way; all up to "done" are complete. */
	int (*keep)(void *opaque, const struct moment *done);
};

/* A line that is said; returns -1 if nobody listens. */
int team_say(int fd, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Write from operation "first" on until something fails.  Returns the number for
 * the next time, of which no operation was begun. */
uint32_t team_run(const struct disk *disk, const struct history *h,
                  uint32_t first, int fd);

#endif
