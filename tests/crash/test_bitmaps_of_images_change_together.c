/* SPDX-License-Identifier: MIT */
/*
 * Promise: when the bitmaps of several images are changed together and the power
 * goes, recovery leaves all of them changed or none, and frees what is not used;
 * without a power cut no journal stays, and a journal that does not fit is left
 * alone.
 *
 * Each change of a file, and each flush, is a moment at which the power can go.
 * At each the files are put back as they were then: with all that was written, or
 * with what was stable only, each image and the journal by itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "auto.h"
#include "crash_qemu.h"
#include "qcowfmt.h"
#include "rec_storage.h"
#include "scratch.h"
#include "unit.h"
#include "wrap_storage.h"

#define CAPACITY ((size_t)4 << 20)
#define SIZE     ((uint64_t)1 << 20)
#define IMAGES   3u
#define MOMENTS  200u

/* One file at one moment; the journal, too. */
struct bytes {
	uint8_t *data; /* NULL: there is no file */
	size_t len;
};

struct moment {
	struct bytes written[IMAGES];
	struct bytes stable[IMAGES];
	struct bytes journal;
	struct bytes stable_journal;
};

static struct moment moments[MOMENTS];
static size_t moment_count;
static struct bytes stable[IMAGES];
static bool recording;

/* What a power cut leaves of the journal: its name is stable with the directory,
 * its bytes are with the file. */
static struct bytes synced_journal;
static bool journal_is_named;

static const char *image_path(size_t i)
{
	static const char *const names[] = { "a.qcow2", "b.qcow2", "c.qcow2" };

	return scratch_path(names[i]);
}

/* Valid for as long as the test runs: it is in use while others are asked for. */
static const char *journal_path(void)
{
	static char path[512];

	if (path[0] == '\0')
		snprintf(path, sizeof(path), "%s", scratch_path("journal"));
	return path;
}

static struct bytes read_file(const char *path)
{
	struct bytes b = { 0 };
	FILE *file = fopen(path, "rb");
	long len;

	if (file == NULL)
		return b;
	ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
	len = ftell(file);
	rewind(file);
	b.len = (size_t)len;
	b.data = malloc(b.len + 1);
	ck_assert_uint_eq(fread(b.data, 1, b.len, file), b.len);
	fclose(file);
	return b;
}

static void write_file(const char *path, const struct bytes *b)
{
	FILE *file;

	if (b->data == NULL) {
		(void)unlink(path);
		return;
	}
	file = fopen(path, "wb");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(b->data, 1, b->len, file), b->len);
	ck_assert_int_eq(fclose(file), 0);
}

static struct bytes copy(const struct bytes *b)
{
	struct bytes c = { .len = b->len };

	if (b->data != NULL) {
		c.data = malloc(b->len + 1);
		memcpy(c.data, b->data, b->len);
	}
	return c;
}

/* -------------------------------------------------------------------- recording */

static void note_sync(int fd)
{
	struct stat synced;
	struct stat journal;
	bool exists = stat(journal_path(), &journal) == 0;

	if (fstat(fd, &synced) < 0)
		return;
	if (S_ISDIR(synced.st_mode))
		journal_is_named = exists;
	if (!exists || synced.st_ino != journal.st_ino ||
	    synced.st_dev != journal.st_dev)
		return;
	free(synced_journal.data);
	synced_journal = read_file(journal_path());
}

/* The library calls this one. */
int fsync(int fd)
{
	int saved = errno;

	note_sync(fd);
	errno = saved;
	return (int)syscall(SYS_fsync, fd);
}

static struct bytes stable_journal(void)
{
	const struct bytes nothing = { 0 };
	const struct bytes no_bytes = { (uint8_t *)(uintptr_t) "", 0 };

	if (!journal_is_named)
		return nothing;
	return copy(synced_journal.data == NULL ? &no_bytes : &synced_journal);
}

static void note_moment(void)
{
	struct moment *m = &moments[moment_count];

	ck_assert_uint_lt(moment_count, MOMENTS);
	for (size_t i = 0; i < IMAGES; i++) {
		m->written[i] = read_file(image_path(i));
		m->stable[i] = copy(&stable[i]);
	}
	m->journal = read_file(journal_path());
	m->stable_journal = stable_journal();
	moment_count++;
}

