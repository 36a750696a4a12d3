/* SPDX-License-Identifier: MIT */
/*
 * Promise: a power cut while a damaged image is repaired leaves an image that can
 * be repaired and shows the same disk, also in its snapshots; so does a write or
 * flush that fails, and a full disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "byte_image.h"
#include "crash_states.h"
#include "fail_storage.h"
#include "image_storage.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "thin.h"
#include "unit.h"

#define CAPACITY  ((size_t)8 << 20)
#define DISK_SIZE ((uint64_t)96 << 10)
#define SECTOR    512u

/* Ways to damage an image. */
enum damage {
	COUNT_ZERO,     /* clusters in use that count 0 */
	COUNT_WRONG,    /* some too high, some too low */
	NO_BLOCK,       /* the entry of the first block is gone */
	BLOCK_RESERVED, /* reserved bits of a refcount table entry */
	BLOCK_UNALIGNED,
	BLOCK_IS_L2,    /* the block of another range is an L2 table */
	NO_TABLE,       /* a refcount table of no clusters */
	TABLE_BEYOND,   /* a refcount table behind the end of the file */
	FLAGS,          /* COPIED flags */
	SHARED_CLUSTER, /* two entries for one cluster */
	SNAPSHOT_EXTRA, /* a snapshot table entry of zeros */
	BITMAP_BROKEN,
	BITMAP_DIRECTORY,
	DAMAGE_COUNT
};

static const char *const names[DAMAGE_COUNT] = {
	[COUNT_ZERO] = "counts of zero",
	[COUNT_WRONG] = "wrong counts",
	[NO_BLOCK] = "no refcount block",
	[BLOCK_RESERVED] = "reserved bits of the refcount table",
	[BLOCK_UNALIGNED] = "unaligned refcount block",
	[BLOCK_IS_L2] = "refcount block that is an L2 table",
	[NO_TABLE] = "no refcount table",
	[TABLE_BEYOND] = "refcount table beyond the end",
	[FLAGS] = "COPIED flags",
	[SHARED_CLUSTER] = "a cluster with two owners",
	[SNAPSHOT_EXTRA] = "an empty snapshot",
	[BITMAP_BROKEN] = "a broken bitmap",
	[BITMAP_DIRECTORY] = "a broken bitmap directory",
};

static const struct shape {
	uint64_t cluster_size;
	uint32_t refcount_bits;
	bool snapshots;
} shapes[] = {
	{ 4096, 16, true },
	{ 512, 16, true },
	{ 512, 64, false },
	{ 4096, 1, false },
};

#define SHAPES ((int)QCF_ARRAY_LEN(shapes))

struct repairing {
	const struct shape *shape;
	enum damage damage;
	uint64_t corruptions; /* in the beginning */
	uint64_t states;
	uint64_t clean; /* states in which nothing was left to be repaired */
	uint8_t want[DISK_SIZE];
	uint8_t have[DISK_SIZE];
};

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(1 + offset / SECTOR % 251);
}

static struct qcowfmt_image *open_on(struct qcowfmt_storage *storage,
                                     uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags | QCOWFMT_OPEN_REPAIR,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s", qcowfmt_error_message(error));
	return image;
}

/* ------------------------------------------------------------------ images */

static void write_disk(struct qcowfmt_image *image, uint64_t offset,
                       uint64_t len)
{
	static uint8_t bytes[DISK_SIZE];

	for (uint64_t i = 0; i < len; i++)
		bytes[i] = byte_at(offset + i);
	ck_assert_int_eq(qcowfmt_pwrite(image, bytes, len, offset, NULL), 0);
}

static void add_bitmap(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.kind = QCOWFMT_BITMAP_ADD,
		.name = name,
	};

	ck_assert_int_eq(qcowfmt_bitmap_change(&action, 1, NULL, NULL), 0);
}

static bool has_snapshot(const struct repairing *r)
{
	return r->shape->snapshots && r->damage != BITMAP_BROKEN &&
	       r->damage != BITMAP_DIRECTORY;
}

