/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever an image says about dirty bitmaps, its disk can be read.
 *
 *   a bitmap that makes no sense    is listed as inconsistent and can be removed;
 *                                   the disk and the other bitmaps work
 *   a table that makes no sense     fails where it is looked at; once the disk
 *                                   was written to, its bitmap is inconsistent
 *   a directory that cannot be      cannot be listed; the image opens for reading
 *   told into entries               and for repair only
 */
#include "api_test.h"
#include "check_id.h"

#define SIZE    ((uint64_t)64 << 10)
#define CLUSTER ((uint64_t)512)

static struct qcowfmt_image *image;
static uint64_t ext_at;    /* the 24 bytes of the extension, in the file */
static uint64_t directory; /* two entries of 32 bytes: bad and good */
static uint64_t table;     /* of the first: one entry */

static const char *path(void)
{
	return scratch_path("x.qcow2");
}

static int change(int kind, const char *name)
{
	struct qcowfmt_bitmap_action a = {
		.struct_size = sizeof(a),
		.image = image,
		.kind = kind,
		.name = name,
		.granularity = kind == QCOWFMT_BITMAP_ADD ? 512 : 0,
	};

	return qcowfmt_bitmap_change(&a, 1, NULL, &api_error);
}

static void find_places(void)
{
	static const uint8_t head[8] = { 0x23, 0x85, 0x28, 0x75, 0, 0, 0, 24 };
	struct api_bytes bytes = api_read_file(path());

	ext_at = 104;
	while (memcmp(bytes.bytes + ext_at, head, sizeof(head)) != 0)
		ext_at++;
	ext_at += sizeof(head);
	api_bytes_free(&bytes);
	directory = api_get(path(), ext_at + 16, 8);
	table = api_get(path(), directory, 8);
}

static void setup(void)
{
	api_create(path(), SIZE, CLUSTER);
	image = api_open(path(), API_RW);
	API_OK(change(QCOWFMT_BITMAP_ADD, "bad"));
	API_OK(change(QCOWFMT_BITMAP_ADD, "good"));
	api_write(image, 1024, 1024, 7);
	api_close(image);
	image = NULL;
	find_places();
}

/* The flags of a bitmap; it must be there. */
static uint32_t flags_of(const char *name)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };
	struct qcowfmt_bitmap_list *list = NULL;

	API_OK(qcowfmt_bitmap_list(image, 0, &list, &api_error));
	for (uint32_t i = 0;; i++) {
		API_OK(qcowfmt_bitmap_list_get(list, i, &bitmap, &api_error));
		if (strcmp(bitmap.name, name) == 0)
			break;
	}
	qcowfmt_bitmap_list_free(list);
	return bitmap.flags;
}

static void expect_dirty(const char *name, uint64_t start, uint64_t len)
{
	uint64_t have_start = 0;
	uint64_t have_len = 0;

	ck_assert_int_eq(qcowfmt_bitmap_next(image, name, 0, &have_start,
	                                     &have_len, &api_error),
	                 1);
	ck_assert_uint_eq(have_start, start);
	ck_assert_uint_eq(have_len, len);
}

/* ------------------------------------------------------------------- one bitmap */

static const struct entry_row {
	const char *what;
	uint32_t at; /* in the entry */
	size_t width;
	uint64_t value;
	const char *name; /* that the bitmap has then */
} entries[] = {
	{ "table at 0", 0, 8, 0, "bad" },
	{ "table unaligned", 0, 8, 0x201, "bad" },
	{ "table at 2^56", 0, 8, UINT64_C(1) << 56, "bad" },
	{ "table at 2^63", 0, 8, UINT64_C(1) << 63, "bad" },
	{ "no table entries", 8, 4, 0, "bad" },
	{ "2^32 - 1 table entries", 8, 4, UINT32_MAX, "bad" },
	{ "2^20 + 1 table entries", 8, 4, (1 << 20) + 1, "bad" },
	{ "unknown flags", 12, 4, 0x80000002, "bad" },
	{ "in use", 12, 4, 3, "bad" },
	{ "unknown type", 16, 1, 2, "bad" },
	{ "granularity 2^8", 17, 1, 8, "bad" },
	{ "granularity 2^32", 17, 1, 32, "bad" },
	{ "granularity 2^255", 17, 1, 255, "bad" },
	{ "the name of the other", 24, 4, 0x676f6f64, NULL },
	{ "a NUL in the name", 25, 1, 0, "b" },
};