/* Sees each call before it is made; opaque tells which image. */
static int watch(void *opaque, struct storage_call *call)
{
	size_t i = (size_t)(uintptr_t)opaque;

	if (!recording ||
	    (VERB_BIT(call->verb) & (VERB_CHANGES | VERB_BIT(VERB_FLUSH))) == 0)
		return 0;
	note_moment();
	if (call->verb == VERB_FLUSH) {
		free(stable[i].data);
		stable[i] = read_file(image_path(i));
	}
	return 0;
}

static struct qcowfmt_image *open_watched(size_t i)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;

	ck_assert_int_eq(
		qcowfmt_storage_open_file(image_path(i), NULL, &storage, NULL),
		0);
	storage = wrap_storage_new(storage, watch, (void *)(uintptr_t)i);
	ck_assert_int_eq(qcowfmt_open(storage, &options, &image, NULL), 0);
	return image;
}

static struct qcowfmt_image *open_plain(size_t i, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(
		qcowfmt_open_file(image_path(i), &options, &image, &error) == 0,
		"%s", qcowfmt_error_message(error));
	return image;
}

/* ------------------------------------------------------------------ the images */

static struct qcowfmt_bitmap_action action(struct qcowfmt_image *image,
                                           int kind, const char *name)
{
	return (struct qcowfmt_bitmap_action){
		.struct_size = sizeof(struct qcowfmt_bitmap_action),
		.image = image,
		.kind = kind,
		.name = name,
	};
}

