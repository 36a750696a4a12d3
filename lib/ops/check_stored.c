/* SPDX-License-Identifier: MIT */
/*
 * check_stored.c - the refcount table and the counts that it leads to
 *
 * Single counts are looked up through slices of blocks that are kept in memory,
 * each in the place that its offset gives it.
 */
#include <stdlib.h>
#include <string.h>

#include "check_refs.h"
#include "check_stored.h"
#include "checked.h"
#include "refcount_entry.h"

#define MAX_SLICES UINT64_C(1024) /* 4 MiB */

struct qcf_block_slice {
	uint64_t offset; /* 0 = empty */
	uint8_t bytes[1u << QCF_SLICE_BITS];
};

int qcf_check_read_reftable(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	uint64_t size = (uint64_t)c->header->refcount_table_clusters
	                << c->geometry->cluster_bits;
	int ret;

	/* Only an image that cannot be opened has a larger one. */
	size = QCF_MIN(size, QCF_MAX_REFTABLE_SIZE);
	if (size == 0 ||
	    !qcf_check_in_file(c, c->header->refcount_table_offset))
		return 0;
	ret = qcf_check_read_table(c, "refcount table",
	                           c->header->refcount_table_offset, size,
	                           &c->reftable, errp);
	if (ret == 0 && c->reftable != NULL)
		c->reftable_entries = size / sizeof(*c->reftable);
	return ret;
}

uint64_t qcf_check_block(const struct qcf_checker *c, uint64_t index)
{
	uint64_t block;

	if (index >= c->reftable_entries)
		return 0;
	block = qcf_reftable_entry_decode(c->reftable[index]);
	return qcf_check_is_offset(c, block) && qcf_check_in_file(c, block)
	               ? block
	               : 0;
}

static int load_slice(struct qcf_checker *c, struct qcf_block_slice *slice,
                      uint64_t offset, struct qcowfmt_error **errp)
{
	bool ok = false;
	int ret;

	if (slice->offset == offset)
		return 0;
	slice->offset = 0;
	ret = qcf_check_read(c, "refcount block", offset, slice->bytes,
	                     c->geometry->slice_size, &ok, errp);
	if (ret == 0 && !ok)
		memset(slice->bytes, 0, sizeof(slice->bytes));
	slice->offset = offset;
	return ret;
}

/* A small file has no more slices than fit into it. */
static int make_slices(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	if (c->slices != NULL)
		return 0;
	c->slice_count =
		QCF_MIN(MAX_SLICES, c->file_size / c->geometry->slice_size + 1);
	c->slices = calloc(c->slice_count, sizeof(*c->slices));
	return c->slices == NULL ? qcf_fail_oom(errp) : 0;
}

int qcf_check_stored_count(struct qcf_checker *c, uint64_t host_cluster,
                           uint64_t *count, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t block = qcf_check_block(c, qcf_block_index(g, host_cluster));
	uint64_t index = qcf_index_in_block(g, host_cluster);
	uint64_t offset;
	struct qcf_block_slice *slice;
	int ret;

	*count = 0;
	if (block == 0)
		return 0;
	ret = make_slices(c, errp);
	if (ret < 0)
		return ret;
	offset = block + index / g->slice_refcount_count * g->slice_size;
	slice = &c->slices[offset / g->slice_size % c->slice_count];
	ret = load_slice(c, slice, offset, errp);
	if (ret == 0)
		*count = qcf_refcount_get(slice->bytes,
		                          index % g->slice_refcount_count,
		                          g->refcount_order);
	return ret;
}

void qcf_check_stored_forget(struct qcf_checker *c)
{
	free(c->slices);
	c->slices = NULL;
}
