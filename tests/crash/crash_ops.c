/* SPDX-License-Identifier: MIT */
/*
 * crash_ops.c - the operations that crash tests put in sequence
 *
 * They meet in a few clusters, so that in a sequence one undoes, extends or
 * reuses what another did:
 *
 *   0 ... filled - 1   have content, shared with a snapshot if there is one
 *   filled + 2 ...     have none
 *   B - 2 ... B + 1    on both sides of the end of the first L2 table
 *
 * Writing compressed clusters and what matters with subclusters only is for the
 * kinds of image that have it.
 */
#include <string.h>

#include "auto.h"
#include "crash_ops.h"

/* Sector numbers of a cluster. */
static uint64_t at(const struct world *w, uint64_t cluster)
{
	return cluster * w->sectors_per_cluster;
}

/* The first cluster without content. */
static uint64_t empty(const struct world *w)
{
	return w->geometry->filled + 2;
}

/* The cluster with which the second L2 table begins, or the last one. */
static uint64_t boundary(const struct world *w)
{
	uint64_t entry_size = w->geometry->extended_l2 ? 16 : 8;
	uint64_t entries = w->geometry->l2_bits != 0
	                           ? UINT64_C(1) << w->geometry->l2_bits
	                           : w->cluster_size / entry_size;

	return QCF_MIN(entries, w->geometry->virtual_clusters - 2);
}

static void write_clusters(struct world *w, uint64_t cluster, uint64_t count)
{
	world_write(w, at(w, cluster), count * w->sectors_per_cluster);
}

static void write_new(struct world *w)
{
	write_clusters(w, empty(w), 1);
}

static void write_new_pair(struct world *w)
{
	write_clusters(w, empty(w), 2);
}

/* One sector of a new cluster: the rest comes from below or is zeros. */
static void write_part(struct world *w)
{
	world_write(w, at(w, empty(w) + 1) + w->sectors_per_cluster / 2, 1);
}

/* The end of one new cluster and the start of the next. */
static void write_astride(struct world *w)
{
	world_write(w, at(w, empty(w) + 3) - 1, 2);
}

static void overwrite(struct world *w)
{
	write_clusters(w, 1, 1);
}

static void overwrite_part(struct world *w)
{
	world_write(w, at(w, 3) - 1, 2);
}

static void write_cross_l2(struct world *w)
{
	write_clusters(w, boundary(w) - 1, 2);
}

static void write_second_l2(struct world *w)
{
	world_write(w, at(w, boundary(w)), 1);
}

static void write_many(struct world *w)
{
	write_clusters(w, empty(w) + 4, 8);
}

static void write_scattered(struct world *w)
{
	for (uint64_t i = 0; i < 4; i++)
		world_write(w, at(w, empty(w) + 2 * i), 1);
}

static void zero_keep(struct world *w)
{
	world_zero(w, at(w, 1), 2 * w->sectors_per_cluster, 0);
}

static void zero_unmap(struct world *w)
{
	world_zero(w, at(w, 2), 2 * w->sectors_per_cluster,
	           QCOWFMT_ZERO_MAY_UNMAP);
}

static void zero_part(struct world *w)
{
	world_zero(w, at(w, 1) + w->sectors_per_cluster - 1, 2, 0);
}

static void zero_new(struct world *w)
{
	world_zero(w, at(w, empty(w)), 3 * w->sectors_per_cluster,
	           QCOWFMT_ZERO_MAY_UNMAP);
}

static void discard_one(struct world *w)
{
	world_discard(w, at(w, 1), w->sectors_per_cluster);
}

static void discard_filled(struct world *w)
{
	world_discard(w, 0, at(w, w->geometry->filled));
}

static void discard_new(struct world *w)
{
	world_discard(w, at(w, empty(w)), 4 * w->sectors_per_cluster);
}

static void write_vector(struct world *w)
{
	world_write_vector(w, at(w, empty(w)) + 1, w->sectors_per_cluster + 1);
}

static void flush(struct world *w)
{
	world_flush(w);
}

static void reopen(struct world *w)
{
	world_reopen(w);
}

/* Freed clusters must be safe before others move in. */
static void reuse_freed(struct world *w)
{
	world_discard(w, 0, at(w, 2));
	world_flush(w);
	write_clusters(w, empty(w) + 12, 3);
}

/* The same without a flush: reuse must wait or bring its own. */
static void reuse_at_once(struct world *w)
{
	world_discard(w, at(w, 2), 2 * w->sectors_per_cluster);
	write_clusters(w, empty(w) + 16, 2);
	write_clusters(w, empty(w) + 18, 2);
}

