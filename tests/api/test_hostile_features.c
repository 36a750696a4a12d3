/* SPDX-License-Identifier: MIT */
/*
 * Promise: illegal subcluster bitmaps, data file offsets that are not the
 * guest's, compressed clusters in images with a data file and LUKS headers and
 * pointers that make no sense are refused by their number: nothing is read or
 * written through them, and what is around them stays usable.
 */
#include "api_test.h"
#include "check_id.h"
#include "l2_entry.h"

#define SIZE    ((uint64_t)4 << 20)
#define CLUSTER ((uint64_t)65536)
#define CORRUPT 2u
#define COPIED  QCF_ENTRY_COPIED
#define SECRET  "sesame"

static struct qcowfmt_image *image;

static const char *path(void)
{
	return scratch_path("x.qcow2");
}

static const char *data_path(void)
{
	return scratch_path("x.data");
}

/* 256 KiB of data at 0; the options may be those of any feature. */
static void make_image(struct qcowfmt_create_options options)
{
	options.struct_size = sizeof(options);
	options.virtual_size = SIZE;
	API_OK(qcowfmt_create_file(path(), &options, &api_error));
}

static struct qcowfmt_image *open_image(uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};

	API_OK(qcowfmt_open_file(path(), &options, &image, &api_error));
	return image;
}

static void fill_image(void)
{
	(void)open_image(API_RW);
	api_write(image, 0, 256 << 10, 'a');
	api_close(image);
}

struct finding {
	uint32_t id;
	int count;
};

static void look_for(void *opaque, uint32_t id, uint64_t host_offset,
                     const char *message)
{
	struct finding *finding = opaque;

	(void)host_offset;
	(void)message;
	finding->count += id == finding->id ? 1 : 0;
}

static void expect_found(uint32_t id)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct finding finding = { .id = id };

	(void)open_image(0);
	API_OK(qcowfmt_check(image, 0, look_for, &finding, &result,
	                     &api_error));
	ck_assert_int_eq(finding.count, 1);
	ck_assert_uint_gt(result.corruptions, 0);
	api_close(image);
}

/* Reading is refused in the first cluster and works in the next one. */
static void expect_unreadable(uint32_t id)
{
	uint8_t byte = 0;

	(void)open_image(0);
	API_FAILS_KEEP(qcowfmt_pread(image, &byte, 1, 0, &api_error), EIO,
	               QCOWFMT_ERR_CORRUPT);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error), id);
	ck_assert_uint_eq(qcowfmt_error_guest_offset(api_error), 0);
	api_error_reset();
	api_expect(image, CLUSTER, CLUSTER, 'a');
	api_close(image);
}

