/* SPDX-License-Identifier: MIT */
/*
 * Promise: dirty bitmaps record every change of the disk, and are changed all
 * together or not at all.
 */
#include "api_test.h"

#define SIZE ((uint64_t)10 << 20)
#define UNIT ((uint64_t)65536)

static struct qcowfmt_image *image;

static const char *path(void)
{
	return scratch_path("x.qcow2");
}

static void setup(void)
{
	api_create(path(), SIZE, 0);
	image = api_open(path(), API_RW);
}

static void teardown(void)
{
	if (image != NULL)
		api_close(image);
	image = NULL;
}

static void reopen(uint32_t flags)
{
	api_close(image);
	image = api_open(path(), flags);
}

static struct qcowfmt_bitmap_action action(int kind, const char *name)
{
	return (struct qcowfmt_bitmap_action){
		.struct_size = sizeof(struct qcowfmt_bitmap_action),
		.image = image,
		.name = name,
		.kind = kind,
	};
}

static int change(struct qcowfmt_bitmap_action a)
{
	return qcowfmt_bitmap_change(&a, 1, NULL, &api_error);
}

static int add(const char *name, uint64_t granularity)
{
	struct qcowfmt_bitmap_action a = action(QCOWFMT_BITMAP_ADD, name);

	a.granularity = granularity;
	return change(a);
}

static struct qcowfmt_bitmap_action merge(const char *name, const char *from)
{
	struct qcowfmt_bitmap_action a = action(QCOWFMT_BITMAP_MERGE, name);

	a.source_name = from;
	return a;
}

/* The flags of a bitmap, or -1 if there is none. */
static int64_t flags_of(const char *name, uint64_t *granularity)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;
	int64_t flags = -1;

	API_OK(qcowfmt_bitmap_list(image, 0, &list, &api_error));
	for (uint32_t i = 0; i < qcowfmt_bitmap_list_count(list); i++) {
		API_OK(qcowfmt_bitmap_list_get(list, i, &bitmap, &api_error));
		if (strcmp(bitmap.name, name) != 0)
			continue;
		flags = bitmap.flags;
		if (granularity != NULL)
			*granularity = bitmap.granularity;
	}
	API_FAILS(qcowfmt_bitmap_list_get(list, qcowfmt_bitmap_list_count(list),
	                                  &bitmap, &api_error),
	          ENOENT, QCOWFMT_ERR_USAGE);
	qcowfmt_bitmap_list_free(list);
	return flags;
}

/* What is dirty, as "start+len" in sectors. */
static const char *dirty_in(struct qcowfmt_image *in, const char *name)
{
	static char text[4096];
	size_t used = 0;
	uint64_t at = 0;
	uint64_t start = 0;
	uint64_t len = 0;

	text[0] = '\0';
	for (;;) {
		int ret = qcowfmt_bitmap_next(in, name, at, &start, &len,
		                              &api_error);

		API_OK(ret);
		if (ret == 0)
			return text;
		used += (size_t)snprintf(text + used, sizeof(text) - used,
		                         "%" PRIu64 "+%" PRIu64 " ",
		                         start / 512, len / 512);
		at = start + len;
	}
}

static void expect_dirty(const char *name, const char *want)
{
	ck_assert_str_eq(dirty_in(image, name), want);
}

/* Both checks find nothing. */
static void expect_sound(void)
{
	api_check_clean(image);
	api_close(image);
	image = NULL;
	api_qemu_check(path());
}

/* ------------------------------------------------------------------- listing */

