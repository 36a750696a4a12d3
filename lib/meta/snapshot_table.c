/* SPDX-License-Identifier: MIT */
/* snapshot_table.c - the snapshot table of an open image */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "check_id.h"
#include "checked.h"
#include "header_switch.h"
#include "l1_table.h"
#include "meta_tables.h"
#include "snapshot_table.h"

/* ----------------------------------------------------------------- loading */

static int decode_entries(struct qcf_meta *meta,
                          struct qcf_snapshot_table *table,
                          struct qcf_reader *reader,
                          struct qcowfmt_error **errp)
{
	for (uint32_t i = 0; i < meta->header.snapshot_count; i++) {
		struct qcf_snapshot_entry *entry = &table->entries[i];
		int ret = qcf_snapshot_entry_decode(entry, &meta->geometry,
		                                    reader, errp);

		if (ret < 0)
			return qcf_wrapf(errp, ret,
			                 "snapshot table entry %" PRIu32, i);
		if (!qcf_snapshot_entry_has_disk_size(entry))
			entry->disk_size = meta->header.virtual_size;
		table->count++;
	}
	table->stored_len = reader->pos;
	return 0;
}

int qcf_snapshot_table_load(struct qcf_meta *meta,
                            struct qcf_snapshot_table *table,
                            struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *bytes = NULL;
	struct qcf_reader reader;
	size_t len = 0;
	int ret = 0;

	*table = (struct qcf_snapshot_table){ 0 };
	if (meta->header.snapshot_count == 0)
		return 0;
	ret = qcf_meta_read_snapshot_table(meta, &bytes, &len, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the snapshot table", ret);
	table->entries =
		calloc(meta->header.snapshot_count, sizeof(*table->entries));
	if (table->entries == NULL)
		return qcf_fail_oom(errp);
	reader = qcf_reader_init(bytes, len);
	ret = decode_entries(meta, table, &reader, errp);
	if (ret < 0)
		qcf_snapshot_table_fini(table);
	return ret;
}

void qcf_snapshot_table_fini(struct qcf_snapshot_table *table)
{
	for (uint32_t i = 0; i < table->count; i++)
		qcf_snapshot_entry_fini(&table->entries[i]);
	free(table->entries);
	*table = (struct qcf_snapshot_table){ 0 };
}

/* ----------------------------------------------------------------- entries */

static bool matches(const char *wanted, const char *have)
{
	return wanted == NULL || strcmp(wanted, have) == 0;
}

int qcf_snapshot_table_find(const struct qcf_snapshot_table *table,
                            const char *id, const char *name, uint32_t *index,
                            struct qcowfmt_error **errp)
{
	if (id == NULL && name == NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a snapshot needs an id or a name");
	for (*index = 0; *index < table->count; (*index)++) {
		const struct qcf_snapshot_entry *e = &table->entries[*index];

		if (matches(id, e->id) && matches(name, e->name))
			return 0;
	}
	return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
	                "there is no snapshot with %s '%s'",
	                id != NULL ? "id" : "name", id != NULL ? id : name);
}

int qcf_snapshot_table_append(struct qcf_snapshot_table *table,
                              struct qcf_snapshot_entry *entry,
                              struct qcowfmt_error **errp)
{
	struct qcf_snapshot_entry *entries = realloc(
		table->entries, ((size_t)table->count + 1) * sizeof(*entries));

	if (entries == NULL)
		return qcf_fail_oom(errp);
	table->entries = entries;
	entries[table->count++] = *entry;
	*entry = (struct qcf_snapshot_entry){ 0 };
	return 0;
}

void qcf_snapshot_table_remove(struct qcf_snapshot_table *table, uint32_t index)
{
	qcf_snapshot_entry_fini(&table->entries[index]);
	table->count--;
	memmove(&table->entries[index], &table->entries[index + 1],
	        (table->count - index) * sizeof(*table->entries));
}

/* ---------------------------------------------------------------- encoding */

uint64_t qcf_snapshot_table_len(const struct qcf_snapshot_table *table)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < table->count; i++)
		len += qcf_snapshot_entry_len(&table->entries[i]);
	return len;
}

static int encode(const struct qcf_snapshot_table *table, uint64_t len,
                  uint8_t **bytes, struct qcowfmt_error **errp)
{
	struct qcf_writer writer;

	if (len > QCF_MAX_SNAPSHOT_TABLE)
		return qcf_fail(errp, EOVERFLOW, QCOWFMT_ERR_LIMIT,
		                "the snapshot table would be longer than the "
		                "format allows");
	*bytes = malloc(len + 1);
	if (*bytes == NULL)
		return qcf_fail_oom(errp);
	writer = qcf_writer_init(*bytes, len);
	for (uint32_t i = 0; i < table->count; i++)
		qcf_snapshot_entry_encode(&table->entries[i], &writer);
	return 0;
}

