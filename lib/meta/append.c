/* SPDX-License-Identifier: MIT */
/*
 * append.c - where a version 1 image may grow
 *
 * Version 1 counts nothing: what is new goes behind everything that is in use.
 * That is not just the end of the file.  The last cluster may have been written
 * in part only and need not begin where a whole one would; and a file that was
 * cut short is still referred to beyond its end, where something new would be
 * seen twice.  So the tables are read once, to find the last byte that any of
 * them means.
 *
 * Tables of a hostile image may lie over each other any number of times.  They
 * are sorted and each byte of the file is looked at once at most.
 */
#include <errno.h>
#include <inttypes.h>

#include "append.h"
#include "checked.h"
#include "l2_entry.h"

#define CHUNK_SIZE ((size_t)64 << 10)

struct scan {
	struct qcf_meta *meta;
	uint64_t file_size;
	uint64_t *tables; /* host offsets, ascending; owned */
	size_t table_count;
	struct qcf_be64 *words; /* CHUNK_SIZE bytes; owned */
	uint64_t end;           /* behind everything seen so far */
};

static int by_value(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* The tables that lookups do not refuse. */
static int collect_tables(struct scan *scan, struct qcowfmt_error **errp)
{
	const struct qcf_l1 *l1 = &scan->meta->l1;
	const struct qcf_geometry *g = &scan->meta->geometry;

	scan->tables = calloc(l1->entry_count + 1, sizeof(*scan->tables));
	if (scan->tables == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < l1->entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&l1->entries[i]) };
		uint64_t offset = qcf_l1_entry_decode(g, raw).l2_offset;

		if (!qcf_meta_is_cluster_offset(scan->meta, offset))
			continue;
		scan->tables[scan->table_count++] = offset;
		scan->end = QCF_MAX(scan->end, offset + g->l2_table_size);
	}
	qsort(scan->tables, scan->table_count, sizeof(*scan->tables), by_value);
	return 0;
}

static void look_at(struct scan *scan, struct qcf_l2_raw raw)
{
	const struct qcf_geometry *g = &scan->meta->geometry;
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);

	if (m.kind == QCF_UNALLOCATED || qcf_mapping_check(g, raw) != 0)
		return;
	scan->end =
		QCF_MAX(scan->end, m.host_offset + (m.kind == QCF_COMPRESSED
	                                                    ? m.compressed_len
	                                                    : g->cluster_size));
}

/* Look at the entries in a part of the file. */
static int scan_range(struct scan *scan, uint64_t from, uint64_t to,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &scan->meta->geometry;

	while (from < to) {
		size_t len = (size_t)QCF_MIN(to - from, (uint64_t)CHUNK_SIZE);
		int64_t got = qcf_storage_pread_padded(
			scan->meta->storage, scan->words, len, from, errp);

		if (got < 0)
			return qcf_wrap(errp, "looking for the end of an image",
			                (int)got);
		for (size_t i = 0; i < len / sizeof(*scan->words); i++)
			look_at(scan, qcf_l2_table_get(g, scan->words, i));
		from += len;
	}
	return 0;
}

static int scan_tables(struct scan *scan, struct qcowfmt_error **errp)
{
	uint64_t size = scan->meta->geometry.l2_table_size;
	uint64_t done = 0;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < scan->table_count; i++) {
		uint64_t from = QCF_MAX(scan->tables[i], done);
		uint64_t to = scan->tables[i] + size;

		if (from >= scan->file_size)
			break;
		ret = scan_range(scan, from, to, errp);
		done = to;
	}
	return ret;
}

static int find_end(struct qcf_meta *meta, uint64_t file_size, uint64_t *end,
                    struct qcowfmt_error **errp)
{
	struct scan scan = {
		.meta = meta,
		.file_size = file_size,
		.words = malloc(CHUNK_SIZE),
		.end = meta->header.l1_table_offset +
		       (uint64_t)meta->header.l1_size * sizeof(uint64_t),
	};
	int ret = scan.words == NULL ? qcf_fail_oom(errp)
	                             : collect_tables(&scan, errp);

	if (ret == 0)
		ret = scan_tables(&scan, errp);
	free(scan.tables);
	free(scan.words);
	*end = QCF_MAX(scan.end, file_size);
	return ret;
}

int qcf_append_prepare(struct qcf_meta *meta, uint64_t file_size,
                       struct qcowfmt_error **errp)
{
	if (!qcf_is_aligned(meta->header.l1_table_offset, sizeof(uint64_t)))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "the L1 table at %" PRIu64
		                " is not aligned to 8 bytes: its entries "
		                "cannot be changed safely",
		                meta->header.l1_table_offset);
	return find_end(meta, file_size, &meta->refcounts.append_at, errp);
}
