/* SPDX-License-Identifier: MIT */
/*
 * Promise: the map says for every byte of the disk what it is, where it lives
 * and which image has it; the info of each image of the chain is its own.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"
#include "built_with.h"

#define CLUSTER ((uint64_t)65536)
#define SIZE    (64 * CLUSTER)
#define MAX     64

static struct qcowfmt_image *image;
static struct qcowfmt_extent extents[MAX];

/* The whole range, cut into extents; equal neighbours are joined. */
static int map_all(uint64_t start, uint64_t end, uint32_t flags, int at_once)
{
	int count = 0;

	while (start < end) {
		struct qcowfmt_extent found[8];
		int n = qcowfmt_map(image, start, end - start, flags, found,
		                    at_once, &api_error);

		API_OK(n);
		ck_assert_int_ge(n, 1);
		ck_assert_int_le(n, at_once);
		for (int i = 0; i < n; i++) {
			struct qcowfmt_extent *last =
				count == 0 ? NULL : &extents[count - 1];

			ck_assert_uint_eq(found[i].guest_offset, start);
			ck_assert_uint_gt(found[i].length, 0);
			ck_assert_uint_le(found[i].length, end - start);
			start += found[i].length;
			if (last != NULL && last->kind == found[i].kind &&
			    last->flags == found[i].flags &&
			    last->depth == found[i].depth &&
			    (last->host_offset == QCOWFMT_NO_OFFSET
			             ? found[i].host_offset == QCOWFMT_NO_OFFSET
			             : last->host_offset + last->length ==
			                       found[i].host_offset)) {
				last->length += found[i].length;
				continue;
			}
			ck_assert_int_lt(count, MAX);
			extents[count++] = found[i];
		}
	}
	return count;
}

static void expect_extent(int index, uint64_t guest_offset, uint64_t length,
                          int32_t kind, uint32_t depth)
{
	const struct qcowfmt_extent *e = &extents[index];

	ck_assert_uint_eq(e->guest_offset, guest_offset);
	ck_assert_uint_eq(e->length, length);
	ck_assert_int_eq(e->kind, kind);
	ck_assert_uint_eq(e->depth, depth);
	ck_assert_int_eq((e->flags & QCOWFMT_EXTENT_HOST_OFFSET) != 0,
	                 e->host_offset != QCOWFMT_NO_OFFSET);
}

/* data 4-7, zero 10-11, zero with space 20, all else unallocated */
static void make_image(const char *path)
{
	api_create(path, SIZE, 0);
	image = api_open(path, API_RW);
	api_write(image, 4 * CLUSTER, 4 * CLUSTER, 'd');
	API_OK(qcowfmt_write_zeroes(image, 10 * CLUSTER, 2 * CLUSTER,
	                            QCOWFMT_ZERO_MAY_UNMAP, &api_error));
	api_write(image, 20 * CLUSTER, CLUSTER, 'z');
	API_OK(qcowfmt_write_zeroes(image, 20 * CLUSTER, CLUSTER, 0,
	                            &api_error));
}

START_TEST(kinds_of_extents)
{
	for (int at_once = 1; at_once <= 8; at_once++) {
		make_image(scratch_path("x.qcow2"));
		ck_assert_int_eq(map_all(0, SIZE, 0, at_once), 7);
		expect_extent(0, 0, 4 * CLUSTER, QCOWFMT_EXTENT_UNALLOCATED, 0);
		expect_extent(1, 4 * CLUSTER, 4 * CLUSTER, QCOWFMT_EXTENT_DATA,
		              0);
		ck_assert_uint_ne(extents[1].flags & QCOWFMT_EXTENT_HOST_OFFSET,
		                  0);
		ck_assert_uint_ne(extents[1].flags & QCOWFMT_EXTENT_IN_PLACE,
		                  0);
		expect_extent(3, 10 * CLUSTER, 2 * CLUSTER, QCOWFMT_EXTENT_ZERO,
		              0);
		ck_assert_uint_eq(extents[3].host_offset, QCOWFMT_NO_OFFSET);
		expect_extent(5, 20 * CLUSTER, CLUSTER, QCOWFMT_EXTENT_ZERO, 0);
		ck_assert_uint_ne(extents[5].flags & QCOWFMT_EXTENT_HOST_OFFSET,
		                  0);
		expect_extent(6, 21 * CLUSTER, 43 * CLUSTER,
		              QCOWFMT_EXTENT_UNALLOCATED, 0);
		api_close(image);
	}
}

