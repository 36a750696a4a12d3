/* SPDX-License-Identifier: MIT */
/*
 * Promise: a call to storage that fails, and a power cut some time after it, lose
 * nothing together that each of them would not lose alone.
 *
 * A workload runs once for each call that writes; that call fails, and the work
 * goes on as far as the library lets it.  Every state that a power cut could leave
 * has to open, check without corruption, and hold in each sector what the last
 * successful flush covered or something newer.  A dirty bitmap that is not marked
 * as inconsistent has all sectors that changed.  Without a power cut nothing is
 * leaked, either.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "crash_states.h"
#include "image_storage.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "thin.h"
#include "unit.h"
#include "wrap_storage.h"

#define CAPACITY ((size_t)4 << 20)
#define SECTOR   512u
#define SECTORS  320u
#define SIZE     (SECTORS * SECTOR)
#define MAX_OPS  64u

/* What the image has in the beginning. */
#define FIRST_STAMP 1u

/* What arrives of a write that fails. */
enum manner { NOTHING, FIRST_SECTOR, EVERYTHING, UNKNOWN, MANNERS };

static const struct kind {
	const char *name;
	uint32_t version;
	uint32_t flags;
	uint64_t cluster_size;
	bool bitmap;
	uint64_t cache_size; /* of metadata, bytes; 0 = the default */
} kinds[] = {
	{ "small clusters", 3, 0, 512, false, 0 },
	{ "small cache", 3, 0, 512, false, 1 },
	{ "version 2", 2, 0, 512, false, 0 },
	{ "lazy counts", 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 512, false, 0 },
	{ "a dirty bitmap", 3, 0, 4096, true, 0 },
};

/* A guest write that was begun: all of its sectors have the same bytes. */
struct op {
	uint32_t first;
	uint32_t count;
	uint8_t stamp; /* 0: zeros */
	bool failed;   /* its sectors have old or new content for good */
};

/* A flush that succeeded covers the first of the ops from here on in the log. */
struct ack {
	size_t position;
	size_t ops;
};

struct trial {
	const struct kind *kind;
	enum manner manner;
	uint64_t nth;   /* call that fails */
	uint64_t calls; /* so far */
	bool failed;
	bool blind; /* reads fail as well, until the operation has ended */
	struct rec_log *log;
	struct qcowfmt_image *image;
	struct op ops[MAX_OPS];
	size_t op_count;
	struct ack acks[MAX_OPS];
	size_t ack_count;
	bool closed; /* without an error */
	uint64_t states;
};

static uint8_t have[SIZE];

/* ---------------------------------------------------------------- the workload */

static int disturb(void *opaque, struct storage_call *call)
{
	struct trial *t = opaque;

	if (call->verb == VERB_READ && t->blind)
		return -EIO;
	if ((VERB_BIT(call->verb) & VERB_CHANGES) == 0 || t->nth == 0 ||
	    ++t->calls != t->nth)
		return 0;
	t->failed = true;
	t->blind = t->manner == UNKNOWN;
	if (t->manner == FIRST_SECTOR || t->manner == UNKNOWN)
		call->done_len = QCF_MIN(call->len, SECTOR);
	else
		call->done_len = t->manner == EVERYTHING ? call->len : 0;
	return -EIO;
}

static struct qcowfmt_image *open_on(struct qcowfmt_storage *storage,
                                     const struct kind *kind)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.cache_size = kind->cache_size,
		.discard_mode = QCOWFMT_DISCARD_UNMAP,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s: %s", kind->name, qcowfmt_error_message(error));
	return image;
}

static void change(struct trial *t, uint32_t first, uint32_t count,
                   uint8_t stamp)
{
	int ret;

	ck_assert_uint_lt(t->op_count, MAX_OPS);
	if (stamp == 0) {
		ret = qcowfmt_write_zeroes(t->image, (uint64_t)first * SECTOR,
		                           (uint64_t)count * SECTOR,
		                           QCOWFMT_ZERO_MAY_UNMAP, NULL);
	} else {
		memset(have, stamp, (size_t)count * SECTOR);
		ret = qcowfmt_pwrite(t->image, have, (size_t)count * SECTOR,
		                     (uint64_t)first * SECTOR, NULL);
	}
	t->ops[t->op_count++] = (struct op){ first, count, stamp, ret < 0 };
	t->blind = false;
}

