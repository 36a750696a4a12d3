/* SPDX-License-Identifier: MIT */
/* whole_extras.c - dirty bitmaps and VM state of images for whole_image.h */
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "whole_extras.h"

#define EXT_BITMAPS    0x23852875u
#define ENTRY_LEN      24u
#define VM_STATE_SIZE  5000u
#define VM_STATE_START 700u

/* ------------------------------------------------------------------ bitmaps */

static void describe_dirty(struct qcowfmt_image *image, const char *name,
                           char *text)
{
	uint64_t at = 0;
	uint64_t len = 0;
	uint64_t from = 0;

	while (qcowfmt_bitmap_next(image, name, from, &at, &len, NULL) == 1) {
		size_t used = strlen(text);

		snprintf(text + used, EXTRAS_TEXT - used,
		         " %" PRIu64 "+%" PRIu64, at, len);
		from = at + len;
	}
}

void extras_describe_bitmaps(struct qcowfmt_image *image,
                             char text[EXTRAS_TEXT])
{
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_bitmap b = { .struct_size = sizeof(b) };

	text[0] = '\0';
	ck_assert_int_eq(qcowfmt_bitmap_list(image, 0, &list, NULL), 0);
	for (uint32_t i = 0; i < qcowfmt_bitmap_list_count(list); i++) {
		size_t used = strlen(text);

		ck_assert_int_eq(qcowfmt_bitmap_list_get(list, i, &b, NULL), 0);
		snprintf(text + used, EXTRAS_TEXT - used,
		         "\n%s, %" PRIu64 ", flags %x:", b.name, b.granularity,
		         b.flags);
		describe_dirty(image, b.name, text);
	}
	qcowfmt_bitmap_list_free(list);
	ck_assert_uint_lt(strlen(text), EXTRAS_TEXT - 1);
}

uint64_t extras_get(const uint8_t *bytes, size_t at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | bytes[at + i];
	return value;
}

/* Where the content of an extension of the header begins. */
static size_t find_extension(const uint8_t *bytes, uint32_t type)
{
	size_t at = (size_t)extras_get(bytes, 100, 4);

	while (extras_get(bytes, at, 4) != type) {
		ck_assert_uint_ne(extras_get(bytes, at, 4), 0);
		at += 8 +
		      (((size_t)extras_get(bytes, at + 4, 4) + 7) & ~(size_t)7);
	}
	return at + 8;
}

void extras_mark_in_use(struct byte_image *image, const char *name)
{
	const uint8_t *bytes = byte_image_bytes(image);
	size_t ext = find_extension(bytes, EXT_BITMAPS);
	size_t at = (size_t)extras_get(bytes, ext + 16, 8);
	size_t end = at + (size_t)extras_get(bytes, ext + 8, 8);

	while (at < end) {
		size_t name_len = (size_t)extras_get(bytes, at + 18, 2);
		size_t extra = (size_t)extras_get(bytes, at + 20, 4);

		if (name_len == strlen(name) &&
		    memcmp(bytes + at + ENTRY_LEN + extra, name, name_len) ==
		            0) {
			uint8_t flags = bytes[at + 15] | 1u;

			byte_image_poke(image, at + 15, &flags, 1);
			return;
		}
		at += (ENTRY_LEN + extra + name_len + 7) & ~(size_t)7;
	}
	ck_abort_msg("no bitmap '%s'", name);
}

/* ----------------------------------------------------------- refcount blocks */

#define CLUSTER   512u
#define PER_BLOCK 64u

static void put(struct byte_image *image, size_t at, uint64_t value)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(value >> (56 - 8 * i));
	byte_image_poke(image, at, bytes, sizeof(bytes));
}

void extras_move_block(struct byte_image *image)
{
	const uint8_t *bytes = byte_image_bytes(image);
	size_t table = (size_t)extras_get(bytes, 48, 8);
	size_t from = (size_t)extras_get(bytes, table, 8);
	size_t to = (byte_image_size(image) + CLUSTER - 1) / CLUSTER;
	size_t other = (size_t)extras_get(bytes, table + to / PER_BLOCK * 8, 8);
	uint8_t block[CLUSTER];

	ck_assert_uint_eq(extras_get(bytes, 20, 4), 9);
	ck_assert_uint_eq(extras_get(bytes, 96, 4), 6);
	ck_assert(other != 0 && other != from && from / CLUSTER < PER_BLOCK);
	memcpy(block, bytes + from, CLUSTER);
	ck_assert(byte_image_write(image, to * CLUSTER, block, CLUSTER));
	put(image, to * CLUSTER + from / CLUSTER * 8, 0);
	put(image, other + to % PER_BLOCK * 8, 1);
	put(image, table, to * CLUSTER);
}

/* ----------------------------------------------------------------- VM state */

static void make_state(uint8_t state[VM_STATE_SIZE])
{
	for (size_t i = 0; i < VM_STATE_SIZE; i++)
		state[i] = (uint8_t)(i % 251);
}

void extras_add_vm_state(struct qcowfmt_image *image)
{
	struct qcowfmt_snapshot_options how = {
		.struct_size = sizeof(how),
		.name = EXTRAS_SNAPSHOT,
		.vm_state_size = VM_STATE_START + VM_STATE_SIZE,
		.date_sec = 1,
	};
	uint8_t state[VM_STATE_SIZE];

	make_state(state);
	ck_assert_int_eq(qcowfmt_vm_state_pwrite(image, state, VM_STATE_SIZE,
	                                         VM_STATE_START, NULL),
	                 0);
	ck_assert_int_eq(qcowfmt_snapshot_create(image, &how, NULL), 0);
}

void extras_expect_vm_state(struct qcowfmt_image *image, const char *name)
{
	uint8_t want[VM_STATE_SIZE];
	uint8_t have[VM_STATE_SIZE];

	make_state(want);
	ck_assert_int_eq(qcowfmt_vm_state_pread(image, have, VM_STATE_SIZE,
	                                        VM_STATE_START, NULL),
	                 0);
	ck_assert_msg(memcmp(want, have, VM_STATE_SIZE) == 0,
	              "%s: other VM state", name);
}
