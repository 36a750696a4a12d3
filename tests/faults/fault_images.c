/* SPDX-License-Identifier: MIT */
/* fault_images.c - the images that trials are made on */
#include <string.h>

#include "auto.h"
#include "fault_images.h"
#include "unit.h"

#define QCOW2 QCOWFMT_FORMAT_QCOW2
#define QCOW1 QCOWFMT_FORMAT_QCOW
#define RAW   QCOWFMT_FORMAT_RAW
#define NONE  QCOWFMT_FORMAT_PROBE

const struct trial_kind trial_kinds[] = {
	{ .name = "v3_512_snapshots_bitmaps",
	  .format = QCOW2,
	  .version = 3,
	  .cluster_size = 512,
	  .clusters = 130,
	  .base_format = NONE,
	  .snapshots = true,
	  .bitmaps = true },
	{ .name = "v3_4096_overlay",
	  .format = QCOW2,
	  .version = 3,
	  .cluster_size = 4096,
	  .clusters = 24,
	  .base_format = QCOW2,
	  .bitmaps = true,
	  .compressed = true },
	{ .name = "v2_4096_raw_overlay_snapshots",
	  .format = QCOW2,
	  .version = 2,
	  .cluster_size = 4096,
	  .clusters = 24,
	  .base_format = RAW,
	  .snapshots = true,
	  .compressed = true },
	{ .name = "v3_16k_subclusters_overlay",
	  .format = QCOW2,
	  .version = 3,
	  .flags = QCOWFMT_CREATE_EXTENDED_L2,
	  .cluster_size = 16384,
	  .clusters = 14,
	  .base_format = QCOW2,
	  .compressed = true },
	{ .name = "v3_4096_lazy_zstd",
	  .format = QCOW2,
	  .version = 3,
	  .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS,
	  .cluster_size = 4096,
	  .refcount_bits = 4,
	  .clusters = 24,
	  .base_format = NONE,
	  .snapshots = true,
	  .compressed = true,
	  .zstd = true },
	{ .name = "v3_4096_data_file",
	  .format = QCOW2,
	  .version = 3,
	  .cluster_size = 4096,
	  .clusters = 24,
	  .base_format = NONE,
	  .data_file = true,
	  .bitmaps = true },
	{ .name = "v3_4096_data_file_raw",
	  .format = QCOW2,
	  .version = 3,
	  .flags = QCOWFMT_CREATE_DATA_FILE_RAW,
	  .cluster_size = 4096,
	  .clusters = 24,
	  .base_format = NONE,
	  .data_file = true },
	{ .name = "v3_4096_luks",
	  .format = QCOW2,
	  .version = 3,
	  .cluster_size = 4096,
	  .clusters = 24,
	  .encryption = QCOWFMT_ENCRYPTION_LUKS,
	  .base_format = NONE,
	  .snapshots = true },
	{ .name = "v2_512_aes_overlay",
	  .format = QCOW2,
	  .version = 2,
	  .cluster_size = 512,
	  .clusters = 96,
	  .encryption = QCOWFMT_ENCRYPTION_AES,
	  .base_format = RAW },
	{ .name = "v1_overlay",
	  .format = QCOW1,
	  .version = 1,
	  .cluster_size = 512,
	  .clusters = 96,
	  .base_format = RAW,
	  .compressed = true },
	{ .name = "raw",
	  .format = RAW,
	  .cluster_size = 4096,
	  .clusters = 24,
	  .base_format = NONE },
};
const size_t trial_kind_count = QCF_ARRAY_LEN(trial_kinds);

uint64_t trial_disk_size(const struct trial_kind *kind)
{
	return kind->clusters * kind->cluster_size + 512;
}

void trial_stamp(uint8_t *bytes, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(seed + i / 512 * 7 + 1) | 1;
}

static void must(int ret, struct qcowfmt_error *error)
{
	ck_assert_msg(ret >= 0, "%s", qcowfmt_error_message(error));
}

static void write_stamp(struct qcowfmt_image *image, uint64_t offset,
                        uint64_t len, uint8_t seed)
{
	static uint8_t bytes[TRIAL_MAX_DISK];
	struct qcowfmt_error *error = NULL;

	trial_stamp(bytes, (size_t)len, seed);
	must(qcowfmt_pwrite(image, bytes, (size_t)len, offset, &error), error);
}

/* --------------------------------------------------------- the files around it */

static void create(struct trial *t, enum trial_file file,
                   const struct qcowfmt_create_options *options)
{
	struct qcowfmt_storage *storage = trial_storage(t, file, true);
	struct qcowfmt_error *error = NULL;

	must(qcowfmt_create(storage, options, &error), error);
	qcowfmt_storage_free(storage);
}

/* A disk of the same size; stamps tell the files apart. */
static void make_neighbour(struct trial *t, enum trial_file file,
                           int32_t format, uint8_t seed)
{
	const struct trial_kind *k = t->kind;
	uint64_t cluster = k->cluster_size;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = format,
		.virtual_size = trial_disk_size(k),
		.cluster_size = format == QCOW2 ? 4096 : 0,
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = format,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image;

	create(t, file, &options);
	image = trial_open(t, file, &open);
	write_stamp(image, cluster, cluster * 2, seed);
	write_stamp(image, cluster * 4 + 512, cluster * 4, seed);
	write_stamp(image, cluster * 12, cluster * 2 - 512, seed);
	must(qcowfmt_close(image, NULL), NULL);
}

