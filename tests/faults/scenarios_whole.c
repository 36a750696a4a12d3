/* SPDX-License-Identifier: MIT */
/* scenarios_whole.c - changes of an image as a whole, while something fails */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "fault_images.h"

/* ------------------------------------------------------------------------- size */

static void resize(struct trial *t, int64_t change, uint32_t flags,
                   int32_t preallocation)
{
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.preallocation = preallocation,
	};
	uint64_t size = trial_disk_size(t->kind) + (uint64_t)change;

	TRY(t, qcowfmt_resize, t->image, size, &options, &t->error);
}

static void grow(struct trial *t)
{
	resize(t, 81920, 0, QCOWFMT_PREALLOCATION_OFF);
}

static void grow_and_reserve(struct trial *t)
{
	resize(t, 20480, 0, QCOWFMT_PREALLOCATION_FALLOC);
}

static void shrink(struct trial *t)
{
	resize(t, -(int64_t)(t->kind->cluster_size * 10), QCOWFMT_RESIZE_SHRINK,
	       QCOWFMT_PREALLOCATION_OFF);
}

/* ------------------------------------------------------------------------ amend */

static struct qcowfmt_amend_options amendment(void)
{
	return (struct qcowfmt_amend_options){
		.struct_size = sizeof(struct qcowfmt_amend_options),
	};
}

static void amend_version(struct trial *t)
{
	struct qcowfmt_amend_options options = amendment();

	options.version = t->kind->version == 3 ? 2 : 3;
	TRY(t, qcowfmt_amend, t->image, &options, &t->error);
}

static void amend_counts(struct trial *t)
{
	struct qcowfmt_amend_options options = amendment();

	options.refcount_bits = 64;
	TRY(t, qcowfmt_amend, t->image, &options, &t->error);
}

static void amend_lazy(struct trial *t)
{
	struct qcowfmt_amend_options options = amendment();
	bool lazy = (t->kind->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0;

	options.lazy_refcounts = lazy ? -1 : 1;
	TRY(t, qcowfmt_amend, t->image, &options, &t->error);
}

/* -------------------------------------------------------------------- snapshots */

static void take_snapshot(struct trial *t)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.id = "77",
		.name = "three",
		.date_sec = 1000000000,
	};

	TRY(t, qcowfmt_snapshot_create, t->image, &options, &t->error);
}

static void apply_snapshot(struct trial *t)
{
	TRY(t, qcowfmt_snapshot_apply, t->image, NULL, "one", &t->error);
}

static void delete_snapshot(struct trial *t)
{
	TRY(t, qcowfmt_snapshot_delete, t->image, NULL, "one", &t->error);
}

/* ---------------------------------------------------------------------- bitmaps */

static void change(struct trial *t, int32_t kind, const char *name,
                   const char *source)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = t->image,
		.name = name,
		.kind = kind,
		.granularity = kind == QCOWFMT_BITMAP_ADD ? 8192 : 0,
		.source_name = source,
	};

	TRY(t, qcowfmt_bitmap_change, &action, 1, NULL, &t->error);
}

static void add_bitmap(struct trial *t)
{
	change(t, QCOWFMT_BITMAP_ADD, "third", NULL);
}

static void remove_bitmap(struct trial *t)
{
	change(t, QCOWFMT_BITMAP_REMOVE, "second", NULL);
}

static void clear_bitmap(struct trial *t)
{
	change(t, QCOWFMT_BITMAP_CLEAR, "first", NULL);
}

static void disable_bitmap(struct trial *t)
{
	change(t, QCOWFMT_BITMAP_DISABLE, "first", NULL);
}

static void merge_bitmap(struct trial *t)
{
	change(t, QCOWFMT_BITMAP_MERGE, "second", "first");
}

/* So that there is something to merge: bits are new in memory, too. */
static void write_before(struct trial *t)
{
	uint8_t byte = 0;

	if (qcowfmt_pread(t->image, &byte, 1, t->kind->cluster_size * 8, NULL) <
	    0)
		return;
	(void)qcowfmt_pwrite(t->image, &byte, 1, t->kind->cluster_size * 8,
	                     NULL);
}

static void change_several(struct trial *t)
{
	struct qcowfmt_bitmap_action actions[3];

	for (int i = 0; i < 3; i++)
		actions[i] = (struct qcowfmt_bitmap_action){
			.struct_size = sizeof(actions[0]),
			.image = t->image,
		};
	actions[0].kind = QCOWFMT_BITMAP_ADD;
	actions[0].name = "fourth";
	actions[1].kind = QCOWFMT_BITMAP_MERGE;
	actions[1].name = "fourth";
	actions[1].source_name = "first";
	actions[2].kind = QCOWFMT_BITMAP_DISABLE;
	actions[2].name = "fourth";
	TRY(t, qcowfmt_bitmap_change, actions, 3, NULL, &t->error);
}

