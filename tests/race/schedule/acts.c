/* SPDX-License-Identifier: MIT */
/* acts.c - carrying out what a script says */
#include "acts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schedule.h"

#define MAX_COUNT 128u /* sectors of one act */

static int write_stamped(struct qcowfmt_image *image, const struct qcf_act *act,
                         uint64_t version, struct qcowfmt_error **errp)
{
	size_t len = act->count * QCF_SECTOR;
	uint64_t offset = act->first * QCF_SECTOR;
	uint8_t *buffer = malloc(len + 1);
	int ret;

	if (buffer == NULL)
		abort();
	qcf_stamp_fill(buffer, act->first, act->count, version);
	ret = act->kind == 'w'
	              ? qcowfmt_pwrite(image, buffer, len, offset, errp)
	              : qcowfmt_pwrite_compressed(image, buffer, len, offset,
	                                          errp);
	free(buffer);
	return ret;
}

static int take_snapshot(struct qcowfmt_image *image, const char *name,
                         struct qcowfmt_error **errp)
{
	const struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
		.date_sec = 1,
	};

	return qcowfmt_snapshot_create(image, &options, errp);
}

int qcf_act_plain(struct qcowfmt_image *image, const struct qcf_act *act,
                  uint64_t version, struct qcowfmt_error **errp)
{
	uint64_t offset = act->first * QCF_SECTOR;
	uint64_t len = act->count * QCF_SECTOR;

	switch (act->kind) {
	case 'w':
	case 'c':
		return write_stamped(image, act, version, errp);
	case 'z':
		return qcowfmt_write_zeroes(image, offset, len, 0, errp);
	case 'u':
		return qcowfmt_write_zeroes(image, offset, len,
		                            QCOWFMT_ZERO_MAY_UNMAP, errp);
	case 'd':
		return qcowfmt_discard(image, offset, len, errp);
	case 'f':
		return qcowfmt_flush(image, errp);
	case 's':
		return take_snapshot(image, "base", errp);
	default:
		abort();
	}
}

/* ------------------------------------------------------------- what failed */

/*
 * A call may fail if the failure was put in and came to this thread, or ended all
 * writing, or left a change of the whole image to be repaired; if another thread
 * changed the size; or if snapshot "base" is gone.
 */
static bool may_fail(const struct qcf_acting *a, const struct qcf_act *act,
                     int ret, const struct qcowfmt_error *error)
{
	for (int i = 0; i < QCF_STAGE_DISKS; i++) {
		int victim = qcf_disk_victim(a->stage->disks[i]);

		if (victim >= 0 &&
		    (victim == qcf_fiber_self() ||
		     qcowfmt_error_code(error) == QCOWFMT_ERR_POISONED ||
		     qcowfmt_error_code(error) == QCOWFMT_ERR_CORRUPT ||
		     qcowfmt_error_code(error) == QCOWFMT_ERR_NO_SPACE))
			return true;
	}
	if (ret == -EINVAL && a->resizes)
		return true;
	/* The base became shorter while it was waited for. */
	if (ret == -EBUSY && a->resizes_base && act->kind == 'o')
		return true;
	/* The top was emptied, and the base is not below it here. */
	if (ret == -ENOTSUP && (act->kind == 'C' || act->kind == 'D'))
		return true;
	return ret == -ENOENT && a->drops_base &&
	       (act->kind == 'x' || act->kind == 'a');
}

/* Something that was put in has failed for this thread. */
static bool had_failure(const struct qcf_acting *a)
{
	for (int i = 0; i < QCF_STAGE_DISKS; i++) {
		if (qcf_disk_victim(a->stage->disks[i]) == qcf_fiber_self())
			return true;
	}
	return false;
}

static bool failed(struct qcf_acting *a, const struct qcf_act *act, int ret,
                   struct qcowfmt_error *error)
{
	char what[32];

