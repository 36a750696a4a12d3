/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever is broken in the metadata of an image, each cluster that read
 * right before a repair does so after it, of the disk and of every snapshot; the repaired image is sound, or what is left has an id that no repair
 * mends; in a sound one, new writes reach no other disk; and qemu-img finds no
 * more in it than in what it repaired itself.
 *
 * QCF_TEST_SEED chooses the damage, QCF_LONG=SECONDS how long it goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api_disk.h"
#include "api_test.h"
#include "check_id.h"

#define DISK_SIZE     ((uint64_t)512 << 10)
#define PIECE         ((uint64_t)4096) /* what is read at once */
#define PIECE_COUNT   (DISK_SIZE / PIECE)
#define MAX_SNAPSHOTS 4u

enum {
	SHORT_TRIALS = 600,
	/* One in so many is shown to QEMU. */
	QEMU_SHARE = 45,
};

/* ------------------------------------------------------------------ images */

struct kind {
	const char *what;
	uint64_t cluster_size;
	uint32_t version;       /* 0 = 3 */
	uint32_t refcount_bits; /* 0 = 16 */
	uint32_t flags;         /* of creating */
	uint32_t snapshots;
	bool bitmaps;
	bool compressed;
	bool data_file;
	bool luks;
};

static const struct kind kinds[] = {
	{ "plain", .cluster_size = 4096 },
	{ "small clusters", .cluster_size = 512, .snapshots = 1 },
	{ "version 2", .cluster_size = 4096, .version = 2, .snapshots = 2 },
	{ "snapshots", .cluster_size = 4096, .snapshots = 3 },
	{ "bitmaps", .cluster_size = 4096, .bitmaps = true, .snapshots = 1 },
	{ "compressed", .cluster_size = 4096, .compressed = true,
	  .snapshots = 2 },
	{ "extended", .cluster_size = 16384,
	  .flags = QCOWFMT_CREATE_EXTENDED_L2, .snapshots = 1 },
	{ "everything", .cluster_size = 16384,
	  .flags = QCOWFMT_CREATE_EXTENDED_L2, .compressed = true,
	  .bitmaps = true, .snapshots = 3 },
	{ "data file", .cluster_size = 4096, .data_file = true },
	{ "data file and bitmaps", .cluster_size = 4096, .data_file = true,
	  .bitmaps = true },
	{ "encrypted", .cluster_size = 4096, .luks = true, .snapshots = 1 },
	{ "1 bit", .cluster_size = 4096, .refcount_bits = 1 },
	{ "2 bits", .cluster_size = 4096, .refcount_bits = 2, .snapshots = 1 },
	{ "4 bits", .cluster_size = 4096, .refcount_bits = 4, .snapshots = 2 },
	{ "8 bits", .cluster_size = 512, .refcount_bits = 8, .snapshots = 2 },
	{ "32 bits", .cluster_size = 512, .refcount_bits = 32, .snapshots = 2 },
	{ "64 bits", .cluster_size = 512, .refcount_bits = 64, .snapshots = 2 },
};

#define KIND_COUNT QCF_ARRAY_LEN(kinds)

static struct api_disk sound[KIND_COUNT];
static struct api_disk data_file[KIND_COUNT];
static struct unit_random rnd;

static struct api_disk copy_disk(const struct api_disk *from)
{
	struct api_disk disk = {
		.size = from->size,
		.limit = (uint64_t)64 << 20,
	};

	disk.bytes = malloc(from->size + 1);
	ck_assert_ptr_nonnull(disk.bytes);
	if (from->size > 0)
		memcpy(disk.bytes, from->bytes, from->size);
	return disk;
}

static int try_open(size_t kind, struct api_disk *disk, uint32_t flags,
                    const char *snapshot, struct qcowfmt_image **image)
{
	struct qcowfmt_open_options o = {
		.struct_size = sizeof(o),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.secret = "secret",
		.secret_len = 6,
		.snapshot_id = snapshot,
	};
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	int ret;

	if (kinds[kind].data_file)
		o.data_storage = api_disk_storage(&data_file[kind]);
	ret = qcowfmt_open(storage, &o, image, &api_error);
	if (ret < 0) {
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(o.data_storage);
	}
	return ret;
}

