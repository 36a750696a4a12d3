/* SPDX-License-Identifier: MIT */
/*
 * Promise: a preallocated image has all its tables, is found sound by qemu-img,
 * is mapped as qemu-img maps its own, and reads as zeros or, with extended L2
 * entries, as its backing file.
 */
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_test.h"

#define SIZE ((uint64_t)10 << 20)
/* 3000832 bytes: neither a whole cluster nor a whole L2 table. */
#define ODD_SIZE ((uint64_t)3000832)

struct row {
	struct qcowfmt_create_options ours;
	const char *theirs;
};

/* Both programs work in the scratch directory, so that data files have the same
 * name. */
static void enter_scratch(void)
{
	ck_assert_int_eq(chdir(scratch_path(".")), 0);
}

static void create(const char *name, const struct qcowfmt_create_options *row,
                   int mode)
{
	struct qcowfmt_create_options options = *row;

	options.struct_size = sizeof(options);
	options.preallocation = mode;
	API_OK(qcowfmt_create_file(name, &options, &api_error));
}

QCF_PRINTF(1, 2) static void shell(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	ck_assert_msg(api_run("/bin/sh", "-c", command, NULL) == 0, "%s",
	              command);
}

static const struct row rows[] = {
	{ { .virtual_size = SIZE }, "compat=1.1" },
	{ { .virtual_size = SIZE, .version = 2 }, "compat=0.10" },
	{ { .virtual_size = ODD_SIZE, .cluster_size = 4096 },
	  "cluster_size=4k" },
	{ { .virtual_size = ODD_SIZE, .cluster_size = 2 << 20 },
	  "cluster_size=2M" },
	{ { .virtual_size = SIZE, .cluster_size = 512 }, "cluster_size=512" },
	{ { .virtual_size = ODD_SIZE,
	    .cluster_size = 512,
	    .refcount_bits = 64 },
	  "cluster_size=512,refcount_bits=64" },
	{ { .virtual_size = ODD_SIZE,
	    .cluster_size = 512,
	    .refcount_bits = 1,
	    .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS },
	  "cluster_size=512,refcount_bits=1,lazy_refcounts=on" },
	{ { .virtual_size = SIZE, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  "extended_l2=on" },
	{ { .virtual_size = ODD_SIZE,
	    .cluster_size = 16384,
	    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  "extended_l2=on,cluster_size=16k" },
	{ { .virtual_size = SIZE, .data_filename = "d.raw" },
	  "data_file=d.raw" },
	{ { .virtual_size = SIZE,
	    .data_filename = "d.raw",
	    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  "data_file=d.raw,extended_l2=on" },
	{ { .virtual_size = SIZE,
	    .data_filename = "d.raw",
	    .cluster_size = 512,
	    .flags = QCOWFMT_CREATE_DATA_FILE_RAW },
	  "data_file=d.raw,data_file_raw=on,cluster_size=512" },
	{ { .virtual_size = 512 }, "compat=1.1" },
	{ { .virtual_size = 0 }, "compat=1.1" },
};

static const char *const mode_names[] = { "off", "metadata", "falloc", "full" };

START_TEST(qemu_finds_nothing_wrong)
{
	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		for (int mode = QCOWFMT_PREALLOCATION_METADATA;
		     mode <= QCOWFMT_PREALLOCATION_FULL; mode++) {
			create("x", &rows[i].ours, mode);
			api_qemu_check("x");
		}
	}
}

END_TEST

/* Where the refcount blocks of large images lie is up to the program, so host
 * offsets only compare where one block is enough. */
static bool one_block(const struct qcowfmt_create_options *o)
{
	return o->cluster_size != 512;
}

static void map_to(const char *image)
{
	shell("%s map -U --output=json %s > %s.map", api_qemu_img, image,
	      image);
}

static void make_both(const struct row *row, int mode)
{
	shell("%s create -q -f qcow2 -o %s,preallocation=%s theirs %llu",
	      api_qemu_img, row->theirs, mode_names[mode],
	      (unsigned long long)row->ours.virtual_size);
	create("ours", &row->ours, mode);
}

static void compare_maps(const struct row *row, int mode)
{
	make_both(row, mode);
	map_to("theirs");
	map_to("ours");
	ck_assert_msg(api_run("cmp", "ours.map", "theirs.map", NULL) == 0,
	              "%s, %s", row->theirs, mode_names[mode]);
}

START_TEST(qemu_maps_it_as_its_own)
{
	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		/* qemu-img asks for holes, and of the last cluster, if it is
		 * not whole, it fills a part. */
		if (!one_block(&rows[i].ours) ||
		    rows[i].ours.virtual_size % 65536 != 0)
			continue;
		for (int mode = QCOWFMT_PREALLOCATION_METADATA;
		     mode <= QCOWFMT_PREALLOCATION_FULL; mode++)
			compare_maps(&rows[i], mode);
	}
}

END_TEST

START_TEST(with_one_refcount_block_the_bytes_are_those_of_qemu)
{
	struct api_bytes a;
	struct api_bytes b;

	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		/* qemu-img ends the file with the last subcluster. */
		if (!one_block(&rows[i].ours) ||
		    (rows[i].ours.virtual_size == ODD_SIZE &&
		     rows[i].ours.flags != 0))
			continue;
		make_both(&rows[i], QCOWFMT_PREALLOCATION_METADATA);
		a = api_read_file("ours");
		b = api_read_file("theirs");
		ck_assert_msg(api_bytes_equal(&a, &b), "%s: %zu and %zu bytes",
		              rows[i].theirs, a.len, b.len);
		api_bytes_free(&a);
		api_bytes_free(&b);
	}
}

