/* SPDX-License-Identifier: MIT */
/*
 * storage_file.c - storage in a local regular file or block device
 *
 * A read or write of the common kind, through the page cache, is one system
 * call and takes no lock.
 *
 * The size of a regular file is only ever set by the truncate verb.  Everything
 * else grows it by writing, which cannot shrink it when another thread has
 * grown it further meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fs.h>

#include "checked.h"
#include "fd_io.h"
#include "storage_direct.h"
#include "storage_file.h"
#include "storage_file_open.h"
#include "storage_lock.h"

/* For one system call: a length that size_t has everywhere, and time for
 * signals. */
#define MAX_COPY (UINT64_C(1) << 30)

struct file_storage {
	struct qcowfmt_storage base;
	int fd;
	bool is_device;           /* a block device */
	bool is_direct;           /* direct is valid */
	bool no_flush;            /* flushes do nothing */
	struct qcf_direct direct; /* O_DIRECT */
	struct qcf_file_lock lock;

	atomic_bool unsynced;      /* written to since the last flush */
	atomic_bool no_punch;      /* the file system cannot punch holes */
	atomic_bool no_zero_range; /* nor zero a range */
	atomic_bool no_reserve;    /* nor reserve one */
	atomic_int new_in;         /* directory whose entry for the new file is
				    * not stable yet, or -1 */
};

static struct file_storage *of(struct qcowfmt_storage *s)
{
	return qcf_container_of(s, struct file_storage, base);
}

/* ---------------------------------------------------------------- reading */

static int64_t file_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                           int iovcnt, uint64_t offset,
                           struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);

	(void)errp;
	if (f->is_direct)
		return qcf_direct_preadv(&f->direct, iov, iovcnt, offset);
	return qcf_fd_preadv(f->fd, iov, iovcnt, offset, 1);
}

/* The first data or hole at or after offset, or -ENXIO; or the end, from 0. */
static int seek_to(int fd, uint64_t offset, int whence, uint64_t *found)
{
	off_t at = lseek(fd, (off_t)offset, whence);

	if (at < 0)
		return -errno;
	*found = (uint64_t)at;
	return 0;
}

static int file_get_size(struct qcowfmt_storage *s, uint64_t *size,
                         struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	struct stat st;

	(void)errp;
	if (f->is_device)
		return seek_to(f->fd, 0, SEEK_END, size);
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int file_get_allocated(struct qcowfmt_storage *s, uint64_t *bytes,
                              struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	struct stat st;

	if (f->is_device)
		return file_get_size(s, bytes, errp);
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*bytes = (uint64_t)st.st_blocks * 512; /* the unit of st_blocks */
	return 0;
}

/* Data begins at offset: how much?  A file system that cannot tell says so
 * with EINVAL, and anything may be there. */
static int measure_data(int fd, uint64_t offset, uint64_t *run)
{
	uint64_t at = 0;
	int ret = seek_to(fd, offset, SEEK_HOLE, &at);

	if (ret < 0 && ret != -EINVAL && ret != -ENXIO)
		return ret;
	if (ret == 0 && at > offset)
		*run = QCF_MIN(*run, at - offset);
	return QCOWFMT_STORAGE_DATA;
}

/*
 * What a file system says about data that is only in the page cache has been
 * wrong in several releases of several file systems: until a flush everything
 * counts as data.
 */
static int file_extent(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       uint64_t *run, struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	uint64_t at = 0;

	(void)errp;
	*run = len;
	if (f->is_device || atomic_load(&f->unsynced))
		return QCOWFMT_STORAGE_DATA;

	int ret = seek_to(f->fd, offset, SEEK_DATA, &at);

	if (ret == -ENXIO)
		return QCOWFMT_STORAGE_HOLE;
	if (ret == -EINVAL || ret == -ESPIPE)
		return QCOWFMT_STORAGE_DATA;
	if (ret < 0)
		return ret;
	if (at <= offset)
		return measure_data(f->fd, offset, run);
	*run = QCF_MIN(len, at - offset);
	return QCOWFMT_STORAGE_HOLE;
}

/* ---------------------------------------------------------------- writing */

static int file_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                        int iovcnt, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	int ret;

	(void)errp;
	if (f->is_direct)
		ret = qcf_direct_pwritev(&f->direct, iov, iovcnt, offset);
	else
		ret = qcf_fd_pwritev(f->fd, iov, iovcnt, offset, 1);
	/* After the write, so that a flush that comes between cannot clear
	 * what it did not cover. */
	if (!atomic_load_explicit(&f->unsynced, memory_order_relaxed))
		atomic_store(&f->unsynced, true);
	return ret;
}

/* What the kernel says if it cannot copy between two files, or cannot at all. */
static bool is_refusal(int err)
{
	return err == EXDEV || err == EINVAL || err == EOPNOTSUPP ||
	       err == ENOSYS || err == EBADF || err == ETXTBSY || err == EPERM;
}