/* -------------------------------------------------------------- compressed */

static void compress_clusters(struct world *w, uint64_t cluster, uint64_t count)
{
	world_compress(w, at(w, cluster), count * w->sectors_per_cluster);
}

static void compress_new(struct world *w)
{
	compress_clusters(w, empty(w), 1);
}

/* More than a host cluster holds of them, one after the other. */
static void compress_many(struct world *w)
{
	compress_clusters(w, empty(w) + 4, 9);
}

static void compress_over(struct world *w)
{
	compress_clusters(w, 1, 2);
}

/* A normal write to one of several that share a host cluster. */
static void compress_and_write(struct world *w)
{
	compress_clusters(w, empty(w) + 20, 3);
	world_write(w, at(w, empty(w) + 21) + 1, 1);
}

/* The space of what is freed is used while its neighbours are there. */
static void compress_and_discard(struct world *w)
{
	compress_clusters(w, empty(w) + 24, 4);
	world_discard(w, at(w, empty(w) + 25), 2 * w->sectors_per_cluster);
	world_flush(w);
	compress_clusters(w, empty(w) + 28, 3);
	write_clusters(w, empty(w) + 31, 1);
}

static bool compresses(const struct geometry *g)
{
	return g->compresses;
}

/* ------------------------------------------------------------- subclusters */

#define SUBCLUSTERS 32

/* Sector number of a subcluster. */
static uint64_t at_sub(const struct world *w, uint64_t cluster, uint64_t sub)
{
	return at(w, cluster) + sub * (w->sectors_per_cluster / SUBCLUSTERS);
}

/* Gaps between what is there. */
static void write_subclusters(struct world *w)
{
	for (uint64_t i = 3; i < SUBCLUSTERS; i += 9)
		world_write(w, at_sub(w, empty(w), i), 1);
}

static void write_across_subclusters(struct world *w)
{
	world_write(w, at_sub(w, empty(w) + 1, 5) - 1,
	            2 + w->sectors_per_cluster / 4);
}

static void zero_subclusters(struct world *w)
{
	world_zero(w, at_sub(w, 1, 7), 9 * w->sectors_per_cluster / SUBCLUSTERS,
	           0);
	world_zero(w, at_sub(w, 2, 20), w->sectors_per_cluster,
	           QCOWFMT_ZERO_MAY_UNMAP);
}

static void zero_new_subclusters(struct world *w)
{
	world_zero(w, at_sub(w, empty(w), 2), w->sectors_per_cluster / 2, 0);
	world_write(w, at_sub(w, empty(w), 4), 1);
}

static bool has_subclusters(const struct geometry *g)
{
	return g->extended_l2;
}

/* --------------------------------------------------------- the whole image */

/* One that is there: the newest, or a new one. */
static int some_snapshot(struct world *w)
{
	for (int i = w->snapshot_count - 1; i >= 0; i--) {
		if (w->snapshots[i].ending == SIZE_MAX)
			return i;
	}
	world_snapshot_create(w);
	return w->snapshot_count - 1;
}

static void snapshot_create(struct world *w)
{
	world_snapshot_create(w);
}

/* What the snapshot shares is written again. */
static void snapshot_and_write(struct world *w)
{
	world_write(w, at(w, empty(w)) + 1, 1);
	world_snapshot_create(w);
	overwrite_part(w);
	world_write(w, at(w, empty(w)), 1);
}

/* Not with bitmaps, which would not tell what has changed. */
static void snapshot_apply(struct world *w)
{
	int number = some_snapshot(w);

	if (w->has_bitmaps)
		return;

	overwrite(w);
	world_snapshot_apply(w, number);
}

static void snapshot_delete(struct world *w)
{
	int number = some_snapshot(w);

	overwrite(w);
	world_snapshot_delete(w, number);
}

/* Clusters that only the snapshot had are used again. */
static void snapshot_delete_and_reuse(struct world *w)
{
	int number = some_snapshot(w);

	discard_filled(w);
	world_snapshot_delete(w, number);
	write_clusters(w, empty(w) + 8, 4);
}

static void snapshot_with_vm_state(struct world *w)
{
	world_save_vm_state(w);
	overwrite(w);
	if (!w->has_bitmaps)
		world_snapshot_apply(w, w->snapshot_count - 1);
}

/* Version 2 cannot resize an image with snapshots. */
static void resize(struct world *w, int32_t preallocation)
{
	uint64_t last = w->geometry->virtual_clusters - 3;

	world_write(w, at(w, last), 2 * w->sectors_per_cluster + 1);
	if (w->traits.version > 2 || w->snapshot_count == 0)
		world_cut_and_grow(w, 2, preallocation);
}

