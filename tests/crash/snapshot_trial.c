/* SPDX-License-Identifier: MIT */
/*
 * snapshot_trial.c - one operation on snapshots, on one kind of image
 */
#include <string.h>
#include <sys/wait.h>

#include "auto.h"
#include "crash_qemu.h"
#include "image_storage.h"
#include "scratch.h"
#include "snapshot_trial.h"

#define MAX_SIZE ((uint64_t)768 << 10)
#define SECTOR   512u
#define SECRET   "sesame"
#define VM_SIZE  3000u

/* One state in so many is shown to QEMU. */
#define QEMU_EVERY 13

/* Corruptions that cost space but no data: flags 27 and 28 of checks.def. */
#define DATA_COPIED 27u
#define L2_COPIED   28u
#define LEAK        43u

static const struct trial_kind kinds[] = {
	{ "v3, 512", 3, 0, 16, 512, 130 * SECTOR, 0, false },
	{ "v2, 512", 2, 0, 16, 512, 130 * SECTOR, 0, false },
	/* Refcount blocks one by one. */
	{ "v3, 512, no cache", 3, 0, 32, 512, 150 * SECTOR, 0, false, 1 },
	{ "v2, 512, no cache", 2, 0, 16, 512, 150 * SECTOR, 0, false, 1 },
	{ "v3, 4096, 4 bits", 3, 0, 4, 4096, 90 * SECTOR, 0, false },
	{ "v3, 4096, 64 bits, compressed", 3, 0, 64, 4096, 128 * SECTOR, 0,
	  true },
	{ "v2, 4096, compressed", 2, 0, 16, 4096, 128 * SECTOR, 0, true },
	{ "v3, 512, lazy", 3, QCOWFMT_CREATE_LAZY_REFCOUNTS, 16, 512,
	  130 * SECTOR, 0, false },
	{ "v3, 16384, subclusters", 3, QCOWFMT_CREATE_EXTENDED_L2, 16, 16384,
	  300 * SECTOR, 0, false },
	{ "v3, 65536, 1 byte", 3, 0, 8, 65536, 400 * SECTOR, 0, false },
	{ "v2, 4096, AES", 2, 0, 16, 4096, 60 * SECTOR, QCOWFMT_ENCRYPTION_AES,
	  false },
	{ "v3, 65536, LUKS", 3, 0, 16, 65536, 256 * SECTOR,
	  QCOWFMT_ENCRYPTION_LUKS, false },
};

static const struct trial_action actions[] = {
	{ "create", CREATE, "three", 0 },
	{ "apply the first", APPLY, "one", 0 },
	{ "apply the last", APPLY, "two", 0 },
	{ "apply to another size", APPLY, "one", 77 },
	{ "delete the first", DELETE, "one", 0 },
	{ "delete the last", DELETE, "two", 0 },
};

const int trial_count = (int)(QCF_ARRAY_LEN(kinds) * QCF_ARRAY_LEN(actions));

/* What one state of the disk holds: a stamp for each sector, and VM state. */
struct model {
	const char *name;
	uint64_t size;
	uint8_t vm_stamp; /* 0 = nothing */
	uint8_t stamps[MAX_SIZE / SECTOR];
};

enum { ACTIVE, ONE, TWO, MODELS };

struct trial trial;

static struct model models[MODELS];
static uint8_t stamp; /* of the last write */
static uint8_t have[MAX_SIZE];

/* ------------------------------------------------------------------- the image */

static uint64_t grown(const struct trial_kind *kind,
                      const struct trial_action *action)
{
	return kind->version < 3 ? 0 : action->resize;
}

static struct qcowfmt_image *open_as(struct qcowfmt_storage *storage,
                                     uint32_t flags, const char *snapshot)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.secret = trial.kind->encryption != 0 ? SECRET : NULL,
		.secret_len = trial.kind->encryption != 0 ? strlen(SECRET) : 0,
		.cache_size = trial.kind->cache_size,
		.snapshot_name = snapshot,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s: %s: %s", trial.kind->name, trial.action->name,
	              qcowfmt_error_message(error));
	return image;
}

struct qcowfmt_image *trial_open(struct qcowfmt_storage *storage,
                                 uint32_t flags)
{
	return open_as(storage, flags, NULL);
}