END_TEST

START_TEST(parts_of_clusters)
{
	make_image(scratch_path("x.qcow2"));
	ck_assert_int_eq(map_all(4 * CLUSTER + 100, 10 * CLUSTER + 1, 0, 8), 3);
	expect_extent(0, 4 * CLUSTER + 100, 4 * CLUSTER - 100,
	              QCOWFMT_EXTENT_DATA, 0);
	ck_assert_uint_eq(extents[0].host_offset % CLUSTER, 100);
	expect_extent(2, 10 * CLUSTER, 1, QCOWFMT_EXTENT_ZERO, 0);
	api_close(image);
}

END_TEST

/* The promise of HOST_OFFSET: the bytes are there. */
START_TEST(host_offsets_are_true)
{
	const char *path = scratch_path("x.qcow2");

	make_image(path);
	api_write(image, 5 * CLUSTER + 10, 4, 'T');
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert_int_eq(map_all(5 * CLUSTER, 5 * CLUSTER + 20, 0, 8), 1);
	ck_assert_uint_eq(api_get(path, extents[0].host_offset + 10, 4),
	                  0x54545454);
	api_close(image);
}

END_TEST

START_TEST(chains)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};

	make_image(scratch_path("x.qcow2"));
	api_close(image);
	api_create_overlay(scratch_path("o.qcow2"), SIZE, "x.qcow2", "qcow2");
	API_OK(qcowfmt_open_file(scratch_path("o.qcow2"), &options, &image,
	                         &api_error));
	api_write(image, 6 * CLUSTER, CLUSTER, 'o');
	ck_assert_int_eq(map_all(0, 8 * CLUSTER, 0, 8), 4);
	expect_extent(0, 0, 4 * CLUSTER, QCOWFMT_EXTENT_UNALLOCATED, 1);
	expect_extent(1, 4 * CLUSTER, 2 * CLUSTER, QCOWFMT_EXTENT_DATA, 1);
	ck_assert_uint_eq(extents[1].flags & QCOWFMT_EXTENT_IN_PLACE, 0);
	expect_extent(2, 6 * CLUSTER, CLUSTER, QCOWFMT_EXTENT_DATA, 0);
	ck_assert_uint_ne(extents[2].flags & QCOWFMT_EXTENT_IN_PLACE, 0);
	expect_extent(3, 7 * CLUSTER, CLUSTER, QCOWFMT_EXTENT_DATA, 1);
	ck_assert_int_eq(map_all(0, 8 * CLUSTER, QCOWFMT_MAP_TOP, 8), 3);
	expect_extent(0, 0, 6 * CLUSTER, QCOWFMT_EXTENT_UNALLOCATED, 0);
	expect_extent(1, 6 * CLUSTER, CLUSTER, QCOWFMT_EXTENT_DATA, 0);
	expect_extent(2, 7 * CLUSTER, CLUSTER, QCOWFMT_EXTENT_UNALLOCATED, 0);
	api_close(image);
}

END_TEST

START_TEST(holes_of_raw_files_are_found_when_asked_for)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
	};
	const char *path = scratch_path("h.raw");
	uint64_t holes = 0;
	int count;

	api_write_file(path, "", 0);
	ck_assert_int_eq(truncate(path, (off_t)SIZE), 0);
	api_put(path, 32 * CLUSTER, 8, 1);
	API_OK(qcowfmt_open_file(path, &options, &image, &api_error));
	count = map_all(0, SIZE, 0, 8);
	ck_assert_int_eq(count, 1);
	expect_extent(0, 0, SIZE, QCOWFMT_EXTENT_DATA, 0);
	ck_assert_uint_eq(extents[0].host_offset, 0);
	count = map_all(0, SIZE, QCOWFMT_MAP_HOLES, 8);
	for (int i = 0; i < count; i++) {
		ck_assert_int_eq(extents[i].kind, QCOWFMT_EXTENT_DATA);
		if ((extents[i].flags & QCOWFMT_EXTENT_HOLE) != 0)
			holes += extents[i].length;
	}
	/* File systems differ in how finely they tell. */
	ck_assert_uint_le(holes, SIZE - 8);
	api_close(image);
}