END_TEST

static uint64_t space_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(stat(name, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

START_TEST(space_is_taken_as_asked)
{
	const struct qcowfmt_create_options plain = { .virtual_size = SIZE };
	const struct qcowfmt_create_options apart = {
		.virtual_size = SIZE,
		.data_filename = "d.raw",
	};
	const struct qcowfmt_create_options raw = {
		.virtual_size = SIZE,
		.format = QCOWFMT_FORMAT_RAW,
	};

	enter_scratch();
	create("x", &plain, QCOWFMT_PREALLOCATION_METADATA);
	ck_assert_uint_lt(space_of("x"), SIZE / 4);
	create("x", &apart, QCOWFMT_PREALLOCATION_METADATA);
	ck_assert_uint_lt(space_of("d.raw"), SIZE / 4);
	for (int mode = QCOWFMT_PREALLOCATION_FALLOC;
	     mode <= QCOWFMT_PREALLOCATION_FULL; mode++) {
		create("x", &plain, mode);
		ck_assert_uint_ge(space_of("x"), SIZE);
		create("x", &apart, mode);
		ck_assert_uint_ge(space_of("d.raw"), SIZE);
		ck_assert_uint_lt(space_of("x"), SIZE / 4);
		create("x", &raw, mode);
		ck_assert_uint_ge(space_of("x"), SIZE);
		ck_assert_uint_eq(api_get("x", SIZE - 8, 8), 0);
	}
}

END_TEST

static struct qcowfmt_image *open_local(const char *name)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(name, &options, &image, &api_error));
	return image;
}

static void use(const char *name, uint64_t size)
{
	struct qcowfmt_image *image = open_local(name);
	struct qcowfmt_check_result result = {
		.struct_size = sizeof(result),
	};

	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions + result.leaks, 0);
	ck_assert_uint_eq(result.allocated_clusters, result.total_clusters);
	api_expect(image, 0, size, 0);
	if (size >= 2048) {
		api_write(image, 512, 1024, 'a');
		api_write(image, size - 512, 512, 'z');
		api_expect(image, 0, 512, 0);
		api_expect(image, 512, 1024, 'a');
		api_expect(image, size - 512, 512, 'z');
		api_expect(image, size - 1024, 512, 0);
	}
	api_check_clean(image);
	api_close(image);
}

