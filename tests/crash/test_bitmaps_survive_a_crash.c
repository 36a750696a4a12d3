/* SPDX-License-Identifier: MIT */
/*
 * Promise: after a power cut dirty bitmaps are exact or say that they are not.
 *
 *   while the disk is written to    each bitmap is marked "in use", or it is what
 *                                   it was and nothing was written yet, or it is
 *                                   complete
 *   while bitmaps are changed, or   all of them are as they were, or as they are
 *   the disk is resized             to be, together with the size
 *
 * The check finds no corruption, and the image can be written to.
 *
 * The same holds when storage fails at any one moment, for lack of space or for
 * good; then a bitmap may also say too much, but never too little.
 */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "byte_image.h"
#include "crash_qemu.h"
#include "crash_states.h"
#include "fail_storage.h"
#include "image_storage.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "scratch.h"
#include "thin.h"
#include "unit.h"

#define CAPACITY ((size_t)8 << 20)
#define SIZE     ((uint64_t)512 << 10)
#define SECTOR   512u

/* The most that a description of all bitmaps takes. */
#define TEXT_LEN 8192u

/* One state in so many is shown to QEMU. */
#define QEMU_EVERY 400u

static const char *qemu_img;

/* Whether storage may fail. */
static bool tolerant;

static const struct layout {
	const char *name;
	uint64_t cluster_size;
	uint32_t refcount_bits;
	uint32_t flags;
	uint32_t more_bitmaps; /* so that the directory is long */
} layouts[] = {
	{ "v3_512", 512, 16, 0, 0 },
	{ "v3_512_directory_of_many_sectors", 512, 16, 0, 20 },
	{ "v3_4096_1bit", 4096, 1, 0, 0 },
	{ "v3_4096_lazy", 4096, 16, QCOWFMT_CREATE_LAZY_REFCOUNTS, 0 },
	{ "v3_16k_subclusters", 16384, 16, QCOWFMT_CREATE_EXTENDED_L2, 0 },
};

/* ------------------------------------------------------------------ workloads */

static void change(struct qcowfmt_image *image, int kind, const char *name,
                   const char *source, uint64_t granularity)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = name,
		.kind = kind,
		.granularity = granularity,
		.source_name = source,
	};
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_bitmap_change(&action, 1, NULL, &error) == 0 ||
	                      tolerant,
	              "%s", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
}

static void put(struct qcowfmt_image *image, uint64_t offset, size_t len,
                uint8_t value)
{
	static uint8_t bytes[1 << 17];

	memset(bytes, value, len);
	ck_assert(qcowfmt_pwrite(image, bytes, len, offset, NULL) == 0 ||
	          tolerant);
}

static void write_once(struct qcowfmt_image *image)
{
	put(image, 100 * SECTOR, 3 * SECTOR, 7);
}

static void write_much(struct qcowfmt_image *image)
{
	put(image, 0, 20 * SECTOR, 8);
	ck_assert(qcowfmt_flush(image, NULL) == 0 || tolerant);
	put(image, 500 * SECTOR, 40 * SECTOR, 9);
	ck_assert(qcowfmt_write_zeroes(image, 64 * SECTOR, 96 * SECTOR, 0,
	                               NULL) == 0 ||
	          tolerant);
	ck_assert(qcowfmt_discard(image, 800 * SECTOR, 64 * SECTOR, NULL) ==
	                  0 ||
	          tolerant);
}

/* What is dirty already needs no new bits. */
static void write_the_same(struct qcowfmt_image *image)
{
	put(image, 200 * SECTOR, SECTOR, 6);
}

static void add_one(struct qcowfmt_image *image)
{
	change(image, QCOWFMT_BITMAP_ADD, "new", NULL, 4096);
}

static void remove_one(struct qcowfmt_image *image)
{
	change(image, QCOWFMT_BITMAP_REMOVE, "b0", NULL, 0);
}

static void clear_one(struct qcowfmt_image *image)
{
	change(image, QCOWFMT_BITMAP_CLEAR, "b0", NULL, 0);
}

static void disable_one(struct qcowfmt_image *image)
{
	change(image, QCOWFMT_BITMAP_DISABLE, "b0", NULL, 0);
}

