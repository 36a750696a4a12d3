/* SPDX-License-Identifier: MIT */
/* image_storage.c - a byte image as storage, for one thread at a time */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checked.h"
#include "image_storage.h"

struct image_storage {
	struct qcowfmt_storage base;
	struct byte_image *image;
};

static struct byte_image *image_of(struct qcowfmt_storage *s)
{
	return qcf_container_of(s, struct image_storage, base)->image;
}

static int64_t image_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                            int iovcnt, uint64_t offset,
                            struct qcowfmt_error **errp)
{
	const struct byte_image *image = image_of(s);
	uint64_t size = byte_image_size(image);
	uint64_t len;

	(void)errp;
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	if (offset >= size)
		return 0;
	len = QCF_MIN(len, size - offset);
	qcf_iov_from_buffer(iov, iovcnt, 0, byte_image_bytes(image) + offset,
	                    (size_t)len);
	return (int64_t)len;
}

static int image_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                         int iovcnt, uint64_t offset,
                         struct qcowfmt_error **errp)
{
	struct byte_image *image = image_of(s);

	(void)errp;
	for (int i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len == 0)
			continue;
		if (!byte_image_write(image, offset, iov[i].iov_base,
		                      iov[i].iov_len))
			return -ENOSPC;
		offset += iov[i].iov_len;
	}
	return 0;
}

static int image_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	(void)s;
	(void)errp;
	return 0;
}

static int image_get_size(struct qcowfmt_storage *s, uint64_t *size,
                          struct qcowfmt_error **errp)
{
	(void)errp;
	*size = byte_image_size(image_of(s));
	return 0;
}

static int image_truncate(struct qcowfmt_storage *s, uint64_t size,
                          struct qcowfmt_error **errp)
{
	struct byte_image *image = image_of(s);

	(void)errp;
	if (size > byte_image_capacity(image))
		return -ENOSPC;
	byte_image_set_size(image, size);
	return 0;
}

static int image_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                      bool may_unmap, struct qcowfmt_error **errp)
{
	(void)may_unmap;
	(void)errp;
	return byte_image_write(image_of(s), offset, NULL, len) ? 0 : -ENOSPC;
}

static int image_discard(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, struct qcowfmt_error **errp)
{
	struct byte_image *image = image_of(s);
	uint64_t size = byte_image_size(image);

	(void)errp;
	if (offset < size)
		byte_image_poke(image, offset, NULL,
		                QCF_MIN(len, size - offset));
	return 0;
}

static int image_allocate(struct qcowfmt_storage *s, uint64_t offset,
                          uint64_t len, struct qcowfmt_error **errp)
{
	uint64_t end = offset + len;

	if (end <= byte_image_size(image_of(s)))
		return 0;
	return image_truncate(s, end, errp);
}

static void image_close(struct qcowfmt_storage *s)
{
	free(s->name);
	free(s);
}

static const struct qcf_storage_verbs image_verbs = {
	.preadv = image_preadv,
	.pwritev = image_pwritev,
	.flush = image_flush,
	.get_size = image_get_size,
	.truncate = image_truncate,
	.zero = image_zero,
	.discard = image_discard,
	.allocate = image_allocate,
	.close = image_close,
};

struct qcowfmt_storage *image_storage_new(struct byte_image *image,
                                          bool writable)
{
	struct image_storage *s = calloc(1, sizeof(*s));
	char *name = strdup("image");

	if (s == NULL || name == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	s->base.verbs = &image_verbs;
	s->base.name = name;
	s->base.writable = writable;
	s->base.reads_zero_when_grown = true;
	s->base.alignment = 1;
	s->image = image;
	return &s->base;
}
