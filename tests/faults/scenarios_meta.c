/* SPDX-License-Identifier: MIT */
/* scenarios_meta.c - questions about an image, while something fails */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "fault_images.h"

static void map(struct trial *t, uint32_t flags)
{
	struct qcowfmt_extent extents[8];
	uint64_t size = trial_disk_size(t->kind);
	uint64_t at = 0;

	while (at < size) {
		int64_t count = TRY(t, qcowfmt_map, t->image, at, size - at,
		                    flags, extents, 8, &t->error);

		if (count < 0)
			return;
		trial_put(t, extents, (size_t)count * sizeof(extents[0]));
		at = extents[count - 1].guest_offset +
		     extents[count - 1].length;
	}
}

static void map_all(struct trial *t)
{
	map(t, 0);
}

static void map_holes(struct trial *t)
{
	map(t, QCOWFMT_MAP_HOLES);
}

static void info(struct trial *t)
{
	struct qcowfmt_info i = { .struct_size = sizeof(i) };

	if (TRY(t, qcowfmt_get_info, t->image, 0, &i, &t->error) < 0)
		return;
	trial_put(t, &i.virtual_size, sizeof(i.virtual_size));
	trial_put(t, &i.file_size, sizeof(i.file_size));
	trial_put(t, &i.version, sizeof(i.version));
	trial_put(t, &i.flags, sizeof(i.flags));
	trial_put_text(t, i.backing_filename);
	trial_put_text(t, i.data_filename);
}

static void encryption_info(struct trial *t)
{
	struct qcowfmt_encryption_info i = { .struct_size = sizeof(i) };

	if (TRY(t, qcowfmt_get_encryption_info, t->image, 0, &i, &t->error) < 0)
		return;
	trial_put(t, &i.encryption, sizeof(i.encryption));
	trial_put(t, i.slots, sizeof(i.slots));
	trial_put_text(t, i.uuid);
}

static void list_snapshots(struct trial *t)
{
	struct qcowfmt_snapshot_list *list = NULL;
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

	if (TRY(t, qcowfmt_snapshot_list, t->image, 0, &list, &t->error) < 0)
		return;
	for (uint32_t i = 0;
	     i < TRY_VALUE(t, qcowfmt_snapshot_list_count, list); i++) {
		if (TRY(t, qcowfmt_snapshot_list_get, list, i, &s, &t->error) <
		    0)
			break;
		trial_put_text(t, s.name);
		trial_put(t, &s.virtual_size, sizeof(s.virtual_size));
	}
	TRY_VOID(t, qcowfmt_snapshot_list_free, list);
}

static void list_bitmaps(struct trial *t)
{
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_bitmap b = { .struct_size = sizeof(b) };

	if (TRY(t, qcowfmt_bitmap_list, t->image, 0, &list, &t->error) < 0)
		return;
	for (uint32_t i = 0; i < TRY_VALUE(t, qcowfmt_bitmap_list_count, list);
	     i++) {
		if (TRY(t, qcowfmt_bitmap_list_get, list, i, &b, &t->error) < 0)
			break;
		trial_put_text(t, b.name);
		trial_put(t, &b.granularity, sizeof(b.granularity));
	}
	TRY_VOID(t, qcowfmt_bitmap_list_free, list);
}

static void read_bitmap(struct trial *t)
{
	uint64_t range[2] = { 0, 0 };

	while (TRY(t, qcowfmt_bitmap_next, t->image, "first",
	           range[0] + range[1], &range[0], &range[1], &t->error) > 0)
		trial_put(t, range, sizeof(range));
}

static void check_with(struct trial *t, uint32_t flags)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };

	if (TRY(t, qcowfmt_check, t->image, flags, NULL, NULL, &r, &t->error) <
	    0)
		return;
	if (r.check_errors > 0)
		trial_incomplete(t);
	trial_put(t, &r, sizeof(r));
}

static void check(struct trial *t)
{
	check_with(t, 0);
}

static void plan_repair(struct trial *t)
{
	check_with(t, QCOWFMT_CHECK_PLAN | QCOWFMT_CHECK_REPAIR_ALL);
}

static void inspect(struct trial *t)
{
	static struct qcowfmt_inspection i;
	struct qcowfmt_storage *storage =
		trial_try_storage(t, TRIAL_TOP, false);

	i = (struct qcowfmt_inspection){ .struct_size = sizeof(i) };
	if (storage == NULL)
		return;
	if (TRY(t, qcowfmt_inspect, storage, NULL, NULL, &i, &t->error) >= 0) {
		if (i.check_errors > 0 ||
		    (!t->rehearsing &&
		     (i.unsafe & QCOWFMT_UNSAFE_CANNOT_OPEN) != 0))
			trial_incomplete(t);
		trial_put(t, &i.flags, sizeof(i.flags));
		trial_put(t, &i.unsafe, sizeof(i.unsafe));
		trial_put(t, &i.corruptions, sizeof(i.corruptions));
		trial_put(t, &i.leaks, sizeof(i.leaks));
		trial_put_text(t, i.backing_filename);
	}
	TRY_VOID(t, qcowfmt_storage_free, storage);
}

