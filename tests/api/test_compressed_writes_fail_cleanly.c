/* SPDX-License-Identifier: MIT */
/*
 * Promise: a compressed write that is not allowed, or finds no space, says why
 * and changes nothing; levels are checked when the image is opened, and act.
 */
#include <sys/stat.h>

#include "api_disk.h"
#include "built_with.h"
#include "compressed_data.h"

#define CLUSTER ((uint64_t)65536)
#define SIZE    (64 * CLUSTER + 512)

static struct qcowfmt_image *image;
static uint8_t bytes[4 * CLUSTER];

#define REFUSED(len, offset, err, code, words)                                \
	do {                                                                  \
		API_FAILS_KEEP(qcowfmt_pwrite_compressed(image, bytes, len,   \
		                                         offset, &api_error), \
		               err, code);                                    \
		API_ERROR_NAMES(words);                                       \
		api_error_reset();                                            \
	} while (0)

START_TEST(only_whole_clusters)
{
	api_create(scratch_path("a.qcow2"), SIZE, 0);
	image = api_open(scratch_path("a.qcow2"), API_RW);
	REFUSED(CLUSTER, 512, EINVAL, QCOWFMT_ERR_USAGE, "cluster size");
	REFUSED(512, 0, EINVAL, QCOWFMT_ERR_USAGE, "cluster size");
	REFUSED(CLUSTER + 1, CLUSTER, EINVAL, QCOWFMT_ERR_USAGE,
	        "virtual size");
	REFUSED(511, 64 * CLUSTER, EINVAL, QCOWFMT_ERR_USAGE, "virtual size");
	REFUSED(CLUSTER, 64 * CLUSTER, EINVAL, QCOWFMT_ERR_USAGE,
	        "virtual size");
	ck_assert_int_eq(compressed_kind(image, 0), QCOWFMT_EXTENT_UNALLOCATED);
	compressed_write(image, 64 * CLUSTER, 512, 1);
	compressed_expect(image, 64 * CLUSTER, 512, 1);
	api_check_clean(image);
	api_close(image);
	image = api_open(scratch_path("a.qcow2"), 0);
	REFUSED(CLUSTER, 0, EROFS, QCOWFMT_ERR_READ_ONLY, "read-only");
	api_close(image);
}

END_TEST

START_TEST(raw_images_have_no_clusters)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = API_RW,
	};
	const char *path = scratch_path("raw");

	api_write_file(path, bytes, sizeof(bytes));
	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	REFUSED(CLUSTER, 0, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "raw");
	api_close(image);
	options.compression_level = 1;
	API_FAILS_KEEP(qcowfmt_open_file(path, &options, &image, &api_error),
	               EINVAL, QCOWFMT_ERR_USAGE);
	API_ERROR_NAMES("compression level");
	api_error_reset();
}

END_TEST

/* The data would be in the clear. */
START_TEST(encrypted_images_are_refused)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 10,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.encryption = &encryption,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.secret = "secret",
		.secret_len = 6,
	};

	API_OK(qcowfmt_create_file(scratch_path("e.qcow2"), &create,
	                           &api_error));
	API_OK(qcowfmt_open_file(scratch_path("e.qcow2"), &options, &image,
	                         &api_error));
	REFUSED(CLUSTER, 0, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "encrypted");
	api_close(image);
}

END_TEST

START_TEST(data_files_are_refused)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.data_filename = scratch_path("d.raw"),
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};

	API_OK(qcowfmt_create_file(scratch_path("d.qcow2"), &create,
	                           &api_error));
	API_OK(qcowfmt_open_file(scratch_path("d.qcow2"), &options, &image,
	                         &api_error));
	REFUSED(CLUSTER, 0, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "data file");
	api_close(image);
}

END_TEST

/* -------------------------------------------------------------------- levels */

static void create(uint32_t type)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.compression_type = type,
	};

	API_OK(qcowfmt_create_file(scratch_path("l.qcow2"), &options,
	                           &api_error));
}

static int open_level(int32_t level)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.compression_level = level,
	};

	return qcowfmt_open_file(scratch_path("l.qcow2"), &options, &image,
	                         &api_error);
}

static int64_t size_at_level(uint32_t type, int32_t level)
{
	struct stat st;

	create(type);
	API_OK(open_level(level));
	for (uint64_t i = 0; i < 16; i++)
		compressed_write(image, i * CLUSTER, CLUSTER, i);
	for (uint64_t i = 0; i < 16; i++)
		compressed_expect(image, i * CLUSTER, CLUSTER, i);
	api_close(image);
	ck_assert_int_eq(stat(scratch_path("l.qcow2"), &st), 0);
	return st.st_size;
}

START_TEST(levels_act)
{
	uint32_t type = (uint32_t)_i;
	int32_t highest = type == 0 ? 9 : 19;

	if (type == 1 && !built_with_zstd())
		return;
	ck_assert_int_lt(size_at_level(type, highest), size_at_level(type, 1));
	create(type);
	for (int32_t level = -1; level <= 20; level++) {
		if (level >= 0 && level <= highest) {
			API_OK(open_level(level));
			api_close(image);
			continue;
		}
		API_FAILS_KEEP(open_level(level), EINVAL, QCOWFMT_ERR_USAGE);
		API_ERROR_NAMES("compression level");
		API_ERROR_NAMES(type == 0 ? "zlib" : "zstd");
		api_error_reset();
	}
}