/* A call is refused, changes nothing but the corrupt bit, and ends writing. */
static void expect_unwritable(int (*call)(void), uint32_t id)
{
	struct api_bytes before = api_read_file(path());
	struct api_bytes after;

	(void)open_image(API_RW);
	API_FAILS_KEEP(call(), EIO, QCOWFMT_ERR_CORRUPT);
	ck_assert_uint_eq(qcowfmt_error_corruption_id(api_error), id);
	api_error_reset();
	(void)qcowfmt_close(image, NULL);
	after = api_read_file(path());
	before.bytes[API_AT_INCOMPATIBLE + 7] &= 0xff - CORRUPT;
	after.bytes[API_AT_INCOMPATIBLE + 7] &= 0xff - CORRUPT;
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

static int write_cluster(void)
{
	static uint8_t bytes[65536];

	return qcowfmt_pwrite(image, bytes, sizeof(bytes), 0, &api_error);
}

static int write_sector(void)
{
	static uint8_t bytes[512];

	return qcowfmt_pwrite(image, bytes, sizeof(bytes), 1024, &api_error);
}

static int zero_cluster(void)
{
	return qcowfmt_write_zeroes(image, 0, CLUSTER, QCOWFMT_ZERO_MAY_UNMAP,
	                            &api_error);
}

static int zero_sector(void)
{
	return qcowfmt_write_zeroes(image, 0, 2048, 0, &api_error);
}

static int discard_cluster(void)
{
	return qcowfmt_discard(image, 0, CLUSTER, &api_error);
}

static int (*const calls[])(void) = { write_cluster, write_sector, zero_cluster,
	                              zero_sector, discard_cluster };

/* ------------------------------------------------------------- subclusters */

static void make_extended(void)
{
	make_image((struct qcowfmt_create_options){
		.flags = QCOWFMT_CREATE_EXTENDED_L2 });
	fill_image();
}

static const struct {
	bool keep_offset;
	uint64_t word, bitmap;
} bitmaps[] = {
	/* Both bits of a subcluster */
	{ true, COPIED, UINT64_C(0x0000000100000001) },
	{ true, COPIED, UINT64_C(0x80000000ffffffff) },
	{ true, COPIED, UINT64_MAX },
	/* Data without a place */
	{ false, 0, 1 },
	{ false, COPIED, UINT64_C(0xffffffff) },
	{ false, 0, UINT64_C(0xfffffffe00000001) },
	/* Compressed, and more than that */
	{ false, QCF_ENTRY_COMPRESSED | 0x50000, 1 },
	{ false, QCF_ENTRY_COMPRESSED | 0x50000, UINT64_C(1) << 32 },
	{ false, QCF_ENTRY_COMPRESSED | 0x50000, UINT64_C(1) << 63 },
};

static void forge_bitmap(int row)
{
	uint64_t at = api_l2_entry_at(path());
	uint64_t word = bitmaps[row].word;

	if (bitmaps[row].keep_offset)
		word |= api_get(path(), at, 8) & QCF_ENTRY_OFFSET;
	api_put(path(), at, 8, word);
	api_put(path(), at + 8, 8, bitmaps[row].bitmap);
}

START_TEST(illegal_bitmaps)
{
	make_extended();
	forge_bitmap(_i);
	expect_unreadable(QCF_CHECK_SUBCLUSTER_BITMAP);
	expect_found(QCF_CHECK_SUBCLUSTER_BITMAP);
	for (size_t i = 0; i < QCF_ARRAY_LEN(calls); i++) {
		make_extended();
		forge_bitmap(_i);
		expect_unwritable(calls[i], QCF_CHECK_SUBCLUSTER_BITMAP);
	}
}

END_TEST

/* -------------------------------------------------------------- data files */

static void make_data_file(void)
{
	make_image((struct qcowfmt_create_options){ .data_filename =
	                                                    data_path() });
	fill_image();
}

static const struct {
	uint64_t word;
	uint32_t id;
} data_entries[] = {
	{ COPIED | CLUSTER, QCF_CHECK_DATA_FILE_OFFSET },
	{ COPIED | 40 * CLUSTER, QCF_CHECK_DATA_FILE_OFFSET },
	{ COPIED | CLUSTER | 1, QCF_CHECK_DATA_FILE_OFFSET },
	{ UINT64_C(0x80ffffffffff0000), QCF_CHECK_DATA_FILE_OFFSET },
	{ QCF_ENTRY_COMPRESSED | 0x50000, QCF_CHECK_DATA_FILE_COMPRESSED },
	{ QCF_ENTRY_COMPRESSED, QCF_CHECK_DATA_FILE_COMPRESSED },
};

START_TEST(data_file_entries)
{
	uint64_t word = data_entries[_i].word;
	uint32_t id = data_entries[_i].id;
	struct api_bytes before;
	struct api_bytes after;

	make_data_file();
	before = api_read_file(data_path());
	api_put(path(), api_l2_entry_at(path()), 8, word);
	expect_unreadable(id);
	expect_found(id);
	for (size_t i = 0; i < QCF_ARRAY_LEN(calls); i++) {
		/* What was a mark of an earlier call */
		api_put(path(), API_AT_INCOMPATIBLE + 7, 1, 4);
		expect_unwritable(calls[i], id);
	}
	after = api_read_file(data_path());
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

END_TEST

/* A table of one snapshot without content, behind everything else. */
static uint64_t append_snapshot_table(void)
{
	struct api_bytes bytes = api_read_file(path());
	uint64_t at = (bytes.len + CLUSTER - 1) / CLUSTER * CLUSTER;

	api_bytes_free(&bytes);
	api_put(path(), at, 8, api_l1_entry_at(path()));
	api_put(path(), at + 8, 4, 0); /* entries of its L1 table */
	api_put(path(), at + 12, 4, (1u << 16) + 1); /* id and name: 1 byte */
	api_put(path(), at + 36, 4, 16);             /* extra data */
	api_put(path(), at + 48, 8, SIZE);
	api_put(path(), at + 56, 8, UINT64_C(0x3161000000000000));
	return at;
}

START_TEST(snapshots_with_a_data_file)
{
	make_data_file();
	api_put(path(), API_AT_SNAPSHOTS, 8, append_snapshot_table());
	api_put(path(), 60, 4, 1);
	expect_found(QCF_CHECK_DATA_FILE_SNAPSHOTS);
}

END_TEST

/* -------------------------------------------------------------------- LUKS */

#define LUKS_EXTENSION 0x0537be77u

static void make_luks(void)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
		.cipher_alg = "aes-128",
		.cipher_mode = "cbc",
	};

	make_image(
		(struct qcowfmt_create_options){ .encryption = &encryption });
}

/* Where the header extension has the place and the length of the area. */
static uint64_t pointer_at(void)
{
	uint64_t at = api_get(path(), API_AT_HEADER_LENGTH, 4);

	while (api_get(path(), at, 4) != LUKS_EXTENSION)
		at += 8 + (api_get(path(), at + 4, 4) + 7) / 8 * 8;
	return at + 8;
}