START_TEST(a_broken_bitmap_stands_alone)
{
	const struct entry_row *row = &entries[_i];
	const char *name = row->name == NULL ? "good" : row->name;
	uint64_t start;
	uint64_t len;

	if (row->name == NULL)
		api_put(path(), directory + 18, 2, 4);
	api_put(path(), directory + row->at, row->width, row->value);
	image = api_open(path(), API_RW);
	ck_assert_msg((flags_of(name) & QCOWFMT_BITMAP_INCONSISTENT) != 0, "%s",
	              row->what);
	API_FAILS(qcowfmt_bitmap_next(image, name, 0, &start, &len, &api_error),
	          EINVAL, QCOWFMT_ERR_CORRUPT);
	API_FAILS(change(QCOWFMT_BITMAP_CLEAR, name), EINVAL,
	          QCOWFMT_ERR_CORRUPT);
	API_FAILS(qcowfmt_resize(image, SIZE * 2, NULL, &api_error), EINVAL,
	          QCOWFMT_ERR_CORRUPT);
	api_write(image, 8192, 512, 8);
	api_close(image);
	/* Still there, and the disk and the others work. */
	image = api_open(path(), API_RW);
	api_expect(image, 1024, 1024, 7);
	api_expect(image, 8192, 512, 8);
	ck_assert((flags_of(name) & QCOWFMT_BITMAP_INCONSISTENT) != 0);
	ck_assert((flags_of(name) & QCOWFMT_BITMAP_IN_USE) != 0);
	API_OK(change(QCOWFMT_BITMAP_REMOVE, name));
	if (row->name == NULL)
		API_OK(change(QCOWFMT_BITMAP_REMOVE, name));
	else
		expect_dirty("good", 1024, 1024);
	api_close(image);
	if (api_qemu_img != NULL)
		ck_assert_int_eq(api_run(api_qemu_img, "info", path(), NULL),
		                 0);
}

END_TEST

START_TEST(extra_data_is_kept)
{
	static const uint8_t extra[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct api_bytes bytes;
	uint64_t flags[] = { 2, 6 };
	uint64_t now;

	/* The second entry gets 8 bytes of it; the directory is longer then. */
	bytes = api_read_file(path());
	memmove(bytes.bytes + directory + 64, bytes.bytes + directory + 56, 8);
	memcpy(bytes.bytes + directory + 56, extra, 8);
	api_write_file(path(), bytes.bytes, bytes.len);
	api_bytes_free(&bytes);
	api_put(path(), directory + 32 + 20, 4, 8);
	api_put(path(), directory + 32 + 12, 4, flags[_i]);
	api_put(path(), ext_at + 8, 8, 72);
	image = api_open(path(), API_RW);
	/* The flag says whether the bitmap means the same without it. */
	ck_assert_int_eq((flags_of("good") & QCOWFMT_BITMAP_INCONSISTENT) != 0,
	                 _i == 0);
	API_OK(change(QCOWFMT_BITMAP_REMOVE, "bad"));
	api_write(image, 0, 1, 1);
	api_close(image);
	find_places();
	now = directory;
	ck_assert_uint_eq(api_get(path(), now + 20, 4), 8);
	ck_assert_uint_eq(api_get(path(), now + 24, 8),
	                  UINT64_C(0x0102030405060708));
}

END_TEST

/* ----------------------------------------------------------------------- tables */

static const struct table_row {
	uint64_t word;
	int code;
} tables[] = {
	{ 0x20001, QCOWFMT_ERR_CORRUPT },           /* bit 0 and an offset */
	{ 0x2, QCOWFMT_ERR_CORRUPT },               /* reserved */
	{ UINT64_C(1) << 56, QCOWFMT_ERR_CORRUPT }, /* reserved */
	{ UINT64_C(1) << 63, QCOWFMT_ERR_CORRUPT }, /* reserved */
	{ UINT64_C(1) << 40, QCOWFMT_ERR_CORRUPT }, /* behind the file */
};

START_TEST(a_broken_table_fails_where_it_is_looked_at)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	uint64_t start;
	uint64_t len;

	api_put(path(), table, 8, tables[_i].word);
	image = api_open(path(), API_RW);
	API_FAILS(
		qcowfmt_bitmap_next(image, "bad", 0, &start, &len, &api_error),
		EIO, tables[_i].code);
	expect_dirty("good", 1024, 1024);
	api_write(image, 4096, 512, 9);
	api_close(image);
	image = api_open(path(), API_RW);
	ck_assert((flags_of("bad") & QCOWFMT_BITMAP_INCONSISTENT) != 0);
	ck_assert_uint_eq(flags_of("good"), QCOWFMT_BITMAP_ENABLED);
	API_OK(change(QCOWFMT_BITMAP_REMOVE, "bad"));
	api_close(image);
	/* What the table pointed to before leaks: nobody knows of it. */
	image = api_open(path(), API_RW);
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	ck_assert_uint_eq(result.leaks, 1);
	api_close(image);
}