static void enable_one(struct qcowfmt_image *image)
{
	change(image, QCOWFMT_BITMAP_ENABLE, "b1", NULL, 0);
}

static void merge_one(struct qcowfmt_image *image)
{
	change(image, QCOWFMT_BITMAP_MERGE, "b1", "b0", 0);
}

static void several_at_once(struct qcowfmt_image *image)
{
	struct qcowfmt_bitmap_action actions[] = {
		{ .kind = QCOWFMT_BITMAP_ADD, .name = "new" },
		{ .kind = QCOWFMT_BITMAP_MERGE,
		  .name = "new",
		  .source_name = "b0" },
		{ .kind = QCOWFMT_BITMAP_CLEAR, .name = "b0" },
		{ .kind = QCOWFMT_BITMAP_ENABLE, .name = "b1" },
		{ .kind = QCOWFMT_BITMAP_REMOVE, .name = "b2" },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(actions); i++) {
		actions[i].struct_size = sizeof(actions[i]);
		actions[i].image = image;
	}
	ck_assert(qcowfmt_bitmap_change(actions, QCF_ARRAY_LEN(actions), NULL,
	                                NULL) == 0 ||
	          tolerant);
}

static void resize_to(struct qcowfmt_image *image, uint64_t size)
{
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};

	ck_assert(qcowfmt_resize(image, size, &options, NULL) == 0 || tolerant);
}

static void grow(struct qcowfmt_image *image)
{
	resize_to(image, 8 * SIZE);
}

static void shrink(struct qcowfmt_image *image)
{
	resize_to(image, 201 * SECTOR);
}

/* Bitmaps change while others record. */
static void write_and_change(struct qcowfmt_image *image)
{
	put(image, 10 * SECTOR, 10 * SECTOR, 8);
	add_one(image);
	put(image, 900 * SECTOR, 10 * SECTOR, 8);
}

static const struct workload {
	const char *name;
	void (*run)(struct qcowfmt_image *image);
	bool writes; /* to the disk */
	bool both;   /* and changes bitmaps */
} workloads[] = {
	{ "a write", write_once, true, false },
	{ "many writes", write_much, true, false },
	{ "a write to what is dirty", write_the_same, true, false },
	{ "add", add_one, false, false },
	{ "remove", remove_one, false, false },
	{ "clear", clear_one, false, false },
	{ "disable", disable_one, false, false },
	{ "enable", enable_one, false, false },
	{ "merge", merge_one, false, false },
	{ "several at once", several_at_once, false, false },
	{ "grow", grow, false, false },
	{ "shrink", shrink, false, false },
	{ "write, add, write", write_and_change, true, true },
};

/* ------------------------------------------------------------------- describing */

static struct qcowfmt_image *open_on(struct qcowfmt_storage *storage,
                                     uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s", qcowfmt_error_message(error));
	return image;
}

static char *describe_extents(struct qcowfmt_image *image, const char *name,
                              char *text)
{
	uint64_t at = 0;
	uint64_t start = 0;
	uint64_t len = 0;
	int ret;

	while ((ret = qcowfmt_bitmap_next(image, name, at, &start, &len,
	                                  NULL)) > 0) {
		text += sprintf(text, " %" PRIu64 "+%" PRIu64, start / SECTOR,
		                len / SECTOR);
		at = start + len;
	}
	ck_assert_int_eq(ret, 0);
	return text;
}

static char *describe_one(struct qcowfmt_image *image,
                          const struct qcowfmt_bitmap *bitmap, char *text)
{
	bool in_use = (bitmap->flags & QCOWFMT_BITMAP_IN_USE) != 0;
	bool lost = (bitmap->flags & QCOWFMT_BITMAP_INCONSISTENT) != 0;

	/* Of an image opened for reading they are the same. */
	ck_assert(in_use == lost);
	text += sprintf(
		text, "%s %" PRIu64 " %s", bitmap->name, bitmap->granularity,
		(bitmap->flags & QCOWFMT_BITMAP_ENABLED) != 0 ? "on" : "off");
	if (lost)
		return text + sprintf(text, " lost\n");
	text = describe_extents(image, bitmap->name, text);
	return text + sprintf(text, "\n");
}

