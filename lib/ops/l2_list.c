/* SPDX-License-Identifier: MIT */
/* l2_list.c - every L2 table of an image, active or of a snapshot, once */
#include <errno.h>
#include <inttypes.h>

#include "check_id.h"
#include "checked.h"
#include "image_flags.h"
#include "l2_list.h"
#include "meta_protect.h"
#include "snapshot_table.h"

/* L1 entries of all tables together: 400 MiB of names. */
#define MAX_NAMES ((size_t)16 << 20)

static int add(struct qcf_l2_list *list, struct qcf_l2_name name,
               struct qcowfmt_error **errp)
{
	if (list->count == MAX_NAMES)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "the L1 tables have more than %zu entries "
		                "together",
		                MAX_NAMES);
	if (list->count == list->room) {
		size_t room = QCF_MAX(list->room * 2, (size_t)64);
		struct qcf_l2_name *tables =
			realloc(list->tables, room * sizeof(*tables));

		if (tables == NULL)
			return qcf_fail_oom(errp);
		list->tables = tables;
		list->room = room;
	}
	list->tables[list->count++] = name;
	return 0;
}

static int add_entry(struct qcf_meta *meta, struct qcf_l2_list *list,
                     struct qcf_be64 raw, uint64_t l1_index, bool active,
                     struct qcowfmt_error **errp)
{
	uint64_t offset = qcf_l1_entry_decode(&meta->geometry, raw).l2_offset;
	struct qcf_l2_name name = {
		.l2_offset = offset,
		.l1_index = (uint32_t)l1_index,
		.references = 1,
		.active = active,
	};

	if (offset == 0)
		return 0;
	if (!qcf_meta_is_cluster_offset(meta, offset))
		return qcf_meta_corrupt(meta, QCF_CHECK_L2_OFFSET, offset,
		                        errp);
	/* Writing through a table that is other metadata would change both. */
	if (qcf_meta_is_not_only_l2(meta, offset))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP, offset, errp);
	return add(list, name, errp);
}

static int add_active(struct qcf_meta *meta, struct qcf_l2_list *list,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < meta->l1.entry_count; i++) {
		struct qcf_be64 raw = { atomic_load(&meta->l1.entries[i]) };

		ret = add_entry(meta, list, raw, i, true, errp);
	}
	return ret;
}

static int add_snapshot(struct qcf_meta *meta, struct qcf_l2_list *list,
                        const struct qcf_snapshot_entry *snapshot,
                        struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *entries = NULL;
	int ret = qcf_snapshot_read_l1(meta, snapshot, &entries, errp);

	for (uint32_t i = 0; ret == 0 && i < snapshot->l1_size; i++)
		ret = add_entry(meta, list, entries[i], i, false, errp);
	return ret;
}

static int add_snapshots(struct qcf_meta *meta, struct qcf_l2_list *list,
                         struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table table;
	int ret = qcf_snapshot_table_load(meta, &table, errp);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; ret == 0 && i < table.count; i++)
		ret = add_snapshot(meta, list, &table.entries[i], errp);
	qcf_snapshot_table_fini(&table);
	return ret;
}

static int by_offset(const void *left, const void *right)
{
	const struct qcf_l2_name *a = left;
	const struct qcf_l2_name *b = right;

	return (a->l2_offset > b->l2_offset) - (a->l2_offset < b->l2_offset);
}

/* Sort, and make one name of those of the same table. */
static void merge(struct qcf_l2_list *list)
{
	size_t kept = 0;

	if (list->count > 1)
		qsort(list->tables, list->count, sizeof(list->tables[0]),
		      by_offset);
	for (size_t i = 0; i < list->count; i++) {
		struct qcf_l2_name *name = &list->tables[i];
		struct qcf_l2_name *last = &list->tables[kept - (kept > 0)];

		if (kept == 0 || last->l2_offset != name->l2_offset) {
			list->tables[kept++] = *name;
			continue;
		}
		last->references++;
		last->active |= name->active;
		last->misplaced |= last->l1_index != name->l1_index;
	}
	list->count = kept;
}

int qcf_l2_list_collect(struct qcf_meta *meta, struct qcf_l2_list *list,
                        struct qcowfmt_error **errp)
{
	int ret;

	*list = (struct qcf_l2_list){ 0 };
	ret = add_active(meta, list, errp);
	if (ret == 0)
		ret = add_snapshots(meta, list, errp);
	if (ret == 0)
		merge(list);
	return ret;
}

void qcf_l2_list_fini(struct qcf_l2_list *list)
{
	free(list->tables);
	*list = (struct qcf_l2_list){ 0 };
}

const struct qcf_l2_name *qcf_l2_list_find(const struct qcf_l2_list *list,
                                           uint64_t l2_offset)
{
	struct qcf_l2_name key = { .l2_offset = l2_offset };

	if (list->count == 0)
		return NULL;
	return bsearch(&key, list->tables, list->count, sizeof(key), by_offset);
}

int qcf_l2_visit(struct qcf_meta *meta, const struct qcf_l2_name *table,
                 qcf_l2_visitor visit, void *opaque,
                 struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &meta->geometry;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < g->l2_entry_count;
	     i += g->slice_entry_count) {
		struct qcf_block *slice;

		ret = qcf_cache_pin(&meta->l2_cache,
		                    table->l2_offset + qcf_slice_offset(g, i),
		                    &slice, errp);
		if (ret < 0)
			break;
		ret = visit(opaque, table, slice, i, errp);
		qcf_cache_unpin(&meta->l2_cache, slice);
	}
	return ret;
}

int qcf_l2_visit_all(struct qcf_meta *meta, const struct qcf_l2_list *list,
                     qcf_l2_visitor visit, void *opaque,
                     struct qcowfmt_error **errp)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < list->count; i++)
		ret = qcf_l2_visit(meta, &list->tables[i], visit, opaque, errp);
	return ret;
}

struct qcf_l2_raw qcf_l2_slice_get(const struct qcf_meta *meta,
                                   const struct qcf_block *slice, uint64_t i)
{
	uint64_t words = meta->geometry.l2_entry_size / 8;
	struct qcf_l2_raw raw = { .word = qcf_block_word(slice, i * words) };

	if (words > 1)
		raw.bitmap = qcf_block_word(slice, i * words + 1);
	return raw;
}

void qcf_l2_slice_set(struct qcf_meta *meta, struct qcf_block *slice,
                      uint64_t i, struct qcf_l2_raw raw)
{
	QCF_GUARD(&meta->map_lock);

	qcf_block_set_word(slice, i * (meta->geometry.l2_entry_size / 8),
	                   raw.word);
	qcf_cache_mark_dirty(&meta->l2_cache, slice);
}
