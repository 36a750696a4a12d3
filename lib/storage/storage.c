/* SPDX-License-Identifier: MIT */
/*
 * storage.c - the verbs as the rest of the library calls them
 *
 * Checks arguments, falls back where a storage lacks a verb, and sees to it
 * that every error names the storage, the operation and the range.  Storages
 * themselves may fail with a bare negative errno value.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "lock_order.h"
#include "storage.h"

/* Zeros for storages without a zero verb: one page, many times in a vector.
 * Aligned so that direct I/O needs no copy. */
#define ZERO_PAGE_SIZE  4096u
#define ZERO_PAGE_COUNT 256u
#define ZERO_CHUNK      ((uint64_t)ZERO_PAGE_SIZE * ZERO_PAGE_COUNT)

static const uint8_t zero_page[ZERO_PAGE_SIZE]
	__attribute__((aligned(ZERO_PAGE_SIZE)));

/* Raise or complete the error of a verb that failed with ret. */
static int fail_range(struct qcowfmt_storage *s, const char *verb,
                      uint64_t offset, uint64_t len, int ret,
                      struct qcowfmt_error **errp)
{
	if (errp == NULL)
		return ret;
	if (*errp == NULL)
		qcf_fail_sys(errp, -ret,
		             "'%s': %s %" PRIu64 " bytes at offset %" PRIu64,
		             s->name, verb, len, offset);
	else
		qcf_wrapf(errp, ret,
		          "'%s': %s %" PRIu64 " bytes at offset %" PRIu64,
		          s->name, verb, len, offset);
	qcf_error_at_host(errp, offset);
	return ret;
}

/* The same for verbs that are about the storage as a whole. */
static int fail_whole(struct qcowfmt_storage *s, const char *verb, int ret,
                      struct qcowfmt_error **errp)
{
	if (errp == NULL)
		return ret;
	if (*errp == NULL)
		qcf_fail_sys(errp, -ret, "'%s': %s", s->name, verb);
	else
		qcf_wrapf(errp, ret, "'%s': %s", s->name, verb);
	return ret;
}

static int check_writable(struct qcowfmt_storage *s, const char *verb,
                          struct qcowfmt_error **errp)
{
	if (s->writable)
		return 0;
	return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
	                "'%s' is open for reading only: %s is not possible",
	                s->name, verb);
}

/* To be called before a range is used. */
static int check_range(struct qcowfmt_storage *s, const char *verb,
                       uint64_t offset, uint64_t len,
                       struct qcowfmt_error **errp)
{
	qcf_lock_order_io(verb);
	if (qcf_range_within(offset, len, INT64_MAX))
		return 0;
	return fail_range(s, verb, offset, len, -EFBIG, errp);
}

static int check_vector(struct qcowfmt_storage *s, const char *verb,
                        const struct iovec *iov, int iovcnt, uint64_t *len,
                        struct qcowfmt_error **errp)
{
	if (qcf_iov_len(iov, iovcnt, len))
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "'%s': %s with a vector of %d buffers whose lengths "
	                "have no valid sum",
	                s->name, verb, iovcnt);
}

/* Elements of a vector copied to go on after a short read. */
#define READ_WINDOW 64

/*
 * A short read must mean the end.  If the storage says that it is longer, ask
 * again: it may have grown meanwhile.  Getting nothing then is a failure, or
 * data would turn into zeros unnoticed.
 */
static int64_t read_rest(struct qcowfmt_storage *s, const struct iovec *iov,
                         int iovcnt, uint64_t offset, uint64_t got,
                         uint64_t len, struct qcowfmt_error **errp)
{
	struct iovec window[READ_WINDOW];

	while (got < len) {
		uint64_t size;
		int ret = qcf_storage_get_size(s, &size, errp);

		if (ret < 0)
			return ret;
		if (size <= offset + got)
			break;

		int count =
			qcf_iov_window(iov, iovcnt, got, window, READ_WINDOW);
		int64_t more =
			s->verbs->preadv(s, window, count, offset + got, errp);

		if (more < 0)
			return more;
		if (more == 0)
			return qcf_fail(errp, EIO, QCOWFMT_ERR_IO,
			                "nothing came from offset %" PRIu64
			                " of %" PRIu64,
			                offset + got, size);
		got += (uint64_t)more;
	}
	return (int64_t)got;
}

/* Read what the storage has of the range; *len is what was asked for. */
static int64_t read_some(struct qcowfmt_storage *s, const struct iovec *iov,
                         int iovcnt, uint64_t offset, uint64_t *len,
                         struct qcowfmt_error **errp)
{
	int ret = check_vector(s, "read", iov, iovcnt, len, errp);