static void cut_and_grow(struct world *w)
{
	resize(w, QCOWFMT_PREALLOCATION_OFF);
}

static void cut_and_preallocate(struct world *w)
{
	resize(w, QCOWFMT_PREALLOCATION_FULL);
}

static bool is_modern(const struct geometry *g)
{
	return g->version > 1;
}

static bool preallocates(const struct geometry *g)
{
	return g->version > 1 && !g->backing;
}

/* Clusters in the middle of the file become free while tables and clusters of data
 * lie at its end. */
static void compact(struct world *w)
{
	write_cross_l2(w);
	overwrite_part(w);
	world_discard(w, 0, at(w, 4));
	world_compact(w);
}

static void write_and_repair(struct world *w)
{
	write_clusters(w, empty(w), 2);
	world_discard(w, at(w, 1), w->sectors_per_cluster);
	world_repair(w);
}

static void convert(struct world *w)
{
	world_convert(w, w->geometry->filled + 4);
}

static void reopen_lazy(struct world *w)
{
	world_reopen_lazy(w);
	write_clusters(w, empty(w) + 1, 2);
	world_discard(w, at(w, 2), w->sectors_per_cluster);
}

static bool can_be_lazy(const struct geometry *g)
{
	return g->version == 3;
}

/* Neither subclusters nor a data file. */
static bool can_be_old(const struct geometry *g)
{
	return g->version > 1 && !g->extended_l2 && !g->data_file;
}

static void amend_version(struct world *w)
{
	zero_keep(w);
	world_amend_version(w);
}

static bool has_data_file(const struct geometry *g)
{
	return g->data_file;
}

static bool has_raw_data_file(const struct geometry *g)
{
	return g->data_file_raw;
}

static bool has_base(const struct geometry *g)
{
	return g->backing;
}

static void rebase(struct world *w)
{
	write_part(w);
	world_rebase(w);
}

static void commit(struct world *w)
{
	write_part(w);
	zero_unmap(w);
	world_commit(w);
}

static bool commits(const struct geometry *g)
{
	return g->commits && g->file_clusters == 0;
}

static bool has_keys(const struct geometry *g)
{
	return g->encryption == QCOWFMT_ENCRYPTION_LUKS;
}

/* -------------------------------------------------------------- dirty bitmaps */

static bool has_bitmap(const struct world *w, const char *name)
{
	const char *text =
		w->has_bitmaps ? w->bitmaps[w->bitmap_version_count - 1].text
			       : "";

	for (; *text != '\0'; text += strcspn(text, "\n") + 1) {
		if (text[0] == name[0])
			return true;
	}
	return false;
}

static void need_bitmap(struct world *w, const char *name)
{
	if (!has_bitmap(w, name))
		world_bitmap_change(w, QCOWFMT_BITMAP_ADD, name, NULL);
}

static void bitmap_add(struct world *w)
{
	if (!world_can_have_bitmaps(w))
		return;
	need_bitmap(w, has_bitmap(w, "a") ? "b" : "a");
	overwrite_part(w);
}

/* It is stored, and used again. */
static void bitmap_record(struct world *w)
{
	if (!world_can_have_bitmaps(w))
		return;
	need_bitmap(w, "a");
	write_part(w);
	world_reopen(w);
	overwrite(w);
}

static void bitmap_remove(struct world *w)
{
	if (!world_can_have_bitmaps(w))
		return;
	need_bitmap(w, "a");
	overwrite(w);
	world_bitmap_change(w, QCOWFMT_BITMAP_REMOVE, "a", NULL);
	write_part(w);
}

static void bitmap_clear(struct world *w)
{
	if (!world_can_have_bitmaps(w))
		return;
	need_bitmap(w, "a");
	write_part(w);
	world_bitmap_change(w, QCOWFMT_BITMAP_CLEAR, "a", NULL);
	overwrite(w);
}

static void bitmap_switch(struct world *w)
{
	if (!world_can_have_bitmaps(w))
		return;
	need_bitmap(w, "a");
	world_bitmap_change(w, QCOWFMT_BITMAP_DISABLE, "a", NULL);
	overwrite(w);
	world_bitmap_change(w, QCOWFMT_BITMAP_ENABLE, "a", NULL);
	write_part(w);
}

static void bitmap_merge(struct world *w)
{
	if (!world_can_have_bitmaps(w))
		return;
	need_bitmap(w, "a");
	write_part(w);
	need_bitmap(w, "b");
	world_bitmap_change(w, QCOWFMT_BITMAP_MERGE, "b", "a");
	overwrite(w);
}