static void write_sectors(struct qcowfmt_image *image, uint64_t first,
                          uint64_t count)
{
	struct model *m = &models[ACTIVE];
	uint64_t offset = first * SECTOR;
	uint64_t len = count * SECTOR;
	int ret;

	stamp++;
	memset(have, stamp, len);
	memset(m->stamps + first, stamp, count);
	ret = trial.kind->compressed &&
	                      offset % trial.kind->cluster_size == 0 &&
	                      len % trial.kind->cluster_size == 0
	              ? qcowfmt_pwrite_compressed(image, have, len, offset,
	                                          NULL)
	              : qcowfmt_pwrite(image, have, len, offset, NULL);
	ck_assert_int_eq(ret, 0);
}

static void zero_sectors(struct qcowfmt_image *image, uint64_t first,
                         uint64_t count)
{
	memset(models[ACTIVE].stamps + first, 0, count);
	ck_assert_int_eq(qcowfmt_write_zeroes(image, first * SECTOR,
	                                      count * SECTOR,
	                                      QCOWFMT_ZERO_MAY_UNMAP, NULL),
	                 0);
}

static void write_vm_state(struct qcowfmt_image *image)
{
	uint8_t bytes[VM_SIZE];

	models[ACTIVE].vm_stamp = ++stamp;
	memset(bytes, stamp, sizeof(bytes));
	ck_assert_int_eq(
		qcowfmt_vm_state_pwrite(image, bytes, sizeof(bytes), 700, NULL),
		0);
}

static void take_snapshot(struct qcowfmt_image *image, const char *name,
                          int model)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
		.vm_state_size = VM_SIZE,
	};

	ck_assert_int_eq(qcowfmt_snapshot_create(image, &options, NULL), 0);
	if (model != ACTIVE)
		models[model] = models[ACTIVE];
	models[model].name = name;
	models[ACTIVE].name = NULL;
	models[ACTIVE].vm_stamp = 0;
}

/* Two snapshots that share some of what they have with each other and with the
 * active state, which has VM state of its own. */
static void fill(struct qcowfmt_image *image)
{
	uint64_t sectors = trial.kind->size / SECTOR;

	for (uint64_t i = 0; i + 8 <= sectors; i += 8)
		write_sectors(image, i, 8);
	write_vm_state(image);
	take_snapshot(image, "one", ONE);
	write_sectors(image, 8, 16);
	write_sectors(image, 31, 3);
	zero_sectors(image, 40, 8);
	take_snapshot(image, "two", TWO);
	write_sectors(image, 16, 8);
	write_sectors(image, 45, 1);
	write_vm_state(image);
}

static void resize(struct qcowfmt_image *image)
{
	uint64_t sectors = grown(trial.kind, trial.action);

	if (sectors == 0)
		return;
	models[ACTIVE].size += sectors * SECTOR;
	ck_assert_int_eq(qcowfmt_resize(image, models[ACTIVE].size, NULL, NULL),
	                 0);
	write_vm_state(image);
	write_sectors(image, trial.kind->size / SECTOR + 5, 9);
}

static void make_image(struct rec_log *log)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = trial.kind->encryption,
		.iter_time_ms =
			trial.kind->encryption == QCOWFMT_ENCRYPTION_LUKS ? 1
									  : 0,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.version = trial.kind->version,
		.flags = trial.kind->create_flags,
		.cluster_size = trial.kind->cluster_size,
		.refcount_bits = trial.kind->refcount_bits,
		.virtual_size = trial.kind->size,
		.encryption = trial.kind->encryption != 0 ? &encryption : NULL,
	};
	struct qcowfmt_storage *storage = rec_storage_new(log);
	struct qcowfmt_image *image;

	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
	models[ACTIVE].size = trial.kind->size;
	image = open_as(storage, QCOWFMT_OPEN_READ_WRITE, NULL);
	fill(image);
	resize(image);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