static void make_image(struct repairing *r, struct rec_log *log)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.cluster_size = r->shape->cluster_size,
		.refcount_bits = r->shape->refcount_bits,
		.virtual_size = DISK_SIZE,
	};
	struct qcowfmt_storage *storage = rec_storage_new(log);
	struct qcowfmt_image *image;

	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
	image = open_on(storage, QCOWFMT_OPEN_READ_WRITE);
	if (r->damage == BITMAP_BROKEN || r->damage == BITMAP_DIRECTORY) {
		add_bitmap(image, "one");
		add_bitmap(image, "two");
	}
	write_disk(image, 0, DISK_SIZE / 2);
	if (has_snapshot(r))
		ck_assert_int_eq(qcowfmt_snapshot_create(image, NULL, NULL), 0);
	write_disk(image, DISK_SIZE / 4, DISK_SIZE / 2);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* ------------------------------------------------------------------ damage */

static uint64_t get(const struct byte_image *image, uint64_t at, size_t width)
{
	const uint8_t *bytes = byte_image_bytes(image);
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | bytes[at + i];
	return value;
}

static void put(struct byte_image *image, uint64_t at, size_t width,
                uint64_t value)
{
	uint8_t bytes[8];

	for (size_t i = width; i > 0; i--) {
		bytes[i - 1] = (uint8_t)value;
		value >>= 8;
	}
	byte_image_poke(image, at, bytes, width);
}

static void flip(struct byte_image *image, uint64_t at, uint64_t bits)
{
	put(image, at, 8, get(image, at, 8) ^ bits);
}

static uint64_t extension_at(const struct byte_image *image, uint32_t type)
{
	uint64_t at = get(image, 100, 4);

	while (get(image, at, 4) != type)
		at += 8 + (get(image, at + 4, 4) + 7) / 8 * 8;
	return at + 8;
}

/* Counts of 16 bits and more, by byte; bits by all of a byte. */
static void spoil_counts(const struct repairing *r, struct byte_image *image,
                         uint64_t block)
{
	size_t width =
		r->shape->refcount_bits < 8 ? 1 : r->shape->refcount_bits / 8;

	if (r->damage == COUNT_ZERO) {
		for (uint64_t i = 0; i < 6; i++)
			put(image, block + i * width, width, 0);
		return;
	}
	put(image, block + 2 * width, width, 0);
	put(image, block + 5 * width, width,
	    r->shape->refcount_bits == 1 ? 0xff : 7);
}

static void spoil(const struct repairing *r, struct byte_image *image)
{
	uint64_t table = get(image, 48, 8);
	uint64_t block = get(image, table, 8);
	uint64_t l1 = get(image, 40, 8);
	uint64_t l2 = get(image, l1, 8) & UINT64_C(0x00fffffffffffe00);
	uint64_t directory;

	switch (r->damage) {
	case COUNT_ZERO:
	case COUNT_WRONG:
		spoil_counts(r, image, block);
		return;
	case NO_BLOCK:
		put(image, table, 8, 0);
		return;
	case BLOCK_RESERVED:
		flip(image, table, 1);
		return;
	case BLOCK_UNALIGNED:
		flip(image, table, r->shape->cluster_size == 512 ? 1 : 512);
		return;
	case BLOCK_IS_L2:
		put(image, table + 8 * (r->shape->cluster_size / 8 - 1), 8, l2);
		return;
	case NO_TABLE:
		put(image, 56, 4, 0);
		return;
	case TABLE_BEYOND:
		put(image, 48, 8, (uint64_t)1 << 40);
		return;
	case FLAGS:
		flip(image, l1, (uint64_t)1 << 63);
		flip(image, l2 + 24, (uint64_t)1 << 63);
		return;
	case SHARED_CLUSTER:
		put(image, l2 + 24, 8, get(image, l2 + 32, 8));
		return;
	case SNAPSHOT_EXTRA:
		put(image, 60, 4, get(image, 60, 4) + 1);
		if (get(image, 64, 8) == 0)
			put(image, 64, 8, (uint64_t)1 << 40);
		return;
	case BITMAP_BROKEN:
	case BITMAP_DIRECTORY:
		directory = get(image, extension_at(image, 0x23852875) + 16, 8);
		put(image, directory + (r->damage == BITMAP_BROKEN ? 16 : 18),
		    1, 77);
		return;
	case DAMAGE_COUNT:
		return;
	}
}

