/* SPDX-License-Identifier: MIT */
/*
 * fault_shim.c - makes allocations and system calls of a program fail
 *
 * Loaded with LD_PRELOAD.  QCF_FAULT in the environment says what fails:
 *
 *     SITE:NTH:ERRNO:MANNER
 *
 * SITE is a name of the table below, NTH counts its visits from the beginning of
 * main(), MANNER is "once", "on" (and all later visits), or "part" (a transfer does
 * half of it, and nothing fails).  To the descriptor QCF_FAULT_FD goes an "x" when
 * that happens, and at the end of the program how often each site was visited, as
 * text.  What is made stable is not waited for.  Nothing fails while libgcrypt
 * starts: without memory it ends the process, and the library has made sure that
 * there is some.
 *
 * For glibc, whose functions allocate through malloc() as others see it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum site {
	MEMORY,
	PREADV,
	PWRITEV,
	PREAD,
	PWRITE,
	READ,
	WRITE,
	FDATASYNC,
	FSYNC,
	FTRUNCATE,
	FALLOCATE,
	LSEEK,
	FSTAT,
	OPEN,
	FCNTL,
	COPY,
	UNLINK,
	THREAD,
	MMAP,
	CLOSE,
	SITES
};

static const char *const names[SITES] = {
	"memory",    "preadv", "pwritev",   "pread", "pwrite",
	"read",      "write",  "fdatasync", "fsync", "ftruncate",
	"fallocate", "lseek",  "fstat",     "open",  "fcntl",
	"copy",      "unlink", "thread",    "mmap",  "close",
};

static atomic_bool running; /* between the beginning of main() and the end */
static _Thread_local bool is_spared;
static atomic_ullong visits[SITES];
static int fault_site = -1;
static unsigned long long fault_nth;
static int fault_errno;
static bool fault_on, fault_part;
static int report_fd = -1;

/* ---------------------------------------------------------------- the real ones */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static struct {
	ssize_t (*preadv64)(int, const struct iovec *, int, off_t);
	ssize_t (*pwritev64)(int, const struct iovec *, int, off_t);
	ssize_t (*pread64)(int, void *, size_t, off_t);
	ssize_t (*pwrite64)(int, const void *, size_t, off_t);
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*write)(int, const void *, size_t);
	int (*ftruncate64)(int, off_t);
	int (*fallocate64)(int, int, off_t, off_t);
	off_t (*lseek64)(int, off_t, int);
	int (*fstat64)(int, struct stat *);
	int (*open64)(const char *, int, ...);
	int (*openat64)(int, const char *, int, ...);
	int (*fcntl64)(int, int, ...);
	ssize_t (*copy_file_range)(int, off_t *, int, off_t *, size_t,
	                           unsigned int);
	int (*unlink)(const char *);
	int (*pthread_create)(pthread_t *, const pthread_attr_t *,
	                      void *(*)(void *), void *);
	void *(*mmap64)(void *, size_t, int, int, int, off_t);
	int (*close)(int);
	long (*syscall)(long, ...);
	const char *(*gcry_check_version)(const char *);
} real;