START_TEST(images_without_bitmaps_have_empty_lists)
{
	struct qcowfmt_bitmap_list *list = NULL;

	API_OK(qcowfmt_bitmap_list(image, 0, &list, &api_error));
	ck_assert_uint_eq(qcowfmt_bitmap_list_count(list), 0);
	qcowfmt_bitmap_list_free(list);
	qcowfmt_bitmap_list_free(NULL);
	list = NULL;
	API_FAILS(qcowfmt_bitmap_list(image, 1, &list, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	ck_assert_ptr_null(list);
}

END_TEST

START_TEST(a_new_bitmap_is_clean_and_enabled)
{
	uint64_t granularity = 0;

	API_OK(add("b0", 0));
	ck_assert_int_eq(flags_of("b0", &granularity), QCOWFMT_BITMAP_ENABLED);
	ck_assert_uint_eq(granularity, 65536);
	expect_dirty("b0", "");
	reopen(0);
	ck_assert_int_eq(flags_of("b0", &granularity), QCOWFMT_BITMAP_ENABLED);
	expect_dirty("b0", "");
	reopen(API_RW);
	expect_sound();
}

END_TEST

static const struct default_row {
	uint64_t cluster_size;
	uint64_t granularity;
} defaults[] = {
	{ 512, 4096 },    { 4096, 4096 },     { 16384, 16384 },
	{ 65536, 65536 }, { 2 << 20, 65536 },
};

START_TEST(the_default_granularity_follows_the_clusters)
{
	uint64_t granularity = 0;

	api_close(image);
	api_create(path(), SIZE, defaults[_i].cluster_size);
	image = api_open(path(), API_RW);
	API_OK(add("b0", 0));
	ck_assert_int_ge(flags_of("b0", &granularity), 0);
	ck_assert_uint_eq(granularity, defaults[_i].granularity);
}

END_TEST

/* ------------------------------------------------------------------ recording */

START_TEST(every_kind_of_change_is_recorded)
{
	uint8_t *cluster = calloc(1, UNIT);

	API_OK(add("b0", 512));
	API_OK(add("large", 1 << 20));
	API_OK(add("off", 0));
	API_OK(change(action(QCOWFMT_BITMAP_DISABLE, "off")));
	api_write(image, 1000, 100, 1);
	API_OK(qcowfmt_write_zeroes(image, UNIT, UNIT, 0, &api_error));
	API_OK(qcowfmt_discard(image, 4 * UNIT, UNIT, &api_error));
	API_OK(qcowfmt_pwrite_compressed(image, cluster, UNIT, 10 * UNIT,
	                                 &api_error));
	api_write(image, SIZE - 1, 1, 1);
	for (int i = 0; i < 2; i++) {
		expect_dirty("b0", "1+2 128+128 512+128 1280+128 20479+1 ");
		expect_dirty("large", "0+2048 18432+2048 ");
		expect_dirty("off", "");
		reopen(API_RW);
	}
	expect_sound();
	free(cluster);
}

END_TEST

START_TEST(what_is_not_carried_out_is_not_recorded)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.discard_mode = QCOWFMT_DISCARD_IGNORE,
	};

	API_OK(add("b0", 0));
	api_close(image);
	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	API_OK(qcowfmt_discard(image, 0, UNIT, &api_error));
	API_FAILS(qcowfmt_pwrite(image, "x", 1, SIZE, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	api_write(image, 0, 0, 0);
	expect_dirty("b0", "");
}

END_TEST

START_TEST(looking_begins_anywhere)
{
	uint64_t start = 1;
	uint64_t len = 1;

	API_OK(add("b0", 4096));
	api_write(image, 8192, 4096 * 3, 1);
	api_write(image, SIZE - 512, 512, 1);
	ck_assert_int_eq(qcowfmt_bitmap_next(image, "b0", 9000, &start, &len,
	                                     &api_error),
	                 1);
	ck_assert_uint_eq(start, 9000);
	ck_assert_uint_eq(start + len, 8192 + 3 * 4096);
	ck_assert_int_eq(qcowfmt_bitmap_next(image, "b0", start + len, &start,
	                                     &len, &api_error),
	                 1);
	ck_assert_uint_eq(start, SIZE - 4096);
	ck_assert_uint_eq(len, 4096);
	ck_assert_int_eq(qcowfmt_bitmap_next(image, "b0", SIZE, &start, &len,
	                                     &api_error),
	                 0);
	ck_assert_int_eq(qcowfmt_bitmap_next(image, "b0", UINT64_MAX, &start,
	                                     &len, &api_error),
	                 0);
	API_FAILS(qcowfmt_bitmap_next(image, "b1", 0, &start, &len, &api_error),
	          ENOENT, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_bitmap_next(image, NULL, 0, &start, &len, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
}

END_TEST

/* --------------------------------------------------------------------- in use */

static void copy_file(const char *from, const char *to)
{
	struct api_bytes bytes = api_read_file(from);

	api_write_file(to, bytes.bytes, bytes.len);
	api_bytes_free(&bytes);
}

/* The image as a crash now would leave it, opened with flags. */
static void open_after_crash(uint32_t flags)
{
	const char *copy = scratch_path("crashed.qcow2");

	API_OK(qcowfmt_flush(image, &api_error));
	copy_file(path(), copy);
	api_close(image);
	image = api_open(copy, flags);
}

START_TEST(the_first_write_marks_all_bitmaps)
{
	struct api_bytes before;
	struct api_bytes after;

	API_OK(add("b0", 0));
	API_OK(add("b1", 0));
	API_OK(change(action(QCOWFMT_BITMAP_DISABLE, "b1")));
	reopen(API_RW);
	before = api_read_file(path());
	ck_assert_int_eq(flags_of("b0", NULL), QCOWFMT_BITMAP_ENABLED);
	api_expect(image, 0, 512, 0);
	after = api_read_file(path());
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&after);
	api_write(image, 0, 512, 1);
	ck_assert_int_eq(flags_of("b0", NULL),
	                 QCOWFMT_BITMAP_ENABLED | QCOWFMT_BITMAP_IN_USE);
	ck_assert_int_eq(flags_of("b1", NULL), QCOWFMT_BITMAP_IN_USE);
	expect_dirty("b0", "0+128 ");
	open_after_crash(0);
	ck_assert_int_eq(flags_of("b0", NULL),
	                 QCOWFMT_BITMAP_ENABLED | QCOWFMT_BITMAP_IN_USE |
	                         QCOWFMT_BITMAP_INCONSISTENT);
	ck_assert_int_eq(flags_of("b1", NULL),
	                 QCOWFMT_BITMAP_IN_USE | QCOWFMT_BITMAP_INCONSISTENT);
	api_bytes_free(&before);
}

END_TEST

START_TEST(inconsistent_bitmaps_can_only_be_removed)
{
	static const int kinds[] = { QCOWFMT_BITMAP_CLEAR,
		                     QCOWFMT_BITMAP_ENABLE,
		                     QCOWFMT_BITMAP_DISABLE };
	uint64_t start;
	uint64_t len;

	API_OK(add("b0", 0));
	api_write(image, 0, 512, 1);
	open_after_crash(API_RW);
	API_OK(add("good", 0));
	for (size_t i = 0; i < QCF_ARRAY_LEN(kinds); i++)
		API_FAILS(change(action(kinds[i], "b0")), EINVAL,
		          QCOWFMT_ERR_CORRUPT);
	API_FAILS(change(merge("b0", "good")), EINVAL, QCOWFMT_ERR_CORRUPT);
	API_FAILS(change(merge("good", "b0")), EINVAL, QCOWFMT_ERR_CORRUPT);
	API_FAILS(add("b0", 0), EEXIST, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_bitmap_next(image, "b0", 0, &start, &len, &api_error),
	          EINVAL, QCOWFMT_ERR_CORRUPT);
	API_FAILS(qcowfmt_resize(image, SIZE * 2, NULL, &api_error), EINVAL,
	          QCOWFMT_ERR_CORRUPT);
	/* The others go on. */
	api_write(image, UNIT, 1, 1);
	expect_dirty("good", "128+128 ");
	API_OK(change(action(QCOWFMT_BITMAP_REMOVE, "b0")));
	ck_assert_int_eq(flags_of("b0", NULL), -1);
	API_OK(qcowfmt_resize(image, SIZE * 2, NULL, &api_error));
	expect_dirty("good", "128+128 ");
	api_check_clean(image);
}

END_TEST

START_TEST(a_stale_extension_is_dropped_by_a_writer)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	API_OK(add("b0", 0));
	api_close(image);
	api_put(path(), API_AT_AUTOCLEAR, 8, 0);
	image = api_open(path(), 0);
	ck_assert_int_eq(flags_of("b0", NULL), -1);
	reopen(API_RW);
	ck_assert_int_eq(flags_of("b0", NULL), -1);
	API_OK(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_LEAKS, NULL, NULL,
	                     &result, &api_error));
	/* Directory and table; an empty bitmap has no bits on storage. */
	ck_assert_uint_eq(result.leaks_fixed, 2);
	ck_assert_uint_eq(result.corruptions, 0);
	api_close(image);
	image = NULL;
	api_qemu_check(path());
}

END_TEST

START_TEST(they_end_with_version_3)
{
	struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
		.version = 2,
	};

	API_OK(add("b0", 0));
	api_write(image, 0, 512, 1);
	API_OK(qcowfmt_amend(image, &options, &api_error));
	ck_assert_int_eq(flags_of("b0", NULL), -1);
	api_write(image, UNIT, 512, 1);
	reopen(API_RW);
	api_expect(image, UNIT, 512, 1);
	expect_sound();
}

