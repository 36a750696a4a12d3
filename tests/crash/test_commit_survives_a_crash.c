/* SPDX-License-Identifier: MIT */
/*
 * Promise: a power cut while an overlay is committed leaves the same disk to be
 * seen through overlay and base, and both images sound.  Once the call has
 * returned the base alone has it, and the overlay is empty if that was wanted: as
 * short as a new one.
 */
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "chain_world.h"
#include "checked.h"
#include "crash_states.h"
#include "image_storage.h"
#include "rec_storage.h"
#include "unit.h"

#define QCOW2 QCOWFMT_FORMAT_QCOW2

static const struct commit_case {
	const char *name;
	struct chain_image top;
	struct chain_image base;
	bool keep_top;
	bool snapshot;
} cases[] = {
	{ "small clusters",
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  false,
	  false },
	{ "several refcount blocks",
	  { QCOW2, 3, 0, 512, 1200 * 512, false },
	  { QCOW2, 3, 0, 4096, 1200 * 512, false },
	  false,
	  false },
	{ "top is kept",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOW2, 3, 0, 512, 200 * 512, false },
	  true,
	  false },
	{ "base grows",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOW2, 3, 0, 512, 61 * 512, false },
	  false,
	  false },
	{ "version 2",
	  { QCOW2, 2, 0, 512, 130 * 512, false },
	  { QCOW2, 2, 0, 4096, 100 * 512, false },
	  false,
	  false },
	{ "raw base",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOWFMT_FORMAT_RAW, 0, 0, 0, 150 * 512, false },
	  false,
	  false },
	{ "subclusters",
	  { QCOW2, 3, QCOWFMT_CREATE_EXTENDED_L2, 16384, 200 * 512, false },
	  { QCOW2, 3, QCOWFMT_CREATE_EXTENDED_L2, 16384, 200 * 512, false },
	  false,
	  false },
	{ "lazy counts",
	  { QCOW2, 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 512, 96 * 512, false },
	  { QCOW2, 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 4096, 96 * 512, false },
	  false,
	  false },
	{ "version 1",
	  { QCOWFMT_FORMAT_QCOW, 0, 0, 0, 96 * 512, false },
	  { QCOWFMT_FORMAT_QCOW, 0, 0, 0, 96 * 512, false },
	  false,
	  false },
	{ "encrypted",
	  { QCOW2, 3, 0, 4096, 96 * 512, true },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  false,
	  false },
	{ "snapshot",
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  false,
	  true },
	{ "snapshot in version 2",
	  { QCOW2, 2, 0, 512, 96 * 512, false },
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  false,
	  true },
};

struct committing {
	const struct commit_case *row;
	struct chain_tally tally; /* before: something is in the top image */
	uint64_t size;
	uint8_t disk[CHAIN_MAX_DISK];
};

static const char *format_name(const struct chain_image *image)
{
	return image->format == QCOWFMT_FORMAT_QCOW
	               ? NULL
	               : qcowfmt_format_name(image->format);
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct committing *c = opaque;
	const struct commit_case *row = c->row;
	struct chain_files files = { { { "base", state->data } } };
	uint64_t nth = c->tally.before + c->tally.after;
	struct qcowfmt_image *image;

	if (state->position >= c->tally.promised) {
		chain_expect_settled(state->data, row->base.format, row->name);
		chain_expect_settled(state->image, row->top.format, row->name);
	}
	chain_ask_qemu(state->data, &row->base, nth, row->name);
	chain_ask_qemu(state->image, &row->top, nth, row->name);
	image = chain_open(image_storage_new(state->data, true),
	                   row->base.format, QCOWFMT_OPEN_READ_WRITE, 0, NULL);
	chain_expect_sound(image, row->name);
	if (state->position >= c->tally.promised)
		chain_expect(image, c->disk, c->size, row->name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	image = chain_open(image_storage_new(state->image, true),
	                   row->top.format, QCOWFMT_OPEN_READ_WRITE, 0, &files);
	if (row->keep_top)
		c->tally.before++;
	else
		chain_count(&c->tally, state->position, chain_is_empty(image),
		            row->name);
	chain_expect_sound(image, row->name);
	chain_expect(image, c->disk, c->size, row->name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return true;
}

static void make_images(struct committing *c, struct rec_log *log)
{
	const struct commit_case *row = c->row;
	struct qcowfmt_storage *base = rec_data_storage_new(log);
	struct qcowfmt_storage *top = rec_storage_new(log);
	struct chain_files files = { { { "base", log->now[REC_DATA] } } };
	struct qcowfmt_image *image;

	chain_create(base, &row->base, NULL, NULL);
	image = chain_open(base, row->base.format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   NULL);
	chain_fill(image, 1, 5);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	chain_create(top, &row->top, "base", format_name(&row->base));
	image = chain_open(top, row->top.format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   &files);
	chain_fill(image, 100, 4);
	if (row->snapshot)
		ck_assert_int_eq(qcowfmt_snapshot_create(image, NULL, NULL), 0);
	chain_fill(image, 101, row->snapshot ? 2 : 0);
	c->size = chain_read(image, c->disk);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* Nothing but what a snapshot needs is left of the file. */
static void expect_short(const struct commit_case *row,
                         const struct byte_image *top)
{
	struct byte_image *bytes = byte_image_new(CHAIN_CAPACITY);
	struct qcowfmt_storage *fresh = image_storage_new(bytes, true);
	uint64_t whole;

	chain_create(fresh, &row->top, "base", format_name(&row->base));
	whole = qcf_align_up(byte_image_size(bytes),
	                     QCF_MAX(row->top.cluster_size, CHAIN_SECTOR));
	if (!row->keep_top && !row->snapshot)
		ck_assert_msg(
			byte_image_size(top) <= whole,
			"%s: %zu bytes are left, a new image has %" PRIu64,
			row->name, byte_image_size(top), whole);
	qcowfmt_storage_free(fresh);
	byte_image_free(bytes);
}

static void commit(struct committing *c, struct rec_log *log)
{
	const struct commit_case *row = c->row;
	struct qcowfmt_commit_options how = {
		.struct_size = sizeof(how),
		.flags = row->keep_top ? QCOWFMT_COMMIT_KEEP_TOP : 0,
	};
	struct chain_files none = { { { NULL, NULL } } };
	struct qcowfmt_image *base =
		chain_open(rec_data_storage_new(log), row->base.format,
	                   QCOWFMT_OPEN_READ_WRITE, 0, NULL);
	struct qcowfmt_image *top =
		chain_open(rec_storage_new(log), row->top.format,
	                   QCOWFMT_OPEN_READ_WRITE, 1, &none);
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_commit(top, base, &how, &error) == 0, "%s: %s",
	              row->name, qcowfmt_error_message(error));
	chain_promise(&c->tally, log);
	expect_short(row, log->now[REC_IMAGE]);
	ck_assert_int_eq(qcowfmt_close(base, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(top, NULL), 0);
}

START_TEST(commits)
{
	static struct committing c;
	struct rec_log *log = rec_log_new(CHAIN_CAPACITY);

	rec_log_add_data(log, CHAIN_CAPACITY);
	c = (struct committing){ .row = &cases[_i] };
	make_images(&c, log);
	rec_log_restart(log);
	commit(&c, log);
	chain_visit(log, judge, &c, &c.tally, c.row->name, !c.row->keep_top);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, commits, 0,
	                    (int)(sizeof(cases) / sizeof(cases[0])));
}

int main(void)
{
	return chain_main("commit_survives_a_crash", add);
}
