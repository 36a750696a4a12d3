/* SPDX-License-Identifier: MIT */
/*
 * system_faults.c - system calls that fail when told to
 *
 * The program is linked with --wrap for these functions, so that calls of the
 * library's objects come here.  What is made stable is not waited for: nobody cuts
 * the power.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "fault_points.h"
#include "storage.h"

/* glibc's names when a 64-bit off_t is asked for. */
#ifdef __GLIBC__
#define WRAPPED(function) __wrap_##function##64
#define REAL(function)    __real_##function##64
#else
#define WRAPPED(function) __wrap_##function
#define REAL(function)    __real_##function
#endif

/* The longest vector that Linux takes. */
#define MAX_VECTOR 1024

ssize_t REAL(preadv)(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t REAL(pwritev)(int fd, const struct iovec *iov, int n, off_t offset);
int REAL(ftruncate)(int fd, off_t size);
int REAL(fallocate)(int fd, int mode, off_t offset, off_t len);
off_t REAL(lseek)(int fd, off_t offset, int whence);
int REAL(fstat)(int fd, struct stat *st);
int REAL(open)(const char *path, int flags, ...);
int REAL(fcntl)(int fd, int command, ...);
ssize_t __real_copy_file_range(int in, off_t *in_offset, int out,
                               off_t *out_offset, size_t len,
                               unsigned int flags);
long __real_syscall(long number, ...);
ssize_t __real_write(int fd, const void *buffer, size_t len);
int __real_unlink(const char *path);

ssize_t WRAPPED(preadv)(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t WRAPPED(pwritev)(int fd, const struct iovec *iov, int n, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int WRAPPED(ftruncate)(int fd, off_t size);
int WRAPPED(fallocate)(int fd, int mode, off_t offset, off_t len);
off_t WRAPPED(lseek)(int fd, off_t offset, int whence);
int WRAPPED(fstat)(int fd, struct stat *st);
int WRAPPED(open)(const char *path, int flags, ...);
int WRAPPED(fcntl)(int fd, int command, ...);
ssize_t __wrap_copy_file_range(int in, off_t *in_offset, int out,
                               off_t *out_offset, size_t len,
                               unsigned int flags);
long __wrap_syscall(long number, ...);
ssize_t __wrap_write(int fd, const void *buffer, size_t len);
int __wrap_unlink(const char *path);

/* Whether a call fails; errno is set. */
static bool fails(enum fault_site site)
{
	const struct fault *fault = fault_at(site);

	if (fault == NULL)
		return false;
	errno = fault->error;
	return true;
}

/* The same for a change of a file that ends there: behind the end it needs
 * space. */
static const struct fault *fault_of_change(enum fault_site site, int fd,
                                           off_t end)
{
	const struct fault *fault = fault_at(site);
	struct stat st;

	if (fault != NULL || REAL(fstat)(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    end <= st.st_size)
		return fault;
	return fault_at(FAULT_SYS_SPACE);
}

typedef ssize_t (*transfer_fn)(int, const struct iovec *, int, off_t);

#define DIRECT_BLOCK 4096

/* How much of direct I/O is done again and again, which has to be blocks; how much
 * of it once, may be anything. */
static ssize_t transfer_directly(const struct fault *fault, transfer_fn real,
                                 int fd, const struct iovec *iov, int n,
                                 off_t offset, size_t half)
{
	struct iovec part[MAX_VECTOR];
	size_t blocks = half - half % DIRECT_BLOCK;
	ssize_t ret;

	if (fault->sticky && blocks > 0)
		return real(fd, part, qcf_iov_slice(iov, n, 0, blocks, part),
		            offset);
	ret = real(fd, iov, n, offset);
	return fault->sticky || ret < (ssize_t)half ? ret : (ssize_t)half;
}

/* With error 0 a part is done and nothing said; with half and an error the next
 * call, for the rest, would have failed. */
static ssize_t transfer(enum fault_site site, transfer_fn real, int fd,
                        const struct iovec *iov, int n, off_t offset)
{
	const struct fault *fault;
	struct iovec part[MAX_VECTOR];
	uint64_t len;
	size_t half;

	if (n > MAX_VECTOR || !qcf_iov_len(iov, n, &len))
		return real(fd, iov, n, offset);
	fault = site == FAULT_SYS_PWRITEV
	                ? fault_of_change(site, fd, offset + (off_t)len)
	                : fault_at(site);
	if (fault == NULL)
		return real(fd, iov, n, offset);
	half = fault->error == 0 ? (size_t)(len + 1) / 2
	                         : fault_half((uint64_t)offset, (size_t)len);
	if (fault->error != 0 && (!fault->half || half == 0)) {
		errno = fault->error;
		return -1;
	}
	if (fault->error == 0 && (fcntl(fd, F_GETFL) & O_DIRECT) != 0)
		return transfer_directly(fault, real, fd, iov, n, offset, half);
	n = qcf_iov_slice(iov, n, 0, half, part);

	ssize_t ret = real(fd, part, n, offset);

	if (fault->error == 0)
		return ret;
	errno = fault->error;
	return -1;
}

ssize_t WRAPPED(preadv)(int fd, const struct iovec *iov, int n, off_t offset)
{
	return transfer(FAULT_SYS_PREADV, REAL(preadv), fd, iov, n, offset);
}

ssize_t WRAPPED(pwritev)(int fd, const struct iovec *iov, int n, off_t offset)
{
	return transfer(FAULT_SYS_PWRITEV, REAL(pwritev), fd, iov, n, offset);
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	return fails(FAULT_SYS_FDATASYNC) ? -1 : 0;
}

int __wrap_fsync(int fd)
{
	(void)fd;
	if (fails(FAULT_SYS_FSYNC))
		return -1;
	fault_note_fsync();
	return 0;
}

int WRAPPED(ftruncate)(int fd, off_t size)
{
	return fails(FAULT_SYS_FTRUNCATE) ? -1 : REAL(ftruncate)(fd, size);
}

int WRAPPED(fallocate)(int fd, int mode, off_t offset, off_t len)
{
	const struct fault *fault = fault_of_change(
		FAULT_SYS_FALLOCATE, fd,
		(mode & FALLOC_FL_PUNCH_HOLE) != 0 ? 0 : offset + len);

	if (fault == NULL)
		return REAL(fallocate)(fd, mode, offset, len);
	errno = fault->error;
	return -1;
}

off_t WRAPPED(lseek)(int fd, off_t offset, int whence)
{
	return fails(FAULT_SYS_LSEEK) ? -1 : REAL(lseek)(fd, offset, whence);
}

int WRAPPED(fstat)(int fd, struct stat *st)
{
	return fails(FAULT_SYS_FSTAT) ? -1 : REAL(fstat)(fd, st);
}

int WRAPPED(open)(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if ((flags & O_CREAT) != 0) {
		va_list args;

		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return fails(FAULT_SYS_OPEN) ? -1 : REAL(open)(path, flags, mode);
}

int WRAPPED(fcntl)(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	return fails(FAULT_SYS_FCNTL) ? -1 : REAL(fcntl)(fd, command, arg);
}

ssize_t __wrap_copy_file_range(int in, off_t *in_offset, int out,
                               off_t *out_offset, size_t len,
                               unsigned int flags)
{
	const struct fault *fault = fault_at(FAULT_SYS_COPY);

	if (fault != NULL && fault->error != 0) {
		errno = fault->error;
		return -1;
	}
	if (fault != NULL)
		len = (len + 1) / 2;
	return __real_copy_file_range(in, in_offset, out, out_offset, len,
	                              flags);
}

/* Only openat2() goes this way. */
long __wrap_syscall(long number, ...)
{
	va_list args;
	long dir;
	void *path, *how;
	size_t size;

	va_start(args, number);
	dir = va_arg(args, int);
	path = va_arg(args, void *);
	how = va_arg(args, void *);
	size = va_arg(args, size_t);
	va_end(args);
	return fails(FAULT_SYS_OPEN)
	               ? -1
	               : __real_syscall(number, dir, path, how, size);
}

/* An event descriptor, which queues write to, does not fail. */
static bool is_file(int fd)
{
	struct stat st;

	return REAL(fstat)(fd, &st) < 0 || S_ISREG(st.st_mode);
}

ssize_t __wrap_write(int fd, const void *buffer, size_t len)
{
	const struct fault *fault =
		is_file(fd) ? fault_at(FAULT_SYS_WRITE) : NULL;

	if (fault != NULL && fault->error != 0) {
		errno = fault->error;
		return -1;
	}
	return __real_write(fd, buffer, fault == NULL ? len : (len + 1) / 2);
}

int __wrap_unlink(const char *path)
{
	return fails(FAULT_SYS_UNLINK) ? -1 : __real_unlink(path);
}