END_TEST

/* -------------------------------------------------------------------- changes */

START_TEST(actions_see_what_those_before_did)
{
	struct qcowfmt_bitmap_action actions[6];

	API_OK(add("b0", 4096));
	api_write(image, 8192, 1, 1);
	actions[0] = action(QCOWFMT_BITMAP_ADD, "b1");
	actions[0].granularity = 512;
	actions[1] = merge("b1", "b0");
	actions[2] = action(QCOWFMT_BITMAP_CLEAR, "b0");
	actions[3] = action(QCOWFMT_BITMAP_ADD, "b2");
	actions[3].granularity = 65536;
	actions[4] = merge("b2", "b1");
	actions[5] = action(QCOWFMT_BITMAP_REMOVE, "b1");
	API_OK(qcowfmt_bitmap_change(actions, 6, NULL, &api_error));
	ck_assert_int_eq(flags_of("b1", NULL), -1);
	expect_dirty("b0", "");
	expect_dirty("b2", "0+128 ");
	api_write(image, UNIT, 1, 1);
	expect_dirty("b0", "128+8 ");
	expect_dirty("b2", "0+256 ");
	reopen(API_RW);
	expect_dirty("b0", "128+8 ");
	expect_dirty("b2", "0+256 ");
	expect_sound();
}

