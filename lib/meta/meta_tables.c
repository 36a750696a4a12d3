/* SPDX-License-Identifier: MIT */
/*
 * meta_tables.c - reading the header and the tables that it points to
 *
 * What is held in memory as a whole is bounded by the format's limits, by the
 * open options and by what the file can hold, in that order, before memory is
 * allocated.
 */
#include <inttypes.h>

#include "check_id.h"
#include "checked.h"
#include "l1_table.h"
#include "meta_protect.h"
#include "meta_tables.h"
#include "snapshot_entry.h"

/* Nearly all headers are shorter. */
#define USUAL_HEADER 4096u

int qcf_meta_read_table(struct qcf_meta *meta, uint64_t host_offset,
                        void *table, size_t len, struct qcowfmt_error **errp)
{
	uint64_t file_size = 0;
	int64_t got = qcf_storage_pread_padded(meta->storage, table, len,
	                                       host_offset, errp);
	int ret;

	if (got < 0)
		return (int)got;
	if ((size_t)got == len)
		return 0;
	ret = qcf_storage_get_size(meta->storage, &file_size, errp);
	if (ret < 0)
		return ret;
	if (host_offset + len >
	    qcf_align_up(file_size, meta->geometry.cluster_size))
		return qcf_corrupt(errp, QCF_CHECK_BEYOND_END, host_offset);
	return 0;
}

/* Read the whole first cluster. */
static int read_long_header(struct qcf_meta *meta, uint64_t cluster_size,
                            struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *cluster = malloc(cluster_size);
	int64_t len;

	if (cluster == NULL)
		return qcf_fail_oom(errp);
	len = qcf_storage_pread_padded(meta->storage, cluster, cluster_size, 0,
	                               errp);
	if (len < 0)
		return (int)len;
	return qcf_header_decode(&meta->header, cluster, (size_t)len, errp);
}

int qcf_meta_read_header(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint8_t start[USUAL_HEADER];
	uint64_t cluster_size = 0;
	int64_t len = qcf_storage_pread_padded(meta->storage, start,
	                                       sizeof(start), 0, errp);
	int ret;

	if (len < 0)
		return (int)len;
	ret = qcf_header_peek_cluster_size(start, (size_t)len, &cluster_size,
	                                   errp);
	if (ret < 0)
		return ret;
	len = QCF_MIN(len, (int64_t)cluster_size);
	if (len == (int64_t)cluster_size || len < (int64_t)sizeof(start) ||
	    qcf_header_is_whole(start, (size_t)len))
		return qcf_header_decode(&meta->header, start, (size_t)len,
		                         errp);
	return read_long_header(meta, cluster_size, errp);
}

static int check_ceiling(const char *what, uint64_t size, uint64_t ceiling,
                         struct qcowfmt_error **errp)
{
	if (size <= ceiling)
		return 0;
	return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
	                "%s takes %" PRIu64
	                " bytes, max_metadata_size allows %" PRIu64,
	                what, size, ceiling);
}

/* A table the header points to must lie in the file, which also bounds the
 * memory for it. */
static int check_in_file(struct qcf_meta *meta, enum qcf_check id,
                         uint64_t host_offset, uint64_t size,
                         struct qcowfmt_error **errp)
{
	uint64_t file_size = 0;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	if (!qcf_range_within(
		    host_offset, size,
		    qcf_align_up(file_size, meta->geometry.cluster_size)))
		return qcf_corruptf(errp, id, host_offset,
		                    "it ends at %" PRIu64
		                    ", the file at %" PRIu64,
		                    host_offset + size, file_size);
	return 0;
}

int qcf_meta_read_l1(struct qcf_meta *meta, uint64_t ceiling,
                     struct qcowfmt_error **errp)
{
	uint64_t size = (uint64_t)meta->header.l1_size * 8;
	uint64_t offset = meta->header.l1_table_offset;
	int ret = check_ceiling("the L1 table", size, ceiling, errp);

