/* SPDX-License-Identifier: MIT */
/* whole_image.c - operations that rebuild an image, cut short at every
 * moment */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "auto.h"
#include "fail_storage.h"
#include "image_storage.h"
#include "rec_storage.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"
#include "whole_image.h"

#define CAPACITY ((size_t)12 << 20)
#define SECRET   "abcdef"

/* One state in so many is shown to QEMU, too. */
#define QEMU_EVERY 97u

/* After one in so many the operation is done again. */
#define AGAIN_EVERY 5u

static const char *qemu_img;
static const char *qemu_io;

/* ------------------------------------------------------------------- making */

static int try_command(const char *command)
{
	char line[4096];
	int status;

	snprintf(line, sizeof(line), "cd %s && %s >>log 2>&1",
	         scratch_path("."), command);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void run_command(const char *command)
{
	ck_assert_msg(try_command(command) == 0, "failed: %s", command);
}

/* How QEMU's programs are told of the image. */
static const char *image_words(const struct whole_kind *kind)
{
	if (kind->encryption == WHOLE_PLAIN)
		return "--image-opts driver=qcow2,file.filename=image";
	return "--object secret,id=key,data=" SECRET
	       " --image-opts driver=qcow2,file.filename=image,"
	       "encrypt.key-secret=key";
}

static void create(const struct whole_kind *kind)
{
	static const char *const encryptions[] = {
		"",
		",encrypt.format=aes,encrypt.key-secret=key",
		(",encrypt.format=luks,encrypt.iter-time=10,"
		 "encrypt.key-secret=key"),
	};
	char command[1024];

	(void)try_command("rm -f image data base");
	if (kind->backing) {
		snprintf(command, sizeof(command),
		         "%s create -q -f raw base %uk && "
		         "%s -f raw -c 'write -q -P 7 0 %uk' base",
		         qemu_img, kind->kib, qemu_io, kind->kib);
		run_command(command);
	}
	snprintf(command, sizeof(command),
	         "%s create -q -f qcow2 --object secret,id=key,data=" SECRET
	         " -o %s%s%s %s image %uk",
	         qemu_img, kind->options, encryptions[kind->encryption],
	         kind->data_file ? ",data_file=data" : "",
	         kind->backing ? "-b base -F raw" : "", kind->kib);
	/* Measuring how fast a hash is may fail on a busy machine. */
	for (int i = 0; i < 10 && try_command(command) != 0; i++)
		continue;
	ck_assert_int_eq(try_command("test -s image"), 0);
}

static void io(const struct whole_kind *kind, const char *verb,
               unsigned int from, unsigned int to)
{
	unsigned int unit = kind->kib / 16;
	char request[128];
	char command[1024];

	snprintf(request, sizeof(request), "%s %uk %uk", verb, from * unit,
	         (to - from) * unit);
	snprintf(command, sizeof(command), "%s -d unmap -c '%s' %s", qemu_io,
	         request, image_words(kind));
	run_command(command);
}

static void snapshot(const struct whole_kind *kind, const char *action)
{
	char command[1024];

	if (kind->no_snapshots)
		return;
	snprintf(command, sizeof(command), "%s snapshot %s %s", qemu_img,
	         action, image_words(kind));
	run_command(command);
}

/* Have the image be larger by some MiB, in use, and cut that off again. */
static void resize(const struct whole_kind *kind)
{
	char command[1024];

	snprintf(command, sizeof(command),
	         "%s -c 'write -q -P 6 0 4k' %s && %s resize -q %s 3M && "
	         "%s -c 'write -q -P 6 %uk 2M' %s && "
	         "%s resize -q --shrink %s %uk",
	         qemu_io, image_words(kind), qemu_img, image_words(kind),
	         qemu_io, kind->kib, image_words(kind), qemu_img,
	         image_words(kind), kind->kib);
	run_command(command);
}

/* New refcount blocks are at the end of what is in use. */
static void recount(const struct whole_kind *kind)
{
	char command[1024];

	snprintf(command, sizeof(command), "%s amend -o refcount_bits=%s %s",
	         qemu_img, kind->recount, image_words(kind));
	run_command(command);
}

static void add_bitmaps(const struct whole_kind *kind)
{
	char command[1024];

	snprintf(command, sizeof(command),
	         "for name in on off used; do %s bitmap --add -g 512 %s $name "
	         "|| exit 1; done",
	         qemu_img, image_words(kind));
	run_command(command);
}

static void disable_bitmap(const struct whole_kind *kind, const char *name)
{
	char command[1024];

	snprintf(command, sizeof(command), "%s bitmap --disable %s %s",
	         qemu_img, image_words(kind), name);
	run_command(command);
}

/* Nothing that is written later changes them. */
static void use_with_late_bitmaps(const struct whole_kind *kind)
{
	static const char *const names[] = { "on", "off", "used" };

	io(kind, "write -q -P 1", 0, 16);
	add_bitmaps(kind);
	io(kind, "write -q -P 2", 1, 5);
	for (size_t i = 0; i < QCF_ARRAY_LEN(names); i++)
		disable_bitmap(kind, names[i]);
}

/* Holes at the beginning, data at the end, and two snapshots. */
static void use(const struct whole_kind *kind)
{
	bool compresses = kind->encryption == WHOLE_PLAIN && !kind->data_file;

	if (kind->resized)
		resize(kind);
	if (kind->bitmaps)
		add_bitmaps(kind);
	io(kind, "write -q -P 1", 0, 8);
	snapshot(kind, "-c s1");
	if (compresses) {
		io(kind, "write -q -c -P 4", 8, 9);
		io(kind, "write -q -c -P 5", 9, 10);
	}
	if (kind->bitmaps)
		disable_bitmap(kind, "off");
	io(kind, "write -q -P 2", 1, 5);
	io(kind, "write -q -P 8", 12, 14);
	snapshot(kind, "-c s2");
	io(kind, "write -q -P 8", 15, 16);
	io(kind, "write -q -P 3", 9, 12);
	if (kind->recount != NULL)
		recount(kind);
	io(kind, "write -q -z -u", 12, 13);
	io(kind, "write -q -z", 13, 14);
	io(kind, "write -q -z", 14, 16);
	io(kind, "discard -q", 2, kind->emptied ? 8 : 3);
	snapshot(kind, "-c s3");
	snapshot(kind, "-d s1");
}

/* ---------------------------------------------------------------- snapshots */

/* Where the snapshot table has its n-th entry. */
static size_t snapshot_at(const uint8_t *bytes, uint32_t n)
{
	size_t at = (size_t)extras_get(bytes, 64, 8);

	for (; n > 0; n--)
		at = (at + 40 + (size_t)extras_get(bytes, at + 36, 4) +
		      (size_t)extras_get(bytes, at + 12, 2) +
		      (size_t)extras_get(bytes, at + 14, 2) + 7) &
		     ~(size_t)7;
	return at;
}

/* Take the extra data out of the entries, as very old programs wrote them. */
static void age_snapshots(struct byte_image *image)
{
	uint8_t *bytes = malloc(byte_image_size(image));
	size_t start;
	size_t to;
	uint32_t count;

	memcpy(bytes, byte_image_bytes(image), byte_image_size(image));
	start = to = snapshot_at(bytes, 0);
	count = (uint32_t)extras_get(bytes, 60, 4);
	for (uint32_t i = 0; i < count; i++) {
		size_t at = snapshot_at(bytes, i);
		size_t extra = (size_t)extras_get(bytes, at + 36, 4);
		size_t names = (size_t)(extras_get(bytes, at + 12, 2) +
		                        extras_get(bytes, at + 14, 2));
		uint8_t entry[512] = { 0 };

		memcpy(entry, bytes + at, 36);
		memcpy(entry + 40, bytes + at + 40 + extra, names);
		byte_image_poke(image, to, entry, sizeof(entry));
		to = (to + 40 + names + 7) & ~(size_t)7;
	}
	ck_assert_uint_gt(to, start);
	free(bytes);
}

/* Let the header name the L1 table of a snapshot. */
static void show_snapshot(struct byte_image *image, uint32_t n)
{
	const uint8_t *bytes = byte_image_bytes(image);
	size_t at = snapshot_at(bytes, n);
	uint8_t l1[12];

	memcpy(l1, bytes + at + 8, 4);
	memcpy(l1 + 4, bytes + at, 8);
	byte_image_poke(image, 36, l1, sizeof(l1));
}

/* ------------------------------------------------------------------ reading */

static int give_reference(void *opaque,
                          const struct qcowfmt_reference *reference,
                          struct qcowfmt_storage **storage, int32_t *format)
{
	const struct whole_image *w = opaque;

	(void)reference;
	*storage = image_storage_new(w->base, false);
	*format = QCOWFMT_FORMAT_RAW;
	return 0;
}

/* Takes over both storages. */
static int open_on(struct whole_image *w, struct qcowfmt_storage *storage,
                   struct qcowfmt_storage *data, uint32_t flags,
                   struct qcowfmt_image **image, struct qcowfmt_error **errp)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = w->base != NULL
		                            ? QCOWFMT_REFERENCES_CALLBACK
		                            : QCOWFMT_REFERENCES_REFUSE,
		.reference_callback = give_reference,
		.reference_opaque = w,
		.data_storage = data,
		.discard_mode = QCOWFMT_DISCARD_UNMAP,
		.snapshot_name = w->shown,
	};

	if (w->kind->encryption != WHOLE_PLAIN) {
		options.secret = SECRET;
		options.secret_len = strlen(SECRET);
	}

	int ret = qcowfmt_open(storage, &options, image, errp);

	if (ret < 0) {
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(data);
	}
	return ret;
}