	if (ret == 0)
		ret = check_range(s, "read", offset, *len, errp);
	if (ret < 0 || *len == 0)
		return ret;

	int64_t got = s->verbs->preadv(s, iov, iovcnt, offset, errp);

	if (got >= 0 && (uint64_t)got < *len)
		got = read_rest(s, iov, iovcnt, offset, (uint64_t)got, *len,
		                errp);
	if (got < 0)
		return fail_range(s, "read", offset, *len, (int)got, errp);
	return got;
}

static int fail_past_end(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, uint64_t end,
                         struct qcowfmt_error **errp)
{
	int ret = qcf_fail(errp, EIO, QCOWFMT_ERR_IO,
	                   "'%s': read %" PRIu64 " bytes at offset %" PRIu64
	                   ": the storage ends at %" PRIu64,
	                   s->name, len, offset, end);

	qcf_error_at_host(errp, offset);
	return ret;
}

int qcf_storage_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                       int iovcnt, uint64_t offset, bool allow_beyond_end,
                       struct qcowfmt_error **errp)
{
	uint64_t len;
	int64_t got = read_some(s, iov, iovcnt, offset, &len, errp);

	if (got < 0)
		return (int)got;
	if ((uint64_t)got == len)
		return 0;
	if (got == 0 && !allow_beyond_end) {
		uint64_t size;
		int ret = qcf_storage_get_size(s, &size, errp);

		return ret < 0 ? ret
		               : fail_past_end(s, offset, len, size, errp);
	}
	qcf_iov_zero(iov, iovcnt, (uint64_t)got, len - (uint64_t)got);
	return 0;
}

int qcf_storage_pread_exact(struct qcowfmt_storage *s, void *buffer, size_t len,
                            uint64_t offset, struct qcowfmt_error **errp)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = len };
	uint64_t want;
	int64_t got = read_some(s, &iov, 1, offset, &want, errp);

	if (got < 0)
		return (int)got;
	if ((uint64_t)got < want)
		return fail_past_end(s, offset, len, offset + (uint64_t)got,
		                     errp);
	return 0;
}

int64_t qcf_storage_pread_padded(struct qcowfmt_storage *s, void *buffer,
                                 size_t len, uint64_t offset,
                                 struct qcowfmt_error **errp)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = len };
	uint64_t want;
	int64_t got = read_some(s, &iov, 1, offset, &want, errp);

	if (got >= 0 && (uint64_t)got < want)
		memset((uint8_t *)buffer + got, 0, len - (size_t)got);
	return got;
}

int qcf_storage_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                        int iovcnt, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	uint64_t len = 0;
	int ret = check_writable(s, "write", errp);

	if (ret == 0)
		ret = check_vector(s, "write", iov, iovcnt, &len, errp);
	if (ret == 0)
		ret = check_range(s, "write", offset, len, errp);
	if (ret < 0 || len == 0)
		return ret;
	ret = s->verbs->pwritev(s, iov, iovcnt, offset, errp);
	if (ret < 0)
		return fail_range(s, "write", offset, len, ret, errp);
	return 0;
}

int qcf_storage_pwrite(struct qcowfmt_storage *s, const void *buffer,
                       size_t len, uint64_t offset, struct qcowfmt_error **errp)
{
	/* The vector of a write is never written through. */
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)buffer,
		.iov_len = len,
	};

	return qcf_storage_pwritev(s, &iov, 1, offset, errp);
}

int qcf_storage_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	qcf_lock_order_io("flush");
	if (!s->writable)
		return 0;

	int ret = s->verbs->flush(s, errp);

	return ret < 0 ? fail_whole(s, "flush", ret, errp) : 0;
}

int qcf_storage_get_size(struct qcowfmt_storage *s, uint64_t *size,
                         struct qcowfmt_error **errp)
{
	uint64_t value = 0;
	int ret;

	qcf_lock_order_io("size");
	ret = s->verbs->get_size(s, &value, errp);

	if (ret == 0 && value > INT64_MAX)
		ret = -EFBIG;
	if (ret < 0)
		return fail_whole(s, "ask for the size", ret, errp);
	*size = value;
	return 0;
}

/* A device keeps its size: what fits is fine as it is. */
static int truncate_fixed(struct qcowfmt_storage *s, uint64_t size,
                          struct qcowfmt_error **errp)
{
	uint64_t have;
	int ret = qcf_storage_get_size(s, &have, errp);

	if (ret < 0 || size <= have)
		return ret;
	return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
	                "'%s': set the size to %" PRIu64
	                ": the device has %" PRIu64 " bytes",
	                s->name, size, have);
}