/* ISO C has no way from a data pointer to a function pointer. */
#define FIND(name)                                         \
	do {                                               \
		void *found = dlsym(RTLD_NEXT, #name);     \
		memcpy(&real.name, &found, sizeof(found)); \
	} while (0)

static void find_real(void)
{
	FIND(preadv64);
	FIND(pwritev64);
	FIND(pread64);
	FIND(pwrite64);
	FIND(read);
	FIND(write);
	FIND(ftruncate64);
	FIND(fallocate64);
	FIND(lseek64);
	FIND(fstat64);
	FIND(open64);
	FIND(openat64);
	FIND(fcntl64);
	FIND(copy_file_range);
	FIND(unlink);
	FIND(pthread_create);
	FIND(mmap64);
	FIND(close);
	FIND(syscall);
	FIND(gcry_check_version);
}

/* ---------------------------------------------------------------------- the plan */

static void read_plan(const char *text)
{
	char site[32] = "", manner[16] = "";

	if (text == NULL || sscanf(text, "%31[^:]:%llu:%d:%15s", site,
	                           &fault_nth, &fault_errno, manner) != 4)
		return;
	for (int i = 0; i < SITES; i++) {
		if (strcmp(site, names[i]) == 0)
			fault_site = i;
	}
	fault_on = strcmp(manner, "on") == 0;
	fault_part = strcmp(manner, "part") == 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *fd = getenv("QCF_FAULT_FD");

	find_real();
	read_plan(getenv("QCF_FAULT"));
	report_fd = fd == NULL ? -1 : atoi(fd);
}

__attribute__((destructor)) static void end(void)
{
	char text[512];
	int len = 0;

	running = false;
	for (int i = 0; i < SITES; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
		                "%s=%llu ", names[i],
		                (unsigned long long)visits[i]);
	if (report_fd >= 0)
		(void)!real.write(report_fd, text, (size_t)len);
}

typedef int (*main_function)(int, char **, char **);

static main_function real_main;

static int start(int argc, char **argv, char **env)
{
	running = true;
	return real_main(argc, argv, env);
}

int __libc_start_main(main_function main, int argc, char **argv,
                      void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_function main, int argc, char **argv,
                      void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end)
{
	int (*next)(main_function, int, char **, void (*)(void), void (*)(void),
	            void (*)(void), void *);
	void *found = dlsym(RTLD_NEXT, "__libc_start_main");

	memcpy(&next, &found, sizeof(found));
	real_main = main;
	return next(start, argc, argv, init, fini, rtld_fini, stack_end);
}

static bool is_due(enum site site)
{
	unsigned long long number;

	if (!running || is_spared)
		return false;
	number = ++visits[site];
	if ((int)site != fault_site ||
	    (fault_on ? number < fault_nth : number != fault_nth))
		return false;
	if (report_fd >= 0)
		(void)!real.write(report_fd, "x", 1);
	errno = fault_errno;
	return true;
}

static bool fails(enum site site)
{
	return is_due(site) && !fault_part;
}

/* Of a transfer of len bytes: how many are to be moved, -1 if it fails. */
static ssize_t allowed(enum site site, size_t len)
{
	if (!is_due(site))
		return (ssize_t)len;
	return fault_part ? (ssize_t)(len + 1) / 2 : -1;
}

/* It may be the first function of libgcrypt's, and starts it. */
const char *gcry_check_version(const char *oldest);

const char *gcry_check_version(const char *oldest)
{
	const char *version;

	is_spared = true;
	version = real.gcry_check_version(oldest);
	is_spared = false;
	return version;
}

/* ------------------------------------------------------------------------ memory */

void *malloc(size_t size)
{
	return fails(MEMORY) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails(MEMORY) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	return fails(MEMORY) ? NULL : __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fails(MEMORY) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	if (fails(MEMORY))
		return ENOMEM;
	*memory = __libc_memalign(alignment, size);
	return *memory == NULL ? ENOMEM : 0;
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails(MMAP) ? MAP_FAILED
	                   : real.mmap64(at, len, prot, flags, fd, offset);
}

/* --------------------------------------------------------------------- transfers */

/* The first bytes of a vector of which a part is moved: its first element. */
static int part_of(const struct iovec *iov, size_t len, struct iovec *part)
{
	*part = iov[0];
	if (part->iov_len > len)
		part->iov_len = len;
	return 1;
}

static size_t length(const struct iovec *iov, int count)
{
	size_t len = 0;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	return len;
}

ssize_t preadv64(int fd, const struct iovec *iov, int count, off_t offset)
{
	size_t len = length(iov, count);
	ssize_t part = allowed(PREADV, len);
	struct iovec first;

	if (part < 0 || (size_t)part == len)
		return part < 0 ? -1 : real.preadv64(fd, iov, count, offset);
	return real.preadv64(fd, &first, part_of(iov, (size_t)part, &first),
	                     offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t offset)
{
	size_t len = length(iov, count);
	ssize_t part = allowed(PWRITEV, len);
	struct iovec first;

	if (part < 0 || (size_t)part == len)
		return part < 0 ? -1 : real.pwritev64(fd, iov, count, offset);
	return real.pwritev64(fd, &first, part_of(iov, (size_t)part, &first),
	                      offset);
}

ssize_t pread64(int fd, void *buffer, size_t len, off_t offset)
{
	ssize_t part = allowed(PREAD, len);

	return part < 0 ? -1 : real.pread64(fd, buffer, (size_t)part, offset);
}

ssize_t pwrite64(int fd, const void *buffer, size_t len, off_t offset)
{
	ssize_t part = allowed(PWRITE, len);

	return part < 0 ? -1 : real.pwrite64(fd, buffer, (size_t)part, offset);
}

ssize_t read(int fd, void *buffer, size_t len)
{
	ssize_t part = allowed(READ, len);

	return part < 0 ? -1 : real.read(fd, buffer, (size_t)part);
}

ssize_t write(int fd, const void *buffer, size_t len)
{
	ssize_t part = allowed(WRITE, len);

	return part < 0 ? -1 : real.write(fd, buffer, (size_t)part);
}

ssize_t copy_file_range(int in, off_t *in_offset, int out, off_t *out_offset,
                        size_t len, unsigned int flags)
{
	ssize_t part = allowed(COPY, len);

	return part < 0 ? -1
	                : real.copy_file_range(in, in_offset, out, out_offset,
	                                       (size_t)part, flags);
}

/* ------------------------------------------------------------------- other calls */

int fdatasync(int fd)
{
	(void)fd;
	return fails(FDATASYNC) ? -1 : 0;
}

int fsync(int fd)
{
	(void)fd;
	return fails(FSYNC) ? -1 : 0;
}

int ftruncate64(int fd, off_t size)
{
	return fails(FTRUNCATE) ? -1 : real.ftruncate64(fd, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t len)
{
	return fails(FALLOCATE) ? -1 : real.fallocate64(fd, mode, offset, len);
}

off_t lseek64(int fd, off_t offset, int whence)
{
	return fails(LSEEK) ? -1 : real.lseek64(fd, offset, whence);
}

int fstat64(int fd, struct stat64 *st)
{
	return fails(FSTAT) ? -1 : real.fstat64(fd, (struct stat *)(void *)st);
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return fails(OPEN) ? -1 : real.open64(path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return fails(OPEN) ? -1 : real.openat64(dir, path, flags, mode);
}

int fcntl64(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	return fails(FCNTL) ? -1 : real.fcntl64(fd, command, arg);
}

int unlink(const char *path)
{
	return fails(UNLINK) ? -1 : real.unlink(path);
}

/* The descriptor is gone, whatever close() says. */
int close(int fd)
{
	int ret = real.close(fd);

	return fails(CLOSE) ? -1 : ret;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                   void *(*function)(void *), void *opaque)
{
	return fails(THREAD)
	               ? fault_errno
	               : real.pthread_create(thread, attr, function, opaque);
}

/* openat2() has no function of its own. */
long syscall(long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_openat2 && fails(OPEN))
		return -1;
	return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
