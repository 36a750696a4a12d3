/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever value a single field of an image has, of its header, extensions,
 * tables, snapshots, bitmaps or LUKS header, opening, reading, writing, checking and
 * repairing end soon and take little memory; guest data whose mapping was not
 * touched is there before and after; looking changes nothing; and what a repair
 * leaves is clean, or has an id that no repair mends.  A sample is shown to qemu-img,
 * too, which says the same but for a few differences (qemu_verdict.c).
 *
 * Values are generated for each field (image_fields.h).  QCF_LONG=1 tries each value,
 * otherwise one in a few, others each time by QCF_TEST_SEED; QCF_FIELD=TEXT tries
 * those fields only that have TEXT in their name, and tells.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "api_disk.h"
#include "api_test.h"
#include "built_with.h"
#include "ceiling.h"
#include "check_id.h"
#include "image_fields.h"
#include "qemu_verdict.h"
#include "thin.h"

#define SECTOR        UINT64_C(512)
#define MAX_DISK      (UINT64_C(512) << 10)
#define MAX_PIECES    (MAX_DISK / SECTOR)
#define MAX_SNAPSHOTS 2u

/* ------------------------------------------------------------------- images */

struct kind {
	const char *name;
	uint64_t cluster_size;
	uint64_t disk_size;
	uint32_t version; /* 0 = 3 */
	uint32_t refcount_bits;
	uint32_t flags; /* of creating */
	uint32_t snapshots;
	bool bitmaps;
	bool compressed;
	bool zstd;
	bool data_file;
	bool backing;
	bool luks;
	unsigned int share; /* one value in so many, without QCF_LONG */
};

static const struct kind kinds[] = {
	{ "plain", 512, 100 << 10, .share = 2 },
	{ "version 1", 4096, 256 << 10, .version = 1, .share = 1 },
	{ "version 2", 512, 100 << 10, .version = 2, .snapshots = 1,
	  .share = 3 },
	{ "snapshots", 512, 100 << 10, .snapshots = 2, .share = 5 },
	{ "bitmaps", 512, 100 << 10, .bitmaps = true, .share = 2 },
	{ "compressed", 4096, 256 << 10, .compressed = true, .share = 2 },
	{ "zstd", 4096, 256 << 10, .compressed = true, .zstd = true,
	  .share = 3 },
	{ "extended", 16384, 512 << 10, .flags = QCOWFMT_CREATE_EXTENDED_L2,
	  .snapshots = 1, .share = 4 },
	{ "data file", 512, 100 << 10, .data_file = true, .share = 2 },
	{ "backing file", 4096, 256 << 10, .backing = true, .share = 2 },
	{ "1 bit", 512, 100 << 10, .refcount_bits = 1, .share = 3 },
	{ "64 bits", 512, 100 << 10, .refcount_bits = 64, .snapshots = 1,
	  .share = 5 },
	{ "luks", 4096, 256 << 10, .luks = true, .share = 12 },
};

#define KIND_COUNT QCF_ARRAY_LEN(kinds)

static const struct kind *kind;
static struct api_disk sound;
static struct api_disk data_file;
static struct image_fields fields;

/* Written to in each trial; in the second half of the disk. */
static uint64_t known_at(void)
{
	return kind->disk_size * 3 / 4 / kind->cluster_size *
	       kind->cluster_size;
}

static struct api_disk copy_disk(const struct api_disk *from)
{
	struct api_disk disk = {
		.size = from->size,
		.limit = from->size + (UINT64_C(16) << 20),
	};

	disk.bytes = malloc(from->size + 1);
	ck_assert_ptr_nonnull(disk.bytes);
	if (from->size > 0)
		memcpy(disk.bytes, from->bytes, from->size);
	return disk;
}

static int try_open(struct api_disk *disk, uint32_t flags, const char *snapshot,
                    struct qcowfmt_image **image)
{
	struct qcowfmt_open_options o = {
		.struct_size = sizeof(o),
		.format = kind->version == 1 ? QCOWFMT_FORMAT_QCOW
		                             : QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.secret = kind->luks ? "secret" : NULL,
		.secret_len = kind->luks ? 6 : 0,
		.max_key_iterations = 10000,
		.snapshot_id = snapshot,
	};
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	int ret;

