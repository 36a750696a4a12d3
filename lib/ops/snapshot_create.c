/* SPDX-License-Identifier: MIT */
/*
 * snapshot_create.c - keeping the present state as a snapshot
 *
 * The snapshot gets a copy of the active L1 table and shares everything that it
 * reaches.  Order (E: the header write is when it happens):
 *
 *   copy of the L1 table, new snapshot table, their counts          ─ flush
 *   COPIED flags cleared, counts raised                             ─ flush
 *   E: the header points to the new snapshot table                  ─ flush
 *   VM state leaves the active L1 table, its counts fall            ─ flush
 *   the old snapshot table is freed
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "checked.h"
#include "l1_table.h"
#include "recount.h"
#include "snapshot_change.h"
#include "snapshot_create.h"
#include "writeback.h"

#define MAX_ID_LEN   127u
#define MAX_NAME_LEN 255u
#define MAX_EXTRA    1000u

struct creating {
	struct qcf_snapshot_change change;
	const struct qcowfmt_snapshot_options *options;
	struct qcf_tree tree; /* everything active */
	struct qcf_area copy; /* of the L1 table */
};

/* -------------------------------------------------------------- the new entry */

static int check_options(const struct qcowfmt_snapshot_options *o,
                         struct qcowfmt_error **errp)
{
	const char *what = NULL;

	if (o->name != NULL && strlen(o->name) > MAX_NAME_LEN)
		what = "the name of a snapshot has at most 255 bytes";
	else if (o->id != NULL && strlen(o->id) > MAX_ID_LEN)
		what = "the id of a snapshot has at most 127 bytes";
	else if (o->id != NULL && *o->id == '\0')
		what = "the id of a snapshot cannot be empty";
	else if (o->extra_len > MAX_EXTRA)
		what = "a snapshot can have at most 1000 bytes of extra data";
	else if (o->extra == NULL && o->extra_len > 0)
		what = "the extra data has a length, but no bytes";
	else if (o->date_nsec >= 1000000000)
		what = "a second has fewer nanoseconds";
	return what == NULL
	               ? 0
	               : qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

/* Digits at the beginning of an id, as a number; without any it is 0. */
static uint64_t id_value(const char *id)
{
	uint64_t value = 0;

	for (; *id >= '0' && *id <= '9'; id++) {
		if (value > (UINT64_MAX - 9) / 10)
			return UINT64_MAX;
		value = value * 10 + (uint64_t)(*id - '0');
	}
	return value;
}

static int check_id(const struct qcf_snapshot_table *table, const char *id,
                    struct qcowfmt_error **errp)
{
	for (uint32_t i = 0; i < table->count; i++) {
		if (strcmp(table->entries[i].id, id) == 0)
			return qcf_fail(errp, EEXIST, QCOWFMT_ERR_USAGE,
			                "there is a snapshot with id '%s' "
			                "already",
			                id);
	}
	return 0;
}

/* One more than the largest id there is. */
static int choose_id(const struct qcf_snapshot_table *table, char **id,
                     struct qcowfmt_error **errp)
{
	uint64_t largest = 0;
	char text[32];

	for (uint32_t i = 0; i < table->count; i++)
		largest = QCF_MAX(largest, id_value(table->entries[i].id));
	if (largest == UINT64_MAX)
		return qcf_fail(errp, EOVERFLOW, QCOWFMT_ERR_LIMIT,
		                "no id above those of the other snapshots is "
		                "left: give one");
	(void)snprintf(text, sizeof(text), "%" PRIu64, largest + 1);
	*id = strdup(text);
	return *id == NULL ? qcf_fail_oom(errp) : 0;
}

static int copy_text(char **copy, const char *text, struct qcowfmt_error **errp)
{
	*copy = strdup(text == NULL ? "" : text);
	return *copy == NULL ? qcf_fail_oom(errp) : 0;
}

static int copy_extra(struct qcf_snapshot_entry *entry,
                      const struct qcowfmt_snapshot_options *o,
                      struct qcowfmt_error **errp)
{
	if (o->extra_len == 0)
		return 0;
	entry->unknown_extra = malloc(o->extra_len);
	if (entry->unknown_extra == NULL)
		return qcf_fail_oom(errp);
	memcpy(entry->unknown_extra, o->extra, o->extra_len);
	entry->unknown_extra_len = o->extra_len;
	return 0;
}

static void set_date(struct qcf_snapshot_entry *entry,
                     const struct qcowfmt_snapshot_options *o)
{
	struct timespec now = {
		.tv_sec = o->date_sec,
		.tv_nsec = (long)o->date_nsec,
	};

	if (o->date_sec == 0)
		(void)clock_gettime(CLOCK_REALTIME, &now);
	entry->date_sec = (uint32_t)now.tv_sec;
	entry->date_nsec = (uint32_t)now.tv_nsec;
}

static int fill_entry(struct creating *c, struct qcf_snapshot_entry *entry,
                      struct qcowfmt_error **errp)
{
	const struct qcowfmt_snapshot_options *o = c->options;
	const struct qcf_meta *meta = c->change.meta;
	int ret;

