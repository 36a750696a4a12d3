/* SPDX-License-Identifier: MIT */
/*
 * Promise: of a raw image, too, what a flush, a resize or closing has returned for
 * survives a power cut, and so does a new one.
 */
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "crash_states.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "unit.h"

#define CAPACITY ((size_t)1 << 20)
#define SECTOR   512u
#define SIZE     (64 * SECTOR)
#define GROWN    (90 * SECTOR)

/* What holds from a position in the log on. */
struct promise {
	size_t position;
	size_t size;
	uint8_t first;  /* byte of the first sectors */
	uint8_t second; /* of those behind them */
};

struct trial {
	struct rec_log *log;
	struct promise promises[8];
	size_t count;
	struct qcowfmt_image *image;
};

static void promise(struct trial *t, size_t size, uint8_t first, uint8_t second)
{
	rec_log_mark(t->log);
	t->promises[t->count++] =
		(struct promise){ t->log->count, size, first, second };
}

static void put(struct trial *t, uint64_t sector, uint8_t value)
{
	uint8_t bytes[8 * SECTOR];

	memset(bytes, value, sizeof(bytes));
	ck_assert_int_eq(qcowfmt_pwrite(t->image, bytes, sizeof(bytes),
	                                sector * SECTOR, NULL),
	                 0);
}

static void work(struct trial *t)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.format = QCOWFMT_FORMAT_RAW,
		.virtual_size = SIZE,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_storage *storage = rec_storage_new(t->log);

	/* What was there before. */
	ck_assert_int_eq(qcf_storage_pwrite(storage, "old", 3, 0, NULL), 0);
	rec_log_restart(t->log);
	ck_assert_int_eq(qcowfmt_create(storage, &create, NULL), 0);
	promise(t, SIZE, 0, 0);
	ck_assert_int_eq(qcowfmt_open(storage, &options, &t->image, NULL), 0);
	put(t, 0, 1);
	ck_assert_int_eq(qcowfmt_flush(t->image, NULL), 0);
	promise(t, SIZE, 1, 0);
	ck_assert_int_eq(qcowfmt_resize(t->image, GROWN, NULL, NULL), 0);
	promise(t, GROWN, 1, 0);
	put(t, 8, 2);
	ck_assert_int_eq(qcowfmt_close(t->image, NULL), 0);
	promise(t, GROWN, 1, 2);
}

static bool is_kept(void *opaque, const struct crash_state *state)
{
	const struct trial *t = opaque;
	const struct promise *p = NULL;
	const uint8_t *bytes = byte_image_bytes(state->image);

	for (size_t i = 0; i < t->count; i++) {
		if (state->position >= t->promises[i].position)
			p = &t->promises[i];
	}
	if (p == NULL)
		return true;
	ck_assert_uint_ge(byte_image_size(state->image), p->size);
	for (size_t i = 0; i < 8 * SECTOR; i++)
		ck_assert(bytes[i] == p->first || p->first == 0);
	for (size_t i = 8 * SECTOR; i < 16 * SECTOR; i++)
		ck_assert(bytes[i] == p->second || p->second == 0);
	return true;
}

START_TEST(raw)
{
	struct crash_options options = { .seed = 1 };
	struct crash_totals totals = { 0 };
	struct trial t = { .log = rec_log_new(CAPACITY) };

	work(&t);
	ck_assert(crash_states_visit(t.log, &options, is_kept, &t, &totals));
	printf("%" PRIu64 " states\n", totals.states);
	rec_log_free(t.log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, raw);
}

int main(void)
{
	return unit_run("raw_image_is_stable", add);
}