int qcf_storage_truncate(struct qcowfmt_storage *s, uint64_t size,
                         struct qcowfmt_error **errp)
{
	int ret = check_writable(s, "changing the size", errp);

	if (ret == 0)
		ret = check_range(s, "set the size:", size, 0, errp);
	if (ret < 0)
		return ret;
	if (s->fixed_size)
		return truncate_fixed(s, size, errp);
	ret = s->verbs->truncate(s, size, errp);
	if (ret == 0)
		return 0;
	if (errp != NULL && *errp == NULL)
		return qcf_fail_sys(errp, -ret,
		                    "'%s': set the size to %" PRIu64 " bytes",
		                    s->name, size);
	return qcf_wrapf(errp, ret, "'%s': set the size to %" PRIu64 " bytes",
	                 s->name, size);
}

static int write_zeros(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       struct qcowfmt_error **errp)
{
	struct iovec pages[ZERO_PAGE_COUNT];
	struct iovec part[ZERO_PAGE_COUNT];

	for (size_t i = 0; i < ZERO_PAGE_COUNT; i++) {
		pages[i].iov_base = (void *)(uintptr_t)zero_page;
		pages[i].iov_len = ZERO_PAGE_SIZE;
	}
	while (len > 0) {
		uint64_t chunk = QCF_MIN(len, ZERO_CHUNK);
		int count =
			qcf_iov_slice(pages, ZERO_PAGE_COUNT, 0, chunk, part);
		int ret = s->verbs->pwritev(s, part, count, offset, errp);

		if (ret < 0)
			return ret;
		offset += chunk;
		len -= chunk;
	}
	return 0;
}

int qcf_storage_write_zeros(struct qcowfmt_storage *s, uint64_t offset,
                            uint64_t len, struct qcowfmt_error **errp)
{
	int ret = check_writable(s, "writing", errp);

	if (ret == 0)
		ret = check_range(s, "write", offset, len, errp);
	if (ret < 0)
		return ret;
	ret = write_zeros(s, offset, len, errp);
	return ret < 0 ? fail_range(s, "write", offset, len, ret, errp) : 0;
}

int qcf_storage_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                     bool may_unmap, struct qcowfmt_error **errp)
{
	int ret = check_writable(s, "zeroing", errp);

	if (ret == 0)
		ret = check_range(s, "zero", offset, len, errp);
	if (ret < 0 || len == 0)
		return ret;
	ret = -ENOTSUP;
	if (s->verbs->zero != NULL)
		ret = s->verbs->zero(s, offset, len, may_unmap, errp);
	if (ret == -ENOTSUP)
		ret = write_zeros(s, offset, len, errp);
	if (ret < 0)
		return fail_range(s, "zero", offset, len, ret, errp);
	return 0;
}

/* A device has all the space it will ever have. */
static int allocate_fixed(struct qcowfmt_storage *s, uint64_t end,
                          struct qcowfmt_error **errp)
{
	uint64_t size;
	int ret = qcf_storage_get_size(s, &size, errp);

	if (ret < 0 || end <= size)
		return ret;
	return -ENOSPC;
}

/* Write zeros behind the end; from there on if a gap would hold anything. */
static int allocate_by_writing(struct qcowfmt_storage *s, uint64_t offset,
                               uint64_t end, struct qcowfmt_error **errp)
{
	uint64_t size;
	int ret = qcf_storage_get_size(s, &size, errp);

	if (ret < 0 || end <= size)
		return ret;
	if (s->reads_zero_when_grown)
		size = QCF_MAX(size, offset);
	return write_zeros(s, size, end - size, errp);
}

int qcf_storage_allocate(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, struct qcowfmt_error **errp)
{
	int ret = check_writable(s, "reserving space", errp);

	if (ret == 0)
		ret = check_range(s, "reserve", offset, len, errp);
	if (ret < 0 || len == 0)
		return ret;
	ret = -ENOTSUP;
	if (s->fixed_size)
		ret = allocate_fixed(s, offset + len, errp);
	else if (s->verbs->allocate != NULL)
		ret = s->verbs->allocate(s, offset, len, errp);
	if (ret == -ENOTSUP)
		ret = allocate_by_writing(s, offset, offset + len, errp);
	if (ret < 0)
		return fail_range(s, "reserve", offset, len, ret, errp);
	return 0;
}