END_TEST

START_TEST(one_that_fails_takes_all_with_it)
{
	struct qcowfmt_bitmap_action actions[3];
	struct api_bytes before;
	struct api_bytes after;

	API_OK(add("b0", 0));
	api_write(image, 0, 1, 1);
	reopen(API_RW);
	before = api_read_file(path());
	actions[0] = action(QCOWFMT_BITMAP_CLEAR, "b0");
	actions[1] = action(QCOWFMT_BITMAP_ADD, "b1");
	actions[2] = merge("b1", "none");
	API_FAILS(qcowfmt_bitmap_change(actions, 3, NULL, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	after = api_read_file(path());
	ck_assert(api_bytes_equal(&before, &after));
	expect_dirty("b0", "0+128 ");
	ck_assert_int_eq(flags_of("b1", NULL), -1);
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

START_TEST(bad_arguments_are_refused)
{
	struct qcowfmt_bitmap_action a = action(99, "b0");
	char *name = calloc(1, 1025);

	memset(name, 'n', 1024);
	API_OK(qcowfmt_bitmap_change(NULL, 0, NULL, &api_error));
	API_FAILS(change(a), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(add("", 0), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(add(NULL, 0), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(add(name, 0), EINVAL, QCOWFMT_ERR_USAGE);
	name[1023] = '\0';
	API_OK(add(name, 0));
	API_FAILS(add(name, 0), EEXIST, QCOWFMT_ERR_USAGE);
	API_FAILS(add("b0", 256), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(add("b0", 1000), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(add("b0", UINT64_C(1) << 32), EINVAL, QCOWFMT_ERR_USAGE);
	API_OK(add("b0", UINT64_C(1) << 31));
	API_OK(add("b1", 512));
	a = action(QCOWFMT_BITMAP_CLEAR, "b0");
	a.granularity = 512;
	API_FAILS(change(a), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(change(action(QCOWFMT_BITMAP_MERGE, "b0")), EINVAL,
	          QCOWFMT_ERR_USAGE);
	a.image = NULL;
	API_FAILS(change(a), EINVAL, QCOWFMT_ERR_USAGE);
	free(name);
}

END_TEST

static struct qcowfmt_image *make_other(const char *name, int format,
                                        uint32_t version, uint64_t size)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = format,
		.version = version,
		.virtual_size = size,
	};
	struct qcowfmt_open_options how = {
		.struct_size = sizeof(how),
		.format = format,
		.flags = API_RW,
	};
	struct qcowfmt_image *other = NULL;

	API_OK(qcowfmt_create_file(scratch_path(name), &options, &api_error));
	API_OK(qcowfmt_open_file(scratch_path(name), &how, &other, &api_error));
	return other;
}

START_TEST(a_disk_of_no_bytes_has_none)
{
	struct qcowfmt_image *empty =
		make_other("empty.qcow2", QCOWFMT_FORMAT_QCOW2, 3, 0);
	struct qcowfmt_resize_options shrink = {
		.struct_size = sizeof(shrink),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct qcowfmt_bitmap_action a = action(QCOWFMT_BITMAP_ADD, "b0");

	a.image = empty;
	API_FAILS(change(a), EINVAL, QCOWFMT_ERR_USAGE);
	API_OK(add("b0", 0));
	API_FAILS(qcowfmt_resize(image, 0, &shrink, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_close(empty, &api_error));
}

END_TEST

START_TEST(only_version_3_has_bitmaps)
{
	static const struct {
		int format;
		uint32_t version;
	} rows[] = { { QCOWFMT_FORMAT_RAW, 0 },
		     { QCOWFMT_FORMAT_QCOW, 0 },
		     { QCOWFMT_FORMAT_QCOW2, 2 } };
	struct qcowfmt_image *other =
		make_other("other", rows[_i].format, rows[_i].version, SIZE);
	struct qcowfmt_bitmap_action a = action(QCOWFMT_BITMAP_ADD, "b0");

	a.image = other;
	API_FAILS(change(a), ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	api_close(other);
}

END_TEST

START_TEST(reading_is_not_enough)
{
	API_OK(add("b0", 0));
	reopen(0);
	API_FAILS(change(action(QCOWFMT_BITMAP_REMOVE, "b0")), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	/* Without access to guest data bitmaps are all that can be changed. */
	reopen(API_RW | QCOWFMT_OPEN_NO_DATA);
	API_OK(change(action(QCOWFMT_BITMAP_REMOVE, "b0")));
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 0, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_resize(image, SIZE * 2, NULL, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_OK(add("b1", 0));
}

END_TEST

START_TEST(actions_of_other_versions_are_understood)
{
	struct {
		struct qcowfmt_bitmap_action a;
		uint64_t more;
	} longer[2] = { { .more = 0 } };

	for (int i = 0; i < 2; i++) {
		longer[i].a = action(QCOWFMT_BITMAP_ADD, i == 0 ? "x" : "y");
		longer[i].a.struct_size = sizeof(longer[0]);
	}
	API_OK(qcowfmt_bitmap_change(&longer[0].a, 2, NULL, &api_error));
	ck_assert_int_ge(flags_of("y", NULL), 0);
	longer[1].more = 1;
	API_FAILS(qcowfmt_bitmap_change(&longer[0].a, 2, NULL, &api_error),
	          E2BIG, QCOWFMT_ERR_USAGE);
	longer[1].more = 0;
	longer[1].a.struct_size = sizeof(longer[0].a);
	API_FAILS(qcowfmt_bitmap_change(&longer[0].a, 2, NULL, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
}

END_TEST

START_TEST(other_images_are_merged_from)
{
	struct qcowfmt_image *other =
		make_other("other.qcow2", QCOWFMT_FORMAT_QCOW2, 3, SIZE);
	struct qcowfmt_bitmap_action a = action(QCOWFMT_BITMAP_ADD, "b0");
	struct qcowfmt_image *small;

	a.image = other;
	a.granularity = 512;
	API_OK(change(a));
	api_write(other, 3 * UNIT, 1, 1);
	API_OK(add("mine", 0));
	api_write(image, 0, 1, 1);
	a = merge("mine", "b0");
	a.source = other;
	API_OK(change(a));
	expect_dirty("mine", "0+128 384+128 ");
	/* The source is as it was. */
	ck_assert_str_eq(dirty_in(other, "b0"), "384+1 ");
	a.source_name = "none";
	API_FAILS(change(a), ENOENT, QCOWFMT_ERR_USAGE);
	api_close(other);
	small = make_other("small.qcow2", QCOWFMT_FORMAT_QCOW2, 3, SIZE / 2);
	a.source = small;
	API_FAILS(change(a), EINVAL, QCOWFMT_ERR_USAGE);
	api_close(small);
}

END_TEST

/* --------------------------------------------------------------------- limits */

START_TEST(a_large_disk_takes_little_memory)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
	};

	api_close(image);
	api_create(path(), UINT64_C(64) << 40, 1 << 20);
	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	API_FAILS(add("fine", 512), EFBIG, QCOWFMT_ERR_LIMIT);
	API_OK(add("b0", 65536));
	api_write(image, (UINT64_C(64) << 40) - 1, 1, 1);
	api_write(image, 0, 1, 1);
	expect_dirty("b0", "0+128 137438953344+128 ");
	reopen(API_RW);
	expect_dirty("b0", "0+128 137438953344+128 ");
}

END_TEST

START_TEST(too_little_memory_fails_the_write)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		/* For tables of 512 bytes, but not for a page of bits and
		 * the two pages of pointers that lead to it. */
		.max_metadata_size = 6144,
	};

	api_close(image);
	api_create(path(), UINT64_C(1) << 20, 512);
	image = api_open(path(), API_RW);
	API_OK(add("b0", 0));
	api_close(image);
	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 0, &api_error), E2BIG,
	          QCOWFMT_ERR_LIMIT);
	api_expect(image, 0, 512, 0);
	API_OK(change(action(QCOWFMT_BITMAP_DISABLE, "b0")));
	api_write(image, 0, 1, 1);
	api_close(image);
	image = api_open(path(), API_RW);
	expect_dirty("b0", "");
}

END_TEST

/* Twice as many bits as the memory allowed could hold. */
START_TEST(what_is_stored_takes_no_memory)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = _i == 0 ? 0 : API_RW,
		.max_metadata_size = 8192,
	};

	api_close(image);
	api_create(path(), UINT64_C(64) << 20, 4096);
	image = api_open(path(), API_RW);
	API_OK(add("b0", 512));
	API_OK(qcowfmt_discard(image, 0, UINT64_C(64) << 20, &api_error));
	api_close(image);
	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	expect_dirty("b0", "0+131072 ");
	api_expect(image, 0, 512, 0);
}

END_TEST

START_TEST(many_bitmaps)
{
	enum { COUNT = 700 };
	struct qcowfmt_bitmap_action *actions = calloc(COUNT, sizeof(*actions));
	static char names[COUNT][24];

	for (int i = 0; i < COUNT; i++) {
		snprintf(names[i], sizeof(names[i]), "bitmap %d", i);
		actions[i] = action(QCOWFMT_BITMAP_ADD, names[i]);
	}
	API_OK(qcowfmt_bitmap_change(actions, COUNT, NULL, &api_error));
	api_write(image, 5 * UNIT, 1, 1);
	reopen(API_RW);
	expect_dirty(names[COUNT - 1], "640+128 ");
	for (int i = 0; i < COUNT; i++)
		actions[i] = action(QCOWFMT_BITMAP_REMOVE, names[i]);
	API_OK(qcowfmt_bitmap_change(actions, COUNT - 1, NULL, &api_error));
	expect_dirty(names[COUNT - 1], "640+128 ");
	api_check_clean(image);
	free(actions);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, images_without_bitmaps_have_empty_lists);
	tcase_add_test(tcase, a_new_bitmap_is_clean_and_enabled);
	tcase_add_loop_test(tcase, the_default_granularity_follows_the_clusters,
	                    0, (int)QCF_ARRAY_LEN(defaults));
	tcase_add_test(tcase, every_kind_of_change_is_recorded);
	tcase_add_test(tcase, what_is_not_carried_out_is_not_recorded);
	tcase_add_test(tcase, looking_begins_anywhere);
	tcase_add_test(tcase, the_first_write_marks_all_bitmaps);
	tcase_add_test(tcase, inconsistent_bitmaps_can_only_be_removed);
	tcase_add_test(tcase, a_stale_extension_is_dropped_by_a_writer);
	tcase_add_test(tcase, they_end_with_version_3);
	tcase_add_test(tcase, actions_see_what_those_before_did);
	tcase_add_test(tcase, one_that_fails_takes_all_with_it);
	tcase_add_test(tcase, bad_arguments_are_refused);
	tcase_add_loop_test(tcase, only_version_3_has_bitmaps, 0, 3);
	tcase_add_test(tcase, a_disk_of_no_bytes_has_none);
	tcase_add_test(tcase, reading_is_not_enough);
	tcase_add_test(tcase, actions_of_other_versions_are_understood);
	tcase_add_test(tcase, other_images_are_merged_from);
	tcase_add_test(tcase, a_large_disk_takes_little_memory);
	tcase_add_test(tcase, too_little_memory_fails_the_write);
	tcase_add_loop_test(tcase, what_is_stored_takes_no_memory, 0, 2);
	tcase_add_test(tcase, many_bitmaps);
}

int main(int argc, char **argv)
{
	return api_main("dirty_bitmaps", add_tests, argc, argv);
}
