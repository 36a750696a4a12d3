/* SPDX-License-Identifier: MIT */
/* fd_io.h - transfers on a descriptor that are complete or an error */
#ifndef QCF_FD_IO_H
#define QCF_FD_IO_H

#include <stdint.h>
#include <sys/uio.h>

/*
 * Both go on after EINTR and short transfers, and take vectors of any length.
 * Aligned I/O (alignment > 1) cannot go on from an odd position: after a short
 * transfer to there it goes on from the aligned position before it, unless that is
 * where a regular file ends for a read.
 */

/* Returns bytes read, short only at the end, or -errno. */
int64_t qcf_fd_preadv(int fd, const struct iovec *iov, int iovcnt,
                      uint64_t offset, uint32_t alignment);

/* Returns 0 or -errno. */
int qcf_fd_pwritev(int fd, const struct iovec *iov, int iovcnt, uint64_t offset,
                   uint32_t alignment);

/* open() and fsync(), also if a signal comes in between; return as they do. */
int qcf_fd_open(const char *path, int flags, unsigned int mode);
int qcf_fd_sync(int fd);

#endif
