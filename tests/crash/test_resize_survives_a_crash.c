/* SPDX-License-Identifier: MIT */
/*
 * Promise: a power cut while an image is resized leaves the old size with the
 * old content, or the new size with the same content and zeros behind it; the
 * check finds no corruption, and a later growing shows nothing of what was cut
 * off.  Once the call has returned it is the new size.
 */
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "byte_image.h"
#include "crash_states.h"
#include "image_storage.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "thin.h"
#include "unit.h"

#define CAPACITY ((size_t)8 << 20)
#define MAX_SIZE ((uint64_t)1 << 20)
#define SECTOR   512u

/* No sector of the disk has it. */
#define VM_STATE_SIZE 5000u
#define VM_STATE_BYTE 0xffu

static const struct resize_case {
	const char *name;
	uint32_t version;
	uint32_t create_flags;
	uint64_t cluster_size;
	uint64_t old_size;
	uint64_t new_size;
	int32_t preallocation;
	bool backing;  /* the backing file is longer than the disk */
	bool vm_state; /* there is some, and it must not become disk */
} cases[] = {
	{ "grow within the L1 table", 3, 0, 4096, 200 * SECTOR, 900 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF },
	{ "grow the L1 table", 3, 0, 512, 60 * SECTOR, 2000 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF },
	{ "grow version 2", 2, 0, 512, 61 * SECTOR, 700 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF },
	{ "grow with metadata", 3, 0, 512, 60 * SECTOR, 500 * SECTOR,
	  QCOWFMT_PREALLOCATION_METADATA },
	{ "grow with space", 2, 0, 4096, 100 * SECTOR, 500 * SECTOR,
	  QCOWFMT_PREALLOCATION_FALLOC },
	{ "grow subclusters", 3, QCOWFMT_CREATE_EXTENDED_L2, 16384, 99 * SECTOR,
	  700 * SECTOR, QCOWFMT_PREALLOCATION_METADATA },
	{ "grow with lazy counts", 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 512,
	  60 * SECTOR, 900 * SECTOR, QCOWFMT_PREALLOCATION_OFF },
	{ "grow over a backing file", 3, 0, 4096, 61 * SECTOR, 300 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF, true },
	{ "grow over VM state", 3, 0, 512, 60 * SECTOR, 900 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF, false, true },
	{ "grow over a backing file in version 2", 2, 0, 512, 61 * SECTOR,
	  300 * SECTOR, QCOWFMT_PREALLOCATION_OFF, true },
	{ "shrink inside a cluster", 3, 0, 4096, 300 * SECTOR, 101 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF },
	{ "shrink over tables", 3, 0, 512, 900 * SECTOR, 65 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF },
	{ "shrink version 2", 2, 0, 512, 300 * SECTOR, 33 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF },
	{ "shrink subclusters", 3, QCOWFMT_CREATE_EXTENDED_L2, 16384,
	  300 * SECTOR, 35 * SECTOR, QCOWFMT_PREALLOCATION_OFF },
	{ "shrink in front of VM state", 3, 0, 512, 300 * SECTOR, 65 * SECTOR,
	  QCOWFMT_PREALLOCATION_OFF, false, true },
};

struct resizing {
	const struct resize_case *row;
	size_t promised; /* from here on in the log it is the new size */
	uint64_t before; /* states with the old size */
	uint64_t after;
	uint8_t have[MAX_SIZE];
};

/* Every sector has its own number everywhere. */
static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(1 + offset / SECTOR % 251);
}

/* A backing file of noise that is longer than any disk. */
static int supply(void *opaque, const struct qcowfmt_reference *reference,
                  struct qcowfmt_storage **storage, int32_t *format)
{
	static struct byte_image *noise;

	(void)opaque;
	(void)reference;
	if (noise == NULL) {
		noise = byte_image_new(MAX_SIZE);
		for (size_t at = 0; at < MAX_SIZE; at += SECTOR)
			ck_assert(byte_image_write(noise, at, "noise", 5));
	}
	*storage = image_storage_new(noise, false);
	*format = QCOWFMT_FORMAT_RAW;
	return 0;
}

static struct qcowfmt_image *open_on(struct qcowfmt_storage *storage,
                                     uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = supply,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s", qcowfmt_error_message(error));
	return image;
}

/* The content up to end is what was written, and zeros from there on. */
static void expect_content(struct resizing *r, struct qcowfmt_image *image,
                           uint64_t end)
{
	uint64_t size = qcowfmt_get_size(image);

	ck_assert_int_eq(qcowfmt_pread(image, r->have, size, 0, NULL), 0);
	for (uint64_t i = 0; i < size; i++) {
		uint8_t want = i < end ? byte_at(i) : 0;

		if (r->have[i] != want)
			ck_abort_msg("%s: byte %" PRIu64 " is %u, want %u",
			             r->row->name, i, r->have[i], want);
	}
}

