/* SPDX-License-Identifier: MIT */
/*
 * check_bitmaps.c - persistent dirty bitmaps
 *
 * A bitmap says what has changed, not what the disk holds, so one that makes no
 * sense is best dropped; the others stay.  Its clusters count as referenced until
 * that has been done.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_bitmaps.h"
#include "check_refs.h"
#include "checked.h"
#include "feature.h"
#include "header_ext.h"

/* Entries of all bitmap tables together that are looked at: 1 GiB.  Tables that
 * do not overlap are that long only in a file of many times the size. */
#define MAX_TABLE_ENTRIES (UINT64_C(1) << 27)

#define CHUNK 1024u /* table entries that are read at once */

static void report(struct qcf_checker *c, enum qcf_check id, uint64_t at,
                   const char *what, const char *why)
{
	qcf_finding_fixable(c, id, at, c->fix_all, 1, "%s is broken: %s", what,
	                    why);
	c->need_bitmaps = c->need_bitmaps || c->fix_all;
}

/* Until they are dropped nobody can tell what the bitmaps refer to. */
static void report_directory(struct qcf_checker *c,
                             struct qcf_bitmap_listing *view, enum qcf_check id,
                             const char *why)
{
	report(c, id, view->ext.directory_offset, "bitmap directory", why);
	view->broken = true;
	c->lost = c->lost || !c->fix_all;
}

static enum qcf_check id_of(const struct qcowfmt_error *error)
{
	uint32_t id = qcowfmt_error_corruption_id(error);

	return id == 0 ? QCF_CHECK_BITMAP_DIRECTORY : (enum qcf_check)id;
}

/* ----------------------------------------------------------------- reading */

static int read_entries(struct qcf_bitmap_listing *view, struct qcf_checker *c,
                        const uint8_t *bytes, struct qcowfmt_error **errp)
{
	struct qcf_reader reader =
		qcf_reader_init(bytes, (size_t)view->ext.directory_size);

	while (view->count < view->ext.count) {
		QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
		int ret = qcf_bitmap_entry_decode(&view->entries[view->count],
		                                  &reader, &error);

		if (ret == -ENOMEM)
			return qcf_fail_oom(errp);
		if (ret < 0) {
			report_directory(c, view, id_of(error),
			                 qcowfmt_error_message(error));
			return 0;
		}
		view->count++;
	}
	if (qcf_reader_left(&reader) > 0)
		report_directory(c, view, QCF_CHECK_BITMAP_DIRECTORY,
		                 "bytes behind its last entry");
	return 0;
}

static int read_directory(struct qcf_bitmap_listing *view,
                          struct qcf_checker *c, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *bytes = NULL;
	int ret;

	view->entries = calloc(view->ext.count, sizeof(*view->entries));
	view->sound = calloc(view->ext.count, sizeof(*view->sound));
	if (view->entries == NULL || view->sound == NULL)
		return qcf_fail_oom(errp);
	if (!qcf_range_within(view->ext.directory_offset,
	                      view->ext.directory_size,
	                      c->file_clusters << c->geometry->cluster_bits)) {
		report_directory(c, view, QCF_CHECK_BITMAP_DIRECTORY,
		                 "it ends beyond the end of the file");
		return 0;
	}
	ret = qcf_check_read_table(c, "bitmap directory",
	                           view->ext.directory_offset,
	                           view->ext.directory_size, &bytes, errp);
	return ret < 0 || bytes == NULL
	               ? ret
	               : read_entries(view, c, (uint8_t *)bytes, errp);
}