	entry->l1_size = (uint32_t)meta->l1.entry_count;
	entry->disk_size = meta->header.virtual_size;
	entry->vm_state_size = o->vm_state_size;
	entry->vm_clock_nsec = o->vm_clock_nsec;
	entry->icount = o->icount;
	set_date(entry, o);
	if (o->id != NULL)
		ret = copy_text(&entry->id, o->id, errp);
	else
		ret = choose_id(&c->change.table, &entry->id, errp);
	if (ret == 0)
		ret = copy_text(&entry->name, o->name, errp);
	return ret < 0 ? ret : copy_extra(entry, o, errp);
}

static int add_entry(struct creating *c, struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table *table = &c->change.table;
	struct qcf_snapshot_entry entry = { 0 };
	int ret = 0;

	if (table->count == QCF_MAX_SNAPSHOTS)
		return qcf_fail(errp, EOVERFLOW, QCOWFMT_ERR_LIMIT,
		                "the image has %u snapshots, which is as many "
		                "as there can be",
		                QCF_MAX_SNAPSHOTS);
	if (c->options->id != NULL)
		ret = check_id(table, c->options->id, errp);
	if (ret == 0)
		ret = fill_entry(c, &entry, errp);
	if (ret == 0)
		ret = qcf_snapshot_table_append(table, &entry, errp);
	qcf_snapshot_entry_fini(&entry);
	return ret;
}

/* -------------------------------------------------------------------- steps */

/* The copy needs no COPIED flags: they mean nothing in a snapshot. */
static int write_copy(struct creating *c, struct qcowfmt_error **errp)
{
	const struct qcf_meta *meta = c->change.meta;
	const struct qcf_be64 *entries = qcf_l1_raw(meta);
	uint64_t count = meta->l1.entry_count;
	QCF_AUTO_FREE struct qcf_be64 *copy = calloc(count + 1, sizeof(*copy));

	if (copy == NULL)
		return qcf_fail_oom(errp);
	for (uint64_t i = 0; i < count; i++)
		copy[i] = qcf_be64_encode(qcf_be64_decode(entries[i]) &
		                          ~QCF_ENTRY_COPIED);
	return qcf_area_write(c->change.meta, copy, count * 8, &c->copy, errp);
}

static int prepare(struct creating *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->change.meta;
	struct qcf_snapshot_table *table = &c->change.table;
	int ret = add_entry(c, errp);

	if (ret == 0)
		ret = qcf_tree_init(&c->tree, meta, qcf_l1_raw(meta),
		                    meta->l1.entry_count, errp);
	if (ret == 0)
		ret = qcf_recount_check_room(meta, &c->tree, errp);
	if (ret == 0)
		ret = write_copy(c, errp);
	if (ret < 0)
		return ret;
	table->entries[table->count - 1].l1_table_offset = c->copy.host_offset;
	ret = qcf_snapshot_place_table(&c->change, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

static void forget_tables(struct qcf_meta *meta, const struct qcf_tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		qcf_overlap_remove(
			&meta->overlap, QCF_OVERLAP_L2,
			qcf_host_cluster(&meta->geometry,
		                         tree->tables[i].host_offset));
}

/* VM state belongs to the snapshot alone. */
static int drop_vm_state(struct creating *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->change.meta;
	uint64_t first =
		qcf_l1_entries_for(&meta->geometry, meta->header.virtual_size);
	struct qcf_tree tree;
	int ret;

	if (first >= meta->l1.entry_count)
		return 0;
	ret = qcf_tree_init(&tree, meta, qcf_l1_raw(meta) + first,
	                    meta->l1.entry_count - first, errp);
	if (ret < 0 || tree.count == 0) {
		qcf_tree_fini(&tree);
		return ret;
	}
	ret = qcf_l1_cut(meta, first, errp);
	if (ret == 0) {
		forget_tables(meta, &tree);
		ret = qcf_meta_flush(meta, errp);
	}
	if (ret == 0)
		ret = qcf_snapshot_unshare(&c->change, &tree, errp);
	qcf_tree_fini(&tree);
	return ret;
}

static int change(struct creating *c, struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = c->change.meta;
	int ret = qcf_snapshot_start_changing(&c->change, errp);

	if (ret == 0)
		ret = qcf_snapshot_share(&c->change, &c->tree, true, errp);
	if (ret == 0)
		ret = qcf_snapshot_switch_table(&c->change, errp);
	if (ret == 0)
		ret = drop_vm_state(c, errp);
	if (ret < 0)
		return ret;
	qcf_recount_end(meta);
	ret = qcf_area_free(meta, &c->change.old_table, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}

int qcf_snapshot_create(struct qcowfmt_image *image,
                        const struct qcowfmt_snapshot_options *options,
                        struct qcowfmt_error **errp)
{
	struct creating c = { .options = options };
	int ret = check_options(options, errp);

	if (ret == 0)
		ret = qcf_snapshot_begin(&c.change, image, errp);
	if (ret < 0)
		return ret;
	ret = prepare(&c, errp);
	if (ret == 0)
		ret = change(&c, errp);
	if (ret < 0 && !c.change.changing)
		(void)qcf_area_free(c.change.meta, &c.copy, NULL);
	qcf_tree_fini(&c.tree);
	return qcf_snapshot_end(&c.change, ret, errp);
}
