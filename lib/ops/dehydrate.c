/* SPDX-License-Identifier: MIT */
/*
 * dehydrate.c - a copy of an image with its metadata and nothing else
 *
 * The walk of a check finds the tables.  Then a second look at all L2 tables says
 * where guest data is; a table that overlaps any is left out, because it may be
 * guest data that a damaged image takes for a table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_bitmaps.h"
#include "check_image.h"
#include "check_refs.h"
#include "check_snapshots.h"
#include "check_stored.h"
#include "check_walk.h"
#include "checked.h"
#include "crypto.h"
#include "dehydrate.h"
#include "dehydrate_names.h"
#include "inspect.h"
#include "l2_bounds.h"
#include "luks_header.h"
#include "probe.h"
#include "zeros.h"

#define PIECE 65536u /* bytes copied at once, and what holes are made of */

struct dehydrating {
	struct qcowfmt_storage *source;
	struct qcowfmt_storage *target;
	bool no_names;
	struct qcf_checker c;
	struct qcf_counts data;   /* guest data, by sector */
	struct qcf_counts copied; /* tables, by cluster: many may name one */
	uint64_t tables_len;      /* bytes of all tables so far */
	uint64_t hole;            /* a hole of the source: bytes */
	uint64_t hole_end;        /* [hole, hole_end) */
	uint8_t *buffer;          /* PIECE bytes; owned */
};

/* Changes bytes on their way. */
typedef int (*masker)(uint32_t count, uint8_t *bytes, size_t len,
                      struct qcowfmt_error **errp);

/* Whether a table is in a hole.  Nobody is asked before there have been more
 * tables than an image has that is of use to anybody (l2_bounds.h). */
static bool is_in_hole(struct dehydrating *d, uint64_t offset, uint64_t len)
{
	uint64_t max = d->c.file_size - offset;
	uint64_t run = 0;

	d->tables_len += len;
	if (d->tables_len < QCF_ASK_FOR_HOLES_FROM)
		return false;
	if (offset < d->hole || offset >= d->hole_end) {
		if (qcf_storage_extent(d->source, offset, max, &run, NULL) !=
		    QCOWFMT_STORAGE_HOLE)
			return false;
		d->hole = offset;
		d->hole_end = offset + run;
	}
	return d->hole_end - offset >= QCF_MIN(len, max);
}

/* -------------------------------------------------------------- guest data */

static uint64_t sectors_of(uint64_t first, uint64_t len)
{
	return (first % QCF_SECTOR_SIZE + len + QCF_SECTOR_SIZE - 1) /
	       QCF_SECTOR_SIZE;
}

static int note_entry(struct dehydrating *d, struct qcf_l2_raw raw,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = d->c.geometry;
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
	uint64_t len =
		m.kind == QCF_COMPRESSED ? m.compressed_len : g->cluster_size;

	if (g->data_file || m.host_offset == 0 ||
	    m.host_offset >= d->c.file_size)
		return 0;
	len = QCF_MIN(len, d->c.file_size - m.host_offset);
	return qcf_counts_add(&d->data, m.host_offset / QCF_SECTOR_SIZE,
	                      sectors_of(m.host_offset, len), 1, errp);
}

static int note_table(struct dehydrating *d, uint64_t offset,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = d->c.geometry;
	QCF_AUTO_FREE struct qcf_be64 *words = NULL;
	int ret = 0;

	if (offset < d->c.file_size && !is_in_hole(d, offset, g->l2_table_size))
		ret = qcf_check_read_table(&d->c, "L2 table", offset,
		                           g->l2_table_size, &words, errp);
	for (uint64_t i = 0; ret == 0 && words != NULL && i < g->l2_entry_count;
	     i++)
		ret = note_entry(d, qcf_l2_table_get(g, words, i), errp);
	return ret;
}

static int note_data(struct dehydrating *d, struct qcowfmt_error **errp)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < d->c.table_count; i++)
		ret = note_table(d, d->c.tables[i].offset, errp);
	return ret;
}