/* Words that repeat, so that it can be compressed, and say where they are. */
static void fill(uint8_t *bytes, uint64_t offset, uint64_t len, uint32_t salt)
{
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(salt * 37 + (offset + i) / 512 +
		                     (offset + i) % 512 / 64);
}

/* What is written to a damaged disk. */
#define SALT_OF_TRIAL 99u

static int write_cluster(size_t kind, struct qcowfmt_image *image, uint64_t at,
                         uint32_t salt)
{
	static uint8_t bytes[16384];
	uint64_t size = kinds[kind].cluster_size;
	bool pack = kinds[kind].compressed && unit_random_below(&rnd, 3) > 0;

	fill(bytes, at, size, salt);
	switch (unit_random_below(&rnd, salt == 0 ? 3 : 8)) {
	case 0:
		return 0;
	case 1:
		return qcowfmt_write_zeroes(image, at, size, 0, &api_error);
	default:
		return pack ? qcowfmt_pwrite_compressed(image, bytes, size, at,
		                                        &api_error)
		            : qcowfmt_pwrite(image, bytes, size / 2, at,
		                             &api_error);
	}
}

/* Where the disk is damaged, writing half a cluster may fail. */
static void write_some(size_t kind, struct qcowfmt_image *image, uint32_t salt)
{
	for (uint64_t at = 0; at < DISK_SIZE; at += kinds[kind].cluster_size) {
		int ret = write_cluster(kind, image, at, salt);

		if (salt != SALT_OF_TRIAL)
			API_OK(ret);
		api_error_reset();
	}
}

static void take_snapshot(struct qcowfmt_image *image, uint32_t number)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "taken %" PRIu32, number);
	api_take_snapshot(image, name);
}

static void make_image(size_t kind)
{
	const struct kind *k = &kinds[kind];
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
		.cluster_size = k->cluster_size,
		.version = k->version,
		.refcount_bits = k->refcount_bits,
		.flags = k->flags,
		.data_filename = k->data_file ? "data" : NULL,
		.encryption = k->luks ? &luks : NULL,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&sound[kind]);
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create(storage, &o, &api_error));
	qcowfmt_storage_free(storage);
	API_OK(try_open(kind, &sound[kind], API_RW, NULL, &image));
	if (k->bitmaps) {
		api_add_bitmap(image, "one");
		api_add_bitmap(image, "two");
	}
	write_some(kind, image, 0);
	for (uint32_t i = 0; i < k->snapshots; i++) {
		take_snapshot(image, i);
		write_some(kind, image, i + 1);
	}
	api_close(image);
}

/* ------------------------------------------------------------------ damage */

static uint64_t get(const struct api_disk *disk, uint64_t at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 |
		        (at + i < disk->size ? disk->bytes[at + i] : 0);
	return value;
}

static void put(struct api_disk *disk, uint64_t at, size_t width,
                uint64_t value)
{
	for (size_t i = width; i > 0; i--) {
		if (at + i - 1 < disk->size)
			disk->bytes[at + i - 1] = (uint8_t)value;
		value >>= 8;
	}
}

static uint64_t offset_at(const struct api_disk *disk, uint64_t at)
{
	return get(disk, at, 8) & UINT64_C(0x00fffffffffffe00);
}

/* Something to break: count words of a width from an offset on. */
struct target {
	uint64_t at;
	uint64_t count;
	size_t width;
};

static struct target words(uint64_t at, uint64_t count)
{
	return (struct target){ at, count, 8 };
}

static struct target snapshot_table(const struct api_disk *disk)
{
	return (struct target){ get(disk, 64, 8), get(disk, 60, 4) * 72, 1 };
}

