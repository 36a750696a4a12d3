/* SPDX-License-Identifier: MIT */
/* volatile_storage.c - memory that knows which bytes are stable */
#include "volatile_storage.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct qcf_volatile {
	pthread_mutex_t lock; /* guards all below */
	uint64_t max_size;
	uint64_t size;
	uint64_t stable_size;
	uint64_t flushes;
	uint8_t *now;    /* max_size bytes, zeros beyond size */
	uint8_t *stable; /* max_size bytes */
};

/* What is left after a power cut: a frozen copy. */
struct remains {
	uint64_t size;
	uint8_t bytes[];
};

struct qcf_volatile *qcf_volatile_new(uint64_t max_size)
{
	struct qcf_volatile *v = calloc(1, sizeof(*v));

	if (!v)
		abort();
	pthread_mutex_init(&v->lock, NULL);
	v->max_size = max_size;
	v->now = calloc(1, max_size);
	v->stable = calloc(1, max_size);
	if (!v->now || !v->stable)
		abort();
	return v;
}

void qcf_volatile_free(struct qcf_volatile *v)
{
	pthread_mutex_destroy(&v->lock);
	free(v->now);
	free(v->stable);
	free(v);
}

static int64_t copy_out(const uint8_t *bytes, uint64_t size, void *buffer,
                        size_t len, uint64_t offset)
{
	if (offset >= size)
		return 0;
	if (len > size - offset)
		len = size - offset;
	memcpy(buffer, bytes + offset, len);
	return (int64_t)len;
}

static int64_t volatile_pread(void *opaque, void *buffer, size_t len,
                              uint64_t offset)
{
	struct qcf_volatile *v = opaque;
	int64_t got;

	pthread_mutex_lock(&v->lock);
	got = copy_out(v->now, v->size, buffer, len, offset);
	pthread_mutex_unlock(&v->lock);
	return got;
}

static int volatile_pwrite(void *opaque, const void *buffer, size_t len,
                           uint64_t offset)
{
	struct qcf_volatile *v = opaque;

	if (offset > v->max_size || len > v->max_size - offset)
		return -ENOSPC;
	pthread_mutex_lock(&v->lock);
	memcpy(v->now + offset, buffer, len);
	if (offset + len > v->size)
		v->size = offset + len;
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static int volatile_flush(void *opaque)
{
	struct qcf_volatile *v = opaque;

	pthread_mutex_lock(&v->lock);
	memcpy(v->stable, v->now, v->max_size);
	v->stable_size = v->size;
	v->flushes++;
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static int volatile_get_size(void *opaque, uint64_t *size)
{
	struct qcf_volatile *v = opaque;

	pthread_mutex_lock(&v->lock);
	*size = v->size;
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static int volatile_truncate(void *opaque, uint64_t size)
{
	struct qcf_volatile *v = opaque;

	if (size > v->max_size)
		return -ENOSPC;
	pthread_mutex_lock(&v->lock);
	if (size < v->size)
		memset(v->now + size, 0, v->size - size);
	v->size = size;
	pthread_mutex_unlock(&v->lock);
	return 0;
}

int qcf_volatile_storage(struct qcf_volatile *v,
                         struct qcowfmt_storage **storage,
                         struct qcowfmt_error **errp)
{
	const struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = volatile_pread,
		.pwrite = volatile_pwrite,
		.flush = volatile_flush,
		.get_size = volatile_get_size,
		.truncate = volatile_truncate,
	};

	return qcowfmt_storage_new_custom(&ops, v, "volatile", storage, errp);
}

static int64_t remains_pread(void *opaque, void *buffer, size_t len,
                             uint64_t offset)
{
	const struct remains *r = opaque;

	return copy_out(r->bytes, r->size, buffer, len, offset);
}

static int remains_get_size(void *opaque, uint64_t *size)
{
	const struct remains *r = opaque;

	*size = r->size;
	return 0;
}

static void remains_close(void *opaque)
{
	free(opaque);
}

static struct remains *take_remains(struct qcf_volatile *v)
{
	struct remains *r;

	pthread_mutex_lock(&v->lock);
	r = malloc(sizeof(*r) + v->stable_size);
	if (!r)
		abort();
	r->size = v->stable_size;
	memcpy(r->bytes, v->stable, r->size);
	pthread_mutex_unlock(&v->lock);
	return r;
}

int qcf_volatile_after_power_cut(struct qcf_volatile *v,
                                 struct qcowfmt_storage **storage,
                                 struct qcowfmt_error **errp)
{
	const struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = remains_pread,
		.get_size = remains_get_size,
		.close = remains_close,
	};
	struct remains *r = take_remains(v);
	int ret = qcowfmt_storage_new_custom(&ops, r, "remains", storage, errp);

	if (ret < 0)
		free(r);
	return ret;
}

uint64_t qcf_volatile_flushes(struct qcf_volatile *v)
{
	uint64_t flushes;

	pthread_mutex_lock(&v->lock);
	flushes = v->flushes;
	pthread_mutex_unlock(&v->lock);
	return flushes;
}
