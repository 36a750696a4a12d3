/* SPDX-License-Identifier: MIT */
/*
 * Promise: discarding never brings the backing file's data to light, gives
 * host space back unless told otherwise, and zeroing keeps space unless allowed
 * to let it go.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"

#define CLUSTER ((uint64_t)65536)
#define SIZE    (32 * CLUSTER)

static struct qcowfmt_image *image;

static void open_with(const char *name, int32_t discard_mode)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.discard_mode = discard_mode,
	};

	API_OK(qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error));
}

/* An overlay full of 'o' over a backing file full of 'b'. */
static void make_overlay(uint32_t version)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.version = version,
		.backing_filename = "b.qcow2",
		.backing_format = "qcow2",
	};

	api_create(scratch_path("b.qcow2"), SIZE, 0);
	image = api_open(scratch_path("b.qcow2"), API_RW);
	api_write(image, 0, (size_t)SIZE, 'b');
	api_close(image);
	API_OK(qcowfmt_create_file(scratch_path("o.qcow2"), &options,
	                           &api_error));
	open_with("o.qcow2", QCOWFMT_DISCARD_UNMAP);
	api_write(image, 0, 8 * CLUSTER, 'o');
}

START_TEST(version_3_reads_zeros)
{
	make_overlay(3);
	API_OK(qcowfmt_discard(image, CLUSTER, 2 * CLUSTER, &api_error));
	/* Not allocated in the overlay at all */
	API_OK(qcowfmt_discard(image, 10 * CLUSTER, CLUSTER, &api_error));
	api_expect(image, 0, CLUSTER, 'o');
	api_expect(image, CLUSTER, 2 * CLUSTER, 0);
	api_expect(image, 3 * CLUSTER, 5 * CLUSTER, 'o');
	api_expect(image, 8 * CLUSTER, 2 * CLUSTER, 'b');
	api_expect(image, 10 * CLUSTER, CLUSTER, 0);
	api_expect(image, 11 * CLUSTER, SIZE - 11 * CLUSTER, 'b');
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("o.qcow2"));
}

END_TEST

START_TEST(version_2_keeps_its_content)
{
	make_overlay(2);
	API_OK(qcowfmt_discard(image, 0, SIZE, &api_error));
	api_expect(image, 0, 8 * CLUSTER, 'o');
	api_expect(image, 8 * CLUSTER, SIZE - 8 * CLUSTER, 'b');
	api_check_clean(image);
	api_close(image);
}

END_TEST

START_TEST(version_2_zeroes_hide_the_backing_file)
{
	make_overlay(2);
	API_OK(qcowfmt_write_zeroes(image, 100, 9 * CLUSTER,
	                            QCOWFMT_ZERO_MAY_UNMAP, &api_error));
	api_expect(image, 0, 100, 'o');
	api_expect(image, 100, 9 * CLUSTER, 0);
	api_expect(image, 9 * CLUSTER + 100, CLUSTER - 100, 'b');
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("o.qcow2"));
}

END_TEST

START_TEST(parts_of_clusters_keep_their_content)
{
	api_create(scratch_path("p.qcow2"), SIZE, 0);
	open_with("p.qcow2", QCOWFMT_DISCARD_UNMAP);
	api_write(image, 0, 4 * CLUSTER, 'p');
	API_OK(qcowfmt_discard(image, 1, CLUSTER - 1, &api_error));
	API_OK(qcowfmt_discard(image, 0, CLUSTER - 1, &api_error));
	api_expect(image, 0, 4 * CLUSTER, 'p');
	API_OK(qcowfmt_discard(image, CLUSTER - 1, CLUSTER + 2, &api_error));
	api_expect(image, 0, CLUSTER, 'p');
	api_expect(image, CLUSTER, CLUSTER, 0);
	api_expect(image, 2 * CLUSTER, 2 * CLUSTER, 'p');
	api_close(image);
}

END_TEST

/* Blocks that the file takes after 2 MiB of data were discarded. */
static blkcnt_t blocks_after_discard(int32_t mode, blkcnt_t *before)
{
	const char *path = scratch_path("d.qcow2");
	struct stat st;

	api_create(path, SIZE, 0);
	open_with("d.qcow2", mode);
	api_write(image, 0, (size_t)SIZE, 'd');
	API_OK(qcowfmt_flush(image, &api_error));
	ck_assert_int_eq(stat(path, &st), 0);
	*before = st.st_blocks;
	API_OK(qcowfmt_discard(image, 0, SIZE, &api_error));
	api_expect(image, 0, (size_t)SIZE,
	           mode == QCOWFMT_DISCARD_IGNORE ? 'd' : 0);
	api_close(image);
	api_qemu_check(path);
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_blocks;
}

