/* SPDX-License-Identifier: MIT */
/*
 * Promise: every kind of corruption in checks.def is found in some image; a plan
 * says what a repair does; a repair changes nothing that the guest sees, and a
 * second one changes nothing at all; a dehydrated copy has the same findings.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api_disk.h"
#include "api_test.h"
#include "check_id.h"
#include "feature.h"
#include "header.h"

#define DISK_SIZE    ((uint64_t)1 << 20)
#define CLUSTER_SIZE ((uint64_t)4096)

/* ------------------------------------------------------------------ images */

enum base {
	PLAIN, /* version 3 with data in guest clusters 0 to 7 */
	VERSION_2,
	SNAPSHOTS, /* two of them, and data written in between */
	BITMAPS,   /* "one" and "two", both with bits */
	EXTENDED,
	COMPRESSED, /* guest clusters 0 to 3 */
	DATA_FILE,
	LUKS,
	VERSION_1,
	BASE_COUNT
};

/* What an offset of a change counts from. */
enum anchor {
	HEADER = 0,
	L1,
	L2,
	REFTABLE,
	BLOCK,
	SNAPSHOT_TABLE,
	SNAPSHOT_L1, /* of the first one */
	SNAPSHOT_ENTRY_2,
	BITMAP_EXT,
	BITMAP_ENTRY,
	BITMAP_ENTRY_2,
	BITMAP_TABLE,
	LUKS_EXT,
	LUKS_HEADER,
};

struct change {
	enum anchor anchor;
	uint64_t at;
	size_t width; /* 0 ends the list */
	uint64_t value;
};

/* Stands for the word at an anchor, to be changed by xor with the value. */
#define FLIP 0x100u

struct row {
	const char *what;
	enum base base;
	uint32_t id;
	struct change changes[5];
	uint64_t cut; /* length of the file afterwards; 0 = as it is */
	bool whole;   /* -r all leaves nothing */
	bool shared;  /* a table is also guest data, and not dehydrated */
};

static struct api_disk bases[BASE_COUNT];
static struct api_disk data_file;
static enum base trying; /* the one in use now */

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(1 + offset / 512 % 251);
}

static void write_range(struct qcowfmt_image *image, uint64_t offset,
                        uint64_t len, bool compressed)
{
	static uint8_t bytes[DISK_SIZE];

	for (uint64_t i = 0; i < len; i++)
		bytes[i] = byte_at(offset + i);
	if (compressed)
		API_OK(qcowfmt_pwrite_compressed(image, bytes, len, offset,
		                                 &api_error));
	else
		API_OK(qcowfmt_pwrite(image, bytes, len, offset, &api_error));
}

static int try_open(struct api_disk *disk, uint32_t flags,
                    struct qcowfmt_image **image)
{
	struct qcowfmt_open_options o = {
		.struct_size = sizeof(o),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	int ret;

	if (trying == DATA_FILE)
		o.data_storage = api_disk_storage(&data_file);
	ret = qcowfmt_open(storage, &o, image, &api_error);
	if (ret < 0) {
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(o.data_storage);
	}
	return ret;
}

static struct qcowfmt_image *open_disk(struct api_disk *disk, uint32_t flags)
{
	struct qcowfmt_image *image = NULL;

	API_OK(try_open(disk, flags, &image));
	return image;
}

static void take_snapshot(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_snapshot_options o = {
		.struct_size = sizeof(o),
		.name = name,
	};

	API_OK(qcowfmt_snapshot_create(image, &o, &api_error));
}

static void add_bitmap(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.kind = QCOWFMT_BITMAP_ADD,
		.name = name,
	};

	API_OK(qcowfmt_bitmap_change(&action, 1, NULL, &api_error));
}

static void fill(enum base base, struct qcowfmt_image *image)
{
	if (base == BITMAPS) {
		add_bitmap(image, "one");
		add_bitmap(image, "two");
	}
	write_range(image, 0, 8 * 16384, base == COMPRESSED);
	if (base != SNAPSHOTS)
		return;
	take_snapshot(image, "first");
	write_range(image, 0, CLUSTER_SIZE, false);
	take_snapshot(image, "second");
	write_range(image, 2 * CLUSTER_SIZE, CLUSTER_SIZE, false);
}