static struct qcowfmt_storage *data_storage(struct byte_image *data,
                                            bool writable)
{
	return data == NULL ? NULL : image_storage_new(data, writable);
}

static struct qcowfmt_image *must_open(struct whole_image *w,
                                       struct byte_image *image,
                                       struct byte_image *data, bool writable)
{
	struct qcowfmt_image *opened = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = open_on(w, image_storage_new(image, writable),
	                  data_storage(data, writable),
	                  writable ? QCOWFMT_OPEN_READ_WRITE : 0, &opened,
	                  &error);

	ck_assert_msg(ret == 0, "%s: %s", w->kind->name,
	              qcowfmt_error_message(error));
	return opened;
}

static struct whole_disk read_disk(struct qcowfmt_image *image)
{
	struct whole_disk disk = { .size = qcowfmt_get_size(image) };
	struct qcowfmt_error *error = NULL;

	disk.bytes = malloc(disk.size);
	ck_assert_msg(qcowfmt_pread(image, disk.bytes, disk.size, 0, &error) ==
	                      0,
	              "%s", qcowfmt_error_message(error));
	return disk;
}

static void expect_same(const struct whole_image *w, const char *what,
                        const struct whole_disk *want, struct whole_disk have)
{
	ck_assert_msg(want->size == have.size, "%s, %s: size %" PRIu64,
	              w->kind->name, what, have.size);
	for (uint64_t i = 0; i < want->size; i++) {
		if (want->bytes[i] != have.bytes[i])
			ck_abort_msg("%s, %s: byte %" PRIu64 " is %u, want %u",
			             w->kind->name, what, i, have.bytes[i],
			             want->bytes[i]);
	}
	free(have.bytes);
}