int trial_act(struct qcowfmt_image *image, struct qcowfmt_error **error)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = trial.action->snapshot,
		.vm_state_size = VM_SIZE,
	};

	switch (trial.action->what) {
	case CREATE:
		return qcowfmt_snapshot_create(image, &options, error);
	case APPLY:
		return qcowfmt_snapshot_apply(image, NULL,
		                              trial.action->snapshot, error);
	default:
		return qcowfmt_snapshot_delete(image, NULL,
		                               trial.action->snapshot, error);
	}
}

/* --------------------------------------------------------------- looking at it */

static bool reads_like(struct qcowfmt_image *image, const struct model *m)
{
	if (qcowfmt_get_size(image) != m->size)
		return false;
	ck_assert_int_eq(qcowfmt_pread(image, have, m->size, 0, NULL), 0);
	for (uint64_t i = 0; i < m->size; i++) {
		if (have[i] != m->stamps[i / SECTOR])
			return false;
	}
	return true;
}

static bool vm_state_is(struct qcowfmt_image *image, uint8_t want)
{
	uint8_t bytes[VM_SIZE + 2000];

	ck_assert_int_eq(
		qcowfmt_vm_state_pread(image, bytes, sizeof(bytes), 0, NULL),
		0);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bool inside = i >= 700 && i < 700 + VM_SIZE;

		if (bytes[i] != (inside ? want : 0))
			return false;
	}
	return true;
}

static bool has_snapshot(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_snapshot_list *list = NULL;
	bool found = false;

	ck_assert_int_eq(qcowfmt_snapshot_list(image, 0, &list, NULL), 0);
	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++) {
		struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

		ck_assert_int_eq(qcowfmt_snapshot_list_get(list, i, &s, NULL),
		                 0);
		found = found || strcmp(s.name, name) == 0;
	}
	qcowfmt_snapshot_list_free(list);
	return found;
}

struct findings {
	uint64_t flags;
	uint64_t others;
};

static void note_finding(void *opaque, uint32_t id, uint64_t host_offset,
                         const char *text)
{
	struct findings *f = opaque;

	(void)host_offset;
	/* With the flag set, the entry that is quoted has 16 digits. */
	if ((id == DATA_COPIED || id == L2_COPIED) &&
	    strstr(text, "entry=8") == NULL) {
		f->flags++;
	} else if (id != LEAK) {
		printf("finding %u: %s\n", id, text);
		f->others++;
	}
}

void trial_expect_sound(struct qcowfmt_image *image, bool strictly)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct findings found = { 0 };

	ck_assert_int_eq(
		qcowfmt_check(image, 0, note_finding, &found, &result, NULL),
		0);
	ck_assert_msg(found.others == 0 && result.check_errors == 0 &&
	                      (found.flags == 0 ||
	                       (trial.kind->version == 2 && !strictly)) &&
	                      (result.leaks == 0 || !strictly),
	              "%s, %s: %" PRIu64 " corruptions, %" PRIu64 " leaks",
	              trial.kind->name, trial.action->name, result.corruptions,
	              result.leaks);
}