/* The directory of bitmaps, or a table that it names. */
static struct target some_bitmaps(const struct api_disk *disk, bool table)
{
	uint64_t at = get(disk, 100, 4);
	uint64_t directory;

	while (at < 4000 && get(disk, at, 4) != 0x23852875)
		at += 8 + (get(disk, at + 4, 4) + 7) / 8 * 8;
	if (at >= 4000)
		return words(0, 0);
	directory = get(disk, at + 24, 8);
	return table ? words(get(disk, directory, 8), 1)
	             : (struct target){ directory, 64, 1 };
}

static struct target choose(const struct api_disk *disk, size_t kind)
{
	uint64_t l1 = get(disk, 40, 8);
	uint64_t l1_size = get(disk, 36, 4);
	uint64_t reftable = get(disk, 48, 8);
	uint64_t in_table =
		QCF_MIN(kinds[kind].cluster_size / 8, UINT64_C(128));
	uint64_t l2 =
		offset_at(disk, l1 + 8 * unit_random_below(&rnd, l1_size));
	uint64_t snapshot = get(disk, get(disk, 64, 8), 8);

	switch (unit_random_below(&rnd, 14)) {
	case 0:
		return words(l1, l1_size);
	case 1:
		return words(reftable, 4);
	case 2:
	case 3:
	case 4:
		return words(l2, in_table);
	case 5:
	case 6:
	case 7:
		return (struct target){ offset_at(disk, reftable),
			                kinds[kind].cluster_size / 4, 1 };
	case 8:
		return snapshot_table(disk);
	case 9:
		return kinds[kind].snapshots > 0 ? words(snapshot, l1_size)
		                                 : words(l2, in_table);
	case 10:
		return words(offset_at(disk, snapshot), in_table);
	case 11:
		return some_bitmaps(disk, false);
	case 12:
		return some_bitmaps(disk, true);
	default:
		/* Fields of the header that opening for repair can do without,
		 * and its extensions. */
		return unit_random_below(&rnd, 2) == 0
		               ? (struct target){ 48, 24, 1 }
		               : (struct target){ 104, 200, 1 };
	}
}

static uint64_t new_value(const struct api_disk *disk, const struct target *t,
                          uint64_t old)
{
	uint64_t other =
		get(disk, t->at + t->width * unit_random_below(&rnd, t->count),
	            t->width);
	uint64_t copied = unit_random_below(&rnd, 2) << 63;

	switch (unit_random_below(&rnd, 9)) {
	case 0:
		return 0;
	case 1:
	case 2:
	case 3:
		return old ^ UINT64_C(1)
		                     << unit_random_below(&rnd, t->width * 8);
	case 4:
		return other;
	case 5:
		return copied | unit_random_below(&rnd, disk->size) / 512 * 512;
	case 6:
		return copied |
		       (disk->size / 4096 + unit_random_below(&rnd, 40)) * 4096;
	case 7:
		return t->width == 1 ? 1 : old ^ UINT64_C(1) << 63;
	default:
		return unit_random_u64(&rnd);
	}
}

/* Text that leads to the change. */
struct damage {
	char text[512];
	size_t len;
};

static void break_one(struct api_disk *disk, size_t kind, struct damage *d)
{
	struct target t = choose(disk, kind);
	uint64_t at;
	uint64_t old;

	if (t.at == 0 || t.count == 0)
		return;
	at = t.at + unit_random_below(&rnd, t.count) * t.width;
	old = get(disk, at, t.width);
	put(disk, at, t.width, new_value(disk, &t, old));
	d->len +=
		(size_t)snprintf(d->text + d->len, sizeof(d->text) - d->len,
	                         " 0x%" PRIx64 "/%zu: %" PRIx64 " to %" PRIx64,
	                         at, t.width, old, get(disk, at, t.width));
}

/* ----------------------------------------------------------------- reading */

struct view {
	bool there;
	char id[64];
	bool readable[PIECE_COUNT];
	uint8_t bytes[DISK_SIZE];
};