START_TEST(it_reads_as_zeros_and_can_be_written)
{
	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		for (int mode = QCOWFMT_PREALLOCATION_METADATA;
		     mode <= QCOWFMT_PREALLOCATION_FULL; mode++) {
			create("x", &rows[i].ours, mode);
			use("x", rows[i].ours.virtual_size);
			api_qemu_check("x");
		}
	}
}

END_TEST

/* The first write goes to where the map said, without allocating. */
START_TEST(writing_does_not_grow_the_file)
{
	const struct qcowfmt_create_options plain = { .virtual_size = SIZE };
	struct qcowfmt_image *image;
	struct qcowfmt_extent extent;
	struct stat before;
	struct stat after;

	enter_scratch();
	create("x", &plain, QCOWFMT_PREALLOCATION_METADATA);
	ck_assert_int_eq(stat("x", &before), 0);
	image = open_local("x");
	ck_assert_int_eq(qcowfmt_map(image, 0, SIZE, 0, &extent, 1, &api_error),
	                 1);
	ck_assert_int_eq(extent.kind, QCOWFMT_EXTENT_DATA);
	ck_assert_uint_eq(extent.length, SIZE);
	ck_assert_uint_ne(extent.flags & QCOWFMT_EXTENT_IN_PLACE, 0);
	api_write(image, 0, SIZE, 'w');
	api_close(image);
	ck_assert_int_eq(stat("x", &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_uint_eq(api_get("x", extent.host_offset, 1), 'w');
}

END_TEST

START_TEST(a_backing_file_shows_through_extended_entries)
{
	struct qcowfmt_create_options overlay = {
		.virtual_size = SIZE,
		.flags = QCOWFMT_CREATE_EXTENDED_L2,
		.backing_filename = "base.raw",
		.backing_format = "raw",
	};
	struct qcowfmt_image *image;
	char bytes[4096];

	enter_scratch();
	memset(bytes, 'b', sizeof(bytes));
	api_write_file("base.raw", bytes, sizeof(bytes));
	for (int mode = QCOWFMT_PREALLOCATION_METADATA;
	     mode <= QCOWFMT_PREALLOCATION_FULL; mode++) {
		create("x", &overlay, mode);
		image = open_local("x");
		api_expect(image, 0, 4096, 'b');
		api_expect(image, 4096, 65536, 0);
		api_write(image, 1024, 512, 'n');
		api_expect(image, 0, 1024, 'b');
		api_expect(image, 1024, 512, 'n');
		api_expect(image, 1536, 2560, 'b');
		api_check_clean(image);
		api_close(image);
		api_qemu_check("x");
	}
}

END_TEST

START_TEST(a_huge_image_takes_no_space)
{
	const struct qcowfmt_create_options huge = {
		.virtual_size = (uint64_t)8 << 40,
		.cluster_size = 2 << 20,
	};
	struct qcowfmt_image *image;

	enter_scratch();
	create("x", &huge, QCOWFMT_PREALLOCATION_METADATA);
	ck_assert_uint_lt(space_of("x"), 100 << 20);
	image = open_local("x");
	api_expect(image, huge.virtual_size - 4096, 4096, 0);
	api_write(image, huge.virtual_size - 4096, 4096, 'e');
	api_expect(image, huge.virtual_size - 4096, 4096, 'e');
	api_check_clean(image);
	api_close(image);
	api_qemu_check("x");
	ck_assert_int_eq(unlink("x"), 0);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, space_is_taken_as_asked);
	tcase_add_test(tcase, it_reads_as_zeros_and_can_be_written);
	tcase_add_test(tcase, writing_does_not_grow_the_file);
	tcase_add_test(tcase, a_backing_file_shows_through_extended_entries);
	tcase_add_test(tcase, a_huge_image_takes_no_space);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, qemu_finds_nothing_wrong);
	tcase_add_test(tcase, qemu_maps_it_as_its_own);
	tcase_add_test(tcase,
	               with_one_refcount_block_the_bytes_are_those_of_qemu);
}

int main(int argc, char **argv)
{
	return api_main("preallocated_images", add_tests, argc, argv);
}