static struct qcowfmt_check_result expect_sound(const struct whole_image *w,
                                                struct qcowfmt_image *image)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_check(image, 0, NULL, NULL, &result, &error) == 0,
	              "%s: %s", w->kind->name, qcowfmt_error_message(error));
	ck_assert_msg(result.corruptions == 0 && result.check_errors == 0,
	              "%s: %" PRIu64 " corruptions, %" PRIu64 " errors",
	              w->kind->name, result.corruptions, result.check_errors);
	return result;
}

static void expect_no_leaks(const struct whole_image *w,
                            struct qcowfmt_image *image)
{
	struct qcowfmt_check_result result = expect_sound(w, image);

	ck_assert_msg(result.leaks == 0, "%s: %" PRIu64 " leaks", w->kind->name,
	              result.leaks);
}

static struct whole_disk read_snapshot(struct whole_image *w,
                                       struct byte_image *image,
                                       struct byte_image *data, uint32_t n)
{
	struct qcowfmt_image *opened;
	struct whole_disk disk;

	byte_image_save(image);
	show_snapshot(image, n);
	opened = must_open(w, image, data, false);
	disk = read_disk(opened);
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
	byte_image_undo(image);
	return disk;
}

/* A version that knows no bitmaps, or whose bitmaps are of an earlier life, has
 * none. */
static void expect_bitmaps(const struct whole_image *w,
                           struct qcowfmt_image *image, bool other_version)
{
	char have[EXTRAS_TEXT];
	const char *want = other_version ? "" : w->bitmaps;