	if (kind->data_file)
		o.data_storage = api_disk_storage(&data_file);
	ret = qcowfmt_open(storage, &o, image, &api_error);
	if (ret < 0) {
		/* A refusal has a reason. */
		ck_assert_ptr_nonnull(api_error);
		api_error_reset();
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(o.data_storage);
	}
	return ret;
}

static void write_range(struct qcowfmt_image *image, uint64_t at, uint64_t len,
                        bool compressed, uint8_t salt)
{
	static uint8_t bytes[MAX_DISK];

	/* Words that repeat, and say where they are. */
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(salt + (at + i) / SECTOR * 3 +
		                     (at + i) % SECTOR / 64);
	if (compressed)
		API_OK(qcowfmt_pwrite_compressed(image, bytes, len, at,
		                                 &api_error));
	else
		API_OK(qcowfmt_pwrite(image, bytes, len, at, &api_error));
}

static void add_bitmap(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.kind = QCOWFMT_BITMAP_ADD,
		.granularity = 512,
		.name = name,
	};

	API_OK(qcowfmt_bitmap_change(&action, 1, NULL, &api_error));
}

/* Data, zeros, compressed clusters and free space in the first half; in the second
 * half data of the active disk alone. */
static void fill(struct qcowfmt_image *image)
{
	uint64_t c = kind->cluster_size;

	if (kind->bitmaps) {
		add_bitmap(image, "one");
		add_bitmap(image, "two");
	}
	write_range(image, 0, 12 * c, false, 1);
	if (kind->compressed)
		write_range(image, 2 * c, 3 * c, true, 2);
	if (kind->version != 1)
		API_OK(qcowfmt_write_zeroes(image, 6 * c, 2 * c, 0,
		                            &api_error));
	API_OK(qcowfmt_discard(image, 9 * c, c, &api_error));
	for (uint32_t i = 0; i < kind->snapshots; i++) {
		api_take_snapshot(image, "taken");
		write_range(image, i * c, c, false, (uint8_t)(90 + i));
	}
	write_range(image, known_at(), 4 * c, false, 3);
}

