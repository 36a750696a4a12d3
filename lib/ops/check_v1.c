/* SPDX-License-Identifier: MIT */
/*
 * check_v1.c - an image of version 1
 *
 * Everything belongs to one table entry alone, may begin at any sector, and
 * compressed data at any byte.  So all that is in use is gathered as pieces of the
 * file, neighbours joined, and no two may overlap.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_refs.h"
#include "check_v1.h"
#include "checked.h"

#define L1_CHUNK 1024u /* entries that are read at once */

/* L2 tables whose offsets are held in memory: 128 MiB. */
#define MAX_TABLES (UINT64_C(16) << 20)

struct piece {
	uint64_t first;
	uint64_t end;
};

struct pieces {
	struct piece *items;
	size_t count;
	size_t room;
};

struct walk {
	struct qcf_checker *c;
	struct pieces used;
	struct pieces tables; /* one for each L1 entry, never joined */
	uint64_t expected;    /* as in check_l2.c */
};

/* ------------------------------------------------------------------- pieces */

static int add_piece(struct pieces *p, uint64_t first, uint64_t len, bool join,
                     struct qcowfmt_error **errp)
{
	struct piece *last = p->count == 0 ? NULL : &p->items[p->count - 1];
	struct piece *items;

	if (join && last != NULL && last->end == first) {
		last->end += len;
		return 0;
	}
	if (p->count == p->room) {
		p->room = QCF_MAX(p->room * 2, (size_t)64);
		items = realloc(p->items, p->room * sizeof(*items));
		if (items == NULL)
			return qcf_fail_oom(errp);
		p->items = items;
	}
	p->items[p->count++] = (struct piece){ first, first + len };
	return 0;
}

static int by_first(const void *left, const void *right)
{
	const struct piece *a = left;
	const struct piece *b = right;

	return (a->first > b->first) - (a->first < b->first);
}

static void sort_pieces(struct pieces *p)
{
	if (p->count > 1)
		qsort(p->items, p->count, sizeof(*p->items), by_first);
}

/* Note that bytes are in use; those behind the end of the file are corruption. */
static int use(struct walk *w, const char *what, uint64_t first, uint64_t len,
               struct qcowfmt_error **errp)
{
	struct qcf_checker *c = w->c;

	if (first >= c->file_size) {
		qcf_check_report(c, QCF_CHECK_BEYOND_END, first, 1,
		                 "ERROR %s at offset 0x%" PRIx64
		                 " is beyond the end of the file",
		                 what, first);
		return 0;
	}
	return add_piece(&w->used, first, len, true, errp);
}

static void find_overlaps(struct walk *w)
{
	uint64_t end = 0;

	sort_pieces(&w->used);
	for (size_t i = 0; i < w->used.count; i++) {
		const struct piece *p = &w->used.items[i];

		if (p->first < end)
			qcf_check_report(w->c, QCF_CHECK_V1_OVERLAP, p->first,
			                 1,
			                 "ERROR bytes at offset 0x%" PRIx64
			                 " are used twice",
			                 p->first);
		end = QCF_MAX(end, p->end);
	}
	w->c->result->image_end_offset =
		QCF_MIN(end, qcf_align_up(w->c->file_size, QCF_SECTOR_SIZE));
}

/* ---------------------------------------------------------------- L2 tables */

static void count_cluster(struct walk *w, const struct qcf_mapping *m)
{
	struct qcowfmt_check_result *result = w->c->result;

	result->allocated_clusters++;
	if (m->kind == QCF_COMPRESSED) {
		result->compressed_clusters++;
		result->fragmented_clusters++;
		return;
	}
	if (w->expected != 0 && m->host_offset != w->expected)
		result->fragmented_clusters++;
	w->expected = m->host_offset + w->c->geometry->cluster_size;
}

static int walk_entry(struct walk *w, uint64_t at, struct qcf_l2_raw raw,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = w->c->geometry;
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
	uint32_t id = qcf_mapping_check(g, raw);

	if (m.kind == QCF_UNALLOCATED)
		return 0;
	count_cluster(w, &m);
	if (id != 0) {
		qcf_check_report(w->c, id, at, 1, "ERROR %s: l2_entry=%" PRIx64,
		                 qcf_check_text(id), qcf_be64_decode(raw.word));
		return 0;
	}
	return use(w, "cluster", m.host_offset,
	           m.kind == QCF_COMPRESSED ? m.compressed_len
	                                    : g->cluster_size,
	           errp);
}