struct views {
	struct view disks[1 + MAX_SNAPSHOTS]; /* the active one first */
};

static void read_view(size_t kind, struct api_disk *disk, struct view *v)
{
	struct qcowfmt_image *image = NULL;

	v->there = try_open(kind, disk, QCOWFMT_OPEN_REPAIR,
	                    v->id[0] == '\0' ? NULL : v->id, &image) == 0;
	for (uint64_t i = 0; v->there && i < PIECE_COUNT; i++)
		v->readable[i] = qcowfmt_get_size(image) >= (i + 1) * PIECE &&
		                 qcowfmt_pread(image, v->bytes + i * PIECE,
		                               PIECE, i * PIECE, NULL) == 0;
	if (v->there)
		(void)qcowfmt_close(image, NULL);
	api_error_reset();
}

/* Snapshots by their ids, 1 and up, as far as they can be opened. */
static void read_views(size_t kind, struct api_disk *disk, struct views *all)
{
	memset(all, 0, sizeof(*all));
	for (uint32_t i = 0; i <= kinds[kind].snapshots; i++) {
		if (i > 0)
			(void)snprintf(all->disks[i].id,
			               sizeof(all->disks[i].id), "%u", i);
		read_view(kind, disk, &all->disks[i]);
	}
}

static struct views sound_views[KIND_COUNT];

/* Forget what does not read as in the sound image: it may be anything, tables that
 * a repair changes, too. */
static void keep_right(size_t kind, struct views *all)
{
	for (size_t i = 0; i <= MAX_SNAPSHOTS; i++) {
		const struct view *want = &sound_views[kind].disks[i];
		struct view *v = &all->disks[i];

		for (uint64_t j = 0; j < PIECE_COUNT; j++)
			v->readable[j] =
				v->readable[j] &&
				memcmp(v->bytes + j * PIECE,
			               want->bytes + j * PIECE, PIECE) == 0;
	}
}

static void expect_same(const struct views *before, const struct views *after,
                        size_t first, const char *what, const char *why)
{
	for (size_t i = first; i <= MAX_SNAPSHOTS; i++) {
		const struct view *b = &before->disks[i];
		const struct view *a = &after->disks[i];

		ck_assert_msg(!b->there || a->there, "%s: %s: disk %zu is lost",
		              what, why, i);
		for (uint64_t j = 0; b->there && j < PIECE_COUNT; j++)
			ck_assert_msg(
				!b->readable[j] || (a->readable[j] &&
			                            memcmp(a->bytes + j * PIECE,
			                                   b->bytes + j * PIECE,
			                                   PIECE) == 0),
				"%s: %s: disk %zu has changed at 0x%" PRIx64
				"%s",
				what, why, i, j * PIECE,
				a->readable[j] ? "" : " and is unreadable");
	}
}

/* ---------------------------------------------------------------- repairing */

struct found {
	bool ids[API_MAX_ID];
	uint64_t first_leak; /* host offset */
	struct qcowfmt_check_result result;
};

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	struct found *f = opaque;

	if (getenv("QCF_TRIAL") != NULL)
		printf("%3" PRIu32 " at 0x%" PRIx64 ": %s\n", id, host_offset,
		       message);
	f->ids[id] = true;
	if (id == QCF_CHECK_LEAK)
		f->first_leak = QCF_MIN(f->first_leak, host_offset);
}

/* -errno if it was refused. */
static int check(size_t kind, struct api_disk *disk, uint32_t open_flags,
                 uint32_t flags, struct found *f)
{
	struct qcowfmt_image *image = NULL;
	int ret = try_open(kind, disk, open_flags | QCOWFMT_OPEN_REPAIR, NULL,
	                   &image);

	*f = (struct found){
		.first_leak = UINT64_MAX,
		.result = { .struct_size = sizeof(f->result) },
	};
	if (ret == 0)
		ret = qcowfmt_check(image, flags, note, f, &f->result,
		                    &api_error);
	if (image != NULL)
		(void)qcowfmt_close(image, NULL);
	api_error_reset();
	return ret;
}