END_TEST

START_TEST(ones_without_a_cluster)
{
	api_put(path(), table, 8, 1);
	image = api_open(path(), API_RW);
	expect_dirty("bad", 0, SIZE);
	api_write(image, 0, 512, 1);
	api_close(image);
	image = api_open(path(), 0);
	expect_dirty("bad", 0, SIZE);
	api_close(image);
}

END_TEST

/* Bits that point at metadata are not freed with it. */
START_TEST(clusters_of_others_are_not_freed)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	uint64_t l1 = api_get(path(), API_AT_L1, 8);

	api_put(path(), table, 8, l1);
	image = api_open(path(), API_RW);
	API_OK(change(QCOWFMT_BITMAP_REMOVE, "bad"));
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	api_expect(image, 1024, 1024, 7);
	api_close(image);
}

END_TEST

/* -------------------------------------------------------------------- directory */

static const struct damage_row {
	const char *what;
	uint32_t at; /* in the extension; 100: in the first entry */
	size_t width;
	uint64_t value;
} damages[] = {
	{ "no bitmaps", 0, 4, 0 },
	{ "65536 bitmaps", 0, 4, 65536 },
	{ "one bitmap more", 0, 4, 3 },
	{ "one bitmap less", 0, 4, 1 },
	{ "reserved", 4, 4, 1 },
	{ "no directory", 8, 8, 0 },
	{ "a short directory", 8, 8, 56 },
	{ "a long directory", 8, 8, 72 },
	{ "a directory of 2^63 bytes", 8, 8, UINT64_C(1) << 63 },
	{ "directory at 0", 16, 8, 0 },
	{ "directory unaligned", 16, 8, 0x801 },
	{ "directory behind the file", 16, 8, UINT64_C(1) << 40 },
	{ "directory at 2^63", 16, 8, UINT64_C(1) << 63 },
	{ "extra data of 4 GiB", 100 + 20, 4, UINT32_MAX },
	{ "a name of 64 KiB", 100 + 18, 2, UINT16_MAX },
};