	extras_describe_bitmaps(image, have);
	ck_assert_msg(strcmp(have, want) == 0, "%s: bitmaps %s, want %s",
	              w->kind->name, have, want);
}

static void expect_vm_state(struct whole_image *w, struct byte_image *image,
                            struct byte_image *data)
{
	struct qcowfmt_image *opened;

	w->shown = EXTRAS_SNAPSHOT;
	opened = must_open(w, image, data, false);
	w->shown = NULL;
	extras_expect_vm_state(opened, w->kind->name);
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
}

/* ------------------------------------------------------------------ judging */

static bool is_other_version(const struct whole_image *w,
                             const struct byte_image *image)
{
	return extras_get(byte_image_bytes(image), 4, 4) !=
	       extras_get(w->header, 4, 4);
}

static void ask_qemu(struct whole_image *w, const struct byte_image *image,
                     const struct byte_image *data)
{
	char command[1024];
	int status;
	FILE *file = fopen(scratch_path("image"), "wb");

	ck_assert_ptr_nonnull(file);
	fwrite(byte_image_bytes(image), 1, byte_image_size(image), file);
	fclose(file);
	if (data != NULL) {
		file = fopen(scratch_path("data"), "wb");
		fwrite(byte_image_bytes(data), 1, byte_image_size(data), file);
		fclose(file);
	}
	snprintf(command, sizeof(command), "%s check -q %s", qemu_img,
	         image_words(w->kind));
	status = try_command(command);
	ck_assert_msg(status == 0 || status == 3, "%s: qemu-img check: %d",
	              w->kind->name, status);
	snprintf(command, sizeof(command),
	         "%s convert -O raw %s got && cmp "
	         "got want",
	         qemu_img, image_words(w->kind));
	run_command(command);
	w->judged_by_qemu++;
}

static void judge_bytes(struct whole_image *w, struct byte_image *image,
                        struct byte_image *data)
{
	struct qcowfmt_image *opened;
	uint32_t count;

	if (memcmp(byte_image_bytes(image), w->header, sizeof(w->header)) == 0)
		w->old_states++;
	if (memcmp(byte_image_bytes(image), w->new_header,
	           sizeof(w->new_header)) == 0)
		w->new_states++;
	/* A dirty image is repaired by opening it. */
	if (w->states % QEMU_EVERY == 0 &&
	    (extras_get(byte_image_bytes(image), 4, 4) < 3 ||
	     (extras_get(byte_image_bytes(image), 72, 8) & 1) == 0))
		ask_qemu(w, image, data);
	opened = must_open(w, image, data, true);
	expect_sound(w, opened);
	expect_same(w, "disk", &w->active, read_disk(opened));
	expect_bitmaps(w, opened, is_other_version(w, image));
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
	count = (uint32_t)extras_get(byte_image_bytes(image), 60, 4);
	ck_assert_uint_eq(count, w->snapshot_count);
	for (uint32_t i = 0; i < count; i++)
		expect_same(w, "snapshot", &w->snapshots[i],
		            read_snapshot(w, image, data, i));
	if (w->kind->vm_state)
		expect_vm_state(w, image, data);
	w->states++;
}

/* What was cut short can be done again. */
static void run_again(struct whole_image *w, struct byte_image *image,
                      struct byte_image *data)
{
	struct qcowfmt_image *opened = must_open(w, image, data, true);
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(w->operation(opened, w->kind, &error) == 0, "%s: %s",
	              w->kind->name, qcowfmt_error_message(error));
	expect_sound(w, opened);
	expect_same(w, "disk, next time", &w->active, read_disk(opened));
	expect_bitmaps(w, opened, is_other_version(w, image));
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
}

/* The header is as it was when the operation had returned, or as closing has made
 * it. */
static bool is_promised(const struct whole_image *w,
                        const struct crash_state *state)
{
	const uint8_t *bytes = byte_image_bytes(state->image);

	return memcmp(bytes, w->promised_header, sizeof(w->promised_header)) ==
	               0 ||
	       memcmp(bytes, w->new_header, sizeof(w->new_header)) == 0;
}