/* What is not in the source any more has to be read as zeros, so the end of the
 * source is a refusal, too. */
static int file_copy_range(struct qcowfmt_storage *s, uint64_t offset,
                           struct qcowfmt_storage *from, uint64_t from_offset,
                           uint64_t len, struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	off_t in = (off_t)from_offset;
	off_t out = (off_t)offset;
	int ret = 0;

	(void)errp;
	if (f->is_direct || of(from)->is_direct)
		return -ENOTSUP;
	while (ret == 0 && len > 0) {
		size_t part = (size_t)QCF_MIN(len, MAX_COPY);
		ssize_t n = copy_file_range(of(from)->fd, &in, f->fd, &out,
		                            part, 0);

		if (n > 0)
			len -= (uint64_t)n;
		else if (n == 0 || is_refusal(errno))
			ret = -ENOTSUP;
		else if (errno != EINTR)
			ret = -errno;
	}
	atomic_store(&f->unsynced, true);
	return ret;
}

/* Make the directory entry of a new file stable, once. */
static int sync_directory(struct file_storage *f)
{
	int dir = atomic_exchange(&f->new_in, -1);

	if (dir < 0)
		return 0;
	/* EINVAL: a file system whose directories need no such thing. */
	if (qcf_fd_sync(dir) < 0 && errno != EINVAL) {
		int err = errno;

		atomic_store(&f->new_in, dir);
		return -err;
	}
	close(dir);
	return 0;
}

static int file_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	int ret;

	(void)errp;
	if (f->no_flush)
		return 0;
	atomic_store(&f->unsynced, false);
	do {
		ret = fdatasync(f->fd);
	} while (ret < 0 && errno == EINTR);
	ret = ret < 0 ? -errno : sync_directory(f);
	if (ret < 0)
		atomic_store(&f->unsynced, true);
	return ret;
}

static int file_truncate(struct qcowfmt_storage *s, uint64_t size,
                         struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	int ret;

	(void)errp;
	do {
		ret = ftruncate(f->fd, (off_t)size);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* -------------------------------------------- zeroing, reserving, discarding */

/* -ENOTSUP if the file system cannot do it, which *never then remembers. */
static int change_space(struct file_storage *f, int mode, uint64_t offset,
                        uint64_t len, atomic_bool *never)
{
	struct qcf_direct_claim claim;
	int err = 0;

	if (atomic_load_explicit(never, memory_order_relaxed))
		return -ENOTSUP;
	if (f->is_direct)
		qcf_direct_claim(&f->direct, &claim, offset, len);
	do {
		if (fallocate(f->fd, mode, (off_t)offset, (off_t)len) == 0)
			err = 0;
		else
			err = errno;
	} while (err == EINTR);
	if (f->is_direct)
		qcf_direct_release(&f->direct, &claim);
	switch (err) {
	case EOPNOTSUPP:
	case ENOSYS:
	case ENODEV:
		atomic_store(never, true);
		return -ENOTSUP;
	case EINVAL: /* a device and a range that is not whole sectors */
		return -ENOTSUP;
	default:
		return -err;
	}
}

static int punch(struct file_storage *f, uint64_t offset, uint64_t len)
{
	return change_space(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                    offset, len, &f->no_punch);
}

/* A zeroed range that ends beyond the file: its last byte makes it longer. */
static int grow_to(struct file_storage *f, uint64_t end)
{
	uint8_t zero = 0;
	struct iovec iov = { .iov_base = &zero, .iov_len = 1 };
	uint64_t size = 0;
	int ret = file_get_size(&f->base, &size, NULL);

	if (ret < 0 || end <= size)
		return ret;
	return file_pwritev(&f->base, &iov, 1, end - 1, NULL);
}

static int file_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                     bool may_unmap, struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);
	int ret = -ENOTSUP;

	(void)errp;
	if (may_unmap)
		ret = punch(f, offset, len);
	if (ret == 0)
		return grow_to(f, offset + len);
	if (ret == -ENOTSUP)
		ret = change_space(f, FALLOC_FL_ZERO_RANGE, offset, len,
		                   &f->no_zero_range);
	return ret;
}

/* Whether so much does not fit: a kernel may fill the disk, to the harm of all others
 * on it, before it says so.  What is free to nobody but root counts as free, and what
 * the file has may be in the range: what could succeed is tried. */
static bool is_beyond_free_space(const struct file_storage *f, uint64_t len)
{
	struct statvfs fs;
	struct stat st;
	uint64_t has;

	if (fstatvfs(f->fd, &fs) < 0 || fs.f_blocks == 0 ||
	    fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	has = (uint64_t)st.st_blocks * 512;
	return len > has && (len - has) / fs.f_frsize > fs.f_bfree;
}

/* Mode 0: reserve what is a hole, and grow. */
static int file_allocate(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);

	(void)errp;
	if (is_beyond_free_space(f, len))
		return -ENOSPC;
	return change_space(f, 0, offset, len, &f->no_reserve);
}