static bool can_punch_holes(void)
{
	int fd = open(scratch_path("hole"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
	                    4096);

	close(fd);
	return ret == 0;
}

START_TEST(modes_decide_about_host_space)
{
	blkcnt_t before = 0;
	blkcnt_t after = blocks_after_discard(QCOWFMT_DISCARD_UNMAP, &before);

	if (can_punch_holes())
		ck_assert_int_lt(after, before / 2);
	after = blocks_after_discard(QCOWFMT_DISCARD_KEEP, &before);
	ck_assert_int_ge(after, before);
	after = blocks_after_discard(QCOWFMT_DISCARD_IGNORE, &before);
	ck_assert_int_ge(after, before);
}

END_TEST

static void change_bitmap(int32_t what)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.kind = what,
		.name = "b",
		.granularity = what == QCOWFMT_BITMAP_ADD ? 512 : 0,
	};

	API_OK(qcowfmt_bitmap_change(&action, 1, NULL, &api_error));
}

/* Blocks that the file loses when a snapshot, which all data belongs to, is
 * deleted, or when a dirty bitmap is. */
static blkcnt_t blocks_given_back(uint32_t flags, bool bitmap)
{
	const char *path = scratch_path("o.qcow2");
	struct qcowfmt_open_options o = {
		.struct_size = sizeof(o),
		.flags = flags | QCOWFMT_OPEN_READ_WRITE,
		.discard_mode = QCOWFMT_DISCARD_KEEP,
	};
	struct stat before;
	struct stat after;

	api_create(path, SIZE, 0);
	API_OK(qcowfmt_open_file(path, &o, &image, &api_error));
	if (bitmap)
		change_bitmap(QCOWFMT_BITMAP_ADD);
	api_write(image, 0, (size_t)SIZE, 'd');
	if (!bitmap) {
		API_OK(qcowfmt_snapshot_create(image, NULL, &api_error));
		API_OK(qcowfmt_discard(image, 0, SIZE, &api_error));
	}
	api_close(image);
	ck_assert_int_eq(stat(path, &before), 0);
	API_OK(qcowfmt_open_file(path, &o, &image, &api_error));
	if (bitmap)
		change_bitmap(QCOWFMT_BITMAP_REMOVE);
	else
		API_OK(qcowfmt_snapshot_delete(image, "1", NULL, &api_error));
	api_close(image);
	api_qemu_check(path);
	ck_assert_int_eq(stat(path, &after), 0);
	return before.st_blocks - after.st_blocks;
}

START_TEST(flags_decide_about_other_space)
{
	blkcnt_t all = SIZE / 512;

	if (can_punch_holes()) {
		ck_assert_int_gt(blocks_given_back(0, false), all / 2);
		ck_assert_int_gt(
			blocks_given_back(QCOWFMT_OPEN_DISCARD_OTHER, true), 0);
	}
	ck_assert_int_lt(
		blocks_given_back(QCOWFMT_OPEN_KEEP_SNAPSHOT_SPACE, false),
		all / 2);
	ck_assert_int_le(blocks_given_back(0, true), 0);
}

END_TEST

static uint32_t allocated_clusters(void)
{
	struct qcowfmt_extent extent;
	uint32_t count = 0;

	for (uint64_t at = 0; at < SIZE; at += CLUSTER) {
		ck_assert_int_eq(qcowfmt_map(image, at, CLUSTER, 0, &extent, 1,
		                             &api_error),
		                 1);
		if (extent.host_offset != QCOWFMT_NO_OFFSET)
			count++;
	}
	return count;
}

START_TEST(zeroing_keeps_space_unless_allowed)
{
	api_create(scratch_path("z.qcow2"), SIZE, 0);
	open_with("z.qcow2", QCOWFMT_DISCARD_UNMAP);
	api_write(image, 0, 16 * CLUSTER, 'z');
	ck_assert_uint_eq(allocated_clusters(), 16);
	API_OK(qcowfmt_write_zeroes(image, 0, 8 * CLUSTER, 0, &api_error));
	ck_assert_uint_eq(allocated_clusters(), 16);
	API_OK(qcowfmt_write_zeroes(image, 8 * CLUSTER, 8 * CLUSTER,
	                            QCOWFMT_ZERO_MAY_UNMAP, &api_error));
	ck_assert_uint_eq(allocated_clusters(), 8);
	api_expect(image, 0, (size_t)SIZE, 0);
	/* Writing to zeroed space needs no other. */
	api_write(image, 100, 10, 'w');
	ck_assert_uint_eq(allocated_clusters(), 8);
	api_expect(image, 0, 100, 0);
	api_expect(image, 100, 10, 'w');
	api_expect(image, 110, CLUSTER - 110, 0);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("z.qcow2"));
}

END_TEST

