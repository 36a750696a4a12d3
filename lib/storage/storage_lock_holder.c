/* SPDX-License-Identifier: MIT */
/*
 * storage_lock_holder.c - who holds an image lock, for error messages
 *
 * The kernel knows no process for a lock of an open file description (l_pid is
 * -1).  /proc/PID/fdinfo/FD lists the locks of each open file of the processes
 * we may look at:
 *
 *     lock:   1: OFDLCK  ADVISORY  READ -1 fe:00:1234 100 101
 *
 * with device and inode in the middle and the first and last byte at the end.
 * Only text of /proc is read, never the files themselves, so that a dead
 * network mount elsewhere cannot hang us.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "auto.h"
#include "storage_lock_holder.h"

/* A descriptor with very many locks shows the first ones; enough for us. */
#define FDINFO_SIZE 4096

struct wanted {
	char file[64]; /* " maj:min:inode " as the kernel prints it */
	off_t byte;
	int own_fd; /* of this process: not an answer */
};

static void close_dir(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

/* Read a small text file beneath a directory; false if that fails. */
static bool read_text(int dirfd, const char *name, char *text, size_t size)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[len < 0 ? 0 : len] = '\0';
	return len > 0;
}

/* "FIRST LAST" in decimal; LAST may also be "EOF", for a lock to the end. */
static bool range_has(const char *text, off_t byte)
{
	char *end;
	intmax_t first = strtoimax(text, &end, 10);
	intmax_t last = strtoimax(end, &end, 10);

	return end != text && first <= byte &&
	       (byte <= last || strncmp(end, " EOF", 4) == 0);
}

static bool has_lock(const char *fdinfo, const struct wanted *w)
{
	const char *line = fdinfo;

	while ((line = strstr(line, "OFDLCK")) != NULL) {
		const char *end = strchrnul(line, '\n');
		const char *at = strstr(line, w->file);

		if (at != NULL && at < end &&
		    range_has(at + strlen(w->file), w->byte))
			return true;
		line = end;
	}
	return false;
}

/* A name in /proc as a number; -1 if it is none. */
static long number_of(const char *name)
{
	char *end;
	long number = strtol(name, &end, 10);

	return isdigit((unsigned char)name[0]) && *end == '\0' ? number : -1;
}

static struct dirent *next_entry(DIR *dir)
{
	/* Each stream is used by the thread that opened it. */
	return readdir(dir); /* NOLINT(concurrency-mt-unsafe): see above */
}

/* Whether some open file of the process has the lock. */
static bool process_has_lock(int proc, const char *pid, const struct wanted *w)
{
	char name[64];

	snprintf(name, sizeof(name), "%.20s/fdinfo", pid);

	int fd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir QCF_CLEANUP(close_dir) = fd < 0 ? NULL : fdopendir(fd);
	bool self = number_of(pid) == getpid();
	struct dirent *entry;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((entry = next_entry(dir)) != NULL) {
		char text[FDINFO_SIZE];

		if (self && number_of(entry->d_name) == w->own_fd)
			continue;
		if (read_text(fd, entry->d_name, text, sizeof(text)) &&
		    has_lock(text, w))
			return true;
	}
	return false;
}

static void describe(int proc, const char *pid, char *text)
{
	char file[64];
	char comm[32];

	if (number_of(pid) == getpid()) {
		snprintf(text, QCF_LOCK_HOLDER_SIZE, "this process");
		return;
	}
	snprintf(file, sizeof(file), "%.20s/comm", pid);
	if (!read_text(proc, file, comm, sizeof(comm)))
		snprintf(comm, sizeof(comm), "name unknown");
	comm[strcspn(comm, "\n")] = '\0';
	snprintf(text, QCF_LOCK_HOLDER_SIZE, "process %.20s (%s)", pid, comm);
}

void qcf_lock_holder(int fd, off_t byte, char text[QCF_LOCK_HOLDER_SIZE])
{
	struct wanted w = { .byte = byte, .own_fd = fd };
	DIR *dir QCF_CLEANUP(close_dir) = opendir("/proc");
	struct dirent *entry;
	struct stat st;

	snprintf(text, QCF_LOCK_HOLDER_SIZE, "another process");
	if (dir == NULL || fstat(fd, &st) < 0)
		return;
	snprintf(w.file, sizeof(w.file), " %02x:%02x:%ju ", major(st.st_dev),
	         minor(st.st_dev), (uintmax_t)st.st_ino);
	while ((entry = next_entry(dir)) != NULL) {
		if (number_of(entry->d_name) < 0 ||
		    !process_has_lock(dirfd(dir), entry->d_name, &w))
			continue;
		describe(dirfd(dir), entry->d_name, text);
		return;
	}
}