END_TEST

START_TEST(info_of_each_image)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct stat st;

	make_image(scratch_path("x.qcow2"));
	api_close(image);
	api_create_overlay(scratch_path("o.qcow2"), SIZE + 512, "x.qcow2",
	                   "qcow2");
	API_OK(qcowfmt_open_file(scratch_path("o.qcow2"), &options, &image,
	                         &api_error));
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_uint_eq(info.virtual_size, SIZE + 512);
	ck_assert_uint_eq(info.cluster_size, CLUSTER);
	ck_assert_int_eq(info.format, QCOWFMT_FORMAT_QCOW2);
	ck_assert_uint_eq(info.version, 3);
	ck_assert_uint_eq(info.refcount_bits, 16);
	ck_assert_uint_eq(info.flags, QCOWFMT_INFO_READ_ONLY);
	ck_assert_uint_eq(info.snapshot_count, 0);
	ck_assert_uint_eq(info.chain_depth, 2);
	ck_assert_str_eq(info.filename, scratch_path("o.qcow2"));
	ck_assert_str_eq(info.backing_filename, "x.qcow2");
	ck_assert_str_eq(info.backing_format, "qcow2");
	ck_assert_str_eq(info.full_backing_filename, scratch_path("x.qcow2"));
	API_OK(qcowfmt_get_info(image, 1, &info, &api_error));
	ck_assert_uint_eq(info.virtual_size, SIZE);
	ck_assert_str_eq(info.filename, scratch_path("x.qcow2"));
	ck_assert_ptr_null(info.backing_filename);
	ck_assert_ptr_null(info.backing_format);
	ck_assert_ptr_null(info.full_backing_filename);
	ck_assert_int_eq(stat(scratch_path("x.qcow2"), &st), 0);
	ck_assert_uint_eq(info.file_size, (uint64_t)st.st_size);
	ck_assert_uint_eq(info.allocated_size, (uint64_t)st.st_blocks * 512);
	API_FAILS(qcowfmt_get_info(image, 2, &info, &api_error), ENOENT,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_get_info(image, UINT32_MAX, &info, &api_error),
	          ENOENT, QCOWFMT_ERR_USAGE);
	api_close(image);
}

END_TEST

START_TEST(info_of_a_raw_image)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = API_RW,
	};
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	api_write_file(scratch_path("r.raw"), "0123456789", 10);
	API_OK(qcowfmt_open_file(scratch_path("r.raw"), &options, &image,
	                         &api_error));
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_uint_eq(info.virtual_size, 512);
	ck_assert_uint_eq(info.file_size, 10);
	ck_assert_uint_eq(info.cluster_size, 0);
	ck_assert_int_eq(info.format, QCOWFMT_FORMAT_RAW);
	ck_assert_uint_eq(info.version, 0);
	ck_assert_uint_eq(info.refcount_bits, 0);
	ck_assert_uint_eq(info.flags, 0);
	api_close(image);
}

END_TEST

/* Preallocated: the clusters are there, and holes in the file. */
static void make_encrypted(const char *path, int32_t method)
{
	const struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = method,
		.secret = "secret",
		.secret_len = 6,
		.iter_time_ms = method == QCOWFMT_ENCRYPTION_LUKS ? 10 : 0,
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.preallocation = QCOWFMT_PREALLOCATION_METADATA,
		.encryption = method != 0 ? &encryption : NULL,
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.flags = API_RW,
		.secret = "secret",
		.secret_len = 6,
	};

	API_OK(qcowfmt_create_file(path, &options, &api_error));
	API_OK(qcowfmt_open_file(path, &open, &image, &api_error));
}