int qcf_snapshot_table_write(struct qcf_meta *meta,
                             const struct qcf_snapshot_table *table,
                             uint64_t first, struct qcf_area *area,
                             struct qcowfmt_error **errp)
{
	uint64_t len = qcf_snapshot_table_len(table);
	QCF_AUTO_FREE uint8_t *bytes = NULL;
	int ret = encode(table, len, &bytes, errp);

	if (ret == 0 && first == 0) {
		ret = qcf_area_write(meta, bytes, len, area, errp);
	} else if (ret == 0) {
		*area = qcf_area_of(
			meta, qcf_host_offset(&meta->geometry, first), len);
		ret = qcf_area_fill(meta, bytes, len, area, errp);
	}
	return qcf_wrap(errp, "writing the snapshot table", ret);
}

/* -------------------------------------------------------------- protection */

static struct qcf_overlap_range range_of(const struct qcf_geometry *g,
                                         uint64_t host_offset, uint64_t len)
{
	uint64_t first = qcf_host_cluster(g, host_offset);

	return (struct qcf_overlap_range){
		.first = first,
		.end = first + qcf_clusters_for(g, len),
	};
}

int qcf_snapshot_table_protect(struct qcf_meta *meta,
                               const struct qcf_snapshot_table *table,
                               uint64_t host_offset, uint64_t len,
                               struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	struct qcf_overlap_range *ranges =
		calloc((size_t)table->count + 1, sizeof(*ranges));

	if (ranges == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; i < table->count; i++)
		ranges[i] = range_of(g, table->entries[i].l1_table_offset,
		                     (uint64_t)table->entries[i].l1_size * 8);
	ranges[table->count] = range_of(g, host_offset, len);
	qcf_overlap_set_ranges(&meta->overlap, QCF_OVERLAP_SNAPSHOTS, ranges,
	                       (size_t)table->count + 1);
	return 0;
}

int qcf_snapshot_table_switch(struct qcf_meta *meta,
                              const struct qcf_snapshot_table *table,
                              const struct qcf_area *area, bool *switched,
                              struct qcowfmt_error **errp)
{
	uint8_t bytes[12];
	struct qcf_writer w = qcf_writer_init(bytes, sizeof(bytes));
	int protection;
	int ret;

	qcf_write_u32(&w, table->count);
	qcf_write_u64(&w, area->host_offset);
	ret = qcf_header_switch(meta, QCF_HEADER_AT_SNAPSHOTS, bytes,
	                        sizeof(bytes), switched, errp);
	if (!*switched)
		return ret;
	meta->header.snapshot_count = table->count;
	meta->header.snapshots_offset = area->host_offset;
	protection = qcf_snapshot_table_protect(meta, table, area->host_offset,
	                                        qcf_snapshot_table_len(table),
	                                        ret < 0 ? NULL : errp);
	return ret < 0 ? ret : protection;
}

/* --------------------------------------------------------------- L1 tables */

int qcf_snapshot_read_l1(struct qcf_meta *meta,
                         const struct qcf_snapshot_entry *entry,
                         struct qcf_be64 **entries, struct qcowfmt_error **errp)
{
	uint64_t len = (uint64_t)entry->l1_size * 8;
	uint64_t file_size = 0;
	QCF_AUTO_FREE struct qcf_be64 *bytes = NULL;
	int ret = qcf_storage_get_size(meta->storage, &file_size, errp);

	if (ret < 0)
		return ret;
	if (len > 0 &&
	    !qcf_range_within(
		    entry->l1_table_offset, len,
		    qcf_align_up(file_size, meta->geometry.cluster_size)))
		return qcf_corrupt(errp, QCF_CHECK_TABLE_TRUNCATED,
		                   entry->l1_table_offset);
	bytes = calloc((size_t)entry->l1_size + 1, sizeof(*bytes));
	if (bytes == NULL)
		return qcf_fail_oom(errp);
	if (len > 0)
		ret = qcf_meta_read_table(meta, entry->l1_table_offset, bytes,
		                          len, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the L1 table of a snapshot",
		                ret);
	*entries = qcf_take(&bytes);
	return 0;
}

static int show_entry(struct qcf_meta *meta,
                      const struct qcf_snapshot_entry *entry,
                      struct qcowfmt_error **errp)
{
	struct qcf_be64 *entries = NULL;
	int ret = qcf_snapshot_check_size(&meta->geometry, entry, errp);

	if (ret == 0)
		ret = qcf_snapshot_read_l1(meta, entry, &entries, errp);
	if (ret < 0)
		return ret;
	qcf_l1_replace(meta, entries, entry->l1_size);
	meta->header.virtual_size = entry->disk_size;
	meta->shows_snapshot = true;
	return 0;
}

int qcf_snapshot_show(struct qcf_meta *meta, const char *id, const char *name,
                      struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table table;
	uint32_t index = 0;
	int ret = qcf_snapshot_table_load(meta, &table, errp);

	if (ret < 0)
		return ret;
	ret = qcf_snapshot_table_find(&table, id, name, &index, errp);
	if (ret == 0)
		ret = show_entry(meta, &table.entries[index], errp);
	qcf_snapshot_table_fini(&table);
	return ret;
}