int qcf_bitmap_listing_read(struct qcf_bitmap_listing *view,
                            struct qcf_checker *c, struct qcowfmt_error **errp)
{
	const struct qcf_extension *raw =
		qcf_header_extension(c->header, QCF_EXT_BITMAPS);
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	*view = (struct qcf_bitmap_listing){ 0 };
	view->present = raw != NULL && (c->header->autoclear_features &
	                                QCF_AUTOCLEAR_BITMAPS) != 0;
	if (!view->present)
		return 0;
	ret = qcf_bitmap_ext_decode(&view->ext, raw, c->geometry, &error);
	if (ret == -ENOMEM)
		return qcf_fail_oom(errp);
	if (ret < 0) {
		report(c, id_of(error), 0, "bitmaps extension",
		       qcowfmt_error_message(error));
		view->ext = (struct qcf_bitmap_ext){ 0 };
		view->broken = true;
		c->lost = c->lost || !c->fix_all;
		return 0;
	}
	return read_directory(view, c, errp);
}

void qcf_bitmap_listing_fini(struct qcf_bitmap_listing *view)
{
	for (uint32_t i = 0; i < view->count; i++)
		qcf_bitmap_entry_fini(&view->entries[i]);
	free(view->entries);
	free(view->sound);
}

/* ------------------------------------------------------------------ bitmaps */

static void report_bitmap(struct qcf_checker *c,
                          const struct qcf_bitmap_entry *entry,
                          enum qcf_check id, uint64_t at, const char *why)
{
	char name[128];
	char what[160];

	qcf_escape(name, sizeof(name), entry->name, entry->name_len);
	(void)snprintf(what, sizeof(what), "bitmap '%s'", name);
	report(c, id, at, what, why);
}

static int walk_cluster(struct qcf_checker *c,
                        const struct qcf_bitmap_entry *entry, uint64_t index,
                        struct qcf_be64 raw, bool *sound,
                        struct qcowfmt_error **errp)
{
	struct qcf_bitmap_cluster cluster = qcf_bitmap_cluster_decode(raw);
	uint32_t id = qcf_bitmap_cluster_check(c->geometry, raw);
	uint64_t at = entry->table_offset + index * sizeof(raw);

	if (id == 0 && cluster.host_offset != 0 &&
	    !qcf_check_in_file(c, cluster.host_offset))
		id = QCF_CHECK_BEYOND_END;
	/* The first one says all: the bitmap goes as a whole. */
	if (id != 0 && *sound) {
		report_bitmap(c, entry, id, at, qcf_check_text(id));
		*sound = false;
	}
	if (cluster.host_offset == 0 ||
	    !qcf_check_in_file(c, cluster.host_offset))
		return 0;
	return qcf_check_count_range(c, cluster.host_offset,
	                             c->geometry->cluster_size, 1, errp);
}

static int walk_table(struct qcf_checker *c,
                      const struct qcf_bitmap_entry *entry, bool *sound,
                      struct qcowfmt_error **errp)
{
	struct qcf_be64 raw[CHUNK];

	for (uint64_t i = 0; i < entry->table_entries; i += CHUNK) {
		uint64_t n = QCF_MIN(CHUNK, entry->table_entries - i);
		bool ok = false;
		int ret = qcf_check_read(c, "bitmap table",
		                         entry->table_offset + i * 8, raw,
		                         n * 8, &ok, errp);

		for (uint64_t j = 0; ret == 0 && ok && j < n; j++)
			ret = walk_cluster(c, entry, i + j, raw[j], sound,
			                   errp);
		if (ret < 0 || !ok)
			return ret;
	}
	return 0;
}

static int by_name(const void *left, const void *right)
{
	const struct qcf_bitmap_entry *a =
		*(const struct qcf_bitmap_entry *const *)left;
	const struct qcf_bitmap_entry *b =
		*(const struct qcf_bitmap_entry *const *)right;
	int order = memcmp(a->name, b->name, QCF_MIN(a->name_len, b->name_len));

	if (order == 0)
		order = (a->name_len > b->name_len) -
		        (a->name_len < b->name_len);
	return order != 0 ? order : (a > b) - (a < b);
}

static bool same_name(const struct qcf_bitmap_entry *a,
                      const struct qcf_bitmap_entry *b)
{
	return a->name_len == b->name_len &&
	       memcmp(a->name, b->name, a->name_len) == 0;
}

