/* SPDX-License-Identifier: MIT */
/*
 * fd_io.c - transfers on a descriptor that are complete or an error
 *
 * The first system call gets the caller's vector as it is and nearly always
 * moves everything.  Only what is left after that is addressed through a window
 * of the vector.
 */
#include <errno.h>
#include <limits.h>

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

/* Returns bytes moved, less than len only if the system moved none or stopped
 * at an odd position, or -errno. */
static int64_t transfer(transfer_fn fn, int fd, const struct iovec *iov,
                        int iovcnt, uint64_t offset, uint32_t alignment)
{
	struct iovec window[WINDOW];
	uint64_t len;
	uint64_t done;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	ssize_t ret = transfer_once(fn, fd, iov, iovcnt, offset);

	if (ret < 0)
		return ret;
	done = (uint64_t)ret;
	while (ret > 0 && done < len && qcf_is_aligned(done, alignment)) {
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

int qcf_fd_pwritev(int fd, const struct iovec *iov, int iovcnt, uint64_t offset)
{
	uint64_t len;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	int64_t done = transfer(pwritev, fd, iov, iovcnt, offset, 1);

	if (done < 0)
		return (int)done;
	return (uint64_t)done == len ? 0 : -EIO;
}
