/* SPDX-License-Identifier: MIT */
/*
 * Promise: a power cut while an image is put on another backing file leaves the
 * same disk, over whichever of the two files the image then names.
 */
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "chain_world.h"
#include "crash_states.h"
#include "image_storage.h"
#include "rec_storage.h"
#include "unit.h"

#define QCOW2 QCOWFMT_FORMAT_QCOW2

static const struct rebase_case {
	const char *name;
	struct chain_image top;
	struct chain_image old;
	struct chain_image new; /* format PROBE: none, that is, flatten */
	uint32_t flags;         /* QCOWFMT_REBASE_* */
} cases[] = {
	{ "small clusters",
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  { QCOW2, 3, 0, 512, 96 * 512, false },
	  0 },
	{ "flatten",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOW2, 3, 0, 512, 150 * 512, false },
	  { QCOWFMT_FORMAT_PROBE, 0, 0, 0, 0, false },
	  0 },
	{ "version 2",
	  { QCOW2, 2, 0, 512, 130 * 512, false },
	  { QCOW2, 2, 0, 4096, 100 * 512, false },
	  { QCOW2, 3, 0, 4096, 130 * 512, false },
	  0 },
	{ "other sizes",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOW2, 3, 0, 4096, 99 * 512, false },
	  { QCOWFMT_FORMAT_RAW, 0, 0, 0, 300 * 512, false },
	  0 },
	{ "subclusters",
	  { QCOW2, 3, QCOWFMT_CREATE_EXTENDED_L2, 16384, 200 * 512, false },
	  { QCOW2, 3, 0, 512, 200 * 512, false },
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  0 },
	{ "compressed copies",
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOW2, 3, 0, 4096, 200 * 512, false },
	  { QCOWFMT_FORMAT_PROBE, 0, 0, 0, 0, false },
	  QCOWFMT_REBASE_COMPRESS },
	{ "lazy counts",
	  { QCOW2, 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 512, 96 * 512, false },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  0 },
	{ "version 1",
	  { QCOWFMT_FORMAT_QCOW, 0, 0, 0, 96 * 512, false },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  0 },
	{ "encrypted",
	  { QCOW2, 3, 0, 4096, 96 * 512, true },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  { QCOW2, 3, 0, 4096, 96 * 512, false },
	  0 },
};

struct rebasing {
	const struct rebase_case *row;
	struct chain_files files;
	struct byte_image *new;
	struct chain_tally tally; /* before: it names the old backing file */
	uint64_t size;
	uint8_t disk[CHAIN_MAX_DISK];
};

static bool has_new(const struct rebase_case *row)
{
	return row->new.format != QCOWFMT_FORMAT_PROBE;
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct rebasing *r = opaque;
	const struct rebase_case *row = r->row;
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *image;

	if (state->position >= r->tally.promised)
		chain_expect_settled(state->image, row->top.format, row->name);
	chain_ask_qemu(state->image, &row->top,
	               r->tally.before + r->tally.after, row->name);
	image = chain_open(image_storage_new(state->image, true),
	                   row->top.format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   &r->files);
	ck_assert_int_eq(qcowfmt_get_info(image, 0, &info, NULL), 0);
	chain_count(&r->tally, state->position,
	            info.backing_filename == NULL ||
	                    strcmp(info.backing_filename, "base") != 0,
	            row->name);
	chain_expect_sound(image, row->name);
	chain_expect(image, r->disk, r->size, row->name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return true;
}

static struct byte_image *make_base(const struct chain_image *how, uint8_t seed)
{
	struct byte_image *bytes = byte_image_new(CHAIN_CAPACITY);
	struct qcowfmt_storage *storage = image_storage_new(bytes, true);
	struct qcowfmt_image *image;

	chain_create(storage, how, NULL, NULL);
	image = chain_open(storage, how->format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   NULL);
	/* Every other run is the same in both. */
	chain_fill(image, 3, 6);
	chain_fill(image, seed, 3);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return bytes;
}

static void make_images(struct rebasing *r, struct rec_log *log)
{
	const struct rebase_case *row = r->row;
	struct qcowfmt_storage *top = rec_storage_new(log);
	struct qcowfmt_image *image;

	r->files.files[0] =
		(struct chain_file){ "base", make_base(&row->old, 50) };
	if (has_new(row))
		r->files.files[1] =
			(struct chain_file){ "new", make_base(&row->new, 60) };
	chain_create(top, &row->top, "base",
	             row->top.format == QCOWFMT_FORMAT_QCOW
	                     ? NULL
	                     : qcowfmt_format_name(row->old.format));
	image = chain_open(top, row->top.format, QCOWFMT_OPEN_READ_WRITE, 0,
	                   &r->files);
	chain_fill(image, 100, 2);
	r->size = chain_read(image, r->disk);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void rebase(struct rebasing *r, struct rec_log *log)
{
	const struct rebase_case *row = r->row;
	struct qcowfmt_rebase_options how = {
		.struct_size = sizeof(how),
		.flags = row->flags,
		.backing_filename = has_new(row) ? "new" : NULL,
		.backing_format = has_new(row)
		                          ? qcowfmt_format_name(row->new.format)
		                          : NULL,
	};
	struct qcowfmt_image *top =
		chain_open(rec_storage_new(log), row->top.format,
	                   QCOWFMT_OPEN_READ_WRITE, 0, &r->files);
	struct qcowfmt_image *new =
		has_new(row)
			? chain_open(image_storage_new(r->files.files[1].bytes,
	                                               false),
	                             row->new.format, 0, 0, NULL)
			: NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_rebase(top, new, &how, &error) == 0, "%s: %s",
	              row->name, qcowfmt_error_message(error));
	chain_promise(&r->tally, log);
	ck_assert_int_eq(qcowfmt_close(new, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(top, NULL), 0);
}

START_TEST(rebases)
{
	static struct rebasing r;
	struct rec_log *log = rec_log_new(CHAIN_CAPACITY);

	r = (struct rebasing){ .row = &cases[_i] };
	make_images(&r, log);
	rec_log_restart(log);
	rebase(&r, log);
	chain_visit(log, judge, &r, &r.tally, r.row->name, true);
	for (int i = 0; i < CHAIN_FILES; i++) {
		if (r.files.files[i].bytes != NULL)
			byte_image_free(r.files.files[i].bytes);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, rebases, 0,
	                    (int)(sizeof(cases) / sizeof(cases[0])));
}

int main(void)
{
	return chain_main("rebase_survives_a_crash", add);
}