static void make_base(enum base base)
{
	const struct qcowfmt_encryption_options luks = {
		.struct_size = sizeof(luks),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_create_options o = {
		.struct_size = sizeof(o),
		.virtual_size = DISK_SIZE,
		.cluster_size = base == EXTENDED ? 16384 : CLUSTER_SIZE,
		.version = base == VERSION_2 ? 2 : 0,
		.format = base == VERSION_1 ? QCOWFMT_FORMAT_QCOW : 0,
		.flags = base == EXTENDED ? QCOWFMT_CREATE_EXTENDED_L2 : 0,
		.data_filename = base == DATA_FILE ? "data" : NULL,
		.encryption = base == LUKS ? &luks : NULL,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&bases[base]);
	struct qcowfmt_image *image;

	trying = base;
	API_OK(qcowfmt_create(storage, &o, &api_error));
	qcowfmt_storage_free(storage);
	image = open_disk(&bases[base], API_RW);
	fill(base, image);
	api_close(image);
}

/* ----------------------------------------------------------------- changing */

static uint64_t get(const struct api_disk *disk, uint64_t at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | disk->bytes[at + i];
	return value;
}

static void put(struct api_disk *disk, uint64_t at, size_t width,
                uint64_t value)
{
	for (size_t i = width; i > 0; i--) {
		disk->bytes[at + i - 1] = (uint8_t)value;
		value >>= 8;
	}
}

static uint64_t offset_in(const struct api_disk *disk, uint64_t at)
{
	return get(disk, at, 8) & UINT64_C(0x00fffffffffffe00);
}

/* Data of an extension. */
static uint64_t extension_at(const struct api_disk *disk, uint32_t type)
{
	uint64_t at = get(disk, 100, 4);

	while (get(disk, at, 4) != type)
		at += 8 + (get(disk, at + 4, 4) + 7) / 8 * 8;
	return at + 8;
}

static uint64_t next_snapshot(const struct api_disk *disk, uint64_t at)
{
	return at + (40 + get(disk, at + 36, 4) + get(disk, at + 12, 2) +
	             get(disk, at + 14, 2) + 7) /
	                    8 * 8;
}

static uint64_t bitmap_entry(const struct api_disk *disk)
{
	return get(disk, extension_at(disk, QCF_EXT_BITMAPS) + 16, 8);
}

static uint64_t anchor_at(const struct api_disk *disk, enum anchor anchor)
{
	switch (anchor) {
	case HEADER:
		return 0;
	case L1:
		return get(disk, 40, 8);
	case L2:
		return offset_in(disk, get(disk, 40, 8));
	case REFTABLE:
		return get(disk, 48, 8);
	case BLOCK:
		return offset_in(disk, get(disk, 48, 8));
	case SNAPSHOT_TABLE:
		return get(disk, 64, 8);
	case SNAPSHOT_L1:
		return get(disk, get(disk, 64, 8), 8);
	case SNAPSHOT_ENTRY_2:
		return next_snapshot(disk, get(disk, 64, 8));
	case BITMAP_EXT:
		return extension_at(disk, QCF_EXT_BITMAPS);
	case BITMAP_ENTRY:
		return bitmap_entry(disk);
	case BITMAP_ENTRY_2:
		return bitmap_entry(disk) + 32;
	case BITMAP_TABLE:
		return get(disk, bitmap_entry(disk), 8);
	case LUKS_EXT:
		return extension_at(disk, QCF_EXT_ENCRYPTION);
	case LUKS_HEADER:
		return get(disk, extension_at(disk, QCF_EXT_ENCRYPTION), 8);
	}
	return 0;
}

static struct api_disk copy_disk(const struct api_disk *from)
{
	struct api_disk disk = { .size = from->size };

	disk.bytes = malloc(from->size + 1);
	memcpy(disk.bytes, from->bytes, from->size);
	return disk;
}

static struct api_disk damaged(const struct row *row)
{
	struct api_disk disk = copy_disk(&bases[row->base]);

	for (size_t i = 0; i < 5 && row->changes[i].width != 0; i++) {
		const struct change *c = &row->changes[i];
		size_t width = c->width & ~(size_t)FLIP;
		uint64_t at = anchor_at(&disk, c->anchor) + c->at;
		uint64_t old =
			(c->width & FLIP) != 0 ? get(&disk, at, width) : 0;

		put(&disk, at, width, old ^ c->value);
	}
	if (row->cut != 0)
		disk.size = row->cut;
	return disk;
}

/* --------------------------------------------------------------------- rows */

#define BIT(n) (UINT64_C(1) << (n))
#define FAR    UINT64_C(0x40000000)

static const struct row rows[] = {
	/* Header */
	{ "cluster bits", PLAIN, 1, { { HEADER, 20, 4, 3 } } },
	{ "header length", PLAIN, 2, { { HEADER, 100, 4, 50 } } },
	{ "backing name too far",
	  PLAIN,
	  3,
	  { { HEADER, 8, 8, 5000 }, { HEADER, 16, 4, 5 } } },
	{ "backing name of zeros",
	  PLAIN,
	  4,
	  { { HEADER, 8, 8, 3000 }, { HEADER, 16, 4, 5 } } },
	{ "refcount order", PLAIN, 5, { { HEADER, 96, 4, 9 } } },
	{ "L1 size", PLAIN, 6, { { HEADER, 36, 4, 0 } } },
	{ "L1 offset", PLAIN, 7, { { HEADER, 40, 8 | FLIP, 512 } } },
	{ "no refcount table",
	  PLAIN,
	  8,
	  { { HEADER, 56, 4, 0 } },
	  .whole = true },
	{ "refcount table too long", PLAIN, 8, { { HEADER, 56, 4, 99999 } } },
	{ "refcount table unaligned",
	  PLAIN,
	  9,
	  { { HEADER, 48, 8 | FLIP, 512 } } },
	{ "snapshot table unaligned",
	  SNAPSHOTS,
	  10,
	  { { HEADER, 64, 8 | FLIP, 512 } } },
	{ "extension too long",
	  PLAIN,
	  11,
	  { { HEADER, 112, 4, 0x12345678 }, { HEADER, 116, 4, 99999 } } },
	{ "compression type", PLAIN, 12, { { HEADER, 104, 1, 1 } } },
	{ "short file", PLAIN, 13, .cut = 60 },
	{ "L1 table not in the file", PLAIN, 14, { { HEADER, 40, 8, FAR } } },
	{ "refcount table not in the file",
	  PLAIN,
	  14,
	  { { HEADER, 48, 8, FAR } },
	  .whole = true },
	{ "virtual size", PLAIN, 15, { { HEADER, 24, 8, BIT(62) } } },
	/* Mapping */
	{ "L2 table unaligned", PLAIN, 20, { { L1, 0, 8 | FLIP, 512 } } },
	{ "data unaligned", PLAIN, 21, { { L2, 0, 8 | FLIP, 512 } } },
	{ "zero flag in version 2", VERSION_2, 22, { { L2, 0, 8 | FLIP, 1 } } },
	{ "reserved bit of L1", PLAIN, 23, { { L1, 0, 8 | FLIP, BIT(60) } } },
	{ "reserved bit of L2", PLAIN, 24, { { L2, 0, 8 | FLIP, BIT(60) } } },
	{ "compressed and COPIED",
	  COMPRESSED,
	  25,
	  { { L2, 0, 8 | FLIP, BIT(63) } } },
	{ "data beyond the end", PLAIN, 26, { { L2, 0, 8, BIT(63) | FAR } } },
	{ "L2 beyond the end", PLAIN, 26, { { L1, 0, 8, BIT(63) | FAR } } },
	{ "COPIED of data",
	  PLAIN,
	  27,
	  { { L2, 0, 8 | FLIP, BIT(63) } },
	  .whole = true },
	{ "COPIED of L2",
	  PLAIN,
	  28,
	  { { L1, 0, 8 | FLIP, BIT(63) } },
	  .whole = true },
	{ "COPIED with snapshots",
	  SNAPSHOTS,
	  27,
	  { { L2, 3 * 8, 8 | FLIP, BIT(63) } },
	  .whole = true },
	{ "subcluster bitmap", EXTENDED, 29, { { L2, 8, 8, UINT64_MAX } } },
	{ "wrong place in the data file",
	  DATA_FILE,
	  31,
	  { { L2, 0, 8, BIT(63) | 8192 } } },
	{ "compressed in a data file",
	  DATA_FILE,
	  32,
	  { { L2, 0, 8, BIT(62) | 8192 } } },
	{ "snapshots and a data file",
	  DATA_FILE,
	  33,
	  { { HEADER, 60, 4, 1 }, { HEADER, 64, 8, 4096 } } },
	{ "unaligned zeros",
	  PLAIN,
	  34,
	  { { L2, 0, 8 | FLIP, 513 } },
	  .whole = true },
	/* Counts */
	{ "refcount block unaligned",
	  PLAIN,
	  40,
	  { { REFTABLE, 0, 8 | FLIP, 512 } },
	  .whole = true },
	{ "reserved bit of the refcount table",
	  PLAIN,
	  41,
	  { { REFTABLE, 0, 8 | FLIP, 1 } },
	  .whole = true },
	{ "count too low",
	  SNAPSHOTS,
	  42,
	  { { BLOCK, 8 * 2, 2, 1 } },
	  .whole = true },
	{ "count of zero",
	  PLAIN,
	  42,
	  { { BLOCK, 8 * 2, 2, 0 } },
	  .whole = true },
	{ "no counts at all",
	  PLAIN,
	  42,
	  { { REFTABLE, 0, 8, 0 } },
	  .whole = true },
	{ "leak", PLAIN, 43, { { BLOCK, 8 * 2, 2, 7 } }, .whole = true },
	{ "refcount block beyond the end",
	  PLAIN,
	  46,
	  { { REFTABLE, 8, 8, FAR } },
	  .whole = true },
	{ "refcount block is the L2 table",
	  PLAIN,
	  47,
	  { { REFTABLE, 8, 8, 4 * 4096 } },
	  .whole = true },
	{ "refcount table is guest data",
	  PLAIN,
	  42,
	  { { L2, 0, 8, BIT(63) | 4096 } },
	  .whole = true,
	  .shared = true },
	{ "two to one cluster",
	  PLAIN,
	  42,
	  { { L2, 0, 8 | FLIP, 0x5000 ^ 0x6000 } },
	  .whole = true },
	/* Snapshots */
	{ "NUL in a name",
	  SNAPSHOTS,
	  74,
	  { { SNAPSHOT_TABLE, 65, 1, 0 } },
	  .whole = true },
	{ "entry that swallows the next one",
	  SNAPSHOTS,
	  70,
	  { { SNAPSHOT_TABLE, 36, 4, 500 } } },
	{ "entry that does not end",
	  SNAPSHOTS,
	  70,
	  { { SNAPSHOT_ENTRY_2, 36, 4, 100000 } } },
	{ "missing extra data",
	  SNAPSHOTS,
	  71,
	  { { HEADER, 60, 4, 3 } },
	  .whole = true },
	{ "table beyond the end",
	  SNAPSHOTS,
	  71,
	  { { HEADER, 64, 8, FAR } },
	  .whole = true },
	{ "too much extra data",
	  SNAPSHOTS,
	  72,
	  { { SNAPSHOT_ENTRY_2, 36, 4, 1200 } },
	  .whole = true },
	{ "L1 of a snapshot unaligned",
	  SNAPSHOTS,
	  73,
	  { { SNAPSHOT_TABLE, 0, 8 | FLIP, 512 } } },
	{ "L1 of a snapshot too large",
	  SNAPSHOTS,
	  73,
	  { { SNAPSHOT_TABLE, 8, 4, UINT32_MAX } } },
	{ "reserved bit of a snapshot",
	  SNAPSHOTS,
	  23,
	  { { SNAPSHOT_L1, 0, 8 | FLIP, BIT(60) } } },
	/* LUKS */
	{ "LUKS area", LUKS, 80, { { LUKS_EXT, 0, 8 | FLIP, 512 } } },
	{ "LUKS magic", LUKS, 81, { { LUKS_HEADER, 0, 1, 0 } } },
	{ "LUKS area too short", LUKS, 82, { { LUKS_EXT, 8, 8, 100 } } },
	{ "LUKS hash without end",
	  LUKS,
	  83,
	  { { LUKS_HEADER, 72, 8, UINT64_C(0x6161616161616161) },
	    { LUKS_HEADER, 80, 8, UINT64_C(0x6161616161616161) },
	    { LUKS_HEADER, 88, 8, UINT64_C(0x6161616161616161) },
	    { LUKS_HEADER, 96, 8, UINT64_C(0x6161616161616161) } } },
	{ "LUKS mode", LUKS, 84, { { LUKS_HEADER, 43, 1, 'x' } } },
	{ "LUKS payload", LUKS, 85, { { LUKS_HEADER, 104, 4, 1 } } },
	{ "LUKS key length", LUKS, 86, { { LUKS_HEADER, 108, 4, 0 } } },
	{ "LUKS digest iterations", LUKS, 87, { { LUKS_HEADER, 164, 4, 0 } } },
	{ "LUKS slot state", LUKS, 88, { { LUKS_HEADER, 208, 4, 1 } } },
	{ "LUKS stripes", LUKS, 89, { { LUKS_HEADER, 208 + 44, 4, 0 } } },
	{ "LUKS slot offset",
	  LUKS,
	  90,
	  { { LUKS_HEADER, 208 + 40, 4, UINT32_MAX } } },
	{ "LUKS slots overlap",
	  LUKS,
	  91,
	  { { LUKS_HEADER, 208 + 48, 4, 0x00ac71f3 },
	    { LUKS_HEADER, 208 + 52, 4, 1000 },
	    { LUKS_HEADER, 208 + 88, 4, 8 } } },
	{ "LUKS slot iterations", LUKS, 92, { { LUKS_HEADER, 212, 4, 0 } } },
	/* Version 1; the L1 table is at 48, the L2 table follows it */
	{ "l2_bits", VERSION_1, 100, { { HEADER, 33, 1, 3 } } },
	{ "encryption of version 1", VERSION_1, 101, { { HEADER, 36, 4, 2 } } },
	{ "backing name over the header",
	  VERSION_1,
	  102,
	  { { HEADER, 8, 8, 16 }, { HEADER, 16, 4, 4 } } },
	{ "L1 over the header", VERSION_1, 103, { { HEADER, 40, 8, 8 } } },
	{ "two clusters in one place",
	  VERSION_1,
	  104,
	  { { L2, 0, 8 | FLIP, 0x2000 ^ 0x3000 } } },
	{ "compressed without length",
	  VERSION_1,
	  30,
	  { { L2, 0, 8, BIT(63) | 0x2000 } } },
	/* Bitmaps */
	{ "bitmaps extension",
	  BITMAPS,
	  110,
	  { { BITMAP_EXT, 0, 4, 0 } },
	  .whole = true },
	{ "bitmap directory",
	  BITMAPS,
	  111,
	  { { BITMAP_ENTRY, 18, 2, 900 } },
	  .whole = true },
	{ "bitmap type",
	  BITMAPS,
	  112,
	  { { BITMAP_ENTRY, 16, 1, 2 } },
	  .whole = true },
	{ "bitmap names",
	  BITMAPS,
	  113,
	  { { BITMAP_ENTRY_2, 24, 1, 'o' },
	    { BITMAP_ENTRY_2, 25, 1, 'n' },
	    { BITMAP_ENTRY_2, 26, 1, 'e' } },
	  .whole = true },
	{ "reserved bit of a bitmap table",
	  BITMAPS,
	  114,
	  { { BITMAP_TABLE, 0, 8 | FLIP, 2 } },
	  .whole = true },
	{ "bits unaligned",
	  BITMAPS,
	  115,
	  { { BITMAP_TABLE, 0, 8 | FLIP, 512 } },
	  .whole = true },
	{ "bits beyond the end",
	  BITMAPS,
	  26,
	  { { BITMAP_TABLE, 0, 8, FAR } },
	  .whole = true },
};

/* Those that no look at an image finds. */
static const struct {
	uint32_t id;
	const char *why;
} exceptions[] = {
	{ QCF_CHECK_REFCOUNT_UNDERFLOW, "found when something is freed: "
	                                "test_hostile_tables" },
	{ QCF_CHECK_REFCOUNT_BLOCK_LOST, "kept for its number: a block that is "
	                                 "not counted is REFCOUNT_LOW" },
	{ QCF_CHECK_OVERLAP, "found when something is written: "
	                     "test_hostile_tables" },
};

/* ------------------------------------------------------------------ looking */

struct seen {
	bool ids[256];
	struct qcowfmt_check_result result;
};

static void see(void *opaque, uint32_t id, uint64_t host_offset,
                const char *message)
{
	struct seen *seen = opaque;

	(void)host_offset;
	ck_assert_uint_lt(id, 256);
	ck_assert_ptr_null(strchr(message, '\n'));
	seen->ids[id] = true;
}

static void see_error(struct seen *seen)
{
	seen->ids[qcowfmt_error_corruption_id(api_error)] = true;
	api_error_reset();
}

/* The whole disk, or nothing if it cannot be read. */
static bool read_disk(struct api_disk *disk, uint32_t flags, uint8_t *bytes,
                      struct seen *seen)
{
	struct qcowfmt_image *image = NULL;
	bool done = false;

	if (try_open(disk, flags, &image) < 0) {
		see_error(seen);
		return false;
	}
	done = qcowfmt_get_size(image) == DISK_SIZE &&
	       qcowfmt_pread(image, bytes, DISK_SIZE, 0, &api_error) == 0;
	if (!done)
		see_error(seen);
	(void)qcowfmt_close(image, NULL);
	return done;
}

static struct qcowfmt_inspection inspect(struct api_disk *disk,
                                         struct seen *seen)
{
	struct qcowfmt_inspection found = { .struct_size = sizeof(found) };
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	struct api_disk before = copy_disk(disk);

	API_OK(qcowfmt_inspect(storage, see, seen, &found, &api_error));
	qcowfmt_storage_free(storage);
	ck_assert_uint_eq(before.size, disk->size);
	ck_assert(memcmp(before.bytes, disk->bytes, disk->size) == 0);
	api_disk_fini(&before);
	return found;
}

/* Check or repair; false if the image cannot be opened or is refused. */
static bool check(struct api_disk *disk, uint32_t open_flags, uint32_t flags,
                  struct seen *seen)
{
	struct qcowfmt_image *image = NULL;
	bool done;

	seen->result = (struct qcowfmt_check_result){
		.struct_size = sizeof(seen->result),
	};
	if (try_open(disk, open_flags | QCOWFMT_OPEN_REPAIR, &image) < 0) {
		see_error(seen);
		return false;
	}
	done = qcowfmt_check(image, flags, see, seen, &seen->result,
	                     &api_error) == 0;
	if (!done)
		see_error(seen);
	(void)qcowfmt_close(image, NULL);
	return done;
}

/* -------------------------------------------------------------------- tests */

/* A dehydrated copy has the same findings, where nothing had to be left out. */
static void try_dehydrated(const struct row *row, struct api_disk *disk,
                           const struct qcowfmt_inspection *found)
{
	struct api_disk copy = { 0 };
	struct qcowfmt_storage *source = api_disk_storage(disk);
	struct qcowfmt_storage *target = api_disk_storage(&copy);
	struct seen seen = { 0 };
	struct qcowfmt_inspection again;

	API_OK(qcowfmt_dehydrate(source, target, 0, &api_error));
	qcowfmt_storage_free(source);
	qcowfmt_storage_free(target);
	ck_assert_uint_eq(copy.size, disk->size);
	again = inspect(&copy, &seen);
	if (!row->shared) {
		ck_assert_msg(again.corruptions == found->corruptions &&
		                      again.leaks == found->leaks,
		              "%s: dehydrated %" PRIu64 ", want %" PRIu64,
		              row->what, again.corruptions, found->corruptions);
		ck_assert_uint_eq(again.flags, found->flags);
	}
	api_disk_fini(&copy);
}

static void expect_plan(const struct row *row, const struct seen *plan,
                        const struct seen *repair)
{
	ck_assert_msg(
		plan->result.corruptions_fixed ==
				repair->result.corruptions_fixed &&
			plan->result.leaks_fixed == repair->result.leaks_fixed,
		"%s: planned %" PRIu64 "+%" PRIu64 ", done %" PRIu64
		"+%" PRIu64,
		row->what, plan->result.corruptions_fixed,
		plan->result.leaks_fixed, repair->result.corruptions_fixed,
		repair->result.leaks_fixed);
}

/* Nothing changes: neither by a plan nor by a second repair. */
static void expect_unchanged(const struct row *row, struct api_disk *disk,
                             uint32_t open_flags, uint32_t flags,
                             struct seen *seen)
{
	struct api_disk before = copy_disk(disk);

	(void)check(disk, open_flags, flags, seen);
	ck_assert_msg(before.size == disk->size &&
	                      memcmp(before.bytes, disk->bytes, disk->size) ==
	                              0,
	              "%s: changed by flags %u", row->what, flags);
	api_disk_fini(&before);
}

static void try_repair(const struct row *row, struct api_disk *disk)
{
	static uint8_t before[DISK_SIZE];
	static uint8_t after[DISK_SIZE];
	struct seen seen = { 0 };
	struct seen plan = { 0 };
	bool readable = read_disk(disk, QCOWFMT_OPEN_REPAIR, before, &seen);

	expect_unchanged(row, disk, 0,
	                 QCOWFMT_CHECK_REPAIR_ALL | QCOWFMT_CHECK_PLAN, &plan);
	if (!check(disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &seen))
		return;
	expect_plan(row, &plan, &seen);
	if (row->whole)
		ck_assert_msg(
			seen.result.corruptions == 0 && seen.result.leaks == 0,
			"%s: %" PRIu64 " corruptions, %" PRIu64
			" leaks are left",
			row->what, seen.result.corruptions, seen.result.leaks);
	else
		ck_assert_msg(row->base == VERSION_1 ||
		                      row->id == QCF_CHECK_ZERO_FLAG_V2 ||
		                      seen.result.corruptions > 0,
		              "%s: nothing is left", row->what);
	if (readable) {
		ck_assert_msg(read_disk(disk, 0, after, &seen),
		              "%s: not readable any more", row->what);
		ck_assert_msg(memcmp(before, after, DISK_SIZE) == 0,
		              "%s: the disk has changed", row->what);
	}
	expect_unchanged(row, disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &seen);
}

static void try_row(const struct row *row, bool found_ids[256])
{
	static uint8_t bytes[DISK_SIZE];
	struct api_disk disk = damaged(row);
	struct seen seen = { 0 };
	struct qcowfmt_inspection found = inspect(&disk, &seen);

	trying = row->base;
	(void)read_disk(&disk, 0, bytes, &seen);
	ck_assert_msg(seen.ids[row->id], "%s: id %u is not found", row->what,
	              row->id);
	ck_assert_msg(found.corruptions > 0 || row->id == QCF_CHECK_LEAK ||
	                      row->id == QCF_CHECK_ZERO_FLAG_V2,
	              "%s: no corruption", row->what);
	for (size_t i = 0; i < 256; i++)
		found_ids[i] = found_ids[i] || seen.ids[i];
	try_dehydrated(row, &disk, &found);
	try_repair(row, &disk);
	api_disk_fini(&disk);
}

static bool is_exception(uint32_t id)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(exceptions); i++) {
		if (exceptions[i].id == id)
			return true;
	}
	return false;
}