static void create(void)
{
	const struct qcowfmt_encryption_options luks = {
		.struct_size = sizeof(luks),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.cipher_alg = "aes-128",
		.iter_time_ms = 1,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_create_options o = {
		.struct_size = sizeof(o),
		.virtual_size = kind->disk_size,
		.cluster_size = kind->cluster_size,
		.version = kind->version == 1 ? 0 : kind->version,
		.format = kind->version == 1 ? QCOWFMT_FORMAT_QCOW : 0,
		.refcount_bits = kind->refcount_bits,
		.flags = kind->flags,
		.compression_type = kind->zstd ? 1 : 0,
		.data_filename = kind->data_file ? "data" : NULL,
		.backing_filename = kind->backing ? "base" : NULL,
		.backing_format = kind->backing ? "raw" : NULL,
		.encryption = kind->luks ? &luks : NULL,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&sound);

	API_OK(qcowfmt_create(storage, &o, &api_error));
	qcowfmt_storage_free(storage);
}

/* ------------------------------------------------------------------ reading */

struct view {
	bool opened;
	bool readable[MAX_PIECES];
	uint8_t bytes[MAX_DISK];
};

/* The active disk and snapshots. */
struct views {
	struct view disks[1 + MAX_SNAPSHOTS];
};

static struct views right;

static uint64_t pieces(void)
{
	return kind->disk_size / SECTOR;
}

static void read_view(struct api_disk *disk, struct view *v, const char *id)
{
	struct qcowfmt_image *image = NULL;
	uint64_t size;
	bool whole;

	memset(v->readable, 0, sizeof(v->readable));
	v->opened = try_open(disk, QCOWFMT_OPEN_REPAIR, id, &image) == 0;
	if (!v->opened)
		return;
	size = qcowfmt_get_size(image);
	whole = size >= kind->disk_size &&
	        qcowfmt_pread(image, v->bytes, kind->disk_size, 0, NULL) == 0;
	for (uint64_t i = 0; i < pieces(); i++)
		v->readable[i] =
			whole || (size >= (i + 1) * SECTOR &&
		                  qcowfmt_pread(image, v->bytes + i * SECTOR,
		                                SECTOR, i * SECTOR, NULL) == 0);
	(void)qcowfmt_close(image, NULL);
}

static void read_views(struct api_disk *disk, struct views *all)
{
	static const char *const ids[] = { NULL, "1", "2" };

	for (uint32_t i = 0; i <= kind->snapshots; i++)
		read_view(disk, &all->disks[i], ids[i]);
}

static bool is_right(const struct view *v, const struct view *want, uint64_t i)
{
	return v->readable[i] && memcmp(v->bytes + i * SECTOR,
	                                want->bytes + i * SECTOR, SECTOR) == 0;
}

/* ------------------------------------------------------------------- trials */

static char what[200];
static bool tells;

/* Whether a sector of a disk must be as it was. */
static bool must_hold(const struct image_field *field, size_t disk, uint64_t i)
{
	if (disk > 0)
		return !field->snapshots;
	if (field->reach == REACH_RANGE)
		return i * SECTOR < field->first ||
		       i * SECTOR >= field->first + field->len;
	return field->reach == REACH_NOTHING;
}

/* Each assertion of the test library that holds costs a system call, so only what
 * does not hold is told. */
static void expect_untouched(const struct image_field *field,
                             const struct views *have, const struct views *want,
                             const char *when)
{
	for (size_t d = 0; d <= kind->snapshots; d++) {
		const struct view *h = &have->disks[d];
		const struct view *w = &want->disks[d];

		for (uint64_t i = 0; h->opened && i < pieces(); i++) {
			if (w->readable[i] && must_hold(field, d, i) &&
			    !is_right(h, w, i))
				ck_abort_msg("%s: %s, disk %zu at 0x%" PRIx64
				             " is %s",
				             what, when, d, i * SECTOR,
				             h->readable[i] ? "another one"
				                            : "unreadable");
		}
	}
}

/* What read right does so afterwards. */
static void expect_kept(const struct views *before, const struct views *after)
{
	for (size_t d = 0; d <= kind->snapshots; d++) {
		const struct view *b = &before->disks[d];
		const struct view *r = &right.disks[d];

		for (uint64_t i = 0; b->opened && i < pieces(); i++) {
			if (is_right(b, r, i) &&
			    !is_right(&after->disks[d], r, i))
				ck_abort_msg("%s: repaired, disk %zu at "
				             "0x%" PRIx64 " has changed",
				             what, d, i * SECTOR);
		}
	}
}

struct found {
	bool ids[API_MAX_ID];
	struct qcowfmt_check_result result;
};

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	struct found *f = opaque;

	if (tells)
		printf("  %" PRIu32 " at 0x%" PRIx64 ": %s\n", id, host_offset,
		       message);
	f->ids[id] = true;
}

/* -errno if it was refused. */
static int check(struct api_disk *disk, uint32_t open_flags, uint32_t flags,
                 struct found *f)
{
	struct qcowfmt_image *image = NULL;
	int ret =
		try_open(disk, open_flags | QCOWFMT_OPEN_REPAIR, NULL, &image);

	*f = (struct found){ .result = { .struct_size = sizeof(f->result) } };
	if (ret == 0)
		ret = qcowfmt_check(image, flags, note, f, &f->result,
		                    &api_error);
	(void)qcowfmt_close(image, NULL);
	api_error_reset();
	return ret;
}

/* Whether an id that no repair mends is among those found; or a count that its few
 * bits cannot hold; or flags in a table that is something else, too, and which is
 * not written to for that reason. */
static bool excused(const struct image_field *field, const struct found *f)
{
	bool flags =
		f->ids[QCF_CHECK_DATA_COPIED] || f->ids[QCF_CHECK_L2_COPIED];

	if (api_is_beyond_repair(f->ids) || (field->is_pointer && flags))
		return true;
	return !flags && f->ids[QCF_CHECK_REFCOUNT_LOW] &&
	       (kind->refcount_bits == 1 ||
	        strstr(field->name, "refcount_order") != NULL);
}