START_TEST(space_is_used_again)
{
	struct stat first;
	struct stat last;

	api_create(scratch_path("r.qcow2"), SIZE, 0);
	for (int round = 0; round < 6; round++) {
		open_with("r.qcow2", QCOWFMT_DISCARD_UNMAP);
		api_write(image, 0, (size_t)SIZE, (uint8_t)('0' + round));
		API_OK(qcowfmt_discard(image, 0, SIZE, &api_error));
		api_check_clean(image);
		api_close(image);
		ck_assert_int_eq(stat(scratch_path("r.qcow2"), &last), 0);
		if (round == 0)
			first = last;
	}
	ck_assert_int_eq(last.st_size, first.st_size);
}

END_TEST

/* A cluster of 32 subclusters, with or without a backing file. */
static void make_subclusters(bool backed)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = SIZE,
		.cluster_size = CLUSTER,
		.flags = QCOWFMT_CREATE_EXTENDED_L2,
		.backing_filename = backed ? "base.raw" : NULL,
		.backing_format = backed ? "raw" : NULL,
	};
	struct api_bytes base = { malloc(SIZE), SIZE };

	ck_assert_ptr_nonnull(base.bytes);
	memset(base.bytes, 'b', SIZE);
	api_write_file(scratch_path("base.raw"), base.bytes, base.len);
	api_bytes_free(&base);
	API_OK(qcowfmt_create_file(scratch_path("s.qcow2"), &options,
	                           &api_error));
}

static void open_subclusters(void)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};

	API_OK(qcowfmt_open_file(scratch_path("s.qcow2"), &options, &image,
	                         &api_error));
}

static uint64_t clusters_with_space(void)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions + result.leaks, 0);
	return result.allocated_clusters;
}

START_TEST(subclusters_go_one_by_one)
{
	const uint64_t sub = CLUSTER / 32;

	make_subclusters(_i == 1);
	open_subclusters();
	api_write(image, 0, 2 * CLUSTER, 's');
	/* Whole subclusters inside the range, and no more. */
	API_OK(qcowfmt_discard(image, sub - 1, 3 * sub + 2, &api_error));
	api_expect(image, 0, sub, 's');
	api_expect(image, sub, 3 * sub, 0);
	api_expect(image, 4 * sub, CLUSTER, 's');
	ck_assert_uint_eq(clusters_with_space(), 2);
	/* With the last one the cluster goes. */
	API_OK(qcowfmt_discard(image, 4 * sub, 28 * sub, &api_error));
	ck_assert_uint_eq(clusters_with_space(), 2);
	API_OK(qcowfmt_discard(image, 0, sub, &api_error));
	ck_assert_uint_eq(clusters_with_space(), 1);
	api_expect(image, 0, CLUSTER, 0);
	api_expect(image, CLUSTER, CLUSTER, 's');
	/* What nobody wrote never shows the backing file again. */
	API_OK(qcowfmt_discard(image, 2 * CLUSTER + sub, sub, &api_error));
	api_expect(image, 2 * CLUSTER, sub, _i == 1 ? 'b' : 0);
	api_expect(image, 2 * CLUSTER + sub, sub, 0);
	api_close(image);
	api_qemu_check(scratch_path("s.qcow2"));
}

END_TEST

/* The last subcluster of the disk is cut short by its size: a range that begins
 * inside it has no whole one. */
START_TEST(the_end_of_a_raw_data_file_stays)
{
	const uint64_t size = (UINT64_C(1) << 20) + 1536;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = size,
		.cluster_size = UINT64_C(1) << 20,
		.flags = QCOWFMT_CREATE_EXTENDED_L2 |
		         QCOWFMT_CREATE_DATA_FILE_RAW,
		.data_filename = scratch_path("r.data"),
	};

	API_OK(qcowfmt_create_file(scratch_path("r.qcow2"), &options,
	                           &api_error));
	open_with("r.qcow2", QCOWFMT_DISCARD_UNMAP);
	api_write(image, size - 1536, 1536, 'd');
	API_OK(qcowfmt_discard(image, size - 512, 512, &api_error));
	api_expect(image, size - 1536, 1536, 'd');
	API_OK(qcowfmt_discard(image, size - 1536, 1536, &api_error));
	api_expect(image, size - 1536, 1536, 0);
	api_close(image);
	api_qemu_check(scratch_path("r.qcow2"));
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, subclusters_go_one_by_one, 0, 2);
	tcase_add_test(tcase, version_3_reads_zeros);
	tcase_add_test(tcase, version_2_keeps_its_content);
	tcase_add_test(tcase, version_2_zeroes_hide_the_backing_file);
	tcase_add_test(tcase, parts_of_clusters_keep_their_content);
	tcase_add_test(tcase, modes_decide_about_host_space);
	tcase_add_test(tcase, flags_decide_about_other_space);
	tcase_add_test(tcase, zeroing_keeps_space_unless_allowed);
	tcase_add_test(tcase, space_is_used_again);
	tcase_add_test(tcase, the_end_of_a_raw_data_file_stays);
}

int main(int argc, char **argv)
{
	return api_main("discard_gives_space_back", add_tests, argc, argv);
}
