/* SPDX-License-Identifier: MIT */
/*
 * tool_unsafe.c - cache mode "unsafe": a file whose flushes do nothing
 *
 * Locks: other programs that use images hold read locks on single bytes of the
 * file, byte 100 + n for "I use permission n" and 200 + n for "others must not
 * use it".  This storage uses read, write and resize (0, 1, 3) and denies
 * write and resize, as every writer of an image does.  Lock first, test then:
 * of two programs that come at the same time at least one gives way.
 */
#include "tool_unsafe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tool_error.h"
#include "tool_open.h"

struct unsafe_file {
	int fd;
	bool is_regular;  /* ranges can be made holes */
	bool punch_zeros; /* zeros need not keep the space they take */
};

static int64_t file_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	const struct unsafe_file *file = opaque;
	size_t done = 0;

	while (done < len) {
		ssize_t got = pread(file->fd, (char *)buffer + done, len - done,
		                    (off_t)(offset + done));

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
	const struct unsafe_file *file = opaque;
	size_t done = 0;

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
	(void)opaque;
	return 0;
}

static int file_get_size(void *opaque, uint64_t *size)
{
	const struct unsafe_file *file = opaque;
	off_t end = lseek(file->fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

static int file_truncate(void *opaque, uint64_t size)
{
	const struct unsafe_file *file = opaque;

	return ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0;
}

static int punch(const struct unsafe_file *file, int mode, uint64_t offset,
                 uint64_t len)
{
	if (!file->is_regular)
		return -ENOTSUP;
	if (fallocate(file->fd, mode, (off_t)offset, (off_t)len) == 0)
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
	const struct unsafe_file *file = opaque;

	if (file->punch_zeros)
		return file_discard(opaque, offset, len);
	return punch(opaque, FALLOC_FL_ZERO_RANGE, offset, len);
}

static int file_extent(void *opaque, uint64_t offset, uint64_t len,
                       uint64_t *run)
{
	const struct unsafe_file *file = opaque;
	off_t start = (off_t)offset;
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
	struct unsafe_file *file = opaque;

	(void)close(file->fd);
	free(file);
}

static const struct qcowfmt_storage_ops file_ops = {
	.struct_size = sizeof(file_ops),
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
static int lock_file(int fd)
{
	static const off_t held[] = { 100, 101, 103, 201, 203 };
	static const off_t denied_by_others[] = { 200, 201, 203 };
	static const off_t used_by_others[] = { 101, 103 };
	int ret = 0;
	size_t i;

	for (i = 0; ret == 0 && i < QCF_ARRAY_LEN(held); i++)
		ret = lock_byte(fd, F_OFD_SETLK, F_RDLCK, held[i]);
	for (i = 0; ret == 0 && i < QCF_ARRAY_LEN(denied_by_others); i++)
		ret = lock_byte(fd, F_OFD_GETLK, F_WRLCK, denied_by_others[i]);
	for (i = 0; ret == 0 && i < QCF_ARRAY_LEN(used_by_others); i++)
		ret = lock_byte(fd, F_OFD_GETLK, F_WRLCK, used_by_others[i]);
	return ret == -EAGAIN || ret == -EACCES ? -EAGAIN : 0;
}

/*
 * The library says whether and why a file cannot be used, in the same words as
 * in every other cache mode; its storage is not needed any further.
 */
static int check_usable(const char *path, struct qcowfmt_error **errp)
{
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_NO_LOCK,
	};
	struct qcowfmt_storage *storage;
	int ret = qcowfmt_storage_open_file(path, &options, &storage, errp);

	if (ret == 0)
		qcowfmt_storage_free(storage);
	return ret;
}

static int open_file(const char *path, bool lock, struct unsafe_file *file)
{
	struct stat st;

	file->fd = open(path, O_RDWR | O_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	file->is_regular = S_ISREG(st.st_mode);
	return lock ? lock_file(file->fd) : 0;
}

static int new_storage(const char *path, bool lock, bool punch_zeros,
                       struct qcowfmt_storage **storage,
                       struct qcowfmt_error **errp)
{
	struct unsafe_file *file = qcf_tool_alloc(sizeof(*file));
	int ret = open_file(path, lock, file);

	file->punch_zeros = punch_zeros;
	if (ret == 0)
		ret = qcowfmt_storage_new_custom(&file_ops, file, path, storage,
		                                 errp);
	if (ret < 0 && file->fd >= 0)
		(void)close(file->fd);
	if (ret < 0)
		free(file);
	return ret;
}

/* What the callback for references knows. */
struct reference_rules {
	bool lock;
	bool punch_zeros;
	char *reason; /* why one could not be opened */
};

/* Names of data files are relative to the process. */
static char *reference_path(const struct qcowfmt_reference *reference)
{
	const char *referrer = reference->kind == QCOWFMT_REFERENCE_DATA_FILE
	                               ? ""
	                               : reference->referrer;

	return qcf_resolve_reference(referrer, reference->name);
}

/*
 * Supplies backing and data files, which the library would leave closed because
 * it does not know that this storage is a file.
 */
static int open_reference(void *opaque,
                          const struct qcowfmt_reference *reference,
                          struct qcowfmt_storage **storage, int32_t *format)
{
	struct reference_rules *rules = opaque;
	bool is_backing = reference->kind == QCOWFMT_REFERENCE_BACKING;
	QCF_AUTO_FREE char *path = reference_path(reference);
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_READ_ONLY |
		         (rules->lock ? 0 : QCOWFMT_FILE_NO_LOCK),
	};
	int ret;

	if (is_backing && reference->format == NULL)
		*format = QCOWFMT_FORMAT_PROBE;
	if (reference->writable) {
		ret = check_usable(path, &error);
		if (ret == 0)
			ret = new_storage(path, rules->lock, rules->punch_zeros,
			                  storage, &error);
	} else {
		ret = qcowfmt_storage_open_file(path, &options, storage,
		                                &error);
	}
	if (ret < 0 && rules->reason == NULL) {
		QCF_AUTO_FREE char *why =
			qcf_tool_reason(ret, error, path, reference->writable);

		rules->reason = qcf_tool_printf(
			"%s%s",
			is_backing ? "Could not open backing file: " : "", why);
	}
	return ret;
}

static int open_storage(struct qcowfmt_storage *storage,
                        const struct qcowfmt_open_options *options,
                        struct reference_rules *rules,
                        struct qcowfmt_image **image,
                        struct qcowfmt_error **errp)
{
	struct qcowfmt_open_options mine = *options;
	int ret;

	if (mine.reference_policy == QCOWFMT_REFERENCES_LOCAL) {
		mine.reference_policy = QCOWFMT_REFERENCES_CALLBACK;
		mine.reference_callback = open_reference;
		mine.reference_opaque = rules;
	}
	ret = qcowfmt_open(storage, &mine, image, errp);
	if (ret < 0)
		qcowfmt_storage_free(storage);
	return ret;
}

int qcf_open_without_flush(const char *path,
                           const struct qcowfmt_open_options *options,
                           bool punch_zeros, struct qcowfmt_image **image,
                           char **reason)
{
	struct reference_rules rules = {
		.lock = (options->flags & QCOWFMT_OPEN_NO_LOCK) == 0,
		.punch_zeros = punch_zeros,
	};
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_storage *storage;
	int ret = check_usable(path, &error);

	if (ret == 0)
		ret = new_storage(path, rules.lock, punch_zeros, &storage,
		                  &error);
	if (ret == 0)
		ret = open_storage(storage, options, &rules, image, &error);
	if (ret < 0 && rules.reason == NULL)
		rules.reason = qcf_tool_reason(ret, error, path, true);
	*reason = rules.reason;
	return ret;
}
