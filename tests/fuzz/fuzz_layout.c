/* SPDX-License-Identifier: MIT */
/*
 * fuzz_layout.c - where the structures of an image are
 *
 * Written from the format's description and not from the library, whose idea of a
 * damaged image is what is being tested.
 */
#include "fuzz_layout.h"

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define COMPRESSED  (UINT64_C(1) << 62)
/* So many tables of a kind are enough. */
#define MAX_TABLES 6u

struct finder {
	struct fuzz_layout *layout;
	const struct fuzz_disk *disk;
	uint32_t cluster_bits;
};

static uint64_t get(const struct finder *f, uint64_t at, size_t width)
{
	return fuzz_disk_get(f->disk, at, width);
}

static void add(struct finder *f, uint64_t at, uint64_t count, size_t width)
{
	struct fuzz_layout *l = f->layout;
	uint64_t room;

	if (l->count == FUZZ_MAX_SPANS || at >= f->disk->size)
		return;
	room = (f->disk->size - at) / width;
	count = count < room ? count : room;
	if (count > 0)
		l->spans[l->count++] = (struct fuzz_span){ at, count, width };
}

static void add_compressed(struct finder *f, uint64_t entry)
{
	uint32_t x = 62 - (f->cluster_bits - 8);

	add(f, entry & ((UINT64_C(1) << x) - 1), 64, 1);
}

static void add_l2(struct finder *f, uint64_t table)
{
	uint64_t count = (UINT64_C(1) << f->cluster_bits) / 8;
	uint32_t compressed = 0;

	/* The disk is small: entries further on mean nothing. */
	count = count < 128 ? count : 128;
	add(f, table, count, 8);
	for (uint64_t i = 0; i < count && compressed < 2; i++) {
		uint64_t entry = get(f, table + 8 * i, 8);

		if ((entry & COMPRESSED) != 0) {
			add_compressed(f, entry);
			compressed++;
		}
	}
}

static void add_l1(struct finder *f, uint64_t table, uint64_t count)
{
	uint32_t tables = 0;

	count = count < 64 ? count : 64;
	add(f, table, count, 8);
	for (uint64_t i = 0; i < count && tables < MAX_TABLES; i++) {
		uint64_t l2 = get(f, table + 8 * i, 8) & OFFSET_MASK;

		if (l2 != 0) {
			add_l2(f, l2);
			tables++;
		}
	}
}

static void add_refcounts(struct finder *f)
{
	uint64_t table = get(f, 48, 8);

	add(f, table, 8, 8);
	for (uint64_t i = 0; i < 2; i++) {
		uint64_t block = get(f, table + 8 * i, 8) & OFFSET_MASK;

		if (block != 0)
			add(f, block, 256, 1);
	}
}

static void add_snapshots(struct finder *f)
{
	uint64_t count = get(f, 60, 4);
	uint64_t at = get(f, 64, 8);

	for (uint64_t i = 0; i < count && i < MAX_TABLES; i++) {
		uint64_t len = 40 + get(f, at + 12, 2) + get(f, at + 14, 2) +
		               get(f, at + 36, 4);

		add(f, at, 4, 8);
		add(f, at, len < 128 ? len : 128, 1);
		add_l1(f, get(f, at, 8), get(f, at + 8, 4));
		at += (len + 7) / 8 * 8;
	}
}

static void add_bitmaps(struct finder *f, uint64_t extension)
{
	uint64_t count = get(f, extension, 4);
	uint64_t at = get(f, extension + 16, 8);

	for (uint64_t i = 0; i < count && i < MAX_TABLES; i++) {
		uint64_t len = 24 + get(f, at + 18, 2) + get(f, at + 20, 4);

		add(f, at, 3, 8);
		add(f, at, len < 64 ? len : 64, 1);
		add(f, get(f, at, 8), get(f, at + 8, 4), 8);
		at += (len + 7) / 8 * 8;
	}
}

/* Names, slots, and some of the first key. */
static void add_luks(struct finder *f, uint64_t extension)
{
	uint64_t at = get(f, extension, 8);

	add(f, at, 208, 1);
	add(f, at + 208, 96, 4);
	add(f, at + 4096, 64, 1);
}

static void add_extensions(struct finder *f)
{
	uint64_t at = get(f, 4, 4) == 2 ? 72 : get(f, 100, 4);

	for (uint32_t i = 0; i < 8; i++) {
		uint64_t type = get(f, at, 4);
		uint64_t len = get(f, at + 4, 4);

		add(f, at, 2, 4);
		if (type == 0 || at > UINT64_C(1) << 20)
			return;
		add(f, at + 8, len < 64 ? len : 64, 1);
		if (type == 0x23852875)
			add_bitmaps(f, at + 8);
		if (type == 0x0537be77)
			add_luks(f, at + 8);
		at += 8 + (len + 7) / 8 * 8;
	}
}

static void find_version_1(struct finder *f)
{
	uint64_t l1 = get(f, 40, 8);

	f->cluster_bits = (uint32_t)get(f, 32, 1) % 22;
	add(f, 32, 8, 1);
	add(f, l1, 16, 8);
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t l2 = get(f, l1 + 8 * i, 8);

		if (l2 != 0)
			add(f, l2, 64, 8);
	}
}

void fuzz_layout_find(struct fuzz_layout *layout, const struct fuzz_disk *disk)
{
	struct finder f = { layout, disk, 0 };

	layout->count = 0;
	add(&f, 0, 28, 4);
	add(&f, 8, 12, 8);
	if (get(&f, 4, 4) == 1) {
		find_version_1(&f);
	} else {
		f.cluster_bits = (uint32_t)get(&f, 20, 4) % 22;
		if (f.cluster_bits < 9)
			f.cluster_bits = 9;
		add(&f, 72, 40, 1);
		add_extensions(&f);
		add_l1(&f, get(&f, 40, 8), get(&f, 36, 4));
		add_refcounts(&f);
		add_snapshots(&f);
	}
	layout->cluster_size = UINT64_C(1) << f.cluster_bits;
}