static bool is_data(struct dehydrating *d, uint64_t offset, uint64_t len)
{
	uint64_t count = sectors_of(offset, len);

	for (uint64_t i = 0; i < count; i++) {
		if (qcf_counts_get(&d->data, offset / QCF_SECTOR_SIZE + i) > 0)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------- copying */

static int put(struct dehydrating *d, uint64_t offset, const uint8_t *bytes,
               size_t len, struct qcowfmt_error **errp)
{
	if (offset >= d->c.file_size)
		return 0;
	len = (size_t)QCF_MIN(len, d->c.file_size - offset);
	return qcf_is_zero(bytes, len) ? 0
	                               : qcf_storage_pwrite(d->target, bytes,
	                                                    len, offset, errp);
}

/* Copy a range, as far as it is in the file. */
static int copy(struct dehydrating *d, uint64_t offset, uint64_t len,
                struct qcowfmt_error **errp)
{
	int ret = 0;

	if (offset >= d->c.file_size)
		return 0;
	len = QCF_MIN(len, d->c.file_size - offset);
	for (uint64_t at = 0; ret == 0 && at < len; at += PIECE) {
		size_t n = (size_t)QCF_MIN(len - at, (uint64_t)PIECE);
		int64_t got = qcf_storage_pread_padded(d->source, d->buffer, n,
		                                       offset + at, errp);

		ret = got < 0 ? (int)got
		              : put(d, offset + at, d->buffer, n, errp);
	}
	return ret;
}

/* Whether all clusters of a table were copied before. */
static bool is_copied(struct dehydrating *d, uint64_t first, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		if (qcf_counts_get(&d->copied, first + i) == 0)
			return false;
	}
	return true;
}

static int copy_table(struct dehydrating *d, uint64_t offset, uint64_t len,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = d->c.geometry;
	uint64_t first = qcf_host_cluster(g, offset);
	uint64_t count;
	int ret;

	if (offset >= d->c.file_size)
		return 0;
	len = QCF_MIN(len, d->c.file_size - offset);
	count = qcf_clusters_for(g, qcf_offset_in_cluster(g, offset) + len);
	if (is_in_hole(d, offset, len) || is_copied(d, first, count) ||
	    is_data(d, offset, len))
		return 0;
	ret = copy(d, offset, len, errp);
	return ret < 0 || !qcf_is_aligned(offset | len, g->cluster_size)
	               ? ret
	               : qcf_counts_add(&d->copied, first, count, 1, errp);
}

/* A table that has names in it, all at once. */
static int copy_named(struct dehydrating *d, uint64_t offset, uint64_t len,
                      masker mask, uint32_t count, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *bytes = NULL;
	int64_t got;
	int ret;

	if (!d->no_names)
		return copy_table(d, offset, len, errp);
	if (len == 0 || offset >= d->c.file_size || is_data(d, offset, len))
		return 0;
	bytes = malloc(len);
	if (bytes == NULL)
		return qcf_fail_oom(errp);
	got = qcf_storage_pread_padded(d->source, bytes, len, offset, errp);
	if (got < 0)
		return (int)got;
	ret = mask(count, bytes, len, errp);
	return ret < 0 ? ret : put(d, offset, bytes, len, errp);
}

/* --------------------------------------------------------------------- tables */

/* The header cluster; h may be NULL. */
static int copy_header(struct dehydrating *d, const struct qcf_header *h,
                       uint64_t len, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *bytes = malloc(len);
	int64_t got;

	if (bytes == NULL)
		return qcf_fail_oom(errp);
	got = qcf_storage_pread_padded(d->source, bytes, len, 0, errp);
	if (got < 0)
		return (int)got;
	if (d->no_names)
		qcf_dehydrate_header(h, bytes, len);
	return put(d, 0, bytes, len, errp);
}

static int copy_mappings(struct dehydrating *d, struct qcowfmt_error **errp)
{
	const struct qcf_header *h = d->c.header;
	int ret = copy_table(d, h->l1_table_offset, (uint64_t)h->l1_size * 8,
	                     errp);

	for (size_t i = 0; ret == 0 && i < d->c.table_count; i++)
		ret = copy_table(d, d->c.tables[i].offset,
		                 d->c.geometry->l2_table_size, errp);
	return ret;
}

static int copy_snapshots(struct dehydrating *d, struct qcowfmt_error **errp)
{
	struct qcf_snapshot_view view;
	int ret = qcf_snapshot_view_read(&view, &d->c, errp);

	if (ret == 0)
		ret = copy_named(d, d->c.header->snapshots_offset, view.end,
		                 qcf_dehydrate_snapshots, view.count, errp);
	for (uint32_t i = 0; ret == 0 && i < view.count; i++) {
		const struct qcf_snapshot_parts *p = &view.parts[i];

		if (qcf_check_is_snapshot_l1(&d->c, p))
			ret = copy_table(d, p->l1_table_offset,
			                 (uint64_t)p->l1_size * 8, errp);
	}
	qcf_snapshot_view_fini(&view);
	return ret;
}

static int copy_bitmaps(struct dehydrating *d, struct qcowfmt_error **errp)
{
	struct qcf_bitmap_listing list;
	int ret = qcf_bitmap_listing_read(&list, &d->c, errp);

	if (ret == 0)
		ret = copy_named(d, list.ext.directory_offset,
		                 list.ext.directory_size, qcf_dehydrate_bitmaps,
		                 list.count, errp);
	for (uint32_t i = 0; ret == 0 && i < list.count; i++) {
		const struct qcf_bitmap_entry *e = &list.entries[i];

		if (qcf_bitmap_entry_check_table(e, d->c.geometry, NULL) == 0)
			ret = copy_table(d, e->table_offset,
			                 (uint64_t)e->table_entries * 8, errp);
	}
	qcf_bitmap_listing_fini(&list);
	return ret;
}

static int copy_refcounts(struct dehydrating *d, struct qcowfmt_error **errp)
{
	const struct qcf_header *h = d->c.header;
	int ret = copy_table(d, h->refcount_table_offset,
	                     (uint64_t)h->refcount_table_clusters
	                             << d->c.geometry->cluster_bits,
	                     errp);

	for (uint64_t i = 0; ret == 0 && i < d->c.reftable_entries; i++) {
		uint64_t block = qcf_check_block(&d->c, i);

		if (block != 0)
			ret = copy_table(d, block, d->c.geometry->cluster_size,
			                 errp);
	}
	return ret;
}

/* What says how the key is made, but not the key material. */
static int copy_luks(struct dehydrating *d, struct qcowfmt_error **errp)
{
	uint64_t offset = 0;
	uint64_t len = 0;

	qcf_crypto_area(d->c.header, &offset, &len);
	return copy_table(d, offset,
	                  QCF_MIN(len, (uint64_t)QCF_LUKS_HEADER_LEN), errp);
}

static int copy_tables(struct dehydrating *d, struct qcowfmt_error **errp)
{
	int ret = note_data(d, errp);

	if (ret == 0)
		ret = copy_mappings(d, errp);
	if (ret < 0 || d->c.geometry->version == 1)
		return ret;
	ret = copy_snapshots(d, errp);
	if (ret == 0)
		ret = copy_bitmaps(d, errp);
	if (ret == 0)
		ret = copy_refcounts(d, errp);
	return ret < 0 ? ret : copy_luks(d, errp);
}

/* ----------------------------------------------------------------- everything */

/* Bytes at the start of the file that are the header's. */
static uint64_t header_len(const struct qcf_header *h,
                           const struct qcf_geometry *g)
{
	if (h->version > 1)
		return g->cluster_size;
	return QCF_MIN(h->l1_table_offset, QCF_HEADER_AREA_V1);
}

/* Everything that a header which makes sense leads to. */
static int copy_image(struct dehydrating *d, const struct qcf_header *h,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { 0 };
	struct qcf_geometry g;
	int ret = qcf_header_geometry(h, &g, errp);

	if (ret < 0)
		return ret;
	ret = qcf_checker_init(&d->c, d->source, h, &g, &result, errp);
	if (ret == 0)
		ret = copy_header(d, h, header_len(h, &g), errp);
	/* With features that are not known the tables may be anything. */
	if (ret == 0 && qcf_inspect_unknown_features(h) == 0) {
		ret = qcf_checker_walk(&d->c, errp);
		if (ret == 0)
			ret = copy_tables(d, errp);
		if (ret == 0 && result.check_errors > 0)
			ret = qcf_fail(errp, EIO, QCOWFMT_ERR_IO,
			               "some tables of %s cannot be read",
			               d->source->name);
	}
	qcf_checker_fini(&d->c);
	return ret;
}

static int copy_all(struct dehydrating *d, struct qcowfmt_error **errp)
{
	QCF_AUTO_ERROR struct qcowfmt_error *failure = NULL;
	struct qcf_header h;
	bool decoded = false;
	int ret = qcf_inspect_header(d->source, &h, &decoded, &failure, errp);

	if (ret < 0)
		return ret;
	if (!decoded)
		return copy_header(d, NULL, QCF_SECTOR_SIZE, errp);
	ret = copy_image(d, &h, errp);
	qcf_header_fini(&h);
	return ret;
}

static int check_format(struct qcowfmt_storage *source,
                        struct qcowfmt_error **errp)
{
	uint8_t sector[QCOWFMT_PROBE_SIZE];
	int64_t len = qcf_storage_pread_padded(source, sector, sizeof(sector),
	                                       0, errp);

	if (len < 0)
		return (int)len;
	if (qcf_probe(sector, (size_t)len) != QCOWFMT_FORMAT_RAW)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_NOT_QCOW,
	                "%s is not a qcow image: all of it may be guest data",
	                source->name);
}

