/* SPDX-License-Identifier: MIT */
/*
 * compact_bitmaps.c - moving what dirty bitmaps consist of
 *
 * Clusters with bits, tables that name them, and the directory that names the
 * tables.  Each reference is 8 bytes inside one sector, and until the old places
 * are freed both it may name hold the same; so references are changed where they
 * are, one by one, in use or not.  The directory is named by the header.
 */
#include "compact_bitmaps.h"
#include "checked.h"
#include "header_ext.h"
#include "header_rewrite.h"
#include "header_switch.h"
#include "meta_tables.h"

/* Entries of a table that are read together. */
#define PIECE 512u

bool qcf_compact_has_bitmaps(const struct qcf_meta *meta,
                             struct qcf_bitmap_ext *ext)
{
	const struct qcf_extension *raw = qcf_bitmaps_extension(&meta->header);

	return meta->bitmaps.count > 0 && !meta->bitmaps.damaged &&
	       raw != NULL &&
	       qcf_bitmap_ext_decode(ext, raw, &meta->geometry, NULL) == 0;
}

/* ---------------------------------------------------------------- every entry */

/* Some entries of a table, which begin at an offset; *changed is set if they are
 * to be written. */
typedef void (*visit_piece)(struct qcf_compaction *c, struct qcf_be64 *entries,
                            uint32_t count, bool *changed);

static int visit_table(struct qcf_compaction *c,
                       const struct qcf_bitmap_entry *e, visit_piece visit,
                       struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->meta;
	struct qcf_be64 entries[PIECE];
	int ret = 0;

	for (uint32_t at = 0; ret == 0 && at < e->table_entries; at += PIECE) {
		uint32_t n = QCF_MIN(e->table_entries - at, PIECE);
		uint64_t offset = e->table_offset + (uint64_t)at * 8;
		size_t len = (size_t)n * 8;
		bool changed = false;

		ret = qcf_meta_read_table(meta, offset, entries, len, errp);
		if (ret == 0)
			visit(c, entries, n, &changed);
		if (ret == 0 && changed)
			ret = qcf_storage_pwrite(meta->storage, entries, len,
			                         offset, errp);
	}
	return ret;
}

static int visit_all(struct qcf_compaction *c, visit_piece visit,
                     struct qcowfmt_error **errp)
{
	const struct qcf_bitmaps *b = &c->meta->bitmaps;
	struct qcf_bitmap_ext ext;
	int ret = 0;

	if (!qcf_compact_has_bitmaps(c->meta, &ext))
		return 0;
	for (uint32_t i = 0; ret == 0 && i < b->count; i++) {
		const struct qcf_bitmap_entry *e = &b->items[i]->entry;

		if (qcf_bitmap_entry_check_table(e, &c->meta->geometry, NULL) ==
		    0)
			ret = visit_table(c, e, visit, errp);
	}
	return qcf_wrap(errp, "tables of dirty bitmaps", ret);
}

static void mark_piece(struct qcf_compaction *c, struct qcf_be64 *entries,
                       uint32_t count, bool *changed)
{
	const struct qcf_geometry *g = &c->meta->geometry;

	(void)changed;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t offset =
			qcf_bitmap_cluster_decode(entries[i]).host_offset;

		if (offset != 0)
			qcf_compact_mark(c, qcf_host_cluster(g, offset),
			                 QCF_USE_BITS);
	}
}

int qcf_compact_mark_bits(struct qcf_compaction *c, struct qcowfmt_error **errp)
{
	return visit_all(c, mark_piece, errp);
}

static void switch_piece(struct qcf_compaction *c, struct qcf_be64 *entries,
                         uint32_t count, bool *changed)
{
	const struct qcf_geometry *g = &c->meta->geometry;

	for (uint32_t i = 0; i < count; i++) {
		struct qcf_bitmap_cluster bits =
			qcf_bitmap_cluster_decode(entries[i]);
		uint64_t to = qcf_compact_new_place(
			c, qcf_host_cluster(g, bits.host_offset));

		if (bits.host_offset == 0 || to == QCF_STAYS)
			continue;
		bits.host_offset = qcf_host_offset(g, to);
		entries[i] = qcf_bitmap_cluster_encode(bits);
		*changed = true;
	}
}

/* What was looked at last is another place soon. */
static void forget_view(struct qcf_meta *meta)
{
	QCF_GUARD(&meta->bitmaps.lock);

	meta->bitmaps.viewed = NULL;
}

int qcf_compact_switch_bits(struct qcf_compaction *c,
                            struct qcowfmt_error **errp)
{
	int ret;

	forget_view(c->meta);
	ret = visit_all(c, switch_piece, errp);
	return ret < 0 ? ret : qcf_meta_flush(c->meta, errp);
}

/* ------------------------------------------------------ tables and directory */

static uint64_t entry_offset(const struct qcf_bitmaps *b,
                             const struct qcf_bitmap_ext *ext, uint32_t index)
{
	uint64_t offset = ext->directory_offset;

	for (uint32_t i = 0; i < index; i++)
		offset += qcf_bitmap_entry_size(&b->items[i]->entry);
	return offset;
}

static int switch_table(struct qcf_meta *meta, const struct qcf_bitmap_ext *ext,
                        const struct qcf_table_place *t,
                        struct qcowfmt_error **errp)
{
	struct qcf_bitmaps *b = &meta->bitmaps;
	uint64_t offset = qcf_host_offset(&meta->geometry, t->to);
	struct qcf_be64 raw = qcf_be64_encode(offset);
	bool switched = false;
	int ret = qcf_header_switch(meta, entry_offset(b, ext, t->index), &raw,
	                            sizeof(raw), &switched, errp);

	if (switched)
		b->items[t->index]->entry.table_offset = offset;
	return ret;
}

static int switch_directory(struct qcf_meta *meta, struct qcf_bitmap_ext *ext,
                            const struct qcf_table_place *t,
                            struct qcowfmt_error **errp)
{
	uint8_t bytes[QCF_BITMAP_EXT_LEN];
	struct qcf_header h = { 0 };
	int ret = qcf_header_copy(&meta->header, &h, errp);

	ext->directory_offset = qcf_host_offset(&meta->geometry, t->to);
	qcf_bitmap_ext_encode(ext, bytes);
	if (ret == 0)
		ret = qcf_header_add_extension(&h, QCF_EXT_BITMAPS, bytes,
		                               sizeof(bytes), errp);
	if (ret == 0)
		ret = qcf_header_rewrite(meta, &h, errp);
	qcf_header_fini(&h);
	if (ret == 0)
		qcf_overlap_set_table(&meta->overlap, QCF_OVERLAP_BITMAPS,
		                      t->to, t->count);
	return ret;
}

int qcf_compact_switch_bitmap_table(struct qcf_compaction *c,
                                    const struct qcf_table_place *t,
                                    struct qcowfmt_error **errp)
{
	struct qcf_bitmap_ext ext = { 0 };

	if (!qcf_compact_has_bitmaps(c->meta, &ext))
		return 0;
	forget_view(c->meta);
	return t->kind == QCF_TABLE_BITMAPS
	               ? switch_directory(c->meta, &ext, t, errp)
	               : switch_table(c->meta, &ext, t, errp);
}