/* Whether an id that no repair mends is among those found, or a count that its
 * few bits cannot hold. */
static bool excused(size_t kind, const struct found *f)
{
	if (api_is_beyond_repair(f->ids))
		return true;
	return f->ids[QCF_CHECK_REFCOUNT_LOW] &&
	       kinds[kind].refcount_bits - 1 < 4;
}

/* In a sound image writing to the disk changes no snapshot. */
static void try_writing(size_t kind, struct api_disk *disk,
                        const struct views *before, const char *what)
{
	static struct views after;
	struct api_disk kept = copy_disk(&data_file[kind]);
	struct qcowfmt_image *image = NULL;
	uint64_t end = disk->size;
	struct found f;

	ck_assert_msg(try_open(kind, disk, API_RW, NULL, &image) == 0,
	              "%s: is sound, and %s", what,
	              qcowfmt_error_message(api_error));
	write_some(kind, image, SALT_OF_TRIAL);
	/* Writing ends where a mapping would lead into the tables. */
	(void)qcowfmt_close(image, NULL);
	read_views(kind, disk, &after);
	expect_same(before, &after, 1, what, "written to");
	ck_assert_int_eq(check(kind, disk, 0, 0, &f), 0);
	/* Of two entries with the same cluster one is alone once the other has
	 * been written to, and does not know; nobody looks at counts behind the
	 * end of the file; and bits that are also a table are not given up. */
	f.ids[QCF_CHECK_LEAK] = f.first_leak < end && !kinds[kind].bitmaps;
	f.ids[QCF_CHECK_DATA_COPIED] = f.ids[QCF_CHECK_L2_COPIED] = false;
	for (size_t i = 0; i < QCF_ARRAY_LEN(f.ids); i++)
		ck_assert_msg(!f.ids[i], "%s: was sound, writing led to id %zu",
		              what, i);
	free(data_file[kind].bytes);
	data_file[kind] = kept;
}

/* How bad an image is for qemu-img. */
static int their_rank(const char *path, bool repair)
{
	int status = repair ? api_run(api_qemu_img, "check", "-q", "-r", "all",
	                              "-f", "qcow2", path, NULL)
	                    : api_run(api_qemu_img, "check", "-q", "-f",
	                              "qcow2", path, NULL);

	return status == 0 ? 0 : status == 3 ? 1 : status == 2 ? 2 : 3;
}

/* Whether everything that was right still is in what QEMU has repaired: it may
 * give up snapshots, and then there is nothing left to be wrong. */
static bool they_kept(size_t kind, const struct views *before)
{
	static struct views after;
	struct api_bytes file = api_read_file("theirs");
	struct api_disk disk = { .bytes = file.bytes, .size = file.len };
	bool kept = true;

	read_views(kind, &disk, &after);
	keep_right(kind, &after);
	for (size_t i = 0; i <= MAX_SNAPSHOTS; i++) {
		for (uint64_t j = 0; j < PIECE_COUNT; j++)
			kept = kept && (!before->disks[i].readable[j] ||
			                after.disks[i].readable[j]);
	}
	api_disk_fini(&disk);
	return kept;
}

/* QEMU drops snapshots that it cannot find, and frees what they have. */
static void compare_with_qemu(size_t kind, const struct api_disk *damaged,
                              const struct api_disk *ours,
                              const struct views *before, const char *what,
                              bool is_sound, const struct found *left)
{
	int our_rank;

	/* Without its key an image does not open there, nor without data. */
	if (left->ids[QCF_CHECK_SNAPSHOT_ENTRY] ||
	    left->ids[QCF_CHECK_SNAPSHOT_L1] || kinds[kind].luks ||
	    kinds[kind].data_file || !api_has_qemu())
		return;
	api_write_file("ours", ours->bytes, ours->size);
	our_rank = their_rank("ours", false);
	ck_assert_msg(!is_sound || our_rank == 0, "%s: qemu-img says %d", what,
	              our_rank);
	if (our_rank == 0)
		return;
	api_write_file("theirs", damaged->bytes, damaged->size);
	(void)their_rank("theirs", true);
	ck_assert_msg(our_rank <= their_rank("theirs", false) ||
	                      !they_kept(kind, before),
	              "%s: what qemu-img repairs is sounder", what);
}

