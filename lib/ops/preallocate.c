/* SPDX-License-Identifier: MIT */
/*
 * preallocate.c - giving a new image what it will need
 *
 * Nobody else sees a new image before its header is written, so the tables are
 * not built through the engine, cluster by cluster, but streamed: where every
 * cluster goes is known from the start.  Memory is that of one table.
 */
#include <string.h>

#include "l2_entry.h"
#include "preallocate.h"

/* ------------------------------------------------------------------- space */

/* A new size; what is inside it reads as zeros. */
static int make_zeros(struct qcowfmt_storage *storage, uint64_t size,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	if (!storage->fixed_size)
		ret = qcf_storage_truncate(storage, 0, errp);
	if (ret == 0 && !storage->fixed_size)
		ret = qcf_storage_truncate(storage, size, errp);
	if (ret == 0 &&
	    (storage->fixed_size || !storage->reads_zero_when_grown))
		ret = qcf_storage_zero(storage, 0, size, true, errp);
	return ret;
}

int qcf_preallocate_space(struct qcowfmt_storage *storage, uint64_t size,
                          uint64_t from, int mode, struct qcowfmt_error **errp)
{
	bool hole = mode <= QCOWFMT_PREALLOCATION_METADATA;
	int ret = make_zeros(storage, hole ? size : from, errp);

	if (ret < 0 || hole || from == size)
		return ret;
	if (mode == QCOWFMT_PREALLOCATION_FULL)
		return qcf_storage_write_zeros(storage, from, size - from,
		                               errp);
	/* A device has its space already, but what it holds is not zeros. */
	if (storage->fixed_size)
		return qcf_storage_zero(storage, from, size - from, false,
		                        errp);
	return qcf_storage_allocate(storage, from, size - from, errp);
}

/* ------------------------------------------------------------------ tables */

static uint64_t l2_cluster(const struct qcf_create_plan *p, uint64_t l1_index)
{
	const struct qcf_geometry *g = &p->geometry;
	uint64_t stride = 1 + (g->data_file ? 0 : g->l2_entry_count);

	return p->layout.tree + l1_index * stride;
}

/* Where guest data begins that the table of an L1 entry maps. */
static uint64_t first_data_cluster(const struct qcf_create_plan *p,
                                   uint64_t l1_index)
{
	if (p->geometry.data_file)
		return l1_index * p->geometry.l2_entry_count;
	return l2_cluster(p, l1_index) + 1;
}

static int write_l1(struct qcowfmt_storage *storage,
                    const struct qcf_create_plan *p,
                    struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;
	uint64_t count = p->header.l1_size;
	uint64_t step = g->cluster_size / sizeof(struct qcf_be64);
	QCF_AUTO_FREE struct qcf_be64 *entries = malloc(g->cluster_size);
	int ret = entries == NULL ? qcf_fail_oom(errp) : 0;

	for (uint64_t i = 0; ret == 0 && i < count; i += step) {
		uint64_t n = QCF_MIN(count - i, step);

		for (uint64_t j = 0; j < n; j++) {
			uint64_t cluster = l2_cluster(p, i + j);
			struct qcf_l1_entry e = {
				.l2_offset = qcf_host_offset(g, cluster),
				.copied = true,
			};

			entries[j] = qcf_l1_entry_encode(g, e);
		}
		ret = qcf_storage_pwrite(
			storage, entries, n * sizeof(*entries),
			p->header.l1_table_offset + i * sizeof(*entries), errp);
	}
	return ret;
}

/*
 * count entries that follow each other; an extended one has no subcluster yet,
 * so that the backing file shows through.  What the entries of two neighbours
 * differ by is the offset alone, so one is encoded and the others are counted up.
 */
static void fill_l2(const struct qcf_geometry *g, struct qcf_be64 *entries,
                    uint64_t data_cluster, uint64_t count)
{
	size_t words = g->l2_entry_size / sizeof(*entries);
	struct qcf_mapping m = {
		.kind = QCF_DATA,
		.host_offset = qcf_host_offset(g, data_cluster),
		.copied = true,
	};
	uint64_t first = qcf_be64_decode(qcf_l2_entry_encode(g, m).word);

	for (uint64_t i = 0; i < count; i++)
		entries[i * words] =
			qcf_be64_encode(first + qcf_host_offset(g, i));
}

static int write_l2_tables(struct qcowfmt_storage *storage,
                           const struct qcf_create_plan *p,
                           struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &p->geometry;
	QCF_AUTO_FREE struct qcf_be64 *entries = calloc(1, g->cluster_size);
	uint64_t left = p->data_clusters;
	int ret = entries == NULL ? qcf_fail_oom(errp) : 0;

	for (uint64_t i = 0; ret == 0 && i < p->header.l1_size; i++) {
		uint64_t n = QCF_MIN(left, g->l2_entry_count);

		/* A full table leaves nothing of the one before. */
		if (n < g->l2_entry_count)
			memset(entries, 0, g->cluster_size);
		fill_l2(g, entries, first_data_cluster(p, i), n);
		ret = qcf_storage_pwrite(storage, entries, g->cluster_size,
		                         qcf_host_offset(g, l2_cluster(p, i)),
		                         errp);
		left -= n;
	}
	return ret;
}

int qcf_preallocate_tables(struct qcowfmt_storage *storage,
                           const struct qcf_create_plan *p,
                           struct qcowfmt_error **errp)
{
	int ret = write_l1(storage, p, errp);

	return ret < 0 ? ret : write_l2_tables(storage, p, errp);
}