/* A line for each bitmap, and one for the size. */
static void describe(struct qcowfmt_image *image, char *text)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;

	text += sprintf(text, "size %" PRIu64 "\n", qcowfmt_get_size(image));
	ck_assert_int_eq(qcowfmt_bitmap_list(image, 0, &list, NULL), 0);
	for (uint32_t i = 0;
	     qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) == 0; i++)
		text = describe_one(image, &bitmap, text);
	qcowfmt_bitmap_list_free(list);
}

static void describe_bytes(struct byte_image *bytes, char *text)
{
	struct qcowfmt_image *image =
		open_on(image_storage_new(bytes, false), 0);

	describe(image, text);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* ---------------------------------------------------------------------- judging */

struct scene {
	const struct layout *layout;
	const struct workload *workload;
	char before[TEXT_LEN];
	char after[TEXT_LEN];
	char now[TEXT_LEN];
	uint8_t old_disk[SIZE];
	uint8_t disk[SIZE];
	uint64_t states;
	uint64_t as_before;
	uint64_t as_after;
	uint64_t lost;
};

static void complain(const struct scene *s, const char *what)
{
	ck_abort_msg("%s, %s: %s\n--- now\n%s--- before\n%s--- after\n%s",
	             s->layout->name, s->workload->name, what, s->now,
	             s->before, s->after);
}

/* The line of a bitmap in a description, with its length; NULL if none. */
static const char *line_of(const char *text, const char *line, size_t *len)
{
	size_t name_len = strcspn(line, " ") + 1;

	for (; *text != '\0'; text += strcspn(text, "\n") + 1) {
		*len = strcspn(text, "\n");
		if (strncmp(text, line, name_len) == 0)
			return text;
	}
	return NULL;
}

static bool line_is_in(const char *line, size_t len, const char *text)
{
	size_t other_len = 0;
	const char *other = line_of(text, line, &other_len);

	return other != NULL && other_len == len &&
	       memcmp(other, line, len) == 0;
}

/* While the disk is written to, each bitmap stands for itself. */
static void judge_line(struct scene *s, const char *line, size_t len,
                       bool disk_changed)
{
	bool is_lost = len > 5 && memcmp(line + len - 5, " lost", 5) == 0;

	if (is_lost) {
		s->lost++;
		return;
	}
	if (line_is_in(line, len, s->after)) {
		s->as_after++;
		return;
	}
	/* In between something else was stored. */
	if (s->workload->both)
		return;
	if (!line_is_in(line, len, s->before))
		complain(s, "a bitmap is neither old, new nor marked");
	if (disk_changed)
		complain(s, "a bitmap is old, but the disk was written to");
	s->as_before++;
}

static void judge_writes(struct scene *s, bool disk_changed)
{
	for (const char *line = s->now; *line != '\0';
	     line += strcspn(line, "\n") + 1)
		judge_line(s, line, strcspn(line, "\n"), disk_changed);
}

static void judge_change(struct scene *s)
{
	if (strcmp(s->now, s->before) == 0)
		s->as_before++;
	else if (strcmp(s->now, s->after) == 0)
		s->as_after++;
	else
		complain(s, "the bitmaps are neither old nor new");
}

static void read_disk(struct qcowfmt_image *image, uint8_t *disk)
{
	ck_assert_int_eq(qcowfmt_pread(image, disk,
	                               QCF_MIN(SIZE, qcowfmt_get_size(image)),
	                               0, NULL),
	                 0);
}

static void expect_sound(struct scene *s, struct qcowfmt_image *image)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	ck_assert_int_eq(qcowfmt_check(image, 0, NULL, NULL, &result, NULL), 0);
	if (result.corruptions > 0 || result.check_errors > 0)
		complain(s, "the check finds corruptions");
}

/* Somebody goes on with the image, and closes it. */
static void go_on(struct scene *s, struct byte_image *bytes)
{
	struct qcowfmt_image *image = open_on(image_storage_new(bytes, true),
	                                      QCOWFMT_OPEN_READ_WRITE);

	put(image, 60 * SECTOR, SECTOR, 55);
	expect_sound(s, image);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	describe_bytes(bytes, s->now);
}