static int discard_device(struct file_storage *f, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };

	if (ioctl(f->fd, BLKDISCARD, range) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == EINVAL || errno == ENOTTY
	               ? -ENOTSUP
	               : -errno;
}

static int file_discard(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	struct file_storage *f = of(s);

	(void)errp;
	if (f->is_device)
		return discard_device(f, offset, len);
	return punch(f, offset, len);
}

/* ---------------------------------------------------------- lock and close */

static int file_lock(struct qcowfmt_storage *s, enum qcf_storage_lock lock,
                     struct qcowfmt_error **errp)
{
	return qcf_file_lock_set(&of(s)->lock, lock, s->name, errp);
}

static void file_close(struct qcowfmt_storage *s)
{
	struct file_storage *f = of(s);
	int dir = atomic_load(&f->new_in);

	/* A duplicate of the descriptor elsewhere would keep the lock. */
	(void)qcf_file_lock_set(&f->lock, QCF_LOCK_NONE, s->name, NULL);
	if (f->is_direct)
		qcf_direct_fini(&f->direct);
	if (dir >= 0)
		close(dir);
	close(f->fd);
	free(s->name);
	free(f);
}

/*
 * Direct writes claim their blocks until they are done, against neighbours that
 * are read and written back with what is changed; so they are left to a thread.
 */
static int file_transfer_fd(struct qcowfmt_storage *s, bool is_write,
                            const struct iovec *iov, int iovcnt,
                            uint64_t offset)
{
	struct file_storage *f = of(s);

	if (f->is_direct &&
	    (is_write ||
	     !qcf_direct_is_aligned(&f->direct, iov, iovcnt, offset)))
		return -ENOTSUP;
	return f->fd;
}

static void file_transferred(struct qcowfmt_storage *s)
{
	atomic_store(&of(s)->unsynced, true);
}

static const struct qcf_storage_verbs file_verbs = {
	.preadv = file_preadv,
	.pwritev = file_pwritev,
	.flush = file_flush,
	.get_size = file_get_size,
	.truncate = file_truncate,
	.zero = file_zero,
	.discard = file_discard,
	.allocate = file_allocate,
	.copy_range = file_copy_range,
	.extent = file_extent,
	.get_allocated = file_get_allocated,
	.lock = file_lock,
	.transfer_fd = file_transfer_fd,
	.transferred = file_transferred,
	.close = file_close,
};

/* ---------------------------------------------------------------- opening */

#define KNOWN_FLAGS                                                            \
	(QCOWFMT_FILE_READ_ONLY | QCOWFMT_FILE_CREATE | QCOWFMT_FILE_NO_LOCK | \
	 QCOWFMT_FILE_DIRECT | QCOWFMT_FILE_ANY_TYPE | QCOWFMT_FILE_NO_FLUSH)

static int check_flags(uint32_t flags, struct qcowfmt_error **errp)
{
	if ((flags & ~KNOWN_FLAGS) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown file option flags 0x%x",
		                flags & ~KNOWN_FLAGS);
	if ((flags & QCOWFMT_FILE_CREATE) != 0 &&
	    (flags & QCOWFMT_FILE_READ_ONLY) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a file cannot be created for reading only");
	return 0;
}

static int set_direct(struct file_storage *f, uint32_t flags,
                      struct qcowfmt_error **errp)
{
	int mode = fcntl(f->fd, F_GETFL);

	if (mode < 0)
		return qcf_fail_sys(errp, errno, "'%s'", f->base.name);
	f->is_direct = (mode & O_DIRECT) != 0;
	if (!f->is_direct && (flags & QCOWFMT_FILE_DIRECT) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "'%s': direct I/O needs a descriptor that was "
		                "opened with O_DIRECT",
		                f->base.name);
	if (!f->is_direct)
		return 0;
	if (qcf_direct_init(&f->direct, f->fd, f->is_device) == 0) {
		f->base.alignment = f->direct.alignment;
		return 0;
	}
	f->is_direct = false;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_SYSTEM,
	                "'%s': its file system cannot do direct I/O",
	                f->base.name);
}

/*
 * Empty a file that is about to become an image.  The lock stays until the
 * user of the storage changes it, so that nobody takes the empty file for an
 * image.
 */
static int empty(struct file_storage *f, struct qcowfmt_error **errp)
{
	int ret = qcf_storage_lock(&f->base, QCF_LOCK_TRUNCATE, errp);

	if (ret < 0)
		return ret;
	return qcf_storage_truncate(&f->base, 0, errp);
}