	if (ret == 0 && size > 0)
		ret = check_in_file(meta, QCF_CHECK_TABLE_TRUNCATED, offset,
		                    size, errp);
	if (ret < 0)
		return ret;
	meta->l1.entry_count = meta->header.l1_size;
	if (size > 0)
		qcf_meta_protect_l1(meta, offset, size);
	/* Who only reads needs little of a long one. */
	if (!meta->writable && meta->l1.entry_count > QCF_L1_PIECE)
		return qcf_l1_expect(meta, errp);
	meta->l1.entries = calloc(size / 8 + 1, 8);
	if (meta->l1.entries == NULL)
		return qcf_fail_oom(errp);
	if (size == 0)
		return 0;
	return qcf_wrap(errp, "reading the L1 table",
	                qcf_meta_read_table(meta, offset,
	                                    (void *)(uintptr_t)meta->l1.entries,
	                                    size, errp));
}

/* One without clusters is let through when the header is decoded, because such an
 * image can be repaired. */
static int check_has_reftable(const struct qcf_header *h,
                              struct qcowfmt_error **errp)
{
	if (h->refcount_table_clusters > 0)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_REFTABLE_SIZE,
	                    QCF_HEADER_AT_REFTABLE,
	                    "refcount_table_clusters, have 0, want 1 or more");
}

int qcf_meta_read_reftable(struct qcf_meta *meta, uint64_t ceiling,
                           struct qcowfmt_error **errp)
{
	struct qcf_refcounts *r = &meta->refcounts;
	uint64_t offset = meta->header.refcount_table_offset;
	uint64_t size = (uint64_t)meta->header.refcount_table_clusters
	                << meta->geometry.cluster_bits;
	int ret = check_ceiling("the refcount table", size, ceiling, errp);

	if (ret == 0)
		ret = check_has_reftable(&meta->header, errp);
	if (ret == 0)
		ret = check_in_file(meta, QCF_CHECK_TABLE_TRUNCATED, offset,
		                    size, errp);
	/* Who only reads needs no counts. */
	if (ret < 0 || !meta->writable)
		return ret;
	r->table = malloc(size);
	if (r->table == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(meta, offset, r->table, size, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the refcount table", ret);
	r->entry_count = size / 8;
	for (uint64_t i = 0; i < r->entry_count; i++)
		r->table[i] = qcf_reftable_entry_decode(
			(struct qcf_be64){ r->table[i] });
	r->stored_offset = offset;
	r->stored_entry_count = r->entry_count;
	qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_REFTABLE,
	                      qcf_host_cluster(&meta->geometry, offset),
	                      meta->header.refcount_table_clusters);
	return 0;
}

/* An entry is at most 40 bytes, 1 KiB of extra data and two names. */
#define MAX_ENTRY UINT64_C(132200)
/* Usual ones are shorter. */
#define USUAL_ENTRY 128u

static bool ends_within(const uint8_t *table, size_t len, uint32_t count)
{
	struct qcf_reader reader = qcf_reader_init(table, len);
	struct qcf_snapshot_parts parts;

	for (uint32_t i = 0; i < count; i++) {
		if (!qcf_snapshot_entry_locate(&parts, &reader))
			return false;
	}
	return true;
}

/* Read on until a buffer has the table's first len bytes. */
static int read_on(struct qcf_meta *meta, uint8_t **table, size_t have,
                   size_t len, struct qcowfmt_error **errp)
{
	uint8_t *larger = realloc(*table, len);

	if (larger == NULL)
		return qcf_fail_oom(errp);
	*table = larger;
	return qcf_storage_pread_exact(meta->storage, larger + have, len - have,
	                               meta->header.snapshots_offset + have,
	                               errp);
}

int qcf_meta_read_snapshot_table(struct qcf_meta *meta, uint8_t **table,
                                 size_t *len, struct qcowfmt_error **errp)
{
	uint64_t offset = meta->header.snapshots_offset;
	uint64_t count = meta->header.snapshot_count;
	uint64_t file_size = 0;
	uint64_t limit;
	uint64_t wanted;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	if (offset >= file_size)
		return qcf_corrupt(errp, QCF_CHECK_TABLE_TRUNCATED, offset);
	limit = QCF_MIN(file_size - offset, QCF_MAX_SNAPSHOT_TABLE);
	limit = QCF_MIN(limit, count * MAX_ENTRY);
	wanted = QCF_MIN(limit, qcf_align_up(count * USUAL_ENTRY, 4096));
	*len = 0;
	do {
		ret = read_on(meta, table, *len, wanted, errp);
		if (ret < 0)
			return ret;
		*len = wanted;
		wanted = QCF_MIN(limit, wanted * 2);
	} while (*len < limit &&
	         !ends_within(*table, *len, meta->header.snapshot_count));
	return 0;
}