	if (may_fail(a, act, ret, error)) {
		a->failures++;
		qcowfmt_error_free(error);
		return true;
	}
	snprintf(what, sizeof(what), "thread %d: %c%" PRIu64 "+%" PRIu64,
	         qcf_fiber_self(), act->kind, act->first, act->count);
	return qcf_found_error(a->finding, what, ret, error);
}

/* ------------------------------------------------------------ kinds of acts */

static uint64_t covered_first(const struct qcf_acting *a,
                              const struct qcf_act *act, uint64_t *count)
{
	uint64_t unit = qcf_stage_unit(a->stage);
	uint64_t size = a->stage->scenario->shape.sectors;
	uint64_t first = act->first;
	uint64_t end = act->first + act->count;

	*count = act->count;
	if (act->kind != 'd')
		return first;
	first = (first + unit - 1) / unit * unit;
	if (end < size)
		end = end / unit * unit;
	*count = end > first ? end - first : 0;
	return first;
}

/* A discard may leave parts of clusters as they were. */
static bool change(struct qcf_acting *a, const struct qcf_act *act,
                   uint64_t version)
{
	struct qcowfmt_error *error = NULL;
	uint64_t count;
	uint64_t first = covered_first(a, act, &count);
	uint64_t start = qcf_schedule_now();
	uint64_t end;
	int ret;

	for (uint64_t s = act->first; s < act->first + act->count; s++)
		a->touched[s] = true;
	ret = qcf_act_plain(a->stage->image, act, version, &error);
	end = ret < 0 ? QCF_NEVER : qcf_schedule_now();
	if (act->kind != 'w' && act->kind != 'c')
		version = QCF_VERSION_ZERO;
	qcf_ledger_write(a->ledger, first, count, version, start, end);
	return ret == 0 || failed(a, act, ret, error);
}

static bool note_read(struct qcf_acting *a, const uint8_t *bytes,
                      uint64_t first, uint64_t count, uint64_t start,
                      uint64_t end, enum qcf_ledger_eye eye, const char *what)
{
	struct qcf_reading reading;

	for (uint64_t i = 0; i < count; i++) {
		if (!qcf_stamp_read(bytes + i * QCF_SECTOR, first + i, &reading,
		                    a->finding))
			return false;
		if (reading.count != 1)
			return qcf_found(a->finding, QCF_FOUND_CONTENT,
			                 "%s: sector %" PRIu64 " is a mixture",
			                 what, first + i);
		qcf_ledger_read(a->ledger, first + i, reading.versions[0],
		                start, end, eye, what);
	}
	return true;
}

static bool read_range(struct qcf_acting *a, const struct qcf_act *act)
{
	uint8_t bytes[MAX_COUNT * QCF_SECTOR];
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	int ret;

	memset(bytes, 0xee, act->count * QCF_SECTOR);
	ret = qcowfmt_pread(a->stage->image, bytes, act->count * QCF_SECTOR,
	                    act->first * QCF_SECTOR, &error);
	if (ret < 0)
		return failed(a, act, ret, error);
	return note_read(a, bytes, act->first, act->count, start,
	                 qcf_schedule_now(), QCF_SEEN, "read");
}

/* What is seen here is in the image and not in a base that was cut off: nobody who
 * does as told loses it any more, as if it were written now. */
static bool read_own(struct qcf_acting *a, const struct qcf_act *act)
{
	uint8_t bytes[MAX_COUNT * QCF_SECTOR];
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	uint64_t end;
	int ret = qcowfmt_pread(a->stage->image, bytes, act->count * QCF_SECTOR,
	                        act->first * QCF_SECTOR, &error);

	if (ret == -ENOTSUP) {
		qcowfmt_error_free(error);
		return true;
	}
	if (ret < 0)
		return failed(a, act, ret, error);
	end = qcf_schedule_now();
	for (uint64_t s = act->first; s < act->first + act->count; s++)
		qcf_ledger_write(a->ledger, s, 1, a->stage->versions[s], start,
		                 end);
	return note_read(a, bytes, act->first, act->count, start, end, QCF_SEEN,
	                 "own");
}

