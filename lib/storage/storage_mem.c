/* SPDX-License-Identifier: MIT */
/*
 * storage_mem.c - storage in memory, in chunks so that holes cost nothing
 *
 * Chunks are in a hash table by their index.  A chunk that is not there reads
 * as zeros; the bytes of a chunk beyond the size are zeros too, so growing needs
 * no clearing.  The lock is taken for one chunk at a time.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "lock.h"
#include "storage_mem.h"

#define CHUNK_BITS 16
#define CHUNK_SIZE ((uint64_t)1 << CHUNK_BITS)

#define FIRST_BUCKETS 64u

/* How many absent chunks one extent call looks at; a longer hole is reported
 * in several runs. */
#define MAX_HOLE_CHUNKS 4096u

struct chunk {
	struct chunk *next;
	uint64_t index;
	uint8_t bytes[CHUNK_SIZE];
};

struct bucket {
	struct chunk *first;
};

struct mem_storage {
	struct qcowfmt_storage base;
	uint64_t max_size;

	struct qcf_mutex mutex; /* guards what follows */
	uint64_t size;
	struct bucket *buckets;
	size_t bucket_count; /* a power of two */
	size_t chunk_count;
};

static struct mem_storage *of(struct qcowfmt_storage *s)
{
	return qcf_container_of(s, struct mem_storage, base);
}

/* ------------------------------------------------------------- hash table */

/* Fibonacci hashing: neighbours, the common case, spread over the table. */
static size_t bucket_of(const struct mem_storage *m, uint64_t index)
{
	uint64_t hash = index * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(hash >> 32) & (m->bucket_count - 1);
}

/* The link that points to the chunk, or to NULL where it would be. */
static struct chunk **find_link(struct mem_storage *m, uint64_t index)
{
	struct chunk **link = &m->buckets[bucket_of(m, index)].first;

	while (*link != NULL && (*link)->index != index)
		link = &(*link)->next;
	return link;
}

static void remove_chunk(struct mem_storage *m, struct chunk **link)
{
	struct chunk *chunk = *link;

	*link = chunk->next;
	free(chunk);
	m->chunk_count--;
}

/* A longer table is only faster: not getting one is no failure. */
static void grow_table(struct mem_storage *m)
{
	struct mem_storage wider = { .bucket_count = m->bucket_count * 2 };

	wider.buckets = calloc(wider.bucket_count, sizeof(*wider.buckets));
	if (wider.buckets == NULL)
		return;
	for (size_t i = 0; i < m->bucket_count; i++) {
		struct chunk *next;

		for (struct chunk *c = m->buckets[i].first; c != NULL;
		     c = next) {
			struct chunk **to =
				&wider.buckets[bucket_of(&wider, c->index)]
					 .first;

			next = c->next;
			c->next = *to;
			*to = c;
		}
	}
	free(m->buckets);
	m->buckets = wider.buckets;
	m->bucket_count = wider.bucket_count;
}

/* The chunk, new if need be; NULL if there is no memory. */
static struct chunk *need_chunk(struct mem_storage *m, uint64_t index)
{
	struct chunk **link = find_link(m, index);

	if (*link != NULL)
		return *link;
	if (m->chunk_count >= m->bucket_count) {
		grow_table(m);
		link = find_link(m, index);
	}

	struct chunk *chunk = calloc(1, sizeof(*chunk));

	if (chunk == NULL)
		return NULL;
	chunk->index = index;
	*link = chunk;
	m->chunk_count++;
	return chunk;
}

/* ------------------------------------------------------- one chunk at a time */

/* The part of a range that lies in one chunk. */
struct piece {
	uint64_t index;
	size_t start; /* within the chunk */
	size_t len;
};

static struct piece first_piece(uint64_t offset, uint64_t len)
{
	size_t start = (size_t)(offset & (CHUNK_SIZE - 1));

	return (struct piece){
		.index = offset >> CHUNK_BITS,
		.start = start,
		.len = (size_t)QCF_MIN(len, CHUNK_SIZE - start),
	};
}