/* ----------------------------------------------------------------- judging */

static void read_disk(struct qcowfmt_image *image, uint8_t *bytes)
{
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_pread(image, bytes, DISK_SIZE, 0, &error) == 0,
	              "%s", qcowfmt_error_message(error));
}

static void expect_disk(struct repairing *r, struct qcowfmt_image *image)
{
	read_disk(image, r->have);
	ck_assert_msg(memcmp(r->have, r->want, DISK_SIZE) == 0,
	              "%s: the disk has changed", names[r->damage]);
}

/* The snapshot has what was written first, and zeros behind it. */
static void expect_snapshot(struct repairing *r,
                            struct qcowfmt_storage *storage)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.snapshot_id = "1",
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s: %s", names[r->damage], qcowfmt_error_message(error));
	read_disk(image, r->have);
	for (uint64_t i = 0; i < DISK_SIZE; i++) {
		uint8_t want = i < DISK_SIZE / 2 ? byte_at(i) : 0;

		/* The damage itself moved a cluster of the disk. */
		if (r->damage != SHARED_CLUSTER && r->have[i] != want)
			ck_abort_msg("%s: byte %" PRIu64
			             " of the snapshot is %u",
			             names[r->damage], i, r->have[i]);
	}
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static struct qcowfmt_check_result check(struct qcowfmt_image *image,
                                         uint32_t flags)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(
		qcowfmt_check(image, flags, NULL, NULL, &result, &error) == 0,
		"%s", qcowfmt_error_message(error));
	return result;
}

/* A count of one bit cannot say that a cluster has two owners. */
static bool can_be_repaired(const struct repairing *r)
{
	return r->damage != SHARED_CLUSTER || r->shape->refcount_bits > 1;
}