bool qcf_acts_read_all(struct qcf_acting *a, struct qcowfmt_image *image,
                       uint64_t start, uint64_t end, enum qcf_ledger_eye eye,
                       const char *what)
{
	uint64_t sectors = qcowfmt_get_size(image) / QCF_SECTOR;
	uint64_t known = a->stage->scenario->shape.sectors;
	struct qcowfmt_error *error = NULL;
	uint8_t *bytes = malloc(sectors * QCF_SECTOR + 1);
	bool good;
	int ret;

	if (bytes == NULL)
		abort();
	sectors = sectors < known ? sectors : known;
	ret = qcowfmt_pread(image, bytes, sectors * QCF_SECTOR, 0, &error);
	good = ret == 0 ? note_read(a, bytes, 0, sectors, start, end, eye, what)
	                : qcf_found_error(a->finding, what, ret, error);
	free(bytes);
	return good;
}

static bool flush(struct qcf_acting *a, const struct qcf_act *act)
{
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	int ret = qcowfmt_flush(a->stage->image, &error);

	if (ret < 0)
		return failed(a, act, ret, error);
	a->flushed = start > a->flushed ? start : a->flushed;
	return true;
}

static bool snapshot(struct qcf_acting *a, const struct qcf_act *act,
                     int thread, int number)
{
	struct qcf_taken *taken = &a->taken[a->taken_count++];
	struct qcowfmt_error *error = NULL;
	int ret;

	if (a->taken_count > QCF_MAX_TAKEN)
		abort();
	snprintf(taken->name, sizeof(taken->name), "t%d-%d", thread, number);
	taken->failed = true;
	taken->start = qcf_schedule_now();
	ret = take_snapshot(a->stage->image, taken->name, &error);
	taken->end = qcf_schedule_now();
	taken->failed = ret < 0;
	return ret == 0 || failed(a, act, ret, error);
}

static bool go_back(struct qcf_acting *a, const struct qcf_act *act)
{
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	int ret = qcowfmt_snapshot_apply(a->stage->image, NULL, "base", &error);
	uint64_t end = ret < 0 ? QCF_NEVER : qcf_schedule_now();

	for (uint64_t s = 0; s < a->stage->scenario->shape.sectors; s++)
		qcf_ledger_write(a->ledger, s, 1, a->stage->base_snapshot[s],
		                 start, end);
	return ret == 0 || failed(a, act, ret, error);
}

static bool resize(struct qcf_acting *a, const struct qcf_act *act)
{
	const struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	int ret = qcowfmt_resize(a->stage->image, act->first * QCF_SECTOR,
	                         &options, &error);
	uint64_t end = ret < 0 ? QCF_NEVER : qcf_schedule_now();
	uint64_t size = a->stage->scenario->shape.sectors;

	if (act->first < size)
		qcf_ledger_write(a->ledger, act->first, size - act->first,
		                 QCF_VERSION_ZERO, start, end);
	return ret == 0 || failed(a, act, ret, error);
}

/* What was cut off the base is lost unless the image has it. */
static bool resize_base(struct qcf_acting *a, const struct qcf_act *act)
{
	const struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	int ret = qcowfmt_resize(a->stage->base, act->first * QCF_SECTOR,
	                         &options, &error);
	uint64_t end = ret < 0 ? QCF_NEVER : qcf_schedule_now();
	uint64_t sectors = a->stage->scenario->shape.sectors;

	for (uint64_t s = act->first; s < sectors; s++) {
		qcf_ledger_write(a->ledger, s, 1, QCF_VERSION_ZERO, start, end);
		qcf_ledger_write(a->ledger, s, 1, a->stage->versions[s], start,
		                 end);
	}
	return ret == 0 || failed(a, act, ret, error);
}

/* Space that waits to be freed looks leaked. */
static bool check(struct qcf_acting *a, const struct qcf_act *act)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;
	int ret =
		qcowfmt_check(a->stage->image, 0, NULL, NULL, &result, &error);

	if (ret < 0)
		return failed(a, act, ret, error);
	if (result.corruptions == 0 &&
	    (result.check_errors == 0 || had_failure(a)))
		return true;
	return qcf_found(a->finding, QCF_FOUND_METADATA,
	                 "check: %" PRIu64 " corruptions, %" PRIu64 " errors",
	                 result.corruptions, result.check_errors);
}

