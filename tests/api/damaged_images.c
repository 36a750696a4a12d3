/* SPDX-License-Identifier: MIT */
/* damaged_images.c - an image for each kind of corruption */
#include <stdlib.h>

#include "damaged_images.h"
#include "header.h"

#define CLUSTER_SIZE ((uint64_t)4096)

const char *const damage_base_names[BASE_COUNT] = {
	[PLAIN] = "plain",         [VERSION_2] = "version 2",
	[SNAPSHOTS] = "snapshots", [BITMAPS] = "bitmaps",
	[EXTENDED] = "extended",   [COMPRESSED] = "compressed",
	[DATA_FILE] = "data file", [LUKS] = "luks",
	[VERSION_1] = "version 1",
};

#define BIT(n) (UINT64_C(1) << (n))
#define FAR    UINT64_C(0x40000000) /* where no file ends */

const struct damage damages[] = {
#define DAMAGE(id, base, what, read_only, read_write, check, repair, after, \
               ...)                                                         \
	{ id,                                                               \
	  base,                                                             \
	  what,                                                             \
	  OPEN_##read_only,                                                 \
	  OPEN_##read_write,                                                \
	  CHECK_##check,                                                    \
	  REPAIR_##repair,                                                  \
	  CHECK_##after,                                                    \
	  { __VA_ARGS__ } },
#include "damages.def"
#undef DAMAGE
};
const size_t damage_count = QCF_ARRAY_LEN(damages);

/* ------------------------------------------------------------- sound images */

static struct api_disk bases[BASE_COUNT];
static struct api_disk data_file;

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(1 + offset / 512 % 251);
}

static void write_range(struct qcowfmt_image *image, uint64_t offset,
                        uint64_t len, bool compressed)
{
	static uint8_t bytes[DAMAGED_SIZE];

	for (uint64_t i = 0; i < len; i++)
		bytes[i] = byte_at(offset + i);
	if (compressed)
		API_OK(qcowfmt_pwrite_compressed(image, bytes, len, offset,
		                                 &api_error));
	else
		API_OK(qcowfmt_pwrite(image, bytes, len, offset, &api_error));
}

int damage_open(enum damage_base base, struct api_disk *disk, uint32_t flags,
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

	if (base == DATA_FILE)
		o.data_storage = api_disk_storage(&data_file);
	ret = qcowfmt_open(storage, &o, image, &api_error);
	if (ret < 0) {
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(o.data_storage);
	}
	return ret;
}

static void fill(enum damage_base base, struct qcowfmt_image *image)
{
	if (base == BITMAPS) {
		api_add_bitmap(image, "one");
		api_add_bitmap(image, "two");
	}
	write_range(image, 0, 8 * 16384, base == COMPRESSED);
	if (base != SNAPSHOTS)
		return;
	api_take_snapshot(image, "first");
	write_range(image, 0, CLUSTER_SIZE, false);
	api_take_snapshot(image, "second");
	write_range(image, 2 * CLUSTER_SIZE, CLUSTER_SIZE, false);
}

static void make_base(enum damage_base base)
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
		.virtual_size = DAMAGED_SIZE,
		.cluster_size = base == EXTENDED ? 16384 : CLUSTER_SIZE,
		.version = base == VERSION_2 ? 2 : 0,
		.format = base == VERSION_1 ? QCOWFMT_FORMAT_QCOW : 0,
		.flags = base == EXTENDED ? QCOWFMT_CREATE_EXTENDED_L2 : 0,
		.data_filename = base == DATA_FILE ? "data" : NULL,
		.encryption = base == LUKS ? &luks : NULL,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&bases[base]);
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_create(storage, &o, &api_error));
	qcowfmt_storage_free(storage);
	API_OK(damage_open(base, &bases[base], API_RW, &image));
	fill(base, image);
	api_close(image);
}

void damage_make_bases(void)
{
	for (int base = 0; base < BASE_COUNT; base++)
		make_base((enum damage_base)base);
}

void damage_drop_bases(void)
{
	for (int base = 0; base < BASE_COUNT; base++)
		api_disk_fini(&bases[base]);
	api_disk_fini(&data_file);
}

const struct api_disk *damage_base(enum damage_base base)
{
	return &bases[base];
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

static uint64_t anchor_at(const struct api_disk *disk,
                          enum damage_anchor anchor)
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
	case LENGTH:
		break;
	}
	return 0;
}

struct api_disk damage_copy_disk(const struct api_disk *disk)
{
	struct api_disk copy = { .size = disk->size };

	copy.bytes = malloc(disk->size + 1);
	ck_assert_ptr_nonnull(copy.bytes);
	memcpy(copy.bytes, disk->bytes, disk->size);
	return copy;
}

static void change(struct api_disk *disk, const struct damage_change *c)
{
	size_t width = c->width & ~(size_t)FLIP;
	uint64_t at = anchor_at(disk, c->anchor) + c->at;
	uint64_t old = (c->width & FLIP) != 0 ? get(disk, at, width) : 0;

	if (c->anchor == LENGTH)
		disk->size = c->value;
	else
		put(disk, at, width, old ^ c->value);
}

struct api_disk damage_make(const struct damage *damage)
{
	struct api_disk disk = damage_copy_disk(&bases[damage->base]);

	for (size_t i = 0; i < MAX_CHANGES && damage->changes[i].width != 0;
	     i++)
		change(&disk, &damage->changes[i]);
	return disk;
}