START_TEST(a_damaged_directory_leaves_the_disk_readable)
{
	const struct damage_row *row = &damages[_i];
	uint64_t at =
		row->at < 100 ? ext_at + row->at : directory + row->at - 100;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
	};
	struct qcowfmt_bitmap_list *list = NULL;
	struct api_bytes before;
	struct api_bytes after;

	api_put(path(), at, row->width, row->value);
	before = api_read_file(path());
	image = api_open(path(), 0);
	api_expect(image, 1024, 1024, 7);
	API_FAILS(qcowfmt_bitmap_list(image, 0, &list, &api_error), EIO,
	          QCOWFMT_ERR_CORRUPT);
	ck_assert_ptr_null(list);
	api_close(image);
	API_FAILS_KEEP(qcowfmt_open_file(path(), &options, &image, &api_error),
	               EIO, QCOWFMT_ERR_CORRUPT);
	API_ERROR_NAMES("until it is repaired");
	api_error_reset();
	image = api_open(path(), API_RW | QCOWFMT_OPEN_REPAIR);
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 0, &api_error), EIO,
	          QCOWFMT_ERR_CORRUPT);
	API_FAILS(change(QCOWFMT_BITMAP_ADD, "new"), EIO, QCOWFMT_ERR_CORRUPT);
	api_close(image);
	after = api_read_file(path());
	ck_assert_msg(api_bytes_equal(&before, &after), "%s", row->what);
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

START_TEST(repair_drops_a_damaged_directory)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	api_put(path(), ext_at + 8, 8, 56);
	image = api_open(path(), API_RW | QCOWFMT_OPEN_REPAIR);
	API_OK(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL,
	                     &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	api_close(image);
	image = api_open(path(), API_RW);
	api_expect(image, 1024, 1024, 7);
	api_write(image, 0, 512, 1);
	API_OK(change(QCOWFMT_BITMAP_ADD, "new"));
	api_check_clean(image);
	api_close(image);
}

END_TEST

START_TEST(a_directory_beyond_the_ceiling_is_refused)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.max_metadata_size = 4096,
	};
	char *name = calloc(1, 1024);

	memset(name, 'n', 1023);
	image = api_open(path(), API_RW);
	for (int i = 0; i < 5; i++) {
		name[0] = (char)('a' + i);
		API_OK(change(QCOWFMT_BITMAP_ADD, name));
	}
	api_close(image);
	API_FAILS(qcowfmt_open_file(path(), &options, &image, &api_error),
	          E2BIG, QCOWFMT_ERR_LIMIT);
	options.flags = 0;
	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	api_expect(image, 1024, 1024, 7);
	api_close(image);
	free(name);
}

END_TEST

/* A mapping that leads to the directory is not followed by a write. */
START_TEST(guest_data_does_not_overwrite_the_directory)
{
	uint64_t l2_entry = api_l2_entry_at(path()) + 2 * 8;

	api_put(path(), l2_entry, 8, directory | UINT64_C(1) << 63);
	image = api_open(path(), API_RW);
	API_FAILS(qcowfmt_pwrite(image, "x", 1, 1024, &api_error), EIO,
	          QCOWFMT_ERR_CORRUPT);
	API_FAILS(qcowfmt_close(image, &api_error), EIO, QCOWFMT_ERR_POISONED);
	image = api_open(path(), 0);
	/* The first write had begun to use them. */
	ck_assert((flags_of("good") & QCOWFMT_BITMAP_INCONSISTENT) != 0);
	api_close(image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_loop_test(tcase, a_broken_bitmap_stands_alone, 0,
	                    (int)QCF_ARRAY_LEN(entries));
	tcase_add_loop_test(tcase, extra_data_is_kept, 0, 2);
	tcase_add_loop_test(tcase, a_broken_table_fails_where_it_is_looked_at,
	                    0, (int)QCF_ARRAY_LEN(tables));
	tcase_add_test(tcase, ones_without_a_cluster);
	tcase_add_test(tcase, clusters_of_others_are_not_freed);
	tcase_add_loop_test(tcase, a_damaged_directory_leaves_the_disk_readable,
	                    0, (int)QCF_ARRAY_LEN(damages));
	tcase_add_test(tcase, repair_drops_a_damaged_directory);
	tcase_add_test(tcase, a_directory_beyond_the_ceiling_is_refused);
	tcase_add_test(tcase, guest_data_does_not_overwrite_the_directory);
}

int main(int argc, char **argv)
{
	return api_main("hostile_bitmaps", add_tests, argc, argv);
}