static int change_bitmap(struct qcf_acting *a, int32_t kind, const char *name,
                         const char *source, struct qcowfmt_error **errp)
{
	const struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = a->stage->image,
		.name = name,
		.kind = kind,
		.granularity = kind == QCOWFMT_BITMAP_ADD ? 1024 : 0,
		.source_name = source,
	};

	return qcowfmt_bitmap_change(&action, 1, NULL, errp);
}

static int pass_a_bitmap(struct qcf_acting *a, int thread,
                         struct qcowfmt_error **errp)
{
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "passing%d", thread);
	ret = change_bitmap(a, QCOWFMT_BITMAP_ADD, name, NULL, errp);
	if (ret == 0)
		ret = change_bitmap(a, QCOWFMT_BITMAP_MERGE, name, "kept",
		                    errp);
	if (ret == 0)
		ret = change_bitmap(a, QCOWFMT_BITMAP_REMOVE, name, NULL, errp);
	return ret;
}

static int switch_a_bitmap(struct qcf_acting *a, struct qcowfmt_error **errp)
{
	int ret = change_bitmap(a, QCOWFMT_BITMAP_DISABLE, "other", NULL, errp);

	if (ret == 0)
		ret = change_bitmap(a, QCOWFMT_BITMAP_ENABLE, "other", NULL,
		                    errp);
	return ret;
}

static int amend(struct qcf_acting *a, const struct qcf_act *act,
                 struct qcowfmt_error **errp)
{
	const struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
		.refcount_bits = 16u << act->first % 3,
	};

	return qcowfmt_amend(a->stage->image, &options, errp);
}

static int convert(struct qcf_acting *a, struct qcowfmt_error **errp)
{
	const struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.threads = 2,
	};
	struct qcowfmt_image *source = a->stage->image;
	int ret;

	a->converted.start = qcf_schedule_now();
	ret = qcowfmt_convert(&source, 1, a->stage->target, &options, errp);
	a->converted.end = qcf_schedule_now();
	a->converted.failed = ret < 0;
	return ret;
}

/* One of two images with the same sectors in use into the other: what may be there
 * afterwards is known of the image only, so that is where it is noted. */
static bool convert_into(struct qcf_acting *a, const struct qcf_act *act)
{
	const struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.threads = 2,
	};
	bool from_base = act->kind == 'B';
	struct qcowfmt_image *source =
		from_base ? a->stage->base : a->stage->image;
	struct qcowfmt_image *target =
		from_base ? a->stage->image : a->stage->base;
	struct qcowfmt_error *error = NULL;
	uint64_t start = qcf_schedule_now();
	int ret = qcowfmt_convert(&source, 1, target, &options, &error);
	uint64_t end = ret < 0 ? QCF_NEVER : qcf_schedule_now();
	uint64_t sectors = a->stage->scenario->shape.sectors;

	for (uint64_t s = 0; s < sectors && from_base; s++) {
		qcf_ledger_write(a->ledger, s, 1, a->stage->base_versions[s],
		                 start, end);
		qcf_ledger_write(a->ledger, s, 1, a->stage->versions[s], start,
		                 end);
	}
	return ret == 0 || failed(a, act, ret, error);
}

static int merge_between(struct qcf_acting *a, const struct qcf_act *act,
                         struct qcowfmt_error **errp)
{
	bool down = act->kind == 'M';
	const struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = down ? a->stage->base : a->stage->image,
		.name = "other",
		.kind = QCOWFMT_BITMAP_MERGE,
		.source = down ? a->stage->image : a->stage->base,
		.source_name = "kept",
	};

	return qcowfmt_bitmap_change(&action, 1, NULL, errp);
}

