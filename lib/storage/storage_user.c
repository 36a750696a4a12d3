/* SPDX-License-Identifier: MIT */
/*
 * storage_user.c - storage behind functions of the application
 *
 * The application's functions take one buffer.  A vector of several is copied
 * through a buffer of ours for writing: a sector that lies in two elements must
 * not reach the application in two calls, or a failure between them would leave
 * it half old and half new.
 *
 * What the functions return is not trusted further than it must be: a count
 * beyond what was asked for or a positive status is an I/O error.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "storage_user.h"

/* Pieces of a copied write; a multiple of the sector size. */
#define BOUNCE_SIZE (1u << 20)
#define SECTOR_SIZE 512u

struct user_storage {
	struct qcowfmt_storage base;
	struct qcowfmt_storage_ops ops;
	void *opaque;
};

static struct user_storage *of(struct qcowfmt_storage *s)
{
	return qcf_container_of(s, struct user_storage, base);
}

/* 0 or a negative errno value, whatever the application returned. */
static int clean_status(int ret)
{
	return ret > 0 || ret < -4095 ? -EIO : ret;
}

static int64_t read_part(struct user_storage *u, void *buffer, size_t len,
                         uint64_t offset)
{
	int64_t got = u->ops.pread(u->opaque, buffer, len, offset);

	if (got >= -4095 && (got < 0 || (uint64_t)got <= len))
		return got;
	return -EIO;
}

static int64_t user_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                           int iovcnt, uint64_t offset,
                           struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);
	uint64_t done = 0;

	(void)errp;
	for (int i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len == 0)
			continue;

		int64_t got = read_part(u, iov[i].iov_base, iov[i].iov_len,
		                        offset + done);

		if (got < 0)
			return got;
		done += (uint64_t)got;
		if ((uint64_t)got < iov[i].iov_len)
			break;
	}
	return (int64_t)done;
}

static int write_part(struct user_storage *u, const void *buffer, size_t len,
                      uint64_t offset)
{
	return clean_status(u->ops.pwrite(u->opaque, buffer, len, offset));
}

static int write_copied(struct user_storage *u, const struct iovec *iov,
                        int iovcnt, uint64_t offset, uint64_t len)
{
	size_t size = (size_t)QCF_MIN(len, (uint64_t)BOUNCE_SIZE);
	QCF_AUTO_FREE uint8_t *buffer = malloc(size);
	uint64_t done = 0;

	if (buffer == NULL)
		return -ENOMEM;
	while (done < len) {
		/* All pieces but the first begin at a sector. */
		size_t room = size - (size_t)((offset + done) % SECTOR_SIZE);
		size_t part = len - done <= size ? (size_t)(len - done) : room;

		qcf_iov_to_buffer(iov, iovcnt, done, buffer, part);

		int ret = write_part(u, buffer, part, offset + done);

		if (ret < 0)
			return ret;
		done += part;
	}
	return 0;
}

static int user_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                        int iovcnt, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);
	uint64_t len;

	(void)errp;
	if (iovcnt == 1)
		return write_part(u, iov[0].iov_base, iov[0].iov_len, offset);
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	return write_copied(u, iov, iovcnt, offset, len);
}

static int user_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);

	(void)errp;
	return clean_status(u->ops.flush(u->opaque));
}

static int user_get_size(struct qcowfmt_storage *s, uint64_t *size,
                         struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);

	(void)errp;
	return clean_status(u->ops.get_size(u->opaque, size));
}

static int user_truncate(struct qcowfmt_storage *s, uint64_t size,
                         struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);

	(void)errp;
	return clean_status(u->ops.truncate(u->opaque, size));
}

/* The application promises nothing about zeroing beyond the end. */
static int user_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                     bool may_unmap, struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);
	uint64_t size;

	(void)may_unmap;
	if (u->ops.zero == NULL)
		return -ENOTSUP;

	int ret = user_get_size(s, &size, errp);

	if (ret < 0)
		return ret;
	if (!qcf_range_within(offset, len, size))
		return -ENOTSUP;
	return clean_status(u->ops.zero(u->opaque, offset, len));
}

static int user_discard(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);

	(void)errp;
	if (u->ops.discard == NULL)
		return -ENOTSUP;
	return clean_status(u->ops.discard(u->opaque, offset, len));
}

static int user_allocate(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);

	(void)errp;
	if (u->ops.allocate == NULL)
		return -ENOTSUP;
	return clean_status(u->ops.allocate(u->opaque, offset, len));
}

static int user_extent(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       uint64_t *run, struct qcowfmt_error **errp)
{
	struct user_storage *u = of(s);

	(void)errp;
	*run = len;
	if (u->ops.extent == NULL)
		return QCOWFMT_STORAGE_DATA;

	int ret = u->ops.extent(u->opaque, offset, len, run);

	return ret < -4095 ? -EIO : ret;
}

static void user_close(struct qcowfmt_storage *s)
{
	struct user_storage *u = of(s);

	if (u->ops.close != NULL)
		u->ops.close(u->opaque);
	free(s->name);
	free(u);
}

static const struct qcf_storage_verbs user_verbs = {
	.preadv = user_preadv,
	.pwritev = user_pwritev,
	.flush = user_flush,
	.get_size = user_get_size,
	.truncate = user_truncate,
	.zero = user_zero,
	.discard = user_discard,
	.allocate = user_allocate,
	.extent = user_extent,
	.close = user_close,
};

static int check_ops(const struct qcowfmt_storage_ops *ops,
                     struct qcowfmt_error **errp)
{
	const char *missing = NULL;

	if (ops->pread == NULL)
		missing = "pread";
	else if (ops->get_size == NULL)
		missing = "get_size";
	else if (ops->pwrite != NULL && ops->flush == NULL)
		missing = "flush";
	else if (ops->pwrite != NULL && ops->truncate == NULL)
		missing = "truncate";
	if (missing == NULL)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "a custom storage lacks the function %s", missing);
}

int qcf_storage_user_new(const struct qcowfmt_storage_ops *ops, void *opaque,
                         const char *name, struct qcowfmt_storage **storage,
                         struct qcowfmt_error **errp)
{
	int ret = check_ops(ops, errp);

	if (ret < 0)
		return ret;

	struct user_storage *u = calloc(1, sizeof(*u));
	char *copy = strdup(name != NULL ? name : "custom storage");

	if (u == NULL || copy == NULL) {
		free(u);
		free(copy);
		return qcf_fail_oom(errp);
	}
	u->base.verbs = &user_verbs;
	u->base.name = copy;
	u->base.writable = ops->pwrite != NULL;
	u->base.alignment = 1;
	u->ops = *ops;
	u->opaque = opaque;
	*storage = &u->base;
	return 0;
}
