/* SPDX-License-Identifier: MIT */
/* wrap_storage.c - storage that passes every verb on to another one */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checked.h"
#include "wrap_storage.h"

struct wrap_storage {
	struct qcowfmt_storage base;
	struct qcowfmt_storage *inner;
	storage_hook hook;
	void *opaque;
};

const char *storage_verb_name(enum storage_verb verb)
{
	static const char *const names[VERB_COUNT] = {
		[VERB_READ] = "read",         [VERB_WRITE] = "write",
		[VERB_FLUSH] = "flush",       [VERB_SIZE] = "size",
		[VERB_TRUNCATE] = "truncate", [VERB_ZERO] = "zero",
		[VERB_DISCARD] = "discard",   [VERB_EXTENT] = "extent",
		[VERB_LOCK] = "lock",         [VERB_ALLOCATE] = "allocate",
	};

	return names[verb];
}

static struct wrap_storage *of(struct qcowfmt_storage *s)
{
	return qcf_container_of(s, struct wrap_storage, base);
}

/* No length of a call. */
#define NOT_SAID UINT64_MAX

static int ask(struct qcowfmt_storage *s, enum storage_verb verb,
               uint64_t offset, uint64_t len, uint64_t *done_len)
{
	struct wrap_storage *w = of(s);
	struct storage_call call = {
		.verb = verb,
		.offset = offset,
		.len = len,
		.done_len = NOT_SAID,
	};
	int ret = w->hook(w->opaque, &call);

	/* A call that fails has done nothing unless the hook says so. */
	*done_len = call.done_len;
	if (call.done_len == NOT_SAID)
		*done_len = ret < 0 ? 0 : len;
	return ret;
}

/* The first len bytes of a vector as a vector; the caller frees it. */
static struct iovec *first_part(const struct iovec *iov, int iovcnt,
                                uint64_t len, int *count)
{
	struct iovec *part = calloc((size_t)iovcnt, sizeof(*part));

	if (part == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	*count = qcf_iov_slice(iov, iovcnt, 0, len, part);
	return part;
}

static int64_t wrap_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                           int iovcnt, uint64_t offset,
                           struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t len, done_len;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	int ret = ask(s, VERB_READ, offset, len, &done_len);

	if (ret < 0)
		return ret;
	if (done_len == len)
		return inner->verbs->preadv(inner, iov, iovcnt, offset, errp);
	if (done_len == 0)
		return 0;

	int count;
	QCF_AUTO_FREE struct iovec *part =
		first_part(iov, iovcnt, done_len, &count);

	return inner->verbs->preadv(inner, part, count, offset, errp);
}

static int wrap_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                        int iovcnt, uint64_t offset,
                        struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t len, done_len;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	int ret = ask(s, VERB_WRITE, offset, len, &done_len);

	if (ret == 0)
		return inner->verbs->pwritev(inner, iov, iovcnt, offset, errp);
	if (done_len > 0) {
		int count;
		QCF_AUTO_FREE struct iovec *part =
			first_part(iov, iovcnt, done_len, &count);

		inner->verbs->pwritev(inner, part, count, offset, NULL);
	}
	return ret;
}

static int wrap_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;
	int ret = ask(s, VERB_FLUSH, 0, 0, &done_len);

	return ret < 0 ? ret : inner->verbs->flush(inner, errp);
}

static int wrap_get_size(struct qcowfmt_storage *s, uint64_t *size,
                         struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;
	int ret = ask(s, VERB_SIZE, 0, 0, &done_len);

	return ret < 0 ? ret : inner->verbs->get_size(inner, size, errp);
}

static int wrap_truncate(struct qcowfmt_storage *s, uint64_t size,
                         struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;
	int ret = ask(s, VERB_TRUNCATE, size, 0, &done_len);

	return ret < 0 ? ret : inner->verbs->truncate(inner, size, errp);
}

static int wrap_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                     bool may_unmap, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;

	if (inner->verbs->zero == NULL)
		return -ENOTSUP;

	int ret = ask(s, VERB_ZERO, offset, len, &done_len);

	if (ret == 0)
		return inner->verbs->zero(inner, offset, len, may_unmap, errp);
	if (done_len > 0)
		inner->verbs->zero(inner, offset, done_len, may_unmap, NULL);
	return ret;
}

static int wrap_discard(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;

	if (inner->verbs->discard == NULL)
		return -ENOTSUP;

	int ret = ask(s, VERB_DISCARD, offset, len, &done_len);

	return ret < 0 ? ret : inner->verbs->discard(inner, offset, len, errp);
}

static int wrap_allocate(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;

	if (inner->verbs->allocate == NULL)
		return -ENOTSUP;

	int ret = ask(s, VERB_ALLOCATE, offset, len, &done_len);

	if (ret == 0)
		return inner->verbs->allocate(inner, offset, len, errp);
	if (done_len > 0)
		inner->verbs->allocate(inner, offset, done_len, NULL);
	return ret;
}

static int wrap_extent(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       uint64_t *run, struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *inner = of(s)->inner;
	uint64_t done_len;
	int ret = ask(s, VERB_EXTENT, offset, len, &done_len);

	if (ret < 0)
		return ret;
	*run = len;
	if (inner->verbs->extent == NULL)
		return QCOWFMT_STORAGE_DATA;
	return inner->verbs->extent(inner, offset, len, run, errp);
}

static int wrap_get_allocated(struct qcowfmt_storage *s, uint64_t *bytes,
                              struct qcowfmt_error **errp)
{
	return qcf_storage_get_allocated(of(s)->inner, bytes, errp);
}

static int wrap_lock(struct qcowfmt_storage *s, enum qcf_storage_lock lock,
                     struct qcowfmt_error **errp)
{
	uint64_t done_len;
	int ret = ask(s, VERB_LOCK, 0, 0, &done_len);

	return ret < 0 ? ret : qcf_storage_lock(of(s)->inner, lock, errp);
}

static void wrap_close(struct qcowfmt_storage *s)
{
	qcowfmt_storage_free(of(s)->inner);
	free(s->name);
	free(of(s));
}

static const struct qcf_storage_verbs wrap_verbs = {
	.preadv = wrap_preadv,
	.pwritev = wrap_pwritev,
	.flush = wrap_flush,
	.get_size = wrap_get_size,
	.truncate = wrap_truncate,
	.zero = wrap_zero,
	.discard = wrap_discard,
	.allocate = wrap_allocate,
	.extent = wrap_extent,
	.get_allocated = wrap_get_allocated,
	.lock = wrap_lock,
	.close = wrap_close,
};

struct qcowfmt_storage *wrap_storage_new(struct qcowfmt_storage *inner,
                                         storage_hook hook, void *opaque)
{
	struct wrap_storage *w = calloc(1, sizeof(*w));
	char *name = strdup(inner->name);

	if (w == NULL || name == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	w->base = *inner;
	w->base.verbs = &wrap_verbs;
	w->base.name = name;
	w->inner = inner;
	w->hook = hook;
	w->opaque = opaque;
	return &w->base;
}