static int walk_l2(struct walk *w, uint64_t offset, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = w->c->geometry;
	QCF_AUTO_FREE struct qcf_be64 *words = NULL;
	int ret = use(w, "L2 table", offset, g->l2_table_size, errp);

	w->expected = 0;
	if (ret == 0 && offset < w->c->file_size)
		ret = qcf_check_read_table(w->c, "L2 table", offset,
		                           g->l2_table_size, &words, errp);
	for (uint64_t i = 0; ret == 0 && words != NULL && i < g->l2_entry_count;
	     i++)
		ret = walk_entry(w, offset + i * 8,
		                 qcf_l2_table_get(g, words, i), errp);
	return ret;
}

/* Each table once; one that several L1 entries name is used twice. */
static int walk_tables(struct walk *w, struct qcowfmt_error **errp)
{
	int ret = 0;

	sort_pieces(&w->tables);
	for (size_t i = 0; ret == 0 && i < w->tables.count; i++) {
		uint64_t offset = w->tables.items[i].first;

		if (i == 0 || offset != w->tables.items[i - 1].first)
			ret = walk_l2(w, offset, errp);
		else
			qcf_check_report(w->c, QCF_CHECK_V1_OVERLAP, offset, 1,
			                 "ERROR several L1 entries name the L2 "
			                 "table at offset 0x%" PRIx64,
			                 offset);
	}
	return ret;
}

/* ---------------------------------------------------------------- L1 table */

static int walk_l1_entry(struct walk *w, uint64_t at, uint64_t offset,
                         struct qcowfmt_error **errp)
{
	if (offset == 0)
		return 0;
	if (!qcf_check_is_offset(w->c, offset)) {
		qcf_check_report(w->c, QCF_CHECK_L2_OFFSET, at, 1,
		                 "ERROR l2_offset=%" PRIx64
		                 ": Table is not properly aligned; L1 entry "
		                 "corrupted",
		                 offset);
		return 0;
	}
	if (w->tables.count == MAX_TABLES)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the L1 table names more than %" PRIu64
		                " L2 tables",
		                MAX_TABLES);
	return add_piece(&w->tables, offset, 0, false, errp);
}

static int walk_l1_chunk(struct walk *w, uint64_t at, uint64_t count,
                         struct qcowfmt_error **errp)
{
	struct qcf_be64 raw[L1_CHUNK];
	bool ok = false;
	int ret =
		qcf_check_read(w->c, "L1 table", at, raw, count * 8, &ok, errp);

	for (uint64_t i = 0; ret == 0 && ok && i < count; i++)
		ret = walk_l1_entry(w, at + i * 8, qcf_be64_decode(raw[i]),
		                    errp);
	return ret;
}

static int walk_l1(struct walk *w, struct qcowfmt_error **errp)
{
	const struct qcf_header *h = w->c->header;
	uint64_t end = (uint64_t)h->l1_size * 8;
	int ret = end == 0 ? 0
	                   : use(w, "L1 table", h->l1_table_offset, end, errp);

	/* Behind the end of the file nothing is mapped. */
	end = QCF_MIN(h->l1_table_offset + end, w->c->file_size);
	for (uint64_t at = h->l1_table_offset; ret == 0 && at < end;
	     at += L1_CHUNK * 8)
		ret = walk_l1_chunk(
			w, at, QCF_MIN((end - at + 7) / 8, L1_CHUNK), errp);
	return ret;
}

/* For whoever wants to know where they are. */
static int list_tables(struct walk *w, struct qcowfmt_error **errp)
{
	struct qcf_checker *c = w->c;
	const struct piece *t = w->tables.items;

	c->tables = calloc(w->tables.count + 1, sizeof(*c->tables));
	if (c->tables == NULL)
		return qcf_fail_oom(errp);
	for (size_t i = 0; i < w->tables.count; i++) {
		if (i > 0 && t[i].first == t[i - 1].first)
			c->tables[c->table_count - 1].names++;
		else
			c->tables[c->table_count++] = (struct qcf_l2_ref){
				.offset = t[i].first,
				.names = 1,
				.active = 1,
			};
	}
	return 0;
}

int qcf_check_v1(struct qcf_checker *c, struct qcowfmt_error **errp)
{
	struct walk w = { .c = c };
	int ret = add_piece(&w.used, 0, QCF_HEADER_LEN_V1, true, errp);

	if (ret == 0)
		ret = walk_l1(&w, errp);
	if (ret == 0)
		ret = walk_tables(&w, errp);
	if (ret == 0) {
		find_overlaps(&w);
		ret = list_tables(&w, errp);
	}
	free(w.used.items);
	free(w.tables.items);
	return ret;
}
