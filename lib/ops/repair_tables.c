/* SPDX-License-Identifier: MIT */
/*
 * repair_tables.c - the snapshot table and the bitmap directory written anew
 *
 * Snapshots keep what is known of them: extra data that is missing is made up the
 * way readers do anyway, what is too long is cut, ids and names end at a NUL byte,
 * and entries of zeros go.  A table that cannot be told into entries to its end is
 * left alone.
 */
#include <errno.h>

#include "bitmap_draft.h"
#include "bitmap_store.h"
#include "check_snapshots.h"
#include "checked.h"
#include "header_rewrite.h"
#include "repair_tables.h"
#include "snapshot_table.h"
#include "writeback.h"

/* ---------------------------------------------------------------- snapshots */

/* The bytes of an entry with no more extra data than is allowed, and texts that
 * end where other programs see them end. */
static size_t shorten(const struct qcf_snapshot_view *view,
                      const struct qcf_snapshot_parts *p, uint8_t *bytes)
{
	const uint8_t *id = view->bytes + p->end - p->name_len - p->id_len;
	uint32_t extra = QCF_MIN(p->extra_len, QCF_MAX_SNAPSHOT_EXTRA);
	size_t id_len = strnlen((const char *)id, p->id_len);
	size_t name_len = strnlen((const char *)id + p->id_len, p->name_len);
	size_t len = QCF_SNAPSHOT_FIXED_LEN + extra;
	struct qcf_writer lens =
		qcf_writer_init(bytes + QCF_SNAPSHOT_TEXT_LENS, 4);
	struct qcf_writer extra_len = qcf_writer_init(
		bytes + QCF_SNAPSHOT_FIXED_LEN - sizeof(extra), sizeof(extra));

	memcpy(bytes, view->bytes + p->start, len);
	qcf_write_u16(&lens, (uint16_t)id_len);
	qcf_write_u16(&lens, (uint16_t)name_len);
	qcf_write_u32(&extra_len, extra);
	memcpy(bytes + len, id, id_len);
	memcpy(bytes + len + id_len, id + p->id_len, name_len);
	return len + id_len + name_len;
}

static int add_entry(struct qcf_checker *c, struct qcf_snapshot_view *view,
                     uint32_t index, struct qcf_snapshot_table *table,
                     struct qcowfmt_error **errp)
{
	const struct qcf_snapshot_parts *p = &view->parts[index];
	struct qcf_snapshot_entry entry;
	struct qcf_reader reader;
	QCF_AUTO_FREE uint8_t *bytes =
		malloc(QCF_SNAPSHOT_FIXED_LEN + QCF_MAX_SNAPSHOT_EXTRA +
	               p->id_len + p->name_len);
	int ret;

	if (bytes == NULL)
		return qcf_fail_oom(errp);
	reader = qcf_reader_init(bytes, shorten(view, p, bytes));
	ret = qcf_snapshot_entry_decode(&entry, c->geometry, &reader, errp);
	if (ret < 0)
		return ret;
	if (!qcf_snapshot_entry_has_disk_size(&entry))
		entry.disk_size = c->header->virtual_size;
	ret = qcf_snapshot_table_append(table, &entry, errp);
	qcf_snapshot_entry_fini(&entry);
	return ret;
}

/* Returns 1 if all entries are in the table, 0 if it cannot be written anew. */
static int make_table(struct qcf_checker *c, struct qcf_snapshot_table *table,
                      struct qcowfmt_error **errp)
{
	struct qcf_snapshot_view view;
	struct qcowfmt_error *error = NULL;
	uint64_t errors = c->result->check_errors;
	int ret = qcf_snapshot_view_read(&view, c, errp);
	/* A table that is not in the file has no entries; one that could not be
	 * read this time may have. */
	bool whole =
		c->result->check_errors == errors && !c->lost &&
		(view.bytes == NULL || view.count == c->header->snapshot_count);

	for (uint32_t i = 0; ret == 0 && whole && i < view.count; i++) {
		if (qcf_snapshot_view_is_empty(&view, i))
			continue;
		ret = add_entry(c, &view, i, table, &error);
		if (ret == -ENOMEM) {
			qcf_error_move(errp, error);
			break;
		}
		/* That has been reported; it is for nobody to guess. */
		whole = ret == 0;
		ret = 0;
		qcowfmt_error_free(error);
		error = NULL;
	}
	qcf_snapshot_view_fini(&view);
	return ret < 0 ? ret : whole;
}

/* The old table may never have been where it was said to be, so it is for the
 * next check to free it. */
static int write_snapshots(struct qcf_meta *meta,
                           const struct qcf_snapshot_table *table,
                           struct qcowfmt_error **errp)
{
	struct qcf_area area = { 0 };
	bool switched = false;
	int ret = qcf_snapshot_table_write(meta, table, 0, &area, errp);

	if (ret == 0)
		ret = qcf_writeback_drain(meta, errp);
	if (ret == 0)
		ret = qcf_snapshot_table_switch(meta, table, &area, &switched,
		                                errp);
	if (ret < 0 && !switched)
		(void)qcf_area_free(meta, &area, NULL);
	return ret;
}

static int repair_snapshots(struct qcf_checker *c, struct qcf_meta *meta,
                            bool *rewritten, struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table table = { 0 };
	int ret = make_table(c, &table, errp);

	if (ret == 1) {
		ret = write_snapshots(meta, &table, errp);
		*rewritten = true;
	}
	qcf_snapshot_table_fini(&table);
	return ret;
}

/* ------------------------------------------------------------------ bitmaps */

/* Take out those that make no sense, from the end, so that numbers stay. */
static void remove_unsound(const struct qcf_checker *c,
                           struct qcf_bitmap_draft *draft)
{
	for (uint32_t i = c->bitmap_count; i > 0; i--) {
		if (!c->sound_bitmaps[i - 1])
			qcf_draft_remove(draft, &draft->items[i - 1]);
	}
}

/* What a broken bitmap refers to may be somebody else's, so nothing is freed here:
 * a look at all references does that. */
static int keep_sound(struct qcf_checker *c, struct qcf_meta *meta,
                      struct qcowfmt_error **errp)
{
	struct qcf_bitmap_draft draft;
	int ret =
		qcf_draft_begin(&draft, meta, meta->header.virtual_size, errp);

	if (ret == 0) {
		draft.keep_old = true;
		remove_unsound(c, &draft);
		ret = qcf_draft_write(&draft, errp);
	}
	if (ret == 0)
		ret = qcf_draft_switch(&draft, errp);
	qcf_draft_fini(&draft);
	return qcf_wrap(errp, "dropping broken bitmaps", ret);
}

static int repair_bitmaps(struct qcf_checker *c, struct qcf_meta *meta,
                          bool *rewritten, struct qcowfmt_error **errp)
{
	*rewritten = true;
	if (c->broken_directory || c->bitmap_count != meta->bitmaps.count)
		return qcf_bitmaps_drop(meta, errp);
	return keep_sound(c, meta, errp);
}

/* --------------------------------------------------------------- everything */

int qcf_repair_tables(struct qcf_checker *c, struct qcf_meta *meta,
                      bool *rewritten, struct qcowfmt_error **errp)
{
	int ret = 0;

	/* New clusters might be where something refers to that is not there. */
	if (qcf_counts_any(&c->dangling))
		return 0;
	if (c->need_snapshots)
		ret = repair_snapshots(c, meta, rewritten, errp);
	if (ret == 0 && c->need_bitmaps)
		ret = repair_bitmaps(c, meta, rewritten, errp);
	return ret;
}
