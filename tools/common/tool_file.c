/* SPDX-License-Identifier: MIT */
/*
 * tool_file.c - the file that an image lies in
 *
 * The library opens it, unless the image is a part of a file.
 *
 * Locks: other programs that use images hold read locks on single bytes of the
 * file, byte 100 + n for "I use permission n" and 200 + n for "others must not
 * use it".  A reader uses read (0), a writer also write and resize (1, 3); both
 * deny write and resize to others.  Lock first, test then: of two programs that
 * come at the same time at least one gives way.
 */
#include "tool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <linux/falloc.h>

#include "tool_error.h"

struct own_file {
	int fd;
	struct qcf_window window;
	bool is_regular; /* ranges can be made holes */
	bool no_flush;
	bool punch_zeros; /* zeros need not keep the space they take */
};

bool qcf_is_window(const struct qcf_window *window)
{
	return window->offset != 0 || window->has_size;
}

/* ------------------------------------------------------------------ storage */

/* How much of a range lies in the window. */
static size_t part_inside(const struct own_file *file, size_t len,
                          uint64_t offset)
{
	if (!file->window.has_size)
		return len;
	if (offset >= file->window.size)
		return 0;
	return (size_t)qcf_min(len, file->window.size - offset);
}

static int64_t file_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	const struct own_file *file = opaque;
	size_t wanted = part_inside(file, len, offset);
	size_t done = 0;

	offset += file->window.offset;
	while (done < wanted) {
		ssize_t got = pread(file->fd, (char *)buffer + done,
		                    wanted - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (int64_t)done;
}

static int file_pwrite(void *opaque, const void *buffer, size_t len,
                       uint64_t offset)
{
	const struct own_file *file = opaque;
	size_t done = 0;

	if (part_inside(file, len, offset) < len)
		return -ENOSPC;
	offset += file->window.offset;
	while (done < len) {
		ssize_t put = pwrite(file->fd, (const char *)buffer + done,
		                     len - done, (off_t)(offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += (size_t)put;
	}
	return 0;
}

static int file_flush(void *opaque)
{
	const struct own_file *file = opaque;

	if (file->no_flush)
		return 0;
	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static int file_get_size(void *opaque, uint64_t *size)
{
	const struct own_file *file = opaque;
	off_t end = lseek(file->fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*size = (uint64_t)end - qcf_min((uint64_t)end, file->window.offset);
	if (file->window.has_size)
		*size = file->window.size;
	return 0;
}

static int file_truncate(void *opaque, uint64_t size)
{
	const struct own_file *file = opaque;

	if (file->window.has_size)
		return size == file->window.size ? 0 : -ENOSPC;
	if (size > (uint64_t)INT64_MAX - file->window.offset)
		return -EFBIG;
	size += file->window.offset;
	return qcf_truncate_fd(file->fd, (off_t)size) < 0 ? -errno : 0;
}

static int punch(const struct own_file *file, int mode, uint64_t offset,
                 uint64_t len)
{
	if (!file->is_regular)
		return -ENOTSUP;
	if (part_inside(file, (size_t)len, offset) < len)
		return -ENOSPC;
	if (qcf_allocate_fd(file->fd, mode,
	                    (off_t)(file->window.offset + offset),
	                    (off_t)len) == 0)
		return 0;
	return errno == EOPNOTSUPP ? -ENOTSUP : -errno;
}

static int file_discard(void *opaque, uint64_t offset, uint64_t len)
{
	return punch(opaque, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
	             len);
}

static int file_zero(void *opaque, uint64_t offset, uint64_t len)
{
	const struct own_file *file = opaque;

	if (file->punch_zeros)
		return file_discard(opaque, offset, len);
	return punch(opaque, FALLOC_FL_ZERO_RANGE, offset, len);
}

static int file_extent(void *opaque, uint64_t offset, uint64_t len,
                       uint64_t *run)
{
	const struct own_file *file = opaque;
	off_t start = (off_t)(file->window.offset + offset);
	off_t data = lseek(file->fd, start, SEEK_DATA);
	off_t end;

	if (data < 0 && errno != ENXIO) {
		*run = len;
		return QCOWFMT_STORAGE_DATA;
	}
	if (data != start) {
		*run = data < 0 ? len : qcf_min(len, (uint64_t)(data - start));
		return QCOWFMT_STORAGE_HOLE;
	}
	end = lseek(file->fd, start, SEEK_HOLE);
	*run = end <= start ? len : qcf_min(len, (uint64_t)(end - start));
	return QCOWFMT_STORAGE_DATA;
}

static void file_close(void *opaque)
{
	struct own_file *file = opaque;

	(void)close(file->fd);
	free(file);
}

/* Without what changes anything. */
static const struct qcowfmt_storage_ops read_ops = {
	.struct_size = sizeof(read_ops),
	.pread = file_pread,
	.get_size = file_get_size,
	.extent = file_extent,
	.close = file_close,
};

static const struct qcowfmt_storage_ops write_ops = {
	.struct_size = sizeof(write_ops),
	.pread = file_pread,
	.pwrite = file_pwrite,
	.flush = file_flush,
	.get_size = file_get_size,
	.truncate = file_truncate,
	.zero = file_zero,
	.discard = file_discard,
	.extent = file_extent,
	.close = file_close,
};

/* -------------------------------------------------------------------- locks */

static int lock_byte(int fd, int command, short type, off_t byte)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	if (fcntl(fd, command, &lock) < 0)
		return -errno;
	return command == F_OFD_GETLK && lock.l_type != F_UNLCK ? -EAGAIN : 0;
}

/* File systems without such locks (-EINVAL, -ENOLCK ...) go without. */
static int lock_file(int fd, bool writable)
{
	/* Those behind the 0 are of writers only. */
	static const off_t held[] = { 100, 201, 203, 0, 101, 103 };
	static const off_t denied_by_others[] = { 200, 0, 201, 203 };
	static const off_t used_by_others[] = { 101, 103 };
	int ret = 0;
	size_t i;

	for (i = 0; ret == 0 && i < QCF_ARRAY_LEN(held); i++) {
		if (held[i] == 0 && !writable)
			break;
		if (held[i] != 0)
			ret = lock_byte(fd, F_OFD_SETLK, F_RDLCK, held[i]);
	}
	for (i = 0; ret == 0 && i < QCF_ARRAY_LEN(denied_by_others); i++) {
		if (denied_by_others[i] == 0 && !writable)
			break;
		if (denied_by_others[i] != 0)
			ret = lock_byte(fd, F_OFD_GETLK, F_WRLCK,
			                denied_by_others[i]);
	}
	for (i = 0; ret == 0 && i < QCF_ARRAY_LEN(used_by_others); i++)
		ret = lock_byte(fd, F_OFD_GETLK, F_WRLCK, used_by_others[i]);
	return ret == -EAGAIN || ret == -EACCES ? -EAGAIN : 0;
}

/* --------------------------------------------------------------------- open */

static char *check_window(const struct qcf_window *window, uint64_t file_size)
{
	file_size = qcf_round_up(file_size, 512);
	if (window->has_size && window->size % 512 != 0)
		return qcf_tool_printf("Specified size is not multiple of 512");
	if (window->offset > file_size)
		return qcf_tool_printf("Offset (%" PRIu64 ") cannot be greater "
		                       "than size of the containing file "
		                       "(%" PRIu64 ")",
		                       window->offset, file_size);
	if (window->has_size && window->size > file_size - window->offset)
		return qcf_tool_printf("The sum of offset (%" PRIu64 ") and "
		                       "size (%" PRIu64 ") has to be smaller "
		                       "or equal to the  actual size of the "
		                       "containing file (%" PRIu64 ")",
		                       window->offset, window->size, file_size);
	return NULL;
}

/*
 * The library says whether and why a file cannot be used, in the same words as
 * in every other case; its storage is not needed any further.
 */
static int check_usable(const struct qcf_tool_file *file,
                        struct qcowfmt_error **errp)
{
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_NO_LOCK |
		         (file->writable ? 0 : QCOWFMT_FILE_READ_ONLY),
	};
	struct qcowfmt_storage *storage;
	int ret =
		qcowfmt_storage_open_file(file->path, &options, &storage, errp);

	if (ret == 0)
		qcowfmt_storage_free(storage);
	return ret;
}

static int open_descriptor(const struct qcf_tool_file *file,
                           struct own_file *own, char **reason)
{
	uint64_t size = 0;
	struct stat st;
	int ret;

	/* The name may stand for another file by now, but not for one that
	 * hangs. */
	own->fd = qcf_open_fd(file->path, (file->writable ? O_RDWR : O_RDONLY) |
	                                          O_CLOEXEC | O_NONBLOCK |
	                                          O_NOCTTY);
	if (own->fd < 0 || fstat(own->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	own->is_regular = S_ISREG(st.st_mode);
	/* Without a window yet, this is all of it. */
	ret = file_get_size(own, &size);
	if (ret < 0)
		return ret;
	*reason = check_window(&file->window, size);
	if (*reason != NULL)
		return -EINVAL;
	own->window = file->window;
	return file->no_lock ? 0 : lock_file(own->fd, file->writable);
}

static int open_own(const struct qcf_tool_file *file,
                    struct qcowfmt_storage **storage, char **reason,
                    struct qcowfmt_error **errp)
{
	struct own_file *own = qcf_tool_alloc(sizeof(*own));
	int ret;

	own->no_flush = file->no_flush;
	own->punch_zeros = file->punch_zeros;
	ret = open_descriptor(file, own, reason);
	if (ret == 0)
		ret = qcowfmt_storage_new_custom(
			file->writable ? &write_ops : &read_ops, own,
			file->path, storage, errp);
	if (ret < 0 && own->fd >= 0)
		(void)close(own->fd);
	if (ret < 0)
		free(own);
	return ret;
}

/* The usual case. */
static int open_of_library(const struct qcf_tool_file *file,
                           struct qcowfmt_storage **storage,
                           struct qcowfmt_error **errp)
{
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = (file->writable ? 0 : QCOWFMT_FILE_READ_ONLY) |
		         (file->no_lock ? QCOWFMT_FILE_NO_LOCK : 0) |
		         (file->direct ? QCOWFMT_FILE_DIRECT : 0) |
		         (file->no_flush ? QCOWFMT_FILE_NO_FLUSH : 0),
	};

	return qcowfmt_storage_open_file(file->path, &options, storage, errp);
}

int qcf_tool_file_open(const struct qcf_tool_file *file,
                       struct qcowfmt_storage **storage, char **reason)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	*reason = NULL;
	if (!qcf_is_window(&file->window)) {
		ret = open_of_library(file, storage, &error);
	} else if (file->direct) {
		*reason = qcf_tool_printf("Bypassing the page cache is not "
		                          "supported by this version for an "
		                          "image that is a part of a file");
		return -ENOTSUP;
	} else {
		ret = check_usable(file, &error);
		if (ret == 0)
			ret = open_own(file, storage, reason, &error);
	}
	if (ret < 0 && *reason == NULL)
		*reason =
			qcf_tool_reason(ret, error, file->path, file->writable);
	return ret;
}