/* Only lazy counts leave the dirty bit set. */
static void expect_clean(const struct whole_image *w,
                         struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(qcowfmt_get_info(image, 0, &info, NULL), 0);
	ck_assert_msg((info.flags & QCOWFMT_INFO_DIRTY) == 0 ||
	                      (info.flags & QCOWFMT_INFO_LAZY_REFCOUNTS) != 0,
	              "%s: still dirty", w->kind->name);
}

/* The operation has returned: there is nothing left to do. */
static void expect_settled(struct whole_image *w,
                           const struct crash_state *state)
{
	struct qcowfmt_image *opened;

	ck_assert_msg(is_promised(w, state),
	              "%s: it has returned and is undone", w->kind->name);
	opened = must_open(w, state->image, state->data, false);
	expect_no_leaks(w, opened);
	expect_clean(w, opened);
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct whole_image *w = opaque;

	if (state->position >= w->promised)
		expect_settled(w, state);
	judge_bytes(w, state->image, state->data);
	if (w->states % AGAIN_EVERY == 0)
		run_again(w, state->image, state->data);
	return true;
}

/* ------------------------------------------------------------ making, whole */

static struct byte_image *load(const char *name)
{
	struct byte_image *image = byte_image_new(CAPACITY);
	FILE *file = fopen(scratch_path(name), "rb");
	uint8_t buffer[65536];
	size_t at = 0;
	size_t got;

	ck_assert_ptr_nonnull(file);
	while ((got = fread(buffer, 1, sizeof(buffer), file)) > 0) {
		ck_assert(byte_image_write(image, at, buffer, got));
		at += got;
	}
	fclose(file);
	return image;
}

static void save_disk(const struct whole_disk *disk, const char *name)
{
	FILE *file = fopen(scratch_path(name), "wb");

	ck_assert_uint_eq(fwrite(disk->bytes, 1, disk->size, file), disk->size);
	fclose(file);
}