/* A neighbour that shares the base, and is closed while others work. */
static int another_handle(struct qcf_acting *a, struct qcowfmt_error **errp)
{
	struct qcf_disk *disk = qcf_disk_new();
	struct qcowfmt_image *image = NULL;
	uint8_t bytes[4 * QCF_SECTOR];
	int ret;

	qcf_disk_load(disk, &a->stage->start[QCF_STAGE_TOP]);
	ret = qcf_stage_open(a->stage, QCOWFMT_OPEN_READ_WRITE, NULL, disk,
	                     &image, errp);
	if (ret == 0)
		ret = qcowfmt_pread(image, bytes, sizeof(bytes), 0, errp);
	if (ret == 0)
		ret = qcowfmt_pwrite(image, bytes, sizeof(bytes), QCF_SECTOR,
		                     errp);
	if (ret == 0)
		ret = qcowfmt_close(image, errp);
	qcf_disk_free(disk);
	return ret;
}

static int commit(struct qcf_acting *a, struct qcowfmt_error **errp)
{
	return qcowfmt_commit(a->stage->image, a->stage->base, NULL, errp);
}

static int get_info(struct qcf_acting *a, struct qcowfmt_error **errp)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(a->stage->image, 0, &info, errp);
}

static int get_map(struct qcf_acting *a, const struct qcf_act *act,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_extent extents[8];
	int ret = qcowfmt_map(a->stage->image, act->first * QCF_SECTOR,
	                      act->count * QCF_SECTOR, 0, extents, 8, errp);

	return ret > 0 ? 0 : ret;
}

static int compare(struct qcowfmt_image *first, struct qcowfmt_image *second,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_compare_result result = { .struct_size =
		                                         sizeof(result) };

	return qcowfmt_compare(first, second, NULL, &result, errp);
}

static int check_base(struct qcf_acting *a, struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	return qcowfmt_check(a->stage->base, 0, NULL, NULL, &result, errp);
}

/* What shows nothing and leaves the disk as it is. */
static int other_act(struct qcf_acting *a, int thread,
                     const struct qcf_act *act, struct qcowfmt_error **errp)
{
	switch (act->kind) {
	case 'C':
		return compare(a->stage->image, a->stage->base, errp);
	case 'D':
		return compare(a->stage->base, a->stage->image, errp);
	case 'E':
		return compare(a->stage->image, a->stage->image, errp);
	case 'K':
		return check_base(a, errp);
	case 'M':
	case 'N':
		return merge_between(a, act, errp);
	case 'b':
		return pass_a_bitmap(a, thread, errp);
	case 'e':
		return switch_a_bitmap(a, errp);
	case 'h':
		return another_handle(a, errp);
	case 'i':
		return get_info(a, errp);
	case 'm':
		return amend(a, act, errp);
	case 'o':
		return commit(a, errp);
	case 'p':
		return qcowfmt_compact(a->stage->image, NULL, NULL, errp);
	case 'q':
		return get_map(a, act, errp);
	case 'v':
		return convert(a, errp);
	case 'x':
		return qcowfmt_snapshot_delete(a->stage->image, NULL, "base",
		                               errp);
	default:
		abort();
	}
}

bool qcf_act(struct qcf_acting *a, int thread, int number,
             const struct qcf_act *act)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	qcf_point(QCF_POINT_CALL, NULL);
	if (qcf_act_writes(act))
		return change(a, act, qcf_version(thread, (uint64_t)number));
	switch (act->kind) {
	case 'r':
		return read_range(a, act);
	case 'f':
		return flush(a, act);
	case 'k':
		return check(a, act);
	case 's':
		return snapshot(a, act, thread, number);
	case 'a':
		return go_back(a, act);
	case 'g':
		return resize(a, act);
	case 'G':
		return resize_base(a, act);
	case 'R':
		return read_own(a, act);
	case 'B':
	case 'T':
		return convert_into(a, act);
	default:
		ret = other_act(a, thread, act, &error);
		return ret == 0 || failed(a, act, ret, error);
	}
}
