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

static bool has_lock(const char *fdinfo, const struct wanted *w)
{
	const char *line = fdinfo;

	while ((line = strstr(line, "OFDLCK")) != NULL) {
		const char *end = strchrnul(line, '\n');
		const char *at = strstr(line, w->file);
		intmax_t first, last;

		if (at != NULL && at < end &&
		    sscanf(at + strlen(w->file), "%jd %jd", &first, &last) ==
		            2 &&
		    first <= w->byte && w->byte <= last)
			return true;
		line = end;
	}
	return false;
}

/* Whether some open file of the process has the lock. */
static bool process_has_lock(int proc, const char *pid, const struct wanted *w)
{
	char name[64];

	snprintf(name, sizeof(name), "%.20s/fdinfo", pid);

	int fd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir QCF_CLEANUP(close_dir) = fd < 0 ? NULL : fdopendir(fd);
	bool self = atoi(pid) == getpid();
	struct dirent *entry;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((entry = readdir(dir)) != NULL) {
		char text[FDINFO_SIZE];

		if (self && atoi(entry->d_name) == w->own_fd)
			continue;
		if (read_text(fd, entry->d_name, text, sizeof(text)) &&
		    has_lock(text, w))
			return true;
	}
	return false;
}

static void describe(int proc, const char *pid, char *text)
{
	char path[64];
	char name[32];

	if (atoi(pid) == getpid()) {
		snprintf(text, QCF_LOCK_HOLDER_SIZE, "this process");
		return;
	}
	snprintf(path, sizeof(path), "%.20s/comm", pid);
	if (!read_text(proc, path, name, sizeof(name)))
		snprintf(name, sizeof(name), "name unknown");
	name[strcspn(name, "\n")] = '\0';
	snprintf(text, QCF_LOCK_HOLDER_SIZE, "process %.20s (%s)", pid, name);
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
	while ((entry = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !process_has_lock(dirfd(dir), entry->d_name, &w))
			continue;
		describe(dirfd(dir), entry->d_name, text);
		return;
	}
}
