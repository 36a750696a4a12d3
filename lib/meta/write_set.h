/* SPDX-License-Identifier: MIT */
/*
 * write_set.h - pieces of metadata on their way to storage
 *
 * A set holds copies: what it was copied from may change meanwhile.  All pieces
 * of a set have the same length.
 */
#ifndef QCF_WRITE_SET_H
#define QCF_WRITE_SET_H

#include <stddef.h>
#include <stdint.h>

#include "storage.h"

struct qcf_write_piece {
	uint64_t host_offset;
	uint8_t *bytes; /* in the set's buffer */
	void *source;   /* for whoever filled the set */
};

struct qcf_write_set {
	struct qcf_write_piece *pieces;
	size_t count;
	size_t piece_len;
	uint8_t *buffer;
};

void qcf_write_set_fini(struct qcf_write_set *set);

/* Make room for count pieces in an empty set. */
int qcf_write_set_reserve(struct qcf_write_set *set, size_t count,
                          size_t piece_len, struct qcowfmt_error **errp);

/* Add a copy of piece_len bytes; there is room for it. */
void qcf_write_set_add(struct qcf_write_set *set, uint64_t host_offset,
                       const void *bytes, void *source);

/* Write the pieces in order of their host offset, neighbours in one call. */
int qcf_write_set_write(struct qcf_write_set *set,
                        struct qcowfmt_storage *storage,
                        struct qcowfmt_error **errp);

#endif
