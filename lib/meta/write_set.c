/* SPDX-License-Identifier: MIT */
/* write_set.c - pieces of metadata on their way to storage */
#include <stdlib.h>
#include <string.h>

#include "write_set.h"

#define MAX_PIECES_PER_WRITE 64

void qcf_write_set_fini(struct qcf_write_set *set)
{
	free(set->pieces);
	free(set->buffer);
	*set = (struct qcf_write_set){ 0 };
}

int qcf_write_set_reserve(struct qcf_write_set *set, size_t count,
                          size_t piece_len, struct qcowfmt_error **errp)
{
	*set = (struct qcf_write_set){ .piece_len = piece_len };
	if (count == 0)
		return 0;
	set->pieces = calloc(count, sizeof(*set->pieces));
	set->buffer = malloc(count * piece_len);
	if (set->pieces == NULL || set->buffer == NULL) {
		qcf_write_set_fini(set);
		return qcf_fail_oom(errp);
	}
	return 0;
}

void qcf_write_set_add(struct qcf_write_set *set, uint64_t host_offset,
                       const void *bytes, void *source)
{
	uint8_t *copy = set->buffer + set->count * set->piece_len;

	memcpy(copy, bytes, set->piece_len);
	set->pieces[set->count++] = (struct qcf_write_piece){
		.host_offset = host_offset,
		.bytes = copy,
		.source = source,
	};
}

static int by_host_offset(const void *left, const void *right)
{
	const struct qcf_write_piece *a = left;
	const struct qcf_write_piece *b = right;

	return (a->host_offset > b->host_offset) -
	       (a->host_offset < b->host_offset);
}

/* Write the pieces [first, first + n), which are neighbours on storage. */
static int write_run(const struct qcf_write_set *set, size_t first, size_t n,
                     struct qcowfmt_storage *storage,
                     struct qcowfmt_error **errp)
{
	struct iovec iov[MAX_PIECES_PER_WRITE];

	for (size_t i = 0; i < n; i++)
		iov[i] = (struct iovec){
			.iov_base = set->pieces[first + i].bytes,
			.iov_len = set->piece_len,
		};
	return qcf_storage_pwritev(storage, iov, (int)n,
	                           set->pieces[first].host_offset, errp);
}

int qcf_write_set_write(struct qcf_write_set *set,
                        struct qcowfmt_storage *storage,
                        struct qcowfmt_error **errp)
{
	if (set->count > 1)
		qsort(set->pieces, set->count, sizeof(set->pieces[0]),
		      by_host_offset);
	for (size_t i = 0; i < set->count;) {
		uint64_t at = set->pieces[i].host_offset;
		size_t n = 1;
		int ret;

		while (i + n < set->count && n < MAX_PIECES_PER_WRITE &&
		       set->pieces[i + n].host_offset ==
		               at + n * set->piece_len)
			n++;
		ret = write_run(set, i, n, storage, errp);
		if (ret < 0)
			return ret;
		i += n;
	}
	return 0;
}