/* Whatever is there can be repaired, and then is sound. */
static void expect_repairable(struct repairing *r, struct byte_image *bytes)
{
	struct qcowfmt_image *image = open_on(image_storage_new(bytes, true),
	                                      QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_check_result result;

	/* A table that is also something else is not looked at by a writer. */
	if (r->damage != BLOCK_IS_L2)
		expect_disk(r, image);
	result = check(image, QCOWFMT_CHECK_REPAIR_ALL);
	if (can_be_repaired(r))
		ck_assert_msg(result.corruptions == 0 && result.leaks == 0 &&
		                      result.check_errors == 0,
		              "%s: %" PRIu64 " corruptions, %" PRIu64 " leaks",
		              names[r->damage], result.corruptions,
		              result.leaks);
	r->clean += result.corruptions_fixed == 0;
	expect_disk(r, image);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	if (has_snapshot(r))
		expect_snapshot(r, image_storage_new(bytes, false));
}

/* Where refcounts are made anew: as it was before, or sound. */
static void expect_no_worse(struct repairing *r, struct byte_image *bytes)
{
	struct qcowfmt_image *image =
		open_on(image_storage_new(bytes, false), 0);
	uint64_t corruptions = check(image, 0).corruptions;

	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	if (r->damage >= BLOCK_RESERVED && r->damage <= TABLE_BEYOND)
		ck_assert_msg(corruptions == 0 || corruptions == r->corruptions,
		              "%s: %" PRIu64 " corruptions, had %" PRIu64,
		              names[r->damage], corruptions, r->corruptions);
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct repairing *r = opaque;

	expect_no_worse(r, state->image);
	expect_repairable(r, state->image);
	r->states++;
	return true;
}

static void look_at_disk(struct repairing *r, struct byte_image *bytes)
{
	struct qcowfmt_image *image =
		open_on(image_storage_new(bytes, false), 0);

	read_disk(image, r->want);
	r->corruptions = check(image, 0).corruptions;
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* -------------------------------------------------------------- power cuts */

static void begin(struct repairing *r, struct rec_log *log)
{
	make_image(r, log);
	spoil(r, log->now[REC_IMAGE]);
	look_at_disk(r, log->now[REC_IMAGE]);
	rec_log_restart(log);
}

START_TEST(power_cuts)
{
	static struct repairing r;
	struct crash_options options = {
		.seed = 1,
		.exhaustive = 8,
		.samples = 60,
		.torn_stride = 5,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };
	struct rec_log *log = rec_log_new(CAPACITY);
	struct qcowfmt_image *image;

	r = (struct repairing){ .shape = &shapes[_i % SHAPES],
		                .damage = (enum damage)(_i / SHAPES) };
	begin(&r, log);
	image = open_on(rec_storage_new(log), QCOWFMT_OPEN_READ_WRITE);
	ck_assert(check(image, QCOWFMT_CHECK_REPAIR_ALL).corruptions_fixed >
	                  0 ||
	          !can_be_repaired(&r));
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	ck_assert(crash_states_visit(log, &options, judge, &r, &totals));
	printf("%s, clusters of %" PRIu64 ": %" PRIu64 " states, %" PRIu64
	       " clean\n",
	       names[r.damage], r.shape->cluster_size, r.states, r.clean);
	ck_assert_uint_gt(r.states, 1);
	ck_assert_uint_gt(r.clean, 0);
	rec_log_free(log);
}

END_TEST

/* ------------------------------------------------------------------ failures */

/* The n-th call of some kind fails, once or from then on.  False when there are
 * not so many. */
static bool fail_nth(struct repairing *r, struct rec_log *log,
                     struct fail_plan *plan, uint64_t n)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct byte_image *damaged = byte_image_new(CAPACITY);
	struct qcowfmt_image *image;
	bool failed;

	byte_image_copy(damaged, log->now[REC_IMAGE]);
	plan->nth = 0;
	atomic_store(&plan->calls, 0);
	atomic_store(&plan->failures, 0);
	image = open_on(
		fail_storage_new(image_storage_new(damaged, true), plan),
		QCOWFMT_OPEN_READ_WRITE);
	plan->nth = atomic_load(&plan->calls) + n;
	(void)qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                    &result, NULL);
	(void)qcowfmt_close(image, NULL);
	failed = atomic_load(&plan->failures) > 0;
	expect_repairable(r, damaged);
	byte_image_free(damaged);
	return failed;
}

static void fail_each(struct repairing *r, struct rec_log *log, uint32_t verbs,
                      int error, bool sticky)
{
	struct fail_plan plan = {
		.verbs = verbs,
		.error = error,
		.sticky = sticky,
		.manner = FAIL_PARTLY,
	};
	uint64_t n = 1;

	while (fail_nth(r, log, &plan, n))
		n += thin_factor();
	ck_assert_uint_gt(n, 1);
}

START_TEST(failures)
{
	static struct repairing r;
	struct rec_log *log = rec_log_new(CAPACITY);

	r = (struct repairing){ .shape = &shapes[_i % SHAPES],
		                .damage = (enum damage)(_i / SHAPES) };
	begin(&r, log);
	fail_each(&r, log, VERB_CHANGES, ENOSPC, false);
	fail_each(&r, log, VERB_CHANGES, ENOSPC, true);
	fail_each(&r, log, VERB_BIT(VERB_FLUSH), EIO, false);
	fail_each(&r, log, VERB_BIT(VERB_READ), EIO, false);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, power_cuts, 0, DAMAGE_COUNT * SHAPES);
	tcase_add_loop_test(tcase, failures, 0, DAMAGE_COUNT * SHAPES);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	return unit_run("damage_repair_survives_a_crash", add);
}