/* What it is, whether it can be opened, what it reads as, what a check finds. */
static enum verdict look(const struct image_field *field, struct api_disk *disk,
                         struct views *views)
{
	struct api_disk before = copy_disk(disk);
	struct qcowfmt_inspection inspection = {
		.struct_size = sizeof(inspection),
	};
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	struct found f;
	int ret;

	ceiling_begin();
	API_OK(qcowfmt_inspect(storage, NULL, NULL, &inspection, &api_error));
	qcowfmt_storage_free(storage);
	read_views(disk, views);
	ret = check(disk, 0, 0, &f);
	ceiling_end(what, CEILING_MEMORY);
	expect_untouched(field, views, &right, "opened");
	ck_assert_msg(before.size == disk->size &&
	                      memcmp(before.bytes, disk->bytes, disk->size) ==
	                              0,
	              "%s: looking at it has changed it", what);
	api_disk_fini(&before);
	return verdict_of(ret, &f.result);
}

static bool write_known(struct api_disk *disk, const uint8_t *bytes)
{
	struct qcowfmt_image *image = NULL;
	bool done;

	if (try_open(disk, API_RW, NULL, &image) < 0)
		return false;
	done = qcowfmt_pwrite(image, bytes, kind->cluster_size, known_at(),
	                      NULL) == 0;
	return qcowfmt_close(image, NULL) == 0 && done;
}

/* Writing to a cluster whose mapping is as it was. */
static void try_writing(const struct image_field *field,
                        const struct api_disk *damaged)
{
	static struct views want;
	static struct views views;
	static uint8_t bytes[16384];
	struct api_disk disk = copy_disk(damaged);
	struct api_disk kept = copy_disk(&data_file);
	struct view *active = &want.disks[0];
	bool done;

	memset(bytes, 'w', sizeof(bytes));
	want = right;
	ceiling_begin();
	done = write_known(&disk, bytes);
	read_views(&disk, &views);
	ceiling_end(what, CEILING_MEMORY);
	for (uint64_t at = known_at(); at < known_at() + kind->cluster_size;
	     at += SECTOR) {
		active->readable[at / SECTOR] = done;
		memcpy(active->bytes + at, bytes, SECTOR);
	}
	/* Bitmaps need space, and with wrong counts that may be anywhere. */
	if (!field->is_count || !kind->bitmaps)
		expect_untouched(field, &views, &want, "written to");
	/* The magic, the version and the size of clusters stay. */
	ck_assert(memcmp(disk.bytes, damaged->bytes, 8) == 0);
	ck_assert(memcmp(disk.bytes + 20, damaged->bytes + 20, 4) == 0);
	api_disk_fini(&disk);
	api_disk_fini(&data_file);
	data_file = kept;
}

/* Returns what a check finds afterwards. */
static enum verdict try_repair(const struct image_field *field,
                               struct api_disk *disk,
                               const struct views *before)
{
	static struct views after;
	struct api_disk once;
	enum verdict verdict;
	struct found f;
	int ret;

	ceiling_begin();
	ret = check(disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &f);
	read_views(disk, &after);
	ceiling_end(what, CEILING_MEMORY);
	expect_kept(before, &after);
	expect_untouched(field, &after, &right, "repaired");
	if (ret < 0)
		return VERDICT_REFUSED;
	ret = check(disk, 0, 0, &f);
	verdict = verdict_of(ret, &f.result);
	ck_assert_msg(ret == 0, "%s: repaired, and refused", what);
	ck_assert_msg((f.result.corruptions == 0 && f.result.leaks == 0 &&
	               f.result.check_errors == 0) ||
	                      excused(field, &f),
	              "%s: %" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64
	              " errors are left",
	              what, f.result.corruptions, f.result.leaks,
	              f.result.check_errors);
	once = copy_disk(disk);
	(void)check(disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &f);
	ck_assert_msg(once.size == disk->size &&
	                      memcmp(once.bytes, disk->bytes, disk->size) == 0,
	              "%s: a second repair changes something", what);
	api_disk_fini(&once);
	return verdict;
}

static void put(struct api_disk *disk, const struct image_field *field,
                uint64_t value)
{
	for (size_t i = field->width; i > 0; i--, value >>= 8)
		disk->bytes[field->at + i - 1] = (uint8_t)value;
}