static void measure(struct trial *t)
{
	struct qcowfmt_measure_result r = { .struct_size = sizeof(r) };

	if (TRY(t, qcowfmt_measure, t->image, NULL, &r, &t->error) >= 0)
		trial_put(t, &r, sizeof(r));
}

static void look_at_storage(struct trial *t)
{
	static uint8_t bytes[QCOWFMT_PROBE_SIZE];
	struct qcowfmt_storage *storage =
		trial_try_storage(t, TRIAL_TOP, false);
	uint64_t size = 0;
	int format;

	if (storage == NULL)
		return;
	if (TRY(t, qcowfmt_storage_get_size, storage, &size, &t->error) >= 0 &&
	    TRY(t, qcowfmt_storage_pread, storage, bytes, sizeof(bytes), 0,
	        &t->error) >= 0) {
		format = TRY_VALUE(t, qcowfmt_probe, bytes, sizeof(bytes));
		trial_put(t, &format, sizeof(format));
		trial_put(t, &size, sizeof(size));
		trial_put_text(t, TRY_VALUE(t, qcowfmt_format_name, format));
		format = TRY_VALUE(t, qcowfmt_format_from_name, "qcow2");
		trial_put(t, &format, sizeof(format));
		trial_put_text(t, TRY_VALUE(t, qcowfmt_version));
	}
	TRY_VOID(t, qcowfmt_storage_free, storage);
}

/* An image in memory, made and used there. */
static void use_memory(struct trial *t)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 65536,
		.cluster_size = 4096,
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;
	uint8_t bytes[600] = { 1, 2, 3 };

	if (TRY(t, qcowfmt_storage_new_memory, 0, &storage, &t->error) < 0)
		return;
	if (TRY(t, qcowfmt_create, storage, &options, &t->error) < 0 ||
	    TRY(t, qcowfmt_open, storage, &open, &image, &t->error) < 0) {
		TRY_VOID(t, qcowfmt_storage_free, storage);
		return;
	}
	if (TRY(t, qcowfmt_pwrite, image, bytes, sizeof(bytes), 5000,
	        &t->error) >= 0 &&
	    TRY(t, qcowfmt_pread, image, bytes, sizeof(bytes), 5000,
	        &t->error) >= 0)
		trial_put(t, bytes, sizeof(bytes));
	TRY(t, qcowfmt_close, image, &t->error);
}

/* What errors say, also about their own lack of memory. */
static void ask_errors(struct trial *t)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = 77,
	};
	struct qcowfmt_image *image = NULL;
	char name[] = "a\033b\nc";
	int code, number;

	TRY_VALUE(t, qcowfmt_open_file, "", &options, &image, &error);
	code = TRY_VALUE(t, qcowfmt_error_code, error);
	number = TRY_VALUE(t, qcowfmt_error_errno, error);
	if (code != QCOWFMT_ERR_NO_MEMORY) {
		trial_put(t, &code, sizeof(code));
		trial_put(t, &number, sizeof(number));
		trial_put_text(t, TRY_VALUE(t, qcowfmt_error_message, error));
	}
	code = (int)TRY_VALUE(t, qcowfmt_error_corruption_id, error);
	if (TRY_VALUE(t, qcowfmt_error_guest_offset, error) !=
	            QCOWFMT_NO_OFFSET ||
	    TRY_VALUE(t, qcowfmt_error_host_offset, error) !=
	            QCOWFMT_NO_OFFSET ||
	    code != 0)
		trial_put_text(t, "an offset");
	TRY_VOID(t, qcowfmt_error_free, error);
	TRY_VOID(t, qcowfmt_clean_text, name);
	trial_put_text(t, name);
	/* Without memory there is another error than in the rehearsal. */
	if (number == ENOMEM)
		t->digest = t->rehearsed_digest;
}

const struct scenario meta_scenarios[] = {
	{ "map", 0, READS_ONLY, map_all },
	{ "map while writable", NEEDS_QCOW, 0, map_all },
	{ "map holes", 0, READS_ONLY, map_holes },
	{ "info", 0, READS_ONLY, info },
	{ "encryption info", NEEDS_QCOW, READS_ONLY, encryption_info },
	{ "list snapshots", NEEDS_QCOW2, READS_ONLY, list_snapshots },
	{ "list bitmaps", NEEDS_QCOW2, READS_ONLY, list_bitmaps },
	{ "read a bitmap", NEEDS_BITMAPS, READS_ONLY, read_bitmap },
	{ "check", NEEDS_COUNTS, READS_ONLY, check },
	{ "check while writable", NEEDS_COUNTS, 0, check },
	{ "plan a repair", NEEDS_COUNTS, READS_ONLY | DAMAGED, plan_repair },
	{ "inspect", 0, OPENS | READS_ONLY, inspect },
	{ "measure", 0, READS_ONLY, measure },
	{ "look at storage", 0, OPENS | READS_ONLY, look_at_storage },
	{ "use memory", 0, OPENS | READS_ONLY, use_memory },
	{ "ask errors", 0, OPENS | READS_ONLY, ask_errors },
};
const size_t meta_scenario_count = QCF_ARRAY_LEN(meta_scenarios);