/* Returns how many bytes of the piece are inside the storage. */
static size_t read_piece(struct mem_storage *m, struct piece p,
                         const struct iovec *iov, int iovcnt, uint64_t skip)
{
	QCF_GUARD(&m->mutex);
	uint64_t offset = (p.index << CHUNK_BITS) + p.start;
	uint64_t have = m->size > offset ? m->size - offset : 0;
	size_t len = (size_t)QCF_MIN(have, (uint64_t)p.len);
	const struct chunk *chunk = *find_link(m, p.index);

	if (chunk != NULL)
		qcf_iov_from_buffer(iov, iovcnt, skip, chunk->bytes + p.start,
		                    len);
	else
		qcf_iov_zero(iov, iovcnt, skip, len);
	return len;
}

static int write_piece(struct mem_storage *m, struct piece p,
                       const struct iovec *iov, int iovcnt, uint64_t skip)
{
	QCF_GUARD(&m->mutex);
	uint64_t end = (p.index << CHUNK_BITS) + p.start + p.len;
	struct chunk *chunk = need_chunk(m, p.index);

	if (chunk == NULL)
		return -ENOMEM;
	qcf_iov_to_buffer(iov, iovcnt, skip, chunk->bytes + p.start, p.len);
	m->size = QCF_MAX(m->size, end);
	return 0;
}

/* Clear part of a chunk that is there; drop it if allowed and all is gone. */
static void clear_link(struct mem_storage *m, struct chunk **link,
                       uint64_t offset, uint64_t end, bool may_drop)
{
	uint64_t chunk_start = (*link)->index << CHUNK_BITS;
	uint64_t start = QCF_MAX(offset, chunk_start);
	uint64_t stop = QCF_MIN(end, chunk_start + CHUNK_SIZE);

	if (start >= stop)
		return;
	if (may_drop && stop - start == CHUNK_SIZE)
		remove_chunk(m, link);
	else
		memset((*link)->bytes + (start - chunk_start), 0,
		       (size_t)(stop - start));
}

/* Clear a range, by way of the range or of the table, whichever is shorter. */
static void clear_range(struct mem_storage *m, uint64_t offset, uint64_t end,
                        bool may_drop)
{
	uint64_t first = offset >> CHUNK_BITS;
	uint64_t last = qcf_div_ceil(end, CHUNK_SIZE);

	if (last - first <= m->bucket_count) {
		for (uint64_t i = first; i < last; i++) {
			struct chunk **link = find_link(m, i);

			if (*link != NULL)
				clear_link(m, link, offset, end, may_drop);
		}
		return;
	}
	for (size_t i = 0; i < m->bucket_count; i++) {
		struct chunk **link = &m->buckets[i].first;

		while (*link != NULL) {
			struct chunk *chunk = *link;

			clear_link(m, link, offset, end, may_drop);
			if (*link == chunk)
				link = &chunk->next;
		}
	}
}

/* ------------------------------------------------------------------ verbs */

static int64_t mem_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                          int iovcnt, uint64_t offset,
                          struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	uint64_t len;
	uint64_t done = 0;

	(void)errp;
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	while (done < len) {
		struct piece p = first_piece(offset + done, len - done);
		size_t got = read_piece(m, p, iov, iovcnt, done);

		done += got;
		if (got < p.len)
			break;
	}
	return (int64_t)done;
}

static bool fits(const struct mem_storage *m, uint64_t end)
{
	return m->max_size == 0 || end <= m->max_size;
}

static int mem_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                       int iovcnt, uint64_t offset, struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	uint64_t len;

	(void)errp;
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	if (!fits(m, offset + len))
		return -ENOSPC;
	for (uint64_t done = 0; done < len;) {
		struct piece p = first_piece(offset + done, len - done);
		int ret = write_piece(m, p, iov, iovcnt, done);

		if (ret < 0)
			return ret;
		done += p.len;
	}
	return 0;
}

static int mem_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	(void)s;
	(void)errp;
	return 0;
}

static int mem_get_size(struct qcowfmt_storage *s, uint64_t *size,
                        struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	QCF_GUARD(&m->mutex);

	(void)errp;
	*size = m->size;
	return 0;
}