static void ask_qemu(const struct scene *s, const struct byte_image *bytes)
{
	const char *path = scratch_path("state.qcow2");
	char command[1024];
	int status;

	if (qemu_img == NULL)
		return;
	ck_assert(write_image_file(bytes, path));
	snprintf(command, sizeof(command),
	         "%s check -f qcow2 %s >/dev/null 2>&1", qemu_img, path);
	status = system(command);
	/* Leaks are allowed: 3. */
	ck_assert_msg(status == 0 || status == 3 << 8, "%s, %s: qemu-img: %d",
	              s->layout->name, s->workload->name, status);
}

static bool judge(void *opaque, const struct crash_state *state)
{
	struct scene *s = opaque;
	struct qcowfmt_image *image =
		open_on(image_storage_new(state->image, false), 0);
	bool changed;

	describe(image, s->now);
	read_disk(image, s->disk);
	changed = memcmp(s->disk, s->old_disk, sizeof(s->disk)) != 0;
	if ((s->layout->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) == 0)
		expect_sound(s, image);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	if (s->workload->writes)
		judge_writes(s, changed);
	else
		judge_change(s);
	if (s->states++ % QEMU_EVERY == 0)
		ask_qemu(s, state->image);
	go_on(s, state->image);
	return true;
}

/* ----------------------------------------------------------------------- set-up */

static void make_image(const struct layout *l, struct rec_log *log)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.version = 3,
		.flags = l->flags,
		.refcount_bits = l->refcount_bits,
		.cluster_size = l->cluster_size,
		.virtual_size = SIZE,
	};
	struct qcowfmt_storage *storage = rec_storage_new(log);
	struct qcowfmt_image *image;

	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
	image = open_on(storage, QCOWFMT_OPEN_READ_WRITE);
	change(image, QCOWFMT_BITMAP_ADD, "b0", NULL, 512);
	put(image, 200 * SECTOR, 2 * SECTOR, 5);
	change(image, QCOWFMT_BITMAP_ADD, "b1", NULL, 1 << 16);
	put(image, 700 * SECTOR, SECTOR, 5);
	change(image, QCOWFMT_BITMAP_DISABLE, "b1", NULL, 0);
	change(image, QCOWFMT_BITMAP_ADD, "b2", NULL, 4096);
	for (uint32_t i = 0; i < l->more_bitmaps; i++) {
		char name[64];

		snprintf(name, sizeof(name),
		         "a_bitmap_with_quite_a_long_name_%" PRIu32, i);
		change(image, QCOWFMT_BITMAP_ADD, name, NULL, 4096);
	}
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void run_workload(struct scene *s, struct rec_log *log)
{
	struct qcowfmt_image *image;
	struct qcowfmt_error *error = NULL;

	describe_bytes(log->now[REC_IMAGE], s->before);
	image = open_on(image_storage_new(log->now[REC_IMAGE], false), 0);
	read_disk(image, s->old_disk);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	rec_log_restart(log);
	image = open_on(rec_storage_new(log), QCOWFMT_OPEN_READ_WRITE);
	s->workload->run(image);
	ck_assert_msg(qcowfmt_close(image, &error) == 0, "%s",
	              qcowfmt_error_message(error));
	describe_bytes(log->now[REC_IMAGE], s->after);
	ck_assert_ptr_null(strstr(s->after, "lost"));
}

START_TEST(every_state)
{
	static struct scene s;
	struct crash_options options = {
		.seed = 1,
		.exhaustive = 8,
		.samples = 60,
		.torn_stride = 5,
		.thin = thin_factor(),
	};
	struct crash_totals totals = { 0 };
	struct rec_log *log = rec_log_new(CAPACITY);
	int count = (int)QCF_ARRAY_LEN(workloads);

	s = (struct scene){
		.layout = &layouts[_i / count],
		.workload = &workloads[_i % count],
	};
	make_image(s.layout, log);
	run_workload(&s, log);
	ck_assert(crash_states_visit(log, &options, judge, &s, &totals));
	printf("%s, %s: %" PRIu64 " states; old %" PRIu64 ", new %" PRIu64
	       ", marked %" PRIu64 "\n",
	       s.layout->name, s.workload->name, totals.states, s.as_before,
	       s.as_after, s.lost);
	ck_assert_uint_gt(s.as_before + s.workload->both, 0);
	ck_assert_uint_gt(s.as_after, 0);
	ck_assert(s.workload->writes == (s.lost > 0));
	rec_log_free(log);
}