int qcf_dehydrate(struct qcowfmt_storage *source,
                  struct qcowfmt_storage *target, uint32_t flags,
                  struct qcowfmt_error **errp)
{
	struct dehydrating d = {
		.source = source,
		.target = target,
		.no_names = (flags & QCOWFMT_DEHYDRATE_NO_NAMES) != 0,
		.buffer = malloc(PIECE),
	};
	uint64_t size = 0;
	int ret = d.buffer == NULL ? qcf_fail_oom(errp) : 0;

	if (ret == 0 && qcf_storage_is_same(source, target))
		ret = qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		               "%s cannot be its own copy", source->name);
	if (ret == 0)
		ret = check_format(source, errp);
	if (ret == 0)
		ret = qcf_storage_get_size(source, &size, errp);
	if (ret == 0)
		ret = qcf_storage_truncate(target, 0, errp);
	if (ret == 0)
		ret = qcf_storage_truncate(target, size, errp);
	d.c.file_size = size;
	if (ret == 0)
		ret = copy_all(&d, errp);
	if (ret == 0)
		ret = qcf_storage_flush(target, errp);
	qcf_counts_fini(&d.data);
	qcf_counts_fini(&d.copied);
	free(d.buffer);
	return qcf_wrap(errp, "dehydrating", ret);
}