static void make_image(size_t i)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.cluster_size = i == 1 ? 512 : 4096,
		.virtual_size = SIZE,
	};
	struct qcowfmt_image *image;
	struct qcowfmt_bitmap_action a;

	ck_assert_int_eq(qcowfmt_create_file(image_path(i), &options, NULL), 0);
	image = open_plain(i, QCOWFMT_OPEN_READ_WRITE);
	a = action(image, QCOWFMT_BITMAP_ADD, "old");
	/* The last image gets its first bitmap by the change. */
	if (i + 1 < IMAGES)
		ck_assert_int_eq(qcowfmt_bitmap_change(&a, 1, NULL, NULL), 0);
	ck_assert_int_eq(qcowfmt_pwrite(image, "x", 1, 8192 * i, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static int change_all(struct qcowfmt_image **images, const char *journal,
                      struct qcowfmt_error **errp)
{
	struct qcowfmt_bitmap_action actions[] = {
		action(images[0], QCOWFMT_BITMAP_ADD, "new"),
		action(images[0], QCOWFMT_BITMAP_MERGE, "new"),
		action(images[1], QCOWFMT_BITMAP_REMOVE, "old"),
		action(images[2], QCOWFMT_BITMAP_ADD, "new"),
		action(images[2], QCOWFMT_BITMAP_MERGE, "new"),
		action(images[0], QCOWFMT_BITMAP_CLEAR, "old"),
	};

	actions[1].source_name = "old";
	actions[4].source_name = "new";
	actions[4].source = images[0];
	return qcowfmt_bitmap_change(actions, QCF_ARRAY_LEN(actions), journal,
	                             errp);
}

/* 0: as before, 1: as after; anything else is wrong. */
static int side_of(size_t i)
{
	struct qcowfmt_image *image = open_plain(i, 0);
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;
	char text[200] = "";
	static const char *const sides[IMAGES][2] = {
		{ "old 0+1;", "old -;new 0+1;" },
		{ "old 2+1;", "" },
		{ "", "new 0+1;" },
	};

	ck_assert_int_eq(qcowfmt_bitmap_list(image, 0, &list, NULL), 0);
	for (uint32_t n = 0;
	     qcowfmt_bitmap_list_get(list, n, &bitmap, NULL) == 0; n++) {
		uint64_t start = 0;
		uint64_t len = 0;
		size_t used = strlen(text);

		ck_assert_uint_eq(bitmap.flags, QCOWFMT_BITMAP_ENABLED);
		if (qcowfmt_bitmap_next(image, bitmap.name, 0, &start, &len,
		                        NULL) > 0)
			snprintf(text + used, sizeof(text) - used,
			         "%s %" PRIu64 "+%" PRIu64 ";", bitmap.name,
			         start / 4096, len / 4096);
		else
			snprintf(text + used, sizeof(text) - used, "%s -;",
			         bitmap.name);
	}
	qcowfmt_bitmap_list_free(list);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	if (strcmp(text, sides[i][0]) == 0)
		return 0;
	ck_assert_msg(strcmp(text, sides[i][1]) == 0, "image %zu has '%s'", i,
	              text);
	return 1;
}

static void expect_no_corruption(size_t i, bool leaks_allowed)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image = open_plain(i, 0);

	ck_assert_int_eq(qcowfmt_check(image, 0, NULL, NULL, &result, NULL), 0);
	ck_assert_uint_eq(result.corruptions, 0);
	ck_assert(leaks_allowed || result.leaks == 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* --------------------------------------------------------------------- judging */

/* Recover, and say on which side all images are.  A part of a journal frees
 * nothing. */
static int recover_and_look(const struct moment *m, bool is_whole)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_bitmap_recover(journal_path(), &error);
	int side;

	ck_assert_msg(ret == (m->journal.data == NULL ? -ENOENT : 0), "%d: %s",
	              ret, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	ck_assert_int_ne(access(journal_path(), F_OK), 0);
	ck_assert_msg(!journal_is_named, "the journal may come back");
	side = side_of(0);
	for (size_t i = 0; i < IMAGES; i++) {
		ck_assert_int_eq(side_of(i), side);
		/* Recovery frees what the old bitmaps had. */
		expect_no_corruption(i, m->journal.data == NULL || !is_whole);
	}
	ck_assert_int_eq(qcowfmt_bitmap_recover(journal_path(), NULL), -ENOENT);
	return side;
}

static void put_back(const struct moment *m, uint32_t lost)
{
	for (size_t i = 0; i < IMAGES; i++)
		write_file(image_path(i), (lost >> i & 1) != 0
		                                  ? &m->stable[i]
		                                  : &m->written[i]);
	write_file(journal_path(), &m->journal);
	journal_is_named = m->journal.data != NULL;
}

/* The same with what is stable of the journal. */
static struct moment without_journal(const struct moment *m)
{
	struct moment lost = *m;

	lost.journal = m->stable_journal;
	return lost;
}

static bool is_equal(const struct bytes *a, const struct bytes *b)
{
	return (a->data == NULL) == (b->data == NULL) && a->len == b->len &&
	       (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void record_change(void)
{
	struct qcowfmt_image *images[IMAGES];

	for (size_t i = 0; i < IMAGES; i++) {
		make_image(i);
		stable[i] = read_file(image_path(i));
	}
	for (size_t i = 0; i < IMAGES; i++)
		images[i] = open_watched(i);
	recording = true;
	ck_assert_int_eq(change_all(images, journal_path(), NULL), 0);
	note_moment();
	recording = false;
	ck_assert_int_ne(access(journal_path(), F_OK), 0);
	ck_assert_msg(!journal_is_named, "the journal may come back");
	ck_assert_ptr_nonnull(synced_journal.data);
	for (size_t i = 0; i < IMAGES; i++)
		ck_assert_int_eq(qcowfmt_close(images[i], NULL), 0);
}

START_TEST(all_or_none)
{
	uint64_t sides[2] = { 0 };
	uint64_t rolled = 0;
	uint64_t lost_journals = 0;

	record_change();
	for (size_t i = 0; i < moment_count; i++) {
		const struct moment *m = &moments[i];
		const struct moment other = without_journal(m);
		bool differs = !is_equal(&m->journal, &other.journal);

		for (uint32_t lost = 0; lost < 1u << IMAGES; lost++) {
			put_back(m, lost);
			sides[recover_and_look(m, true)]++;
			rolled += m->journal.data != NULL;
			if (!differs)
				continue;
			put_back(&other, lost);
			sides[recover_and_look(&other, false)]++;
			lost_journals++;
		}
	}
	printf("%zu moments, %" PRIu64 " states before, %" PRIu64
	       " after, %" PRIu64 " with a journal, %" PRIu64
	       " without what was not stable of it\n",
	       moment_count, sides[0], sides[1], rolled, lost_journals);
	ck_assert_uint_gt(sides[0], 0);
	ck_assert_uint_gt(sides[1], 0);
	ck_assert_uint_gt(rolled, 0);
}

END_TEST

/* The moment before the first switch, with a whole journal. */
static const struct moment *with_journal(void)
{
	record_change();
	for (size_t i = 0; i < moment_count; i++) {
		if (moments[i].journal.data != NULL)
			return &moments[i];
	}
	ck_abort_msg("no journal was seen");
	return NULL;
}

START_TEST(a_cut_journal_means_nothing)
{
	const struct moment *m = with_journal();

	for (size_t len = 0; len < m->journal.len; len++) {
		struct moment cut = *m;

		cut.journal.len = len;
		put_back(&cut, 0);
		ck_assert_int_eq(qcowfmt_bitmap_recover(journal_path(), NULL),
		                 0);
		ck_assert_int_ne(access(journal_path(), F_OK), 0);
	}
	/* Its bytes did not reach storage. */
	put_back(m, 0);
	memset(m->journal.data, 0, m->journal.len);
	write_file(journal_path(), &m->journal);
	ck_assert_int_eq(qcowfmt_bitmap_recover(journal_path(), NULL), 0);
	for (size_t i = 0; i < IMAGES; i++)
		ck_assert_int_eq(side_of(i), 0);
}

END_TEST

START_TEST(an_image_that_changed_since_is_left_alone)
{
	const struct moment *m = with_journal();
	struct qcowfmt_bitmap_action a;
	struct qcowfmt_image *image;
	struct qcowfmt_error *error = NULL;

	put_back(m, 0);
	image = open_plain(1, QCOWFMT_OPEN_READ_WRITE);
	a = action(image, QCOWFMT_BITMAP_DISABLE, "old");
	ck_assert_int_eq(qcowfmt_bitmap_change(&a, 1, NULL, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	ck_assert_int_eq(qcowfmt_bitmap_recover(journal_path(), &error), -EIO);
	ck_assert_ptr_nonnull(
		strstr(qcowfmt_error_message(error), "changed after"));
	qcowfmt_error_free(error);
	ck_assert_int_eq(access(journal_path(), F_OK), 0);
	ck_assert_int_eq(side_of(0), 0);
	ck_assert_int_eq(side_of(2), 0);
}

END_TEST

START_TEST(other_files_are_no_journals)
{
	struct bytes text = { (uint8_t *)(uintptr_t) "some text", 9 };
	struct bytes before;
	struct bytes after;

	make_image(0);
	before = read_file(image_path(0));
	ck_assert_int_eq(qcowfmt_bitmap_recover(image_path(0), NULL), -EINVAL);
	after = read_file(image_path(0));
	ck_assert_uint_eq(before.len, after.len);
	write_file(journal_path(), &text);
	ck_assert_int_eq(qcowfmt_bitmap_recover(journal_path(), NULL), -EINVAL);
	ck_assert_int_eq(access(journal_path(), F_OK), 0);
	ck_assert_int_eq(qcowfmt_bitmap_recover(NULL, NULL), -EINVAL);
	free(before.data);
	free(after.data);
}

END_TEST

START_TEST(a_journal_is_needed_and_must_be_new)
{
	struct qcowfmt_image *images[IMAGES];
	struct bytes text = { (uint8_t *)(uintptr_t) "mine", 4 };

	for (size_t i = 0; i < IMAGES; i++) {
		make_image(i);
		images[i] = open_plain(i, QCOWFMT_OPEN_READ_WRITE);
	}
	write_file(journal_path(), &text);
	ck_assert_int_eq(change_all(images, NULL, NULL), -EINVAL);
	ck_assert_int_eq(change_all(images, journal_path(), NULL), -EEXIST);
	ck_assert_int_eq(access(journal_path(), F_OK), 0);
	ck_assert_int_eq(change_all(images, scratch_path("none/j"), NULL),
	                 -ENOENT);
	for (size_t i = 0; i < IMAGES; i++) {
		ck_assert_int_eq(qcowfmt_close(images[i], NULL), 0);
		ck_assert_int_eq(side_of(i), 0);
		expect_no_corruption(i, false);
	}
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, all_or_none);
	tcase_add_test(tcase, a_cut_journal_means_nothing);
	tcase_add_test(tcase, an_image_that_changed_since_is_left_alone);
	tcase_add_test(tcase, other_files_are_no_journals);
	tcase_add_test(tcase, a_journal_is_needed_and_must_be_new);
}

int main(void)
{
	int status;

	scratch_init();
	status = unit_run("bitmaps_of_images_change_together", add);
	scratch_fini();
	return status;
}