/* It would be looked for at another place.  What was cut off may still be there. */
static void expect_no_vm_state(struct resizing *r, struct qcowfmt_image *image)
{
	uint8_t bytes[VM_STATE_SIZE];

	ck_assert_int_eq(
		qcowfmt_vm_state_pread(image, bytes, VM_STATE_SIZE, 0, NULL),
		0);
	for (size_t i = 0; i < VM_STATE_SIZE; i++)
		ck_assert_msg(bytes[i] != VM_STATE_BYTE,
		              "%s: VM state has moved", r->row->name);
}

static uint64_t expect_sound(struct resizing *r, struct qcowfmt_image *image)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	ck_assert_int_eq(qcowfmt_check(image, 0, NULL, NULL, &result, NULL), 0);
	ck_assert_msg(result.corruptions == 0 && result.check_errors == 0,
	              "%s: %" PRIu64 " corruptions", r->row->name,
	              result.corruptions);
	return result.leaks;
}

/* It has returned: nothing is left to be freed. */
static void expect_settled(struct resizing *r, struct byte_image *bytes)
{
	struct qcowfmt_image *image =
		open_on(image_storage_new(bytes, false), 0);

	ck_assert_msg(expect_sound(r, image) == 0,
	              "%s: it has returned and there are leaks", r->row->name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct resizing *r = opaque;
	const struct resize_case *row = r->row;
	uint64_t small = QCF_MIN(row->old_size, row->new_size);
	struct qcowfmt_image *image;
	uint64_t size;

	if (state->position >= r->promised)
		expect_settled(r, state->image);
	image = open_on(image_storage_new(state->image, true),
	                QCOWFMT_OPEN_READ_WRITE);
	size = qcowfmt_get_size(image);

	ck_assert_msg(size == row->old_size || size == row->new_size,
	              "%s: size %" PRIu64, row->name, size);
	ck_assert_msg(size == row->new_size || state->position < r->promised,
	              "%s: the old size comes back", row->name);
	if (size == row->old_size)
		r->before++;
	else
		r->after++;
	expect_content(r, image, size == row->old_size ? row->old_size : small);
	if (row->vm_state && size == row->new_size)
		expect_no_vm_state(r, image);
	expect_sound(r, image);
	/* Nothing comes back, whatever the crash has left behind. */
	if (size < row->old_size) {
		ck_assert_int_eq(
			qcowfmt_resize(image, row->old_size, NULL, NULL), 0);
		expect_content(r, image, small);
		expect_sound(r, image);
	}
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	return true;
}

static void make_image(const struct resize_case *row, struct rec_log *log)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.version = row->version,
		.flags = row->create_flags,
		.cluster_size = row->cluster_size,
		.virtual_size = row->old_size,
		.backing_filename = row->backing ? "noise" : NULL,
		.backing_format = row->backing ? "raw" : NULL,
	};
	struct qcowfmt_storage *storage = rec_storage_new(log);
	struct qcowfmt_image *image;
	static uint8_t bytes[MAX_SIZE];

	for (uint64_t i = 0; i < row->old_size; i++)
		bytes[i] = byte_at(i);
	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
	image = open_on(storage, QCOWFMT_OPEN_READ_WRITE);
	ck_assert_int_eq(qcowfmt_pwrite(image, bytes, row->old_size, 0, NULL),
	                 0);
	memset(bytes, VM_STATE_BYTE, VM_STATE_SIZE);
	if (row->vm_state)
		ck_assert_int_eq(qcowfmt_vm_state_pwrite(
					 image, bytes, VM_STATE_SIZE, 0, NULL),
		                 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void resize(struct resizing *r, struct rec_log *log)
{
	const struct resize_case *row = r->row;
	struct qcowfmt_resize_options how = {
		.struct_size = sizeof(how),
		.preallocation = row->preallocation,
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct qcowfmt_image *image =
		open_on(rec_storage_new(log), QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_resize(image, row->new_size, &how, &error) == 0,
	              "%s: %s", row->name, qcowfmt_error_message(error));
	rec_log_mark(log);
	r->promised = log->count;
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

START_TEST(resizes)
{
	static struct resizing r;
	struct crash_options options = {
		.seed = 1,
		.exhaustive = 9,
		.samples = 100,
		.torn_stride = 3,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };
	struct rec_log *log = rec_log_new(CAPACITY);

	r = (struct resizing){ .row = &cases[_i], .promised = SIZE_MAX };
	make_image(r.row, log);
	rec_log_restart(log);
	resize(&r, log);
	ck_assert(crash_states_visit(log, &options, judge, &r, &totals));
	printf("%s: %" PRIu64 " states, %" PRIu64 " before, %" PRIu64
	       " after\n",
	       r.row->name, totals.states, r.before, r.after);
	ck_assert_uint_gt(r.before, 0);
	ck_assert_uint_gt(r.after, 0);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, resizes, 0,
	                    (int)(sizeof(cases) / sizeof(cases[0])));
}

int main(void)
{
	return unit_run("resize_survives_a_crash", add);
}
