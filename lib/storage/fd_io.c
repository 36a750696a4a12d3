/* SPDX-License-Identifier: MIT */
/*
 * fd_io.c - transfers on a descriptor that are complete or an error
 *
 * The first system call gets the caller's vector as it is and nearly always
 * moves everything.  Only what is left after that is addressed through a window
 * of the vector.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checked.h"
#include "fd_io.h"
#include "storage.h"

/* Vector elements copied at a time when going on in the middle. */
#define WINDOW 64

typedef ssize_t (*transfer_fn)(int fd, const struct iovec *iov, int iovcnt,
                               off_t offset);

static ssize_t transfer_once(transfer_fn fn, int fd, const struct iovec *iov,
                             int iovcnt, uint64_t offset)
{
	ssize_t ret;

	do {
		ret = fn(fd, iov, QCF_MIN(iovcnt, IOV_MAX), (off_t)offset);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

/* How often a transfer may stop at odd positions without getting on. */
#define MAX_RESTARTS 8

/*
 * A read of whole blocks that has stopped within one: at the end of the file,
 * or because the system did a part of it.  Returns 1 at the end, 0 otherwise, or
 * -errno.  The end of a device cannot be told this way, and is not odd.
 */
static int is_at_end(int fd, uint64_t offset)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return !S_ISREG(st.st_mode) || (uint64_t)st.st_size <= offset;
}

/* Go back to where a block begins.  As is_at_end(): a write has no end. */
static int step_back(transfer_fn fn, int fd, uint64_t offset, uint64_t *done,
                     uint32_t alignment, int *restarts)
{
	int ret = fn == preadv ? is_at_end(fd, offset + *done) : 0;

	if (ret != 0)
		return ret;
	*done = qcf_align_down(*done, alignment);
	return ++*restarts > MAX_RESTARTS ? -EIO : 0;
}

/* Returns bytes moved, less than len only if the system moved none or is at the
 * end of the file, or -errno. */
static int64_t transfer(transfer_fn fn, int fd, const struct iovec *iov,
                        int iovcnt, uint64_t offset, uint32_t alignment)
{
	struct iovec window[WINDOW];
	int restarts = 0;
	uint64_t len;
	uint64_t done;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	ssize_t ret = transfer_once(fn, fd, iov, iovcnt, offset);

	if (ret < 0)
		return ret;
	done = (uint64_t)ret;
	while (ret > 0 && done < len) {
		int stop = qcf_is_aligned(done, alignment)
		                   ? 0
		                   : step_back(fn, fd, offset, &done, alignment,
		                               &restarts);

		if (stop != 0)
			return stop < 0 ? stop : (int64_t)done;

		int count = qcf_iov_window(iov, iovcnt, done, window, WINDOW);

		ret = transfer_once(fn, fd, window, count, offset + done);
		if (ret < 0)
			return ret;
		done += (uint64_t)ret;
	}
	return (int64_t)done;
}

int64_t qcf_fd_preadv(int fd, const struct iovec *iov, int iovcnt,
                      uint64_t offset, uint32_t alignment)
{
	return transfer(preadv, fd, iov, iovcnt, offset, alignment);
}

int qcf_fd_pwritev(int fd, const struct iovec *iov, int iovcnt, uint64_t offset,
                   uint32_t alignment)
{
	uint64_t len;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	int64_t done = transfer(pwritev, fd, iov, iovcnt, offset, alignment);

	if (done < 0)
		return (int)done;
	return (uint64_t)done == len ? 0 : -EIO;
}

int qcf_fd_open(const char *path, int flags, unsigned int mode)
{
	int fd;

	do {
		fd = open(path, flags, mode);
	} while (fd < 0 && errno == EINTR);
	return fd;
}

int qcf_fd_sync(int fd)
{
	int ret;

	do {
		ret = fsync(fd);
	} while (ret < 0 && errno == EINTR);
	return ret;
}