static int mem_truncate(struct qcowfmt_storage *s, uint64_t size,
                        struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);

	(void)errp;
	if (!fits(m, size))
		return -ENOSPC;

	QCF_GUARD(&m->mutex);

	if (size < m->size)
		clear_range(m, size, qcf_align_up(m->size, CHUNK_SIZE), true);
	m->size = size;
	return 0;
}

static int mem_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                    bool may_unmap, struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);

	(void)errp;
	if (!fits(m, offset + len))
		return -ENOSPC;

	QCF_GUARD(&m->mutex);

	clear_range(m, offset, offset + len, may_unmap);
	m->size = QCF_MAX(m->size, offset + len);
	return 0;
}

static int reserve_chunk(struct mem_storage *m, uint64_t index)
{
	QCF_GUARD(&m->mutex);

	return need_chunk(m, index) == NULL ? -ENOMEM : 0;
}

/* All chunks, so that a later write cannot run out of memory. */
static int mem_allocate(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	uint64_t end = offset + len;

	(void)errp;
	if (!fits(m, end))
		return -ENOSPC;
	for (uint64_t i = offset >> CHUNK_BITS; i << CHUNK_BITS < end; i++) {
		int ret = reserve_chunk(m, i);

		if (ret < 0)
			return ret;
	}

	QCF_GUARD(&m->mutex);

	m->size = QCF_MAX(m->size, end);
	return 0;
}

static int mem_discard(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	QCF_GUARD(&m->mutex);

	(void)errp;
	clear_range(m, offset, offset + len, true);
	return 0;
}

static int mem_extent(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                      uint64_t *run, struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	QCF_GUARD(&m->mutex);
	uint64_t index = offset >> CHUNK_BITS;
	bool there = *find_link(m, index) != NULL;
	uint64_t looked_at = 1;

	(void)errp;
	*run = len;
	if (!there && m->chunk_count == 0)
		return QCOWFMT_STORAGE_HOLE;
	while (looked_at < MAX_HOLE_CHUNKS &&
	       (*find_link(m, index + looked_at) != NULL) == there)
		looked_at++;
	*run = QCF_MIN(len, ((index + looked_at) << CHUNK_BITS) - offset);
	return there ? QCOWFMT_STORAGE_DATA : QCOWFMT_STORAGE_HOLE;
}

static int mem_get_allocated(struct qcowfmt_storage *s, uint64_t *bytes,
                             struct qcowfmt_error **errp)
{
	struct mem_storage *m = of(s);
	QCF_GUARD(&m->mutex);

	(void)errp;
	*bytes = m->chunk_count * CHUNK_SIZE;
	return 0;
}

static void mem_close(struct qcowfmt_storage *s)
{
	struct mem_storage *m = of(s);

	clear_range(m, 0, qcf_align_up(m->size, CHUNK_SIZE), true);
	free(m->buckets);
	qcf_mutex_fini(&m->mutex);
	free(s->name);
	free(m);
}

static const struct qcf_storage_verbs mem_verbs = {
	.preadv = mem_preadv,
	.pwritev = mem_pwritev,
	.flush = mem_flush,
	.get_size = mem_get_size,
	.truncate = mem_truncate,
	.zero = mem_zero,
	.discard = mem_discard,
	.allocate = mem_allocate,
	.extent = mem_extent,
	.get_allocated = mem_get_allocated,
	.close = mem_close,
};

int qcf_storage_mem_new(uint64_t max_size, struct qcowfmt_storage **storage,
                        struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct bucket *buckets =
		calloc(FIRST_BUCKETS, sizeof(*buckets));
	QCF_AUTO_FREE char *name = strdup("memory");
	struct mem_storage *m = calloc(1, sizeof(*m));

	if (buckets == NULL || name == NULL || m == NULL) {
		free(m);
		return qcf_fail_oom(errp);
	}
	m->base.verbs = &mem_verbs;
	m->base.name = qcf_take(&name);
	m->base.writable = true;
	m->base.reads_zero_when_grown = true;
	m->base.alignment = 1;
	m->max_size = max_size;
	m->buckets = qcf_take(&buckets);
	m->bucket_count = FIRST_BUCKETS;
	qcf_mutex_init(&m->mutex, QCF_RANK_STORAGE);
	*storage = &m->base;
	return 0;
}