static void expect_not_opened(uint32_t flags, uint32_t id)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	struct api_bytes before = api_read_file(path());
	struct api_bytes after;

	API_FAILS_KEEP(qcowfmt_open_file(path(), &options, &image, &api_error),
	               EINVAL, QCOWFMT_ERR_CORRUPT);
	ck_assert_msg(qcowfmt_error_corruption_id(api_error) == id,
	              "id %u, want %u: %s",
	              qcowfmt_error_corruption_id(api_error), id,
	              qcowfmt_error_message(api_error));
	api_error_reset();
	after = api_read_file(path());
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

static const struct {
	bool is_length;
	uint64_t value;
	uint32_t id;
} pointers[] = {
	{ false, 0, QCF_CHECK_LUKS_AREA },
	{ false, 512, QCF_CHECK_LUKS_AREA },
	{ false, CLUSTER + 1, QCF_CHECK_LUKS_AREA },
	{ false, (uint64_t)1 << 40, QCF_CHECK_LUKS_AREA },
	{ false, UINT64_C(0xffffffffffff0000), QCF_CHECK_LUKS_AREA },
	{ false, UINT64_MAX, QCF_CHECK_LUKS_AREA },
	/* The refcount table */
	{ false, CLUSTER, QCF_CHECK_LUKS_MAGIC },
	{ true, 0, QCF_CHECK_LUKS_TRUNCATED },
	{ true, 1, QCF_CHECK_LUKS_TRUNCATED },
	{ true, 591, QCF_CHECK_LUKS_TRUNCATED },
	{ true, 4096, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ true, (uint64_t)1 << 40, QCF_CHECK_LUKS_AREA },
	{ true, UINT64_MAX, QCF_CHECK_LUKS_AREA },
	{ true, UINT64_C(0xffffffffffff0000), QCF_CHECK_LUKS_AREA },
};

START_TEST(luks_pointers)
{
	uint64_t at;

	make_luks();
	at = pointer_at() + (pointers[_i].is_length ? 8 : 0);
	api_put(path(), at, 8, pointers[_i].value);
	expect_not_opened(0, pointers[_i].id);
	expect_not_opened(API_RW, pointers[_i].id);
}

END_TEST

/* One field of the LUKS header. */
static const struct {
	uint64_t at;
	size_t width;
	uint64_t value;
	uint32_t id;
} luks_fields[] = {
	{ 0, 1, 0, QCF_CHECK_LUKS_MAGIC },
	{ 104, 4, 7, QCF_CHECK_LUKS_PAYLOAD },
	{ 108, 4, 0, QCF_CHECK_LUKS_KEY_LENGTH },
	{ 108, 4, UINT32_MAX, QCF_CHECK_LUKS_KEY_LENGTH },
	{ 164, 4, 0, QCF_CHECK_LUKS_DIGEST_ITERATIONS },
	{ 208, 4, 0, QCF_CHECK_LUKS_SLOT_STATE },
	{ 212, 4, 0, QCF_CHECK_LUKS_SLOT_ITERATIONS },
	{ 248, 4, 0, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ 248, 4, UINT32_MAX, QCF_CHECK_LUKS_SLOT_OFFSET },
	{ 252, 4, 3999, QCF_CHECK_LUKS_SLOT_STRIPES },
	{ 252, 4, UINT32_MAX, QCF_CHECK_LUKS_SLOT_STRIPES },
	{ 208 + 7 * 48, 4, 1, QCF_CHECK_LUKS_SLOT_STATE },
	{ 248 + 7 * 48, 4, 9, QCF_CHECK_LUKS_SLOT_OVERLAP },
};

START_TEST(luks_header_fields)
{
	uint64_t area;

	make_luks();
	area = api_get(path(), pointer_at(), 8);
	api_put(path(), area + luks_fields[_i].at, luks_fields[_i].width,
	        luks_fields[_i].value);
	expect_not_opened(0, luks_fields[_i].id);
	expect_not_opened(API_RW, luks_fields[_i].id);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, illegal_bitmaps, 0, QCF_ARRAY_LEN(bitmaps));
	tcase_add_loop_test(tcase, data_file_entries, 0,
	                    QCF_ARRAY_LEN(data_entries));
	tcase_add_test(tcase, snapshots_with_a_data_file);
	tcase_add_loop_test(tcase, luks_pointers, 0, QCF_ARRAY_LEN(pointers));
	tcase_add_loop_test(tcase, luks_header_fields, 0,
	                    QCF_ARRAY_LEN(luks_fields));
}

int main(int argc, char **argv)
{
	return api_main("hostile_features", add_tests, argc, argv);
}