/* Takes over fd, name and new_in; closes and frees them and returns NULL if
 * there is no memory. */
static struct file_storage *new_storage(int fd, char *name, int new_in,
                                        const struct stat *st)
{
	struct file_storage *f = name == NULL ? NULL : calloc(1, sizeof(*f));

	if (f == NULL) {
		close(fd);
		if (new_in >= 0)
			close(new_in);
		free(name);
		return NULL;
	}
	f->base.verbs = &file_verbs;
	f->base.name = name;
	f->base.alignment = 1;
	f->fd = fd;
	f->is_device = S_ISBLK(st->st_mode);
	f->base.fixed_size = f->is_device;
	f->base.reads_zero_when_grown = !f->is_device;
	/* Two nodes of one device are the same storage. */
	f->base.dev = f->is_device ? st->st_rdev : st->st_dev;
	f->base.ino = f->is_device ? 0 : st->st_ino;
	f->lock.fd = fd;
	atomic_init(&f->new_in, new_in);
	return f;
}

static int set_up(struct file_storage *f, uint32_t flags, bool writable,
                  bool is_file, struct qcowfmt_storage **storage,
                  struct qcowfmt_error **errp)
{
	f->base.writable = writable;
	f->base.is_file = is_file;
	f->lock.off = (flags & QCOWFMT_FILE_NO_LOCK) != 0;
	f->no_flush = (flags & QCOWFMT_FILE_NO_FLUSH) != 0;

	int ret = set_direct(f, flags, errp);

	if (ret == 0 && (flags & QCOWFMT_FILE_CREATE) != 0 && !f->is_device)
		ret = empty(f, errp);
	if (ret < 0) {
		file_close(&f->base);
		return ret;
	}
	*storage = &f->base;
	return 0;
}

int qcf_storage_file_open(const char *path, const char *dir, uint32_t flags,
                          struct qcowfmt_storage **storage,
                          struct qcowfmt_error **errp)
{
	struct qcf_opened_file opened = { .fd = -1 };
	struct file_storage *f;
	int ret = check_flags(flags, errp);

	if (ret == 0)
		ret = qcf_open_path(path, dir, flags, &opened, errp);
	if (ret < 0)
		return ret;
	f = new_storage(opened.fd, opened.name, opened.new_in, &opened.st);
	ret = f == NULL
	              ? qcf_fail_oom(errp)
	              : set_up(f, flags, (flags & QCOWFMT_FILE_READ_ONLY) == 0,
	                       true, storage, errp);
	if (ret < 0 && opened.created)
		(void)unlink(path);
	return ret;
}

/* What must be true of a descriptor for positioned reads and writes. */
static int check_access(int mode, uint32_t flags, const char *name,
                        struct qcowfmt_error **errp)
{
	const char *problem = NULL;

	if ((mode & O_PATH) != 0)
		problem = "was opened with O_PATH";
	else if ((mode & O_ACCMODE) == O_WRONLY)
		problem = "is open for writing only";
	else if ((mode & O_APPEND) != 0 && (mode & O_ACCMODE) == O_RDWR &&
	         (flags & QCOWFMT_FILE_READ_ONLY) == 0)
		problem = "is open for appending";
	if (problem == NULL)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "'%s' cannot hold an image: the descriptor %s", name,
	                problem);
}

static int check_descriptor(int fd, const char *name, uint32_t flags,
                            bool *writable, struct stat *st,
                            struct qcowfmt_error **errp)
{
	int mode = fcntl(fd, F_GETFL);
	int ret;

	if (mode < 0)
		return qcf_fail_sys(errp, errno, "'%s'", name);
	if ((flags & QCOWFMT_FILE_CREATE) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "'%s': an open file cannot be created", name);
	ret = check_access(mode, flags, name, errp);
	if (ret == 0)
		ret = qcf_check_file_type(fd, name, flags, st, errp);
	*writable = (mode & O_ACCMODE) == O_RDWR &&
	            (flags & QCOWFMT_FILE_READ_ONLY) == 0;
	return ret;
}

int qcf_storage_file_from_fd(int fd, const char *name, uint32_t flags,
                             struct qcowfmt_storage **storage,
                             struct qcowfmt_error **errp)
{
	struct file_storage *f;
	struct stat st = { 0 };
	char number[32];
	bool writable = false;

	snprintf(number, sizeof(number), "descriptor %d", fd);
	if (name == NULL)
		name = number;

	int ret = check_flags(flags, errp);

	if (ret == 0)
		ret = check_descriptor(fd, name, flags, &writable, &st, errp);
	if (ret < 0)
		return ret;

	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return qcf_fail_sys(errp, errno, "'%s'", name);
	f = new_storage(copy, strdup(name), -1, &st);
	if (f == NULL)
		return qcf_fail_oom(errp);
	return set_up(f, flags, writable, false, storage, errp);
}