END_TEST

/* ------------------------------------------------------------------ no space */

static struct qcowfmt_storage *create_on_disk(struct api_disk *disk)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
	};
	struct qcowfmt_storage *storage = api_disk_storage(disk);

	API_OK(qcowfmt_create(storage, &options, &api_error));
	return storage;
}

static void open_on(struct qcowfmt_storage *storage)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};

	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
}

START_TEST(no_space_can_be_tried_again)
{
	struct api_disk disk = { .limit = 600000 };
	uint64_t count = 0;

	open_on(create_on_disk(&disk));
	for (;; count++) {
		compressed_fill(bytes, CLUSTER, count);
		int ret = qcowfmt_pwrite_compressed(
			image, bytes, CLUSTER, count * CLUSTER, &api_error);
		if (ret < 0) {
			API_FAILS(ret, ENOSPC, QCOWFMT_ERR_NO_SPACE);
			break;
		}
		ck_assert_uint_lt(count, 60);
	}
	ck_assert_uint_gt(count, 4);
	for (uint64_t i = 0; i < count; i++)
		compressed_expect(image, i * CLUSTER, CLUSTER, i);
	api_expect(image, count * CLUSTER, CLUSTER, 0);
	api_check_clean(image);
	disk.limit = 0;
	for (uint64_t i = count; i < count + 4; i++)
		compressed_write(image, i * CLUSTER, CLUSTER, i);
	for (uint64_t i = 0; i < count + 4; i++)
		compressed_expect(image, i * CLUSTER, CLUSTER, i);
	api_check_clean(image);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

/* Rewriting frees as much as it takes, after a commit that it makes itself. */
START_TEST(rewriting_finds_its_own_space)
{
	struct api_disk disk = { .limit = 700000 };

	open_on(create_on_disk(&disk));
	for (uint64_t i = 0; i < 200; i++)
		compressed_write(image, i % 6 * CLUSTER, CLUSTER, i);
	for (uint64_t i = 194; i < 200; i++)
		compressed_expect(image, i % 6 * CLUSTER, CLUSTER, i);
	api_check_clean(image);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

START_TEST(failed_writes_keep_the_old_content)
{
	struct api_disk disk = { .limit = 0 };

	open_on(create_on_disk(&disk));
	compressed_write(image, 0, CLUSTER, 1);
	compressed_fill(bytes, CLUSTER, 2);
	disk.fail_pwrite = EIO;
	API_FAILS(
		qcowfmt_pwrite_compressed(image, bytes, CLUSTER, 0, &api_error),
		EIO, QCOWFMT_ERR_IO);
	disk.fail_pwrite = 0;
	compressed_expect(image, 0, CLUSTER, 1);
	compressed_write(image, CLUSTER, CLUSTER, 3);
	compressed_expect(image, CLUSTER, CLUSTER, 3);
	api_check_clean(image);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

/* Version 1 cannot free, but what never became part of the image is not lost. */
START_TEST(version_1_ends_where_it_ended)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.format = QCOWFMT_FORMAT_QCOW,
	};
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
	};
	struct api_disk disk = { .limit = 0 };
	struct qcowfmt_storage *storage = api_disk_storage(&disk);
	uint64_t end;

	API_OK(qcowfmt_create(storage, &create, &api_error));
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	compressed_write(image, 0, 4096, 1);
	end = disk.size;
	compressed_fill(bytes, 4096, 2);
	disk.limit = disk.size;
	for (int i = 0; i < 50; i++) {
		API_FAILS(qcowfmt_pwrite_compressed(image, bytes, 4096, 4096,
		                                    &api_error),
		          ENOSPC, QCOWFMT_ERR_NO_SPACE);
		API_FAILS(qcowfmt_pwrite(image, bytes, 4096, 8192, &api_error),
		          ENOSPC, QCOWFMT_ERR_NO_SPACE);
	}
	disk.limit = 0;
	compressed_write(image, 4096, 4096, 2);
	/* At most the way to the next cluster is lost. */
	ck_assert_uint_lt(disk.size, end + 2 * 4096);
	compressed_expect(image, 0, 4096, 1);
	compressed_expect(image, 4096, 4096, 2);
	api_close(image);
	api_disk_fini(&disk);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, only_whole_clusters);
	tcase_add_test(tcase, raw_images_have_no_clusters);
	tcase_add_test(tcase, encrypted_images_are_refused);
	tcase_add_test(tcase, data_files_are_refused);
	tcase_add_loop_test(tcase, levels_act, 0, 2);
	tcase_add_test(tcase, no_space_can_be_tried_again);
	tcase_add_test(tcase, rewriting_finds_its_own_space);
	tcase_add_test(tcase, failed_writes_keep_the_old_content);
	tcase_add_test(tcase, version_1_ends_where_it_ended);
}

int main(int argc, char **argv)
{
	return api_main("compressed_writes_fail_cleanly", add_tests, argc,
	                argv);
}
