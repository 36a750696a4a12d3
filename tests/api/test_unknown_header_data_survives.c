/* SPDX-License-Identifier: MIT */
/*
 * Promise: header extensions and header fields that this library does not know
 * are the same after an image was written to.
 */
#include "api_test.h"

#define SIZE ((uint64_t)64 << 20)

static struct qcowfmt_image *image;

/* Unknown fields at 112, an unknown extension behind them, then the end. */
static void add_unknown(const char *path)
{
	api_put(path, API_AT_HEADER_LENGTH, 4, 128);
	api_put(path, 112, 8, UINT64_C(0x1122334455667788));
	api_put(path, 120, 8, UINT64_C(0x99aabbccddeeff00));
	api_put(path, 128, 4, 0xcafe0001);
	api_put(path, 132, 4, 11);
	api_put(path, 136, 8, UINT64_C(0x0001020304050607));
	api_put(path, 144, 8, UINT64_C(0x08090a0000000000));
	api_put(path, 152, 8, 0);
}

/* Fields that writing may change: where the L1 table is and how large, where
 * the refcount table is and how large. */
static void blank_movable(struct api_bytes *header)
{
	memset(header->bytes + API_AT_L1_SIZE, 0, 24);
}

static struct api_bytes read_header(const char *path, size_t cluster_size)
{
	struct api_bytes header = api_read_file(path);

	header.len = cluster_size;
	blank_movable(&header);
	return header;
}

static void check_with(uint64_t cluster_size)
{
	const char *path = scratch_path("x.qcow2");
	struct api_bytes before;
	struct api_bytes after;

	api_create(path, SIZE, cluster_size);
	add_unknown(path);
	before = read_header(path, (size_t)cluster_size);
	image = api_open(path, API_RW);
	/* With 512-byte clusters this makes the refcount table grow. */
	for (uint64_t at = 0; at < SIZE / 4; at += 1 << 20)
		api_write(image, at, 1 << 20, 'w');
	API_OK(qcowfmt_discard(image, 0, 1 << 20, &api_error));
	api_close(image);
	after = read_header(path, (size_t)cluster_size);
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
	image = api_open(path, 0);
	api_check_clean(image);
	api_expect(image, 1 << 20, 1 << 20, 'w');
	api_close(image);
	api_qemu_check(path);
}

/* An extension that does not end where most headers do, and another one. */
static void add_long_unknown(const char *path)
{
	api_put(path, 112, 4, 0xcafe0001);
	api_put(path, 116, 4, 6000);
	for (unsigned int i = 0; i < 6000; i += 8)
		api_put(path, 120 + i, 8, UINT64_C(0x0101010101010101) * i);
	api_put(path, 6120, 4, 0xcafe0002);
	api_put(path, 6124, 4, 8);
	api_put(path, 6128, 8, UINT64_C(0x0001020304050607));
	api_put(path, 6136, 8, 0);
}

START_TEST(longer_than_most_headers)
{
	const struct qcowfmt_rebase_options to_name = {
		.struct_size = sizeof(to_name),
		.flags = QCOWFMT_REBASE_UNSAFE,
		.backing_filename = "b.raw",
		.backing_format = "raw",
	};
	const char *path = scratch_path("x.qcow2");
	struct api_bytes before;
	struct api_bytes after;
	uint8_t *end;

	api_create(path, SIZE, 65536);
	add_long_unknown(path);
	before = api_read_file(path);
	image = api_open(path, API_RW);
	API_OK(qcowfmt_rebase(image, NULL, &to_name, &api_error));
	api_close(image);
	after = api_read_file(path);
	/* The extensions may have moved. */
	end = memmem(after.bytes, 65536, before.bytes + 112, 6024);
	ck_assert_ptr_nonnull(end);
	api_bytes_free(&before);
	api_bytes_free(&after);
	api_write_file(scratch_path("b.raw"), "", 0);
	api_qemu_check(path);
}

END_TEST

START_TEST(large_clusters)
{
	check_with(65536);
}

END_TEST

START_TEST(small_clusters)
{
	check_with(512);
}

END_TEST

START_TEST(the_table_did_move)
{
	const char *path = scratch_path("x.qcow2");
	uint64_t offset;

	api_create(path, SIZE, 512);
	offset = api_get(path, API_AT_REFTABLE, 8);
	image = api_open(path, API_RW);
	for (uint64_t at = 0; at < SIZE / 4; at += 1 << 20)
		api_write(image, at, 1 << 20, 'w');
	api_close(image);
	ck_assert_uint_ne(api_get(path, API_AT_REFTABLE, 8), offset);
	api_qemu_check(path);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, large_clusters);
	tcase_add_test(tcase, longer_than_most_headers);
	tcase_add_test(tcase, small_clusters);
	tcase_add_test(tcase, the_table_did_move);
}

int main(int argc, char **argv)
{
	return api_main("unknown_header_data_survives", add_tests, argc, argv);
}