/* QEMU would write the bitmaps anew. */
static void empty_front(struct whole_image *w)
{
	uint64_t unit = (uint64_t)w->kind->kib * 1024 / 16;
	struct qcowfmt_image *opened = must_open(w, w->image, w->data, true);

	ck_assert_int_eq(qcowfmt_discard(opened, 0, 13 * unit, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
}

static void whole_image_init(struct whole_image *w,
                             const struct whole_kind *kind)
{
	struct qcowfmt_image *opened;

	*w = (struct whole_image){ .kind = kind };
	create(kind);
	if (kind->late_bitmaps)
		use_with_late_bitmaps(kind);
	else
		use(kind);
	w->image = load("image");
	if (kind->data_file)
		w->data = load("data");
	if (kind->backing)
		w->base = load("base");
	if (kind->old_snapshots)
		age_snapshots(w->image);
	if (kind->far_block)
		extras_move_block(w->image);
	if (kind->late_bitmaps)
		empty_front(w);
	if (kind->bitmaps)
		extras_mark_in_use(w->image, "used");
	if (kind->vm_state) {
		opened = must_open(w, w->image, w->data, true);
		extras_add_vm_state(opened);
		ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
	}
	opened = must_open(w, w->image, w->data, false);
	w->active = read_disk(opened);
	extras_describe_bitmaps(opened, w->bitmaps);
	ck_assert_int_eq(qcowfmt_close(opened, NULL), 0);
	save_disk(&w->active, "want");
	ck_assert_int_eq(kind->bitmaps, w->bitmaps[0] != '\0');
	w->snapshot_count =
		(uint32_t)extras_get(byte_image_bytes(w->image), 60, 4);
	for (uint32_t i = 0; i < w->snapshot_count; i++)
		w->snapshots[i] = read_snapshot(w, w->image, w->data, i);
	memcpy(w->header, byte_image_bytes(w->image), sizeof(w->header));
}

static void whole_image_fini(struct whole_image *w)
{
	free(w->active.bytes);
	for (uint32_t i = 0; i < w->snapshot_count; i++)
		free(w->snapshots[i].bytes);
	byte_image_free(w->image);
	if (w->data != NULL)
		byte_image_free(w->data);
	if (w->base != NULL)
		byte_image_free(w->base);
}

/* ------------------------------------------------------------------ crashes */

static struct rec_log *record(struct whole_image *w, whole_operation operation)
{
	struct rec_log *log = rec_log_new(CAPACITY);
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (w->data != NULL) {
		rec_log_add_data(log, CAPACITY);
		byte_image_copy(log->now[REC_DATA], w->data);
	}
	byte_image_copy(log->now[REC_IMAGE], w->image);
	rec_log_restart(log);
	ck_assert_int_eq(
		open_on(w, rec_storage_new(log),
	                w->data == NULL ? NULL : rec_data_storage_new(log),
	                QCOWFMT_OPEN_READ_WRITE, &image, &error),
		0);
	ck_assert_msg(operation(image, w->kind, &error) == 0, "%s: %s",
	              w->kind->name, qcowfmt_error_message(error));
	rec_log_mark(log);
	w->promised = log->count;
	memcpy(w->promised_header, byte_image_bytes(log->now[REC_IMAGE]),
	       sizeof(w->promised_header));
	expect_sound(w, image);
	expect_same(w, "disk, still open", &w->active, read_disk(image));
	ck_assert_msg(qcowfmt_close(image, &error) == 0, "%s: %s",
	              w->kind->name, qcowfmt_error_message(error));
	memcpy(w->new_header, byte_image_bytes(log->now[REC_IMAGE]),
	       sizeof(w->new_header));
	return log;
}

static void whole_image_crash(struct whole_image *w, whole_operation operation)
{
	/* Opening a LUKS image takes time. */
	bool slow = w->kind->encryption == WHOLE_LUKS;
	struct crash_options options = {
		.seed = 1,
		.exhaustive = slow ? 3 : 8,
		.samples = slow ? 6 : 64,
		.torn_stride = slow ? 97 : 11,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };
	struct rec_log *log = record(w, operation);

	w->operation = operation;

	ck_assert(crash_states_visit(log, &options, judge, w, &totals));
	/* QEMU sees the last state. */
	ask_qemu(w, log->now[REC_IMAGE], log->now[REC_DATA]);
	printf("%s: %" PRIu64 " states, %" PRIu64 " before, %" PRIu64
	       " after, %" PRIu64 " seen by QEMU\n",
	       w->kind->name, w->states, w->old_states, w->new_states,
	       w->judged_by_qemu);
	ck_assert_uint_gt(w->old_states, 0);
	ck_assert_uint_gt(w->new_states, 0);
	if (w->kind->late_bitmaps)
		ck_assert_uint_lt(2 * byte_image_size(log->now[REC_IMAGE]),
		                  byte_image_size(w->image));
	rec_log_free(log);
}

/* ------------------------------------------------------------------- faults */

static const struct storage_fault faults[] = {
	{ VERB_WRITE, EIO, FAIL_PARTLY, false },
	{ VERB_WRITE, ENOSPC, FAIL_CLEAN, true },
	{ VERB_FLUSH, EIO, FAIL_CLEAN, false },
	{ VERB_READ, EIO, FAIL_CLEAN, false },
	{ VERB_READ, EIO, FAIL_CLEAN, true },
	{ VERB_TRUNCATE, EIO, FAIL_CLEAN, true },
	{ VERB_ZERO, ENOSPC, FAIL_PARTLY, false },
	{ VERB_SIZE, EIO, FAIL_CLEAN, false },
};

struct failing {
	struct whole_image *w;
	whole_operation operation;
	struct byte_image *image;
	struct byte_image *data;
	uint64_t runs;
	uint64_t failures;
};

/* Only a flush that failed, or a header of which nobody knows whether it was
 * written, makes the image useless. */
static void try_again(struct failing *f, const struct storage_fault *fault,
                      struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;

	if (fault->verb == VERB_FLUSH)
		return;
	ck_assert_msg(f->operation(image, f->w->kind, &error) == 0,
	              "%s: a failed %s cannot be got over: %s",
	              f->w->kind->name, storage_verb_name(fault->verb),
	              qcowfmt_error_message(error));
	expect_same(f->w, "disk after another try", &f->w->active,
	            read_disk(image));
}

/* Returns whether there was a call to fail. */
static bool fail_once(struct failing *f, const struct storage_fault *fault,
                      uint64_t nth)
{
	struct whole_image *w = f->w;
	struct fail_plan plan = fail_plan_for(fault);
	struct qcowfmt_image *image = NULL;
	int ret;

	byte_image_copy(f->image, w->image);
	if (w->data != NULL)
		byte_image_copy(f->data, w->data);
	ck_assert_int_eq(
		open_on(w,
	                fail_storage_new(image_storage_new(f->image, true),
	                                 &plan),
	                data_storage(f->data, true), QCOWFMT_OPEN_READ_WRITE,
	                &image, NULL),
		0);
	plan.calls = 0;
	plan.nth = nth;
	ret = f->operation(image, w->kind, NULL);
	plan.nth = 0;
	/* A read that fails once may have been tried again. */
	ck_assert_msg(plan.failures == 0 || ret < 0 ||
	                      (fault->verb == VERB_READ && !fault->sticky),
	              "%s: %s %" PRIu64 " fails and nobody says so",
	              w->kind->name, storage_verb_name(fault->verb), nth);
	/* The image can be read, whatever happened. */
	expect_same(w, "disk after a failure", &w->active, read_disk(image));
	/* Every other time, so that what the failure left is seen, too. */
	if (plan.failures > 0 && ret < 0 && nth % 2 == 0)
		try_again(f, fault, image);
	(void)qcowfmt_close(image, NULL);
	judge_bytes(w, f->image, f->data);
	f->runs++;
	f->failures += ret < 0;
	return plan.failures > 0;
}

static void whole_image_fail(struct whole_image *w, whole_operation operation)
{
	/* Only some calls where each run takes long; odd and even ones. */
	uint64_t stride = (w->kind->encryption == WHOLE_LUKS ? 11 : 1) *
	                  (thin_factor() | 1);
	struct failing f = {
		.w = w,
		.operation = operation,
		.image = byte_image_new(CAPACITY),
		.data = w->data == NULL ? NULL : byte_image_new(CAPACITY),
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(faults); i++) {
		uint64_t nth = 1;

		while (fail_once(&f, &faults[i], nth))
			nth += stride + nth / 16;
	}
	printf("%s: %" PRIu64 " runs with a fault, %" PRIu64 " failed\n",
	       w->kind->name, f.runs, f.failures);
	ck_assert_uint_gt(f.failures, 0);
	byte_image_free(f.image);
	if (f.data != NULL)
		byte_image_free(f.data);
}

/* ------------------------------------------------------------------ the tests */

static struct {
	const struct whole_kind *kinds;
	size_t count;
	whole_operation operation;
	size_t part; /* only this one of so many parts of the kinds */
	size_t parts;
} suite;

static bool is_wanted(const struct whole_kind *kind)
{
	const char *word = getenv("QCF_KIND");
	size_t number = (size_t)(kind - suite.kinds);

	return number % suite.parts == suite.part &&
	       (word == NULL || strstr(kind->name, word) != NULL);
}

static void run_kind(const struct whole_kind *kind,
                     void (*run)(struct whole_image *w,
                                 whole_operation operation))
{
	struct whole_image w;

	if (!is_wanted(kind))
		return;
	whole_image_init(&w, kind);
	run(&w, suite.operation);
	whole_image_fini(&w);
}

START_TEST(survives_crashes)
{
	run_kind(&suite.kinds[_i], whole_image_crash);
}

END_TEST

START_TEST(survives_faults)
{
	run_kind(&suite.kinds[_i], whole_image_fail);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, survives_crashes, 0, (int)suite.count);
	tcase_add_loop_test(tcase, survives_faults, 0, (int)suite.count);
}

/* "2/6": the second of six parts; false if the words make no sense. */
static bool choose_part(const char *words)
{
	suite.parts = 1;
	if (words == NULL)
		return true;
	return sscanf(words, "%zu/%zu", &suite.part, &suite.parts) == 2 &&
	       suite.part-- >= 1 && suite.part < suite.parts;
}

int whole_image_main(int argc, char **argv, const char *name,
                     const struct whole_kind *kinds, size_t count,
                     whole_operation operation)
{
	int status;

	if (argc < 3) {
		printf("skipped: qemu-img and qemu-io are needed\n");
		return UNIT_SKIPPED;
	}
	if (!choose_part(argc > 3 ? argv[3] : NULL)) {
		fprintf(stderr, "'%s' is no part of the kinds\n", argv[3]);
		return EXIT_FAILURE;
	}
	qemu_img = argv[1];
	qemu_io = argv[2];
	suite.kinds = kinds;
	suite.count = count;
	suite.operation = operation;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	scratch_init();
	status = unit_run(name, add);
	scratch_fini();
	return status;
}