static void judge(size_t kind, struct api_disk *disk,
                  const struct api_disk *damaged, const char *what,
                  bool show_qemu)
{
	static struct views before;
	static struct views after;
	struct found f;
	struct found first;
	bool is_sound;
	int ret;

	read_views(kind, disk, &before);
	keep_right(kind, &before);
	ret = check(kind, disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &first);
	read_views(kind, disk, &after);
	expect_same(&before, &after, 0, what, "repaired");
	is_sound = ret == 0 && check(kind, disk, 0, 0, &f) == 0 &&
	           f.result.corruptions == 0 && f.result.leaks == 0 &&
	           f.result.check_errors == 0;
	if (ret == 0)
		ck_assert_msg(is_sound || excused(kind, &f),
		              "%s: %" PRIu64 " corruptions, %" PRIu64
		              " leaks, %" PRIu64 " errors are left",
		              what, f.result.corruptions, f.result.leaks,
		              f.result.check_errors);
	/* What the header says of the place of tables nobody repairs here. */
	if (show_qemu && ret == 0)
		compare_with_qemu(kind, damaged, disk, &before, what, is_sound,
		                  &f);
	if (is_sound)
		try_writing(kind, disk, &after, what);
}

static void try_damage(uint64_t number, bool show_qemu)
{
	size_t kind = (size_t)unit_random_below(&rnd, KIND_COUNT);
	struct api_disk disk = copy_disk(&sound[kind]);
	struct api_disk damaged;
	struct damage d = { .len = 0 };
	uint64_t count = 1 + unit_random_below(&rnd, 4);

	d.len = (size_t)snprintf(d.text, sizeof(d.text),
	                         "%" PRIu64 ", %s:", number, kinds[kind].what);
	for (uint64_t i = 0; i < count; i++)
		break_one(&disk, kind, &d);
	damaged = copy_disk(&disk);
	judge(kind, &disk, &damaged, d.text, show_qemu);
	api_disk_fini(&disk);
	api_disk_fini(&damaged);
}

/* Each trial can be repeated alone. */
static void seed_trial(uint64_t seed, uint64_t number)
{
	rnd.state = seed * UINT64_C(1000003) + number;
}

START_TEST(random_damage)
{
	const char *seconds = getenv("QCF_LONG");
	const char *only = getenv("QCF_TRIAL");
	time_t end = time(NULL) + (seconds == NULL ? 0 : atol(seconds));
	uint64_t seed;

	rnd = unit_random_init();
	seed = rnd.state;
	ck_assert_int_eq(chdir(scratch_path(".")), 0);
	for (size_t i = 0; i < KIND_COUNT; i++)
		make_image(i);
	for (size_t i = 0; i < KIND_COUNT; i++)
		read_views(i, &sound[i], &sound_views[i]);
	for (uint64_t i = 0;
	     seconds != NULL ? time(NULL) < end : i < SHORT_TRIALS; i++) {
		if (only != NULL && i != strtoull(only, NULL, 0))
			continue;
		seed_trial(seed, i);
		try_damage(i, i % QEMU_SHARE == 0 || only != NULL);
	}
	for (size_t i = 0; i < KIND_COUNT; i++) {
		api_disk_fini(&sound[i]);
		api_disk_fini(&data_file[i]);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, random_damage);
}

int main(int argc, char **argv)
{
	return api_main("repair_keeps_what_was_readable", add_tests, argc,
	                argv);
}