END_TEST

/* --------------------------------------------------------------------- failures */

/* A sector that changed is dirty in a bitmap that says it knows. */
static void expect_recorded(struct scene *s, struct qcowfmt_image *image,
                            const char *name)
{
	for (uint64_t at = 0; at < SIZE; at += SECTOR) {
		uint64_t start = 0;
		uint64_t len = 0;
		int ret;

		if (memcmp(s->disk + at, s->old_disk + at, SECTOR) == 0)
			continue;
		ret = qcowfmt_bitmap_next(image, name, at, &start, &len, NULL);
		if (ret == -EINVAL)
			return;
		if (ret != 1 || start != at)
			complain(s, "a change is not recorded");
	}
}

static void judge_failure(struct scene *s, struct byte_image *bytes)
{
	struct qcowfmt_image *image =
		open_on(image_storage_new(bytes, false), 0);

	describe(image, s->now);
	read_disk(image, s->disk);
	if (s->workload->writes)
		expect_recorded(s, image, "b0");
	expect_sound(s, image);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	if (!s->workload->writes)
		judge_change(s);
	s->states++;
	go_on(s, bytes);
}

/* Let the n-th change or flush fail; false if there are not so many. */
static bool fail_once(struct scene *s, const struct byte_image *initial,
                      uint64_t nth, bool sticky)
{
	struct fail_plan plan = {
		.verbs = VERB_CHANGES | VERB_BIT(VERB_FLUSH),
		.nth = nth,
		.error = sticky ? ENOSPC : EIO,
		.sticky = sticky,
	};
	struct byte_image *bytes = byte_image_new(CAPACITY);
	struct qcowfmt_storage *storage;
	struct qcowfmt_image *image;

	byte_image_copy(bytes, initial);
	storage = fail_storage_new(image_storage_new(bytes, true), &plan);
	image = open_on(storage, QCOWFMT_OPEN_READ_WRITE);
	tolerant = true;
	s->workload->run(image);
	(void)qcowfmt_close(image, NULL);
	tolerant = false;
	if (plan.failures > 0)
		judge_failure(s, bytes);
	byte_image_free(bytes);
	return plan.failures > 0;
}

START_TEST(every_failure)
{
	static struct scene s;
	struct rec_log *log = rec_log_new(CAPACITY);
	int count = (int)QCF_ARRAY_LEN(workloads);

	s = (struct scene){
		.layout = &layouts[_i / count],
		.workload = &workloads[_i % count],
	};
	/* What a failed close leaves to be repaired is not looked at here. */
	if ((s.layout->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) == 0) {
		make_image(s.layout, log);
		run_workload(&s, log);
		for (uint64_t nth = 1;
		     fail_once(&s, log->initial[REC_IMAGE], nth, false) &&
		     fail_once(&s, log->initial[REC_IMAGE], nth, true);
		     nth += thin_factor())
			;
		printf("%s, %s: %" PRIu64 " failures\n", s.layout->name,
		       s.workload->name, s.states);
		ck_assert_uint_gt(s.states, 0);
	}
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(
		tcase, every_failure, 0,
		(int)(QCF_ARRAY_LEN(layouts) * QCF_ARRAY_LEN(workloads)));
	tcase_add_loop_test(
		tcase, every_state, 0,
		(int)(QCF_ARRAY_LEN(layouts) * QCF_ARRAY_LEN(workloads)));
}

int main(void)
{
	int status;

	qemu_img = getenv("QCF_QEMU_IMG");
	if (qemu_img == NULL)
		puts("no qemu-img: it is not asked");
	scratch_init();
	status = unit_run("bitmaps_survive_a_crash", add);
	scratch_fini();
	return status;
}