const struct crash_op crash_ops[] = {
	{ "write_new", write_new, NULL, false, true },
	{ "write_new_pair", write_new_pair, NULL },
	{ "write_part", write_part, NULL, false, true },
	{ "write_astride", write_astride, NULL },
	{ "overwrite", overwrite, NULL },
	{ "overwrite_part", overwrite_part, NULL, false, true },
	{ "write_cross_l2", write_cross_l2, NULL, false, true },
	{ "write_second_l2", write_second_l2, NULL },
	{ "write_many", write_many, NULL },
	{ "write_scattered", write_scattered, NULL },
	{ "write_vector", write_vector, NULL },
	{ "zero_keep", zero_keep, NULL },
	{ "zero_unmap", zero_unmap, NULL, false, true },
	{ "zero_part", zero_part, NULL, false, true },
	{ "zero_new", zero_new, NULL },
	{ "discard_one", discard_one, NULL, false, true },
	{ "discard_filled", discard_filled, NULL, false, true },
	{ "discard_new", discard_new, NULL },
	{ "flush", flush, NULL, false, true },
	{ "reopen", reopen, NULL, false, true },
	{ "reuse_freed", reuse_freed, NULL },
	{ "reuse_at_once", reuse_at_once, NULL, false, true },
	{ "compress_new", compress_new, compresses },
	{ "compress_many", compress_many, compresses },
	{ "compress_over", compress_over, compresses, false, true },
	{ "compress_and_write", compress_and_write, compresses },
	{ "compress_and_discard", compress_and_discard, compresses, false,
	  true },
	{ "write_subclusters", write_subclusters, has_subclusters },
	{ "write_across_subclusters", write_across_subclusters, has_subclusters,
	  false, true },
	{ "zero_subclusters", zero_subclusters, has_subclusters, false, true },
	{ "zero_new_subclusters", zero_new_subclusters, has_subclusters },
	{ "snapshot_create", snapshot_create, crash_has_snapshots, true },
	{ "snapshot_and_write", snapshot_and_write, crash_has_snapshots, true,
	  true },
	{ "snapshot_apply", snapshot_apply, crash_has_snapshots, true, true },
	{ "snapshot_delete", snapshot_delete, crash_has_snapshots, true },
	{ "snapshot_delete_and_reuse", snapshot_delete_and_reuse,
	  crash_has_snapshots, true, true },
	{ "snapshot_with_vm_state", snapshot_with_vm_state, crash_has_snapshots,
	  true },
	{ "cut_and_grow", cut_and_grow, is_modern, true, true },
	{ "cut_and_preallocate", cut_and_preallocate, preallocates, true },
	{ "compact", compact, is_modern, true, true },
	{ "write_and_repair", write_and_repair, is_modern, true },
	{ "convert", convert, NULL, true, true },
	{ "reopen_lazy", reopen_lazy, can_be_lazy, true, true },
	{ "amend_counts", world_amend_counts, is_modern, true, true },
	{ "amend_lazy", world_amend_lazy, can_be_lazy, true },
	{ "amend_version", amend_version, can_be_old, true, true },
	{ "amend_data_name", world_amend_data_name, has_data_file, true, true },
	{ "amend_data_raw", world_amend_data_raw, has_raw_data_file, true },
	{ "rename_base", world_rename_base, has_base, true, true },
	{ "rebase", rebase, crash_rebases, true, true },
	{ "flatten", world_flatten, crash_flattens, true },
	{ "commit", commit, commits, true, true },
	{ "add_key", world_add_key, has_keys, true },
	{ "rotate_keys", world_rotate_keys, has_keys, true },
	{ "bitmap_add", bitmap_add, can_be_lazy, true },
	{ "bitmap_record", bitmap_record, can_be_lazy, true, true },
	{ "bitmap_remove", bitmap_remove, can_be_lazy, true, true },
	{ "bitmap_clear", bitmap_clear, can_be_lazy, true },
	{ "bitmap_switch", bitmap_switch, can_be_lazy, true },
	{ "bitmap_merge", bitmap_merge, can_be_lazy, true, true },
};

const size_t crash_op_count = QCF_ARRAY_LEN(crash_ops);

bool crash_op_applies(const struct crash_op *op, const struct geometry *g)
{
	return op->applies == NULL || op->applies(g);
}

const struct crash_op *crash_op_find(const char *name)
{
	for (size_t i = 0; i < crash_op_count; i++) {
		if (strcmp(crash_ops[i].name, name) == 0)
			return &crash_ops[i];
	}
	return NULL;
}