static void expect_snapshot(struct byte_image *bytes, const struct model *m,
                            const char *name)
{
	struct qcowfmt_image *image =
		open_as(image_storage_new(bytes, false), 0, name);

	ck_assert_msg(reads_like(image, m), "%s, %s: snapshot %s differs",
	              trial.kind->name, trial.action->name, name);
	ck_assert_msg(vm_state_is(image, m->vm_stamp),
	              "%s, %s: VM state of %s differs", trial.kind->name,
	              trial.action->name, name);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* Whether the operation has happened, as far as this image says. */
bool trial_has_happened(struct qcowfmt_image *image)
{
	const struct model *applied =
		&models[strcmp(trial.action->snapshot, "one") == 0 ? ONE : TWO];

	switch (trial.action->what) {
	case CREATE:
		return has_snapshot(image, trial.action->snapshot);
	case APPLY:
		return reads_like(image, applied);
	default:
		return !has_snapshot(image, trial.action->snapshot);
	}
}

static const struct model *active_model(bool after)
{
	if (!after || trial.action->what != APPLY)
		return &models[ACTIVE];
	return &models[strcmp(trial.action->snapshot, "one") == 0 ? ONE : TWO];
}

void trial_expect_active(struct qcowfmt_image *image, bool after)
{
	const struct model *m = active_model(after);

	ck_assert_msg(reads_like(image, m), "%s, %s: the disk differs",
	              trial.kind->name, trial.action->name);
	/* A new snapshot takes it along, but not in the same moment. */
	ck_assert_msg(vm_state_is(image, m->vm_stamp) ||
	                      (after && trial.action->what == CREATE &&
	                       vm_state_is(image, 0)),
	              "%s, %s: VM state differs", trial.kind->name,
	              trial.action->name);
}

static void expect_snapshots(struct byte_image *bytes, bool after)
{
	bool deleted = after && trial.action->what == DELETE;

	if (!deleted || strcmp(trial.action->snapshot, "one") != 0)
		expect_snapshot(bytes, &models[ONE], "one");
	if (!deleted || strcmp(trial.action->snapshot, "two") != 0)
		expect_snapshot(bytes, &models[TWO], "two");
	if (after && trial.action->what == CREATE)
		expect_snapshot(bytes, &models[ACTIVE], "three");
}

/* Snapshots are protected from what is written to the disk. */
static void scribble(struct byte_image *bytes)
{
	struct qcowfmt_image *image = open_as(image_storage_new(bytes, true),
	                                      QCOWFMT_OPEN_READ_WRITE, NULL);
	static uint8_t noise[5 * SECTOR];
	uint64_t size = qcowfmt_get_size(image);

	memset(noise, 0xee, sizeof(noise));
	for (uint64_t at = SECTOR; at + sizeof(noise) < size;
	     at += 8 * sizeof(noise))
		ck_assert_int_eq(
			qcowfmt_pwrite(image, noise, sizeof(noise), at, NULL),
			0);
	trial_expect_sound(image, false);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* qemu-img finds nothing but leaks, or repairs what was left dirty. */
static void ask_qemu(const struct byte_image *bytes)
{
	bool dirty = trial.kind->version == 3 &&
	             (byte_image_bytes(bytes)[79] & 1) != 0;
	const char *path = scratch_path("state.qcow2");
	char command[1024];
	int status;

	const char *qemu_img = getenv("QCF_QEMU_IMG");

	if (qemu_img == NULL || trial.kind->version == 2 ||
	    trial.kind->encryption != 0 ||
	    (trial.before + trial.after) % QEMU_EVERY != 0)
		return;
	ck_assert(write_image_file(bytes, path));
	snprintf(command, sizeof(command),
	         "%s check -q %s --image-opts "
	         "driver=qcow2,file.filename=%s >%s.log 2>&1",
	         qemu_img, dirty ? "-r all" : "", path, path);
	status = system(command);
	ck_assert_msg(status == 0 || (WEXITSTATUS(status) == 3 && !dirty),
	              "%s, %s: qemu-img check ends with %d", trial.kind->name,
	              trial.action->name, WEXITSTATUS(status));
	trial.seen_by_qemu++;
}

bool trial_judge(struct byte_image *bytes)
{
	struct qcowfmt_image *image;
	bool after;

	ask_qemu(bytes);
	image = trial_open(image_storage_new(bytes, true),
	                   QCOWFMT_OPEN_READ_WRITE);
	after = trial_has_happened(image);
	if (after)
		trial.after++;
	else
		trial.before++;
	trial_expect_active(image, after);
	trial_expect_sound(image, false);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	expect_snapshots(bytes, after);
	scribble(bytes);
	expect_snapshots(bytes, after);
	return after;
}

void trial_expect_settled(struct byte_image *bytes)
{
	struct qcowfmt_image *image =
		trial_open(image_storage_new(bytes, false), 0);
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(qcowfmt_get_info(image, 0, &info, NULL), 0);
	ck_assert_msg((info.flags & QCOWFMT_INFO_DIRTY) == 0,
	              "%s, %s: still dirty", trial.kind->name,
	              trial.action->name);
	trial_expect_sound(image, true);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

void trial_begin(int number, struct rec_log *log)
{
	trial = (struct trial){
		.kind = &kinds[(size_t)number / QCF_ARRAY_LEN(actions)],
		.action = &actions[(size_t)number % QCF_ARRAY_LEN(actions)],
	};
	make_image(log);
	rec_log_restart(log);
}