/* ------------------------------------------------------------------ the image */

static void create_top(struct trial *t)
{
	const struct trial_kind *k = t->kind;
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = k->encryption,
		.iter_time_ms = k->encryption == QCOWFMT_ENCRYPTION_LUKS,
		.secret = TRIAL_SECRET,
		.secret_len = strlen(TRIAL_SECRET),
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = k->format,
		.version = k->version,
		.flags = k->flags,
		.virtual_size = trial_disk_size(k),
		.cluster_size = k->format == QCOW2 ? k->cluster_size : 0,
		.refcount_bits = k->refcount_bits,
		.compression_type = k->zstd,
		.encryption = k->encryption == 0 ? NULL : &encryption,
	};

	if (k->base_format != NONE) {
		options.backing_filename = trial_file_name(TRIAL_BASE);
		options.backing_format = qcowfmt_format_name(k->base_format);
	}
	if (k->data_file) {
		options.data_filename = trial_file_name(TRIAL_DATA);
		options.data_storage = trial_storage(t, TRIAL_DATA, true);
	}
	create(t, TRIAL_TOP, &options);
	qcowfmt_storage_free(options.data_storage);
}

static void add_bitmap(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = name,
		.kind = QCOWFMT_BITMAP_ADD,
		.granularity = 4096,
	};
	struct qcowfmt_error *error = NULL;

	must(qcowfmt_bitmap_change(&action, 1, NULL, &error), error);
}

static void add_snapshot(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
		.date_sec = 1000000000,
	};
	struct qcowfmt_error *error = NULL;

	must(qcowfmt_snapshot_create(image, &options, &error), error);
}

static void write_compressed(const struct trial_kind *k,
                             struct qcowfmt_image *image, uint64_t cluster,
                             uint8_t seed)
{
	static uint8_t bytes[65536];
	struct qcowfmt_error *error = NULL;

	if (!k->compressed)
		return;
	trial_stamp(bytes, k->cluster_size, seed);
	must(qcowfmt_pwrite_compressed(image, bytes, k->cluster_size,
	                               cluster * k->cluster_size, &error),
	     error);
}

/* What a disk in use may hold: see the numbers of clusters in the scenarios. */
static void fill_top(struct trial *t, struct qcowfmt_image *image)
{
	const struct trial_kind *k = t->kind;
	uint64_t cluster = k->cluster_size;
	struct qcowfmt_error *error = NULL;

	write_stamp(image, 0, cluster * 3, 10);
	write_stamp(image, cluster * 5 + 512, 512, 20);
	write_compressed(k, image, 10, 30);
	write_compressed(k, image, 11, 31);
	if (k->snapshots)
		add_snapshot(image, "one");
	if (k->bitmaps) {
		add_bitmap(image, "first");
		add_bitmap(image, "second");
	}
	write_stamp(image, cluster, cluster, 40);
	must(qcowfmt_write_zeroes(image, cluster * 6, cluster, 0, &error),
	     error);
	write_stamp(image, cluster * 7, cluster * 2, 50);
	must(qcowfmt_discard(image, cluster * 7, cluster, &error), error);
	if (k->snapshots)
		add_snapshot(image, "two");
	write_stamp(image, cluster * 2, 512, 60);
}

void trial_make_images(struct trial *t)
{
	const struct trial_kind *k = t->kind;
	struct qcowfmt_open_options options;
	struct qcowfmt_image *image;

	if (k->base_format != NONE)
		make_neighbour(t, TRIAL_BASE, k->base_format, 70);
	make_neighbour(t, TRIAL_OTHER, QCOW2, 80);
	create_top(t);
	options = trial_options(t, QCOWFMT_OPEN_READ_WRITE);
	image = trial_open(t, TRIAL_TOP, &options);
	fill_top(t, image);
	must(qcowfmt_close(image, NULL), NULL);
}

/* -------------------------------------------------------------------- damage */

static uint64_t get_be(const uint8_t *bytes, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* The counts of the first refcount block that are 0 become 1: leaks.  One more
 * count is higher than it has to be. */
void trial_damage(struct fault_disk *disk)
{
	uint64_t table = get_be(disk->bytes + 48, 8);
	uint64_t block = get_be(disk->bytes + table, 8);
	uint64_t cluster_size = UINT64_C(1) << get_be(disk->bytes + 20, 4);
	uint8_t *counts = disk->bytes + block;
	uint64_t clusters = disk->size / cluster_size;
	int leaks = 0;

	if (get_be(disk->bytes + 4, 4) == 3 &&
	    get_be(disk->bytes + 96, 4) != 4) {
		counts[0] = counts[0] & 0xf0u; /* of the header: too low */
		return;
	}
	for (uint64_t i = clusters; i-- > 4 && leaks < 3;) {
		if (i * 2 < cluster_size) {
			counts[i * 2 + 1] = (uint8_t)(counts[i * 2 + 1] + 1);
			leaks++;
		}
	}
	/* The refcount table: too low. */
	counts[table / cluster_size * 2 + 1] = 0;
}