static void acknowledge(struct trial *t)
{
	rec_log_mark(t->log);
	t->acks[t->ack_count++] = (struct ack){ t->log->count, t->op_count };
}

static void flush(struct trial *t)
{
	int ret = qcowfmt_flush(t->image, NULL);

	t->blind = false;
	if (ret == 0)
		acknowledge(t);
}

/* New tables, old ones, freed clusters that are used again, and a header that
 * changes. */
static void work(struct trial *t)
{
	change(t, 70, 8, 11);
	change(t, 130, 3, 12);
	change(t, 3, 4, 13);
	flush(t);
	flush(t);
	change(t, 200, 5, 14);
	change(t, 72, 4, 0);
	flush(t);
	change(t, 131, 9, 15);
	change(t, 260, 2, 16);
	flush(t);
	flush(t);
	/* In version 2 a power cut may leave flags that cost a copy. */
	if (t->kind->version > 2)
		(void)qcowfmt_snapshot_create(t->image, NULL, NULL);
	t->blind = false;
	change(t, 71, 3, 17);
	change(t, 4, 2, 18);
	flush(t);
	change(t, 300, 9, 19);
	t->closed = qcowfmt_close(t->image, NULL) == 0;
	if (t->closed)
		acknowledge(t);
}

static void add_bitmap(struct qcowfmt_image *image)
{
	const struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = "changes",
		.kind = QCOWFMT_BITMAP_ADD,
		.granularity = SECTOR,
	};

	ck_assert_int_eq(qcowfmt_bitmap_change(&action, 1, NULL, NULL), 0);
}

/* Half of the disk is there, with a bitmap that is clean. */
static void make_image(struct trial *t)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.version = t->kind->version,
		.flags = t->kind->flags,
		.cluster_size = t->kind->cluster_size,
		.virtual_size = SIZE,
	};
	struct qcowfmt_storage *storage = rec_storage_new(t->log);

	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
	t->image = open_on(storage, t->kind);
	memset(have, FIRST_STAMP, sizeof(have));
	ck_assert_int_eq(qcowfmt_pwrite(t->image, have, SIZE / 2, 0, NULL), 0);
	if (t->kind->bitmap)
		add_bitmap(t->image);
	ck_assert_int_eq(qcowfmt_close(t->image, NULL), 0);
	rec_log_restart(t->log);
}

/* ------------------------------------------------------------------- the judge */

static uint8_t first_stamp(size_t sector)
{
	return sector < SECTORS / 2 ? FIRST_STAMP : 0;
}

/* Whether a sector may have a value: the last one that is covered, or one of
 * those that came after it. */
static bool may_be(const struct trial *t, size_t covered, size_t sector,
                   uint8_t value)
{
	for (size_t i = t->op_count; i-- > 0;) {
		const struct op *op = &t->ops[i];

		if (sector < op->first || sector >= op->first + op->count)
			continue;
		if (op->stamp == value)
			return true;
		if (i < covered && !op->failed)
			return false;
	}
	return value == first_stamp(sector);
}

static size_t covered_at(const struct trial *t, size_t position)
{
	size_t covered = 0;

	for (size_t i = 0; i < t->ack_count; i++) {
		if (position >= t->acks[i].position)
			covered = t->acks[i].ops;
	}
	return covered;
}

static void expect_content(const struct trial *t, struct qcowfmt_image *image,
                           size_t position)
{
	size_t covered = covered_at(t, position);

	ck_assert_int_eq(qcowfmt_pread(image, have, SIZE, 0, NULL), 0);
	for (size_t i = 0; i < SIZE; i++) {
		size_t sector = i / SECTOR;

		if (i % SECTOR != 0 && have[i] == have[i - 1])
			continue;
		ck_assert_msg(i % SECTOR == 0 &&
		                      may_be(t, covered, sector, have[i]),
		              "%s, manner %d, call %" PRIu64
		              ", position %zu: sector %zu is %u",
		              t->kind->name, t->manner, t->nth, position,
		              sector, have[i]);
	}
}