START_TEST(every_kind)
{
	static const uint32_t ids[] = {
#define QCF_CHECK(number, name, repair, text) (number),
#include "checks.def"
#undef QCF_CHECK
	};
	static bool found[256];

	for (int base = 0; base < BASE_COUNT; base++)
		make_base((enum base)base);
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++)
		try_row(&rows[i], found);
	for (size_t i = 0; i < QCF_ARRAY_LEN(ids); i++)
		ck_assert_msg(found[ids[i]] != is_exception(ids[i]),
		              "corruption id %u: %s", ids[i],
		              found[ids[i]] ? "is no exception"
		                            : "no image has it");
	for (int base = 0; base < BASE_COUNT; base++)
		api_disk_fini(&bases[base]);
	api_disk_fini(&data_file);
}

END_TEST

/* An undamaged image has no findings, and a repair leaves every byte. */
START_TEST(sound_images)
{
	for (int base = 0; base < BASE_COUNT; base++) {
		struct row row = { .what = "sound", .base = (enum base)base };
		struct seen seen = { 0 };
		struct qcowfmt_inspection found;

		make_base((enum base)base);
		found = inspect(&bases[base], &seen);
		ck_assert_uint_eq(found.corruptions + found.leaks, 0);
		ck_assert_uint_eq(found.check_errors, 0);
		ck_assert_uint_eq(found.flags & (QCOWFMT_INSPECT_CAN_OPEN |
		                                 QCOWFMT_INSPECT_HEADER |
		                                 QCOWFMT_INSPECT_COMPLETE),
		                  QCOWFMT_INSPECT_CAN_OPEN |
		                          QCOWFMT_INSPECT_HEADER |
		                          QCOWFMT_INSPECT_COMPLETE);
		try_dehydrated(&row, &bases[base], &found);
		expect_unchanged(&row, &bases[base], API_RW,
		                 QCOWFMT_CHECK_REPAIR_ALL, &seen);
		api_disk_fini(&bases[base]);
	}
	api_disk_fini(&data_file);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, every_kind);
	tcase_add_test(tcase, sound_images);
}

int main(int argc, char **argv)
{
	return api_main("every_corruption_is_found", add_tests, argc, argv);
}