/* Zeros in the file are zeros for the guest only if they are not decrypted. */
START_TEST(encryption_is_told)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_extent extent;

	for (int32_t method = 0; method <= QCOWFMT_ENCRYPTION_LUKS; method++) {
		uint32_t secret = method != 0 ? QCOWFMT_EXTENT_ENCRYPTED : 0;
		uint32_t hole = method == 0 ? QCOWFMT_EXTENT_HOLE : 0;

		make_encrypted(scratch_path("e.qcow2"), method);
		API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
		ck_assert_int_eq(info.encryption, method);
		ck_assert_int_eq((info.flags & QCOWFMT_INFO_ENCRYPTED) != 0,
		                 method != 0);
		ck_assert_int_eq(qcowfmt_map(image, 0, SIZE, QCOWFMT_MAP_HOLES,
		                             &extent, 1, &api_error),
		                 1);
		ck_assert_int_eq(extent.kind, QCOWFMT_EXTENT_DATA);
		ck_assert_uint_eq(extent.flags,
		                  secret | hole | QCOWFMT_EXTENT_IN_PLACE |
		                          QCOWFMT_EXTENT_HOST_OFFSET);
		ck_assert_uint_ne(extent.host_offset, QCOWFMT_NO_OFFSET);
		api_close(image);
	}
}

END_TEST

START_TEST(features_are_told)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.flags = QCOWFMT_CREATE_EXTENDED_L2 |
		         QCOWFMT_CREATE_LAZY_REFCOUNTS,
		.compression_type = built_with_zstd(),
	};
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_create_file(scratch_path("f.qcow2"), &options,
	                           &api_error));
	image = api_open(scratch_path("f.qcow2"), 0);
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_uint_eq(info.flags, QCOWFMT_INFO_EXTENDED_L2 |
	                                      QCOWFMT_INFO_LAZY_REFCOUNTS |
	                                      QCOWFMT_INFO_READ_ONLY);
	ck_assert_uint_eq(info.compression_type, options.compression_type);
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_NONE);
	ck_assert_ptr_null(info.data_filename);
	api_close(image);
}

END_TEST

START_TEST(map_arguments)
{
	make_image(scratch_path("x.qcow2"));
	API_FAILS(qcowfmt_map(image, 0, SIZE, 0, extents, 0, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_map(image, 0, SIZE, 0, extents, -1, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(
		qcowfmt_map(image, 0, SIZE, 0x80000000, extents, 1, &api_error),
		EINVAL, QCOWFMT_ERR_USAGE);
	api_close(image);
}

END_TEST

START_TEST(names_of_formats)
{
	ck_assert_str_eq(qcowfmt_format_name(QCOWFMT_FORMAT_RAW), "raw");
	ck_assert_str_eq(qcowfmt_format_name(QCOWFMT_FORMAT_QCOW), "qcow");
	ck_assert_str_eq(qcowfmt_format_name(QCOWFMT_FORMAT_QCOW2), "qcow2");
	ck_assert_ptr_null(qcowfmt_format_name(QCOWFMT_FORMAT_PROBE));
	ck_assert_ptr_null(qcowfmt_format_name(-1));
	ck_assert_ptr_null(qcowfmt_format_name(4));
	ck_assert_int_eq(qcowfmt_format_from_name("raw"), QCOWFMT_FORMAT_RAW);
	ck_assert_int_eq(qcowfmt_format_from_name("qcow"), QCOWFMT_FORMAT_QCOW);
	ck_assert_int_eq(qcowfmt_format_from_name("qcow2"),
	                 QCOWFMT_FORMAT_QCOW2);
	ck_assert_int_eq(qcowfmt_format_from_name("vmdk"), -EINVAL);
	ck_assert_int_eq(qcowfmt_format_from_name(""), -EINVAL);
	ck_assert_str_eq(qcowfmt_version(), "0.1.0");
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, kinds_of_extents);
	tcase_add_test(tcase, parts_of_clusters);
	tcase_add_test(tcase, host_offsets_are_true);
	tcase_add_test(tcase, chains);
	tcase_add_test(tcase, holes_of_raw_files_are_found_when_asked_for);
	tcase_add_test(tcase, info_of_each_image);
	tcase_add_test(tcase, info_of_a_raw_image);
	tcase_add_test(tcase, encryption_is_told);
	tcase_add_test(tcase, features_are_told);
	tcase_add_test(tcase, map_arguments);
	tcase_add_test(tcase, names_of_formats);
}

int main(int argc, char **argv)
{
	return api_main("map_and_info", add_tests, argc, argv);
}