/* ------------------------------------------------------------------------- keys */

static void add_key(struct trial *t)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_KEY_SLOT,
		.slot = 3,
		.secret = "second",
		.secret_len = 6,
		.iter_time_ms = 1,
	};

	TRY(t, qcowfmt_add_key, t->image, &options, &t->error);
}

static void add_key_before(struct trial *t)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_KEY_SLOT,
		.slot = 3,
		.secret = "second",
		.secret_len = 6,
		.iter_time_ms = 1,
	};

	(void)qcowfmt_add_key(t->image, &options, NULL);
}

static void erase_key(struct trial *t)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_KEY_SLOT,
		.slot = 3,
	};

	TRY(t, qcowfmt_erase_key, t->image, &options, &t->error);
}

/* ----------------------------------------------------------- check and compact */

static void repair(struct trial *t)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };

	if (TRY(t, qcowfmt_check, t->image, QCOWFMT_CHECK_REPAIR_ALL, NULL,
	        NULL, &r, &t->error) >= 0) {
		if (r.corruptions + r.leaks + r.check_errors > 0)
			trial_incomplete(t);
		trial_put(t, &r.corruptions, sizeof(r.corruptions));
		trial_put(t, &r.leaks, sizeof(r.leaks));
	}
}

/* Leaks that lost drafts leave, while flags are looked at. */
static void free_leaks(struct trial *t)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };

	if (TRY(t, qcowfmt_check, t->image, QCOWFMT_CHECK_REPAIR_LEAKS, NULL,
	        NULL, &r, &t->error) >= 0 &&
	    r.corruptions + r.leaks + r.check_errors > 0)
		trial_incomplete(t);
}

static void compact(struct trial *t)
{
	struct qcowfmt_compact_result r = { .struct_size = sizeof(r) };

	TRY(t, qcowfmt_compact, t->image, NULL, &r, &t->error);
}

static void discard_before(struct trial *t)
{
	(void)qcowfmt_discard(t->image, 0, t->kind->cluster_size * 3, NULL);
	(void)qcowfmt_flush(t->image, NULL);
}

const struct scenario whole_scenarios[] = {
	{ "grow", NEEDS_GROWING, 0, grow },
	{ "grow and reserve", NEEDS_GROWING | NEEDS_QCOW2, 0,
	  grow_and_reserve },
	{ "shrink", NEEDS_GROWING, 0, shrink },
	{ "amend the version", NEEDS_QCOW2 | NEEDS_PLAIN, 0, amend_version },
	{ "amend the width of counts", NEEDS_VERSION_3, 0, amend_counts },
	{ "amend laziness", NEEDS_VERSION_3, 0, amend_lazy },
	{ "take a snapshot", NEEDS_QCOW2 | NEEDS_NO_DATA, 0, take_snapshot,
	  .again_errno = EEXIST },
	{ "apply a snapshot", NEEDS_SNAPSHOTS | NEEDS_NO_BITMAPS, 0,
	  apply_snapshot },
	{ "delete a snapshot", NEEDS_SNAPSHOTS, 0, delete_snapshot,
	  .again_errno = ENOENT },
	{ "add a bitmap", NEEDS_VERSION_3, 0, add_bitmap,
	  .again_errno = EEXIST },
	{ "remove a bitmap", NEEDS_BITMAPS, 0, remove_bitmap,
	  .again_errno = ENOENT },
	{ "clear a bitmap", NEEDS_BITMAPS, 0, clear_bitmap },
	{ "disable a bitmap", NEEDS_BITMAPS, 0, disable_bitmap },
	{ "merge bitmaps", NEEDS_BITMAPS, 0, merge_bitmap, write_before },
	{ "change several bitmaps", NEEDS_BITMAPS, 0, change_several,
	  write_before, .again_errno = EEXIST },
	{ "add a key", NEEDS_LUKS, 0, add_key, .again_errno = EEXIST },
	{ "erase a key", NEEDS_LUKS, 0, erase_key, add_key_before,
	  .again_errno = ENOENT },
	{ "repair", NEEDS_COUNTS, DAMAGED, repair },
	{ "free leaks", NEEDS_COUNTS, 0, free_leaks },
	{ "compact", NEEDS_QCOW2, 0, compact, discard_before },
};
const size_t whole_scenario_count = QCF_ARRAY_LEN(whole_scenarios);