int qcf_storage_copy_range(struct qcowfmt_storage *s, uint64_t offset,
                           struct qcowfmt_storage *from, uint64_t from_offset,
                           uint64_t len, struct qcowfmt_error **errp)
{
	int ret = check_writable(s, "copying", errp);

	if (ret == 0)
		ret = check_range(s, "copy", offset, len, errp);
	if (ret == 0)
		ret = check_range(from, "copy", from_offset, len, errp);
	if (ret < 0 || len == 0)
		return ret;
	if (s->verbs->copy_range == NULL || from->verbs != s->verbs ||
	    qcf_storage_is_same(s, from))
		return -ENOTSUP;
	ret = s->verbs->copy_range(s, offset, from, from_offset, len, errp);
	if (ret < 0 && ret != -ENOTSUP)
		return fail_range(s, "copy", offset, len, ret, errp);
	return ret;
}

int qcf_storage_discard(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	int ret = check_writable(s, "discarding", errp);

	if (ret == 0)
		ret = check_range(s, "discard", offset, len, errp);
	if (ret < 0 || len == 0 || s->verbs->discard == NULL)
		return ret;
	ret = s->verbs->discard(s, offset, len, errp);
	if (ret < 0 && ret != -ENOTSUP)
		return fail_range(s, "discard", offset, len, ret, errp);
	return 0;
}

int qcf_storage_discard_to_zeros(struct qcowfmt_storage *s, uint64_t offset,
                                 uint64_t len, struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret = check_writable(s, "discarding", errp);

	if (ret == 0)
		ret = check_range(s, "discard", offset, len, errp);
	if (ret == 0)
		ret = qcf_storage_get_size(s, &size, errp);
	if (ret < 0 || s->verbs->zero == NULL || offset >= size || len == 0)
		return ret;
	len = QCF_MIN(len, size - offset);
	ret = s->verbs->zero(s, offset, len, true, errp);
	if (ret < 0 && ret != -ENOTSUP)
		return fail_range(s, "discard", offset, len, ret, errp);
	return 0;
}

int qcf_storage_extent(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       uint64_t *run, struct qcowfmt_error **errp)
{
	uint64_t found = len;
	int ret = check_range(s, "look for holes in", offset, len, errp);

	if (ret < 0)
		return ret;
	ret = QCOWFMT_STORAGE_DATA;
	if (s->verbs->extent != NULL && len > 0)
		ret = s->verbs->extent(s, offset, len, &found, errp);
	if (ret >= 0 &&
	    ((ret != QCOWFMT_STORAGE_DATA && ret != QCOWFMT_STORAGE_HOLE) ||
	     (found == 0 && len > 0)))
		ret = -EIO;
	if (ret < 0)
		return fail_range(s, "look for holes in", offset, len, ret,
		                  errp);
	*run = QCF_MIN(found, len);
	return ret;
}

int qcf_storage_get_allocated(struct qcowfmt_storage *s, uint64_t *bytes,
                              struct qcowfmt_error **errp)
{
	if (s->verbs->get_allocated == NULL)
		return qcf_storage_get_size(s, bytes, errp);

	int ret = s->verbs->get_allocated(s, bytes, errp);

	return ret < 0 ? fail_whole(s, "ask for the allocated space", ret, errp)
	               : 0;
}

int qcf_storage_lock(struct qcowfmt_storage *s, enum qcf_storage_lock lock,
                     struct qcowfmt_error **errp)
{
	if (s->verbs->lock == NULL)
		return 0;

	int ret = s->verbs->lock(s, lock, errp);

	if (ret < 0 && errp != NULL && *errp == NULL)
		return fail_whole(s, "lock", ret, errp);
	return ret;
}

int qcf_storage_transfer_fd(struct qcowfmt_storage *s, bool is_write,
                            const struct iovec *iov, int iovcnt,
                            uint64_t offset, uint64_t len)
{
	if (s->verbs->transfer_fd == NULL || (is_write && !s->writable) ||
	    !qcf_range_within(offset, len, INT64_MAX))
		return -ENOTSUP;
	return s->verbs->transfer_fd(s, is_write, iov, iovcnt, offset);
}

void qcf_storage_transferred(struct qcowfmt_storage *s)
{
	s->verbs->transferred(s);
}

bool qcf_storage_is_same(const struct qcowfmt_storage *a,
                         const struct qcowfmt_storage *b)
{
	return a == b || (a->is_file && b->is_file && a->dev == b->dev &&
	                  a->ino == b->ino);
}

char *qcf_storage_directory(const struct qcowfmt_storage *s)
{
	const char *slash = s->is_file ? strrchr(s->name, '/') : NULL;

	if (slash == NULL)
		return strdup("");
	if (slash == s->name)
		return strdup("/");
	return strndup(s->name, (size_t)(slash - s->name));
}

void qcowfmt_storage_free(struct qcowfmt_storage *storage)
{
	if (storage != NULL)
		storage->verbs->close(storage);
}
