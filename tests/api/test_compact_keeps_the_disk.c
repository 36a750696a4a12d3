/* SPDX-License-Identifier: MIT */
/*
 * Promise: compacting makes the file as short as what is in use, tells what it
 * did, leaves the disk as it is, and the handle goes on working; a second time
 * there is nothing to do.
 */
#include "api_test.h"

#define SIZE  ((uint64_t)4 << 20)
#define CHUNK ((size_t)1 << 20)

static const char *path(void)
{
	return scratch_path("image");
}

static struct qcowfmt_image *make(uint64_t cluster_size)
{
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.flags = API_RW,
		.discard_mode = QCOWFMT_DISCARD_UNMAP,
	};
	struct qcowfmt_image *image = NULL;

	api_create(path(), SIZE, cluster_size);
	API_OK(qcowfmt_open_file(path(), &open, &image, &api_error));
	for (unsigned int i = 0; i < 4; i++)
		api_write(image, i * CHUNK, CHUNK, (uint8_t)(i + 1));
	API_OK(qcowfmt_discard(image, CHUNK, CHUNK, &api_error));
	return image;
}

static void expect_disk(struct qcowfmt_image *image)
{
	api_expect(image, 0, CHUNK, 1);
	api_expect(image, CHUNK, CHUNK, 0);
	api_expect(image, 2 * CHUNK, CHUNK, 3);
	api_expect(image, 3 * CHUNK, CHUNK, 4);
}

static struct qcowfmt_compact_result compact(struct qcowfmt_image *image)
{
	struct qcowfmt_compact_result result = { .struct_size =
		                                         sizeof(result) };

	API_OK(qcowfmt_compact(image, NULL, &result, &api_error));
	return result;
}

START_TEST(shorter)
{
	static const uint64_t sizes[] = { 512, 4096, 65536 };
	struct qcowfmt_image *image = make(sizes[_i]);
	struct qcowfmt_compact_result result = compact(image);

	ck_assert_uint_ge(result.old_size - result.new_size, CHUNK);
	ck_assert_uint_gt(result.clusters_moved, 0);
	expect_disk(image);
	api_check_clean(image);
	result = compact(image);
	ck_assert_uint_eq(result.old_size, result.new_size);
	ck_assert_uint_eq(result.clusters_moved, 0);
	/* New clusters go behind the end. */
	api_write(image, CHUNK, CHUNK, 9);
	api_expect(image, CHUNK, CHUNK, 9);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path());
	image = api_open(path(), 0);
	api_expect(image, CHUNK, CHUNK, 9);
	api_expect(image, 3 * CHUNK, CHUNK, 4);
	api_close(image);
}

END_TEST

/* Reading through a handle that has decompressed clusters before. */
START_TEST(compressed)
{
	struct qcowfmt_image *image = make(4096);
	static uint8_t bytes[4096];

	API_OK(qcowfmt_discard(image, 3 * CHUNK, CHUNK, &api_error));
	for (unsigned int i = 0; i < 256; i++) {
		memset(bytes, (int)i, sizeof(bytes));
		API_OK(qcowfmt_pwrite_compressed(image, bytes, sizeof(bytes),
		                                 3 * CHUNK + i * 4096,
		                                 &api_error));
		api_expect(image, 3 * CHUNK + i * 4096, 4096, (uint8_t)i);
	}
	API_OK(qcowfmt_discard(image, 0, CHUNK, &api_error));
	ck_assert_uint_gt(compact(image).clusters_moved, 0);
	for (unsigned int i = 0; i < 256; i++)
		api_expect(image, 3 * CHUNK + i * 4096, 4096, (uint8_t)i);
	/* The next ones are packed into clusters of their own. */
	memset(bytes, 77, sizeof(bytes));
	API_OK(qcowfmt_pwrite_compressed(image, bytes, sizeof(bytes), 0,
	                                 &api_error));
	api_expect(image, 0, 4096, 77);
	api_expect(image, 4 * CHUNK - 4096, 4096, 255);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path());
}

END_TEST

START_TEST(cancelled)
{
	struct qcowfmt_image *image = make(4096);
	int left = 0;
	struct qcowfmt_compact_options o = {
		.struct_size = sizeof(o),
		.progress = api_cancel_after,
		.progress_opaque = &left,
	};

	API_FAILS(qcowfmt_compact(image, &o, NULL, &api_error), ECANCELED,
	          QCOWFMT_ERR_CANCELLED);
	expect_disk(image);
	api_check_clean(image);
	ck_assert_uint_gt(compact(image).clusters_moved, 0);
	expect_disk(image);
	api_close(image);
	api_qemu_check(path());
}

END_TEST

START_TEST(refused)
{
	struct qcowfmt_compact_options o = { .struct_size = sizeof(o),
		                             .flags = 1 };
	struct qcowfmt_image *image = make(4096);

	API_FAILS(qcowfmt_compact(image, &o, NULL, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	api_close(image);
	image = api_open(path(), 0);
	API_FAILS(qcowfmt_compact(image, NULL, NULL, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	api_close(image);
	image = api_make_version_1(path(), SIZE);
	API_FAILS(qcowfmt_compact(image, NULL, NULL, &api_error), ENOTSUP,
	          QCOWFMT_ERR_UNSUPPORTED);
	api_close(image);
}

END_TEST

/* Two guest clusters in one host cluster that is counted once. */
START_TEST(damaged)
{
	struct qcowfmt_image *image = make(65536);
	struct api_bytes before;
	struct api_bytes after;
	uint64_t at;

	api_close(image);
	at = api_l2_entry_at(path());
	api_put(path(), at, 8, api_get(path(), at + 8 * 40, 8));
	image = api_open(path(), API_RW);
	before = api_read_file(path());
	API_FAILS(qcowfmt_compact(image, NULL, NULL, &api_error), EIO,
	          QCOWFMT_ERR_CORRUPT);
	after = api_read_file(path());
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
	api_close(image);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, shorter, 0, 3);
	tcase_add_test(tcase, compressed);
	tcase_add_test(tcase, cancelled);
	tcase_add_test(tcase, refused);
	tcase_add_test(tcase, damaged);
}

int main(int argc, char **argv)
{
	return api_main("compact_keeps_the_disk", add, argc, argv);
}