/* Of all trials of all kinds, which run in processes of their own. */
static struct totals {
	uint64_t fields;
	uint64_t images;
	uint64_t opened;
	uint64_t shown_to_qemu;
	uint64_t most_memory;
	double most_seconds;
} * totals;

static void try_value(const struct image_field *field, uint64_t value,
                      bool ask_qemu)
{
	static struct views before;
	struct api_disk disk = copy_disk(&sound);
	struct api_disk damaged;
	enum verdict verdict;
	enum verdict after;

	(void)snprintf(what, sizeof(what),
	               "%s, %s at 0x%" PRIx64 ": 0x%" PRIx64 " to 0x%" PRIx64,
	               kind->name, field->name, field->at,
	               image_fields_get(&fields, field->at, field->width),
	               value);
	if (tells)
		printf("%s\n", what);
	put(&disk, field, value);
	damaged = copy_disk(&disk);
	verdict = look(field, &disk, &before);
	try_writing(field, &disk);
	after = try_repair(field, &disk, &before);
	if (ask_qemu) {
		qemu_verdict_compare(what, &damaged, verdict, &disk, after);
		totals->shown_to_qemu++;
	}
	api_disk_fini(&damaged);
	api_disk_fini(&disk);
	totals->images++;
	totals->opened += before.disks[0].opened;
}

static void make_sound(size_t number)
{
	struct qcowfmt_image *image = NULL;

	kind = &kinds[number];
	create();
	API_OK(try_open(&sound, API_RW, NULL, &image));
	fill(image);
	api_close(image);
	read_views(&sound, &right);
	image_fields_find(&fields, sound.bytes, sound.size);
	totals->fields += fields.count;
}

START_TEST(every_field)
{
	if (kinds[_i].zstd && !built_with_zstd())
		return;

	bool is_long = getenv("QCF_LONG") != NULL;
	const char *only = getenv("QCF_FIELD");
	struct unit_random random = unit_random_init();
	/* Each costs two processes; LUKS wants its passphrase told otherwise, and
	 * qemu-img checks no version 1. */
	bool asks = api_has_qemu() && !kinds[_i].luks &&
	            kinds[_i].version != 1 && thin_factor() == 1;
	uint64_t ask_share = is_long ? 7 : 240;
	uint64_t values[MAX_VALUES];
	uint64_t number;

#ifdef M_MMAP_THRESHOLD
	/* Pages that come and go for each image take longer than the image. */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
	make_sound((size_t)_i);
	tells = only != NULL;
	if (asks)
		qemu_verdict_begin(&data_file, kind->disk_size);
	number = unit_random_below(&random, 1000);
	for (size_t i = 0; i < fields.count; i++) {
		size_t n =
			image_fields_values(&fields, &fields.fields[i], values);
		unsigned int share = kind->share * thin_factor();

		if (only != NULL && strstr(fields.fields[i].name, only) == NULL)
			continue;
		for (size_t j = 0; j < n; j++, number++) {
			if (is_long || only != NULL || number % share == 0)
				try_value(&fields.fields[i], values[j],
				          asks && number % ask_share == 0);
		}
	}
	totals->most_memory =
		QCF_MAX(totals->most_memory, ceiling_most_memory());
	totals->most_seconds =
		QCF_MAX(totals->most_seconds, ceiling_most_seconds());
	api_disk_fini(&sound);
	api_disk_fini(&data_file);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, every_field, 0, KIND_COUNT);
}

int main(int argc, char **argv)
{
	int status;

	totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE,
	              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (totals == MAP_FAILED)
		return EXIT_FAILURE;
	status = api_main("hostile_fields", add_tests, argc, argv);
	printf("figure: hostile-fields %" PRIu64 " fields\n"
	       "figure: hostile-field-images %" PRIu64 " images\n"
	       "figure: hostile-field-images-opened %" PRIu64 " images\n"
	       "figure: hostile-field-images-shown-to-qemu %" PRIu64 " images\n"
	       "figure: hostile-field-images-memory %" PRIu64 " bytes at most\n"
	       "figure: hostile-field-images-time %.3f s at most\n",
	       totals->fields, totals->images, totals->opened,
	       totals->shown_to_qemu, totals->most_memory,
	       totals->most_seconds);
	return status;
}