/* All bitmaps are taken to be sound, but those whose name another one in front of
 * them has. */
static int find_repeated(struct qcf_bitmap_listing *view,
                         struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE const struct qcf_bitmap_entry **sorted =
		calloc((size_t)view->count + 1, sizeof(*sorted));

	if (sorted == NULL)
		return qcf_fail_oom(errp);
	for (uint32_t i = 0; i < view->count; i++) {
		sorted[i] = &view->entries[i];
		view->sound[i] = true;
	}
	qsort(sorted, view->count, sizeof(*sorted), by_name);
	for (uint32_t i = 1; i < view->count; i++) {
		if (same_name(sorted[i - 1], sorted[i]))
			view->sound[sorted[i] - view->entries] = false;
	}
	return 0;
}

/* Whether the table of a bitmap can be followed; reports if not. */
static bool check_bitmap(struct qcf_checker *c, struct qcf_bitmap_listing *view,
                         uint32_t index)
{
	const struct qcf_bitmap_entry *entry = &view->entries[index];
	uint64_t end = c->file_clusters << c->geometry->cluster_bits;
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	bool repeated = !view->sound[index];

	view->sound[index] = false;
	if (qcf_bitmap_entry_check(entry, c->geometry, c->header->virtual_size,
	                           &error) < 0)
		report_bitmap(c, entry, id_of(error),
		              view->ext.directory_offset,
		              qcowfmt_error_message(error));
	else if (repeated)
		report_bitmap(c, entry, QCF_CHECK_BITMAP_NAMES,
		              view->ext.directory_offset,
		              "another one has the same name");
	else if (!qcf_range_within(entry->table_offset,
	                           (uint64_t)entry->table_entries * 8, end))
		report_bitmap(c, entry, QCF_CHECK_BEYOND_END,
		              entry->table_offset,
		              "its table ends beyond the end of the file");
	else
		view->sound[index] = true;
	return qcf_bitmap_entry_check_table(entry, c->geometry, NULL) == 0 &&
	       qcf_range_within(entry->table_offset,
	                        (uint64_t)entry->table_entries * 8, end);
}

static int walk_bitmap(struct qcf_checker *c, struct qcf_bitmap_listing *view,
                       uint32_t index, uint64_t *room,
                       struct qcowfmt_error **errp)
{
	const struct qcf_bitmap_entry *entry = &view->entries[index];
	int ret;

	if (!check_bitmap(c, view, index))
		return 0;
	if (entry->table_entries > *room) {
		qcf_finding(c, QCF_CHECK_NONE, entry->table_offset,
		            "ERROR: the bitmap tables have more than %" PRIu64
		            " entries together",
		            MAX_TABLE_ENTRIES);
		c->result->check_errors++;
		return 0;
	}
	*room -= entry->table_entries;
	ret = qcf_check_count_range(c, entry->table_offset,
	                            (uint64_t)entry->table_entries * 8, 1,
	                            errp);
	return ret < 0 ? ret : walk_table(c, entry, &view->sound[index], errp);
}

int qcf_check_walk_bitmaps(struct qcf_checker *c,
                           struct qcf_bitmap_listing *view,
                           struct qcowfmt_error **errp)
{
	uint64_t room = MAX_TABLE_ENTRIES;
	uint64_t size = view->ext.directory_size;
	int ret = view->count == 0 ? 0 : find_repeated(view, errp);

	/* Where it is not in the file, that has been reported. */
	if (ret == 0 && size > 0 &&
	    qcf_check_in_file(c, view->ext.directory_offset + size - 1))
		ret = qcf_check_count_range(c, view->ext.directory_offset, size,
		                            1, errp);
	for (uint32_t i = 0; ret == 0 && i < view->count; i++)
		ret = walk_bitmap(c, view, i, &room, errp);
	return ret;
}