static bool bitmap_is_reliable(struct qcowfmt_image *image)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;

	ck_assert_int_eq(qcowfmt_bitmap_list(image, 0, &list, NULL), 0);
	ck_assert_uint_eq(qcowfmt_bitmap_list_count(list), 1);
	ck_assert_int_eq(qcowfmt_bitmap_list_get(list, 0, &bitmap, NULL), 0);
	qcowfmt_bitmap_list_free(list);
	return (bitmap.flags & QCOWFMT_BITMAP_INCONSISTENT) == 0;
}

/* The content is in have. */
static void expect_bitmap(const struct trial *t, struct qcowfmt_image *image)
{
	uint64_t start = 0;
	uint64_t len = 0;

	if (!t->kind->bitmap || !bitmap_is_reliable(image))
		return;
	for (size_t s = 0; s < SECTORS; s++) {
		if (have[s * SECTOR] == first_stamp(s))
			continue;
		ck_assert_int_eq(qcowfmt_bitmap_next(image, "changes",
		                                     s * SECTOR, &start, &len,
		                                     NULL),
		                 1);
		ck_assert_msg(start == s * SECTOR,
		              "%s, manner %d, call %" PRIu64
		              ": sector %zu has changed and is clean",
		              t->kind->name, t->manner, t->nth, s);
	}
}

static void expect_sound(const struct trial *t, struct qcowfmt_image *image,
                         bool strictly)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	ck_assert_int_eq(qcowfmt_check(image, 0, NULL, NULL, &result, NULL), 0);
	ck_assert_msg(result.corruptions == 0 && result.check_errors == 0 &&
	                      (result.leaks == 0 || !strictly),
	              "%s, manner %d, call %" PRIu64 ": %" PRIu64
	              " corruptions, %" PRIu64 " leaks",
	              t->kind->name, t->manner, t->nth, result.corruptions,
	              result.leaks);
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct trial *t = opaque;
	struct qcowfmt_image *image =
		open_on(image_storage_new(state->image, true), t->kind);

	expect_content(t, image, state->position);
	expect_bitmap(t, image);
	expect_sound(t, image, false);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	t->states++;
	return true;
}

/* Without a power cut. */
static void judge_end(struct trial *t)
{
	struct qcowfmt_image *image = open_on(
		image_storage_new(t->log->now[REC_IMAGE], true), t->kind);

	expect_content(t, image, SIZE_MAX);
	expect_bitmap(t, image);
	ck_assert(!t->kind->bitmap || bitmap_is_reliable(image) || !t->closed);
	expect_sound(t, image, t->closed);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* Returns whether there was a call to fail. */
static bool fail_once(struct trial *t)
{
	struct crash_options options = {
		.seed = t->nth,
		.exhaustive = 3,
		.samples = 3,
		.torn_stride = 97,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };

	t->log = rec_log_new(CAPACITY);
	make_image(t);
	t->image = open_on(
		wrap_storage_new(rec_storage_new(t->log), disturb, t), t->kind);
	work(t);
	ck_assert(crash_states_visit(t->log, &options, judge, t, &totals));
	judge_end(t);
	rec_log_free(t->log);
	return t->failed;
}

START_TEST(fails)
{
	enum manner manner = (enum manner)(_i % MANNERS);
	const struct kind *kind = &kinds[_i / MANNERS];
	unsigned int stride = 1 + thin_factor() / 3;
	uint64_t states = 0;
	uint64_t nth = 0;
	bool more = true;

	for (; more; nth += stride) {
		static struct trial t;

		t = (struct trial){
			.kind = kind,
			.manner = manner,
			.nth = nth + 1,
		};
		more = fail_once(&t);
		states += t.states;
	}
	printf("%s, manner %d: %" PRIu64 " calls failed, %" PRIu64 " states\n",
	       kind->name, manner, nth / stride - 1, states);
	ck_assert_uint_gt(nth, 20);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, fails, 0,
	                    (int)QCF_ARRAY_LEN(kinds) * MANNERS);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	return unit_run("crash_after_a_failed_call", add);
}
