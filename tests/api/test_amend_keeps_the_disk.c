/* SPDX-License-Identifier: MIT */
/*
 * Promise: amend changes what it is asked to and nothing else; the handle goes
 * on working with what the image has become; what contradicts itself or the
 * image is refused, and then nothing has changed.
 */
#include "api_test.h"

#define SIZE ((uint64_t)1 << 20)

static const char *path(void)
{
	return scratch_path("image");
}

static struct qcowfmt_amend_options options(void)
{
	return (struct qcowfmt_amend_options){
		.struct_size = sizeof(struct qcowfmt_amend_options),
	};
}

static struct qcowfmt_image *make(uint32_t version, uint64_t cluster_size)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.version = version,
		.cluster_size = cluster_size,
	};
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create_file(path(), &create, &api_error));
	image = api_open(path(), API_RW);
	api_write(image, 0, 300000, 7);
	API_OK(qcowfmt_write_zeroes(image, 65536, 65536, 0, &api_error));
	return image;
}

static void expect_disk(struct qcowfmt_image *image)
{
	api_expect(image, 0, 65536, 7);
	api_expect(image, 65536, 65536, 0);
	api_expect(image, 131072, 300000 - 131072, 7);
	api_expect(image, 300000, SIZE - 300000, 0);
}

static struct qcowfmt_info info_of(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	return info;
}

/* The image is what info says, with this handle, with another, and for QEMU. */
static void expect_image(struct qcowfmt_image *image, uint32_t version,
                         uint32_t refcount_bits)
{
	ck_assert_uint_eq(info_of(image).version, version);
	ck_assert_uint_eq(info_of(image).refcount_bits, refcount_bits);
	expect_disk(image);
	/* Allocating with the new counts. */
	api_write(image, SIZE - 512, 512, 9);
	api_check_clean(image);
	API_OK(qcowfmt_write_zeroes(image, SIZE - 512, 512, 0, &api_error));
	api_close(image);
	api_qemu_check(path());
	image = api_open(path(), 0);
	ck_assert_uint_eq(info_of(image).version, version);
	ck_assert_uint_eq(info_of(image).refcount_bits, refcount_bits);
	expect_disk(image);
	api_close(image);
}

START_TEST(refcount_widths)
{
	static const uint64_t sizes[] = { 512, 4096, 65536 };

	for (size_t i = 0; i < QCF_ARRAY_LEN(sizes); i++) {
		struct qcowfmt_image *image = make(3, sizes[i]);
		struct qcowfmt_amend_options o = options();

		o.refcount_bits = 1u << _i;
		API_OK(qcowfmt_amend(image, &o, &api_error));
		expect_image(image, 3, 1u << _i);
	}
}

END_TEST

START_TEST(down_and_up_again)
{
	struct qcowfmt_image *image = make(3, 4096);
	struct qcowfmt_amend_options o = options();

	o.version = 2;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	expect_image(image, 2, 16);
	image = api_open(path(), API_RW);
	o.version = 3;
	o.refcount_bits = 64;
	o.lazy_refcounts = 1;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	ck_assert((info_of(image).flags & QCOWFMT_INFO_LAZY_REFCOUNTS) != 0);
	expect_image(image, 3, 64);
	image = api_open(path(), API_RW);
	o = options();
	o.version = 2;
	o.refcount_bits = 16;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	ck_assert((info_of(image).flags & QCOWFMT_INFO_LAZY_REFCOUNTS) == 0);
	expect_image(image, 2, 16);
}

END_TEST

/* Where the directory was, guest data may be. */
START_TEST(bitmaps_that_go_leave_free_space)
{
	struct qcowfmt_image *image = make(3, 512);
	struct qcowfmt_amend_options o = options();
	const struct qcowfmt_bitmap_action add = {
		.struct_size = sizeof(add),
		.image = image,
		.name = "b",
		.kind = QCOWFMT_BITMAP_ADD,
	};

	API_OK(qcowfmt_bitmap_change(&add, 1, NULL, &api_error));
	o.version = 2;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	api_write(image, 300288, SIZE - 300288, 5);
	api_expect(image, 300288, SIZE - 300288, 5);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path());
}

END_TEST

START_TEST(nothing_to_do)
{
	struct qcowfmt_image *image = make(3, 4096);
	struct qcowfmt_amend_options o = options();
	struct api_bytes before;
	struct api_bytes after;

	API_OK(qcowfmt_flush(image, &api_error));
	before = api_read_file(path());
	API_OK(qcowfmt_amend(image, NULL, &api_error));
	o.version = 3;
	o.refcount_bits = 16;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	after = api_read_file(path());
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
	api_close(image);
}

END_TEST

static const struct refusal {
	uint32_t image_version;
	struct qcowfmt_amend_options o;
} refusals[] = {
	{ 3, { .version = 1 } },
	{ 3, { .version = 4 } },
	{ 3, { .refcount_bits = 3 } },
	{ 3, { .refcount_bits = 128 } },
	{ 3, { .lazy_refcounts = 2 } },
	{ 3, { .data_file_raw = 1 } },
	{ 3, { .data_filename = "x" } },
	{ 3, { .data_filename = "" } },
	{ 3, { .version = 2, .refcount_bits = 8 } },
	{ 3, { .version = 2, .lazy_refcounts = 1 } },
	{ 2, { .refcount_bits = 8 } },
	{ 2, { .lazy_refcounts = 1 } },
};

START_TEST(contradictions)
{
	struct qcowfmt_image *image = make(refusals[_i].image_version, 4096);
	struct qcowfmt_amend_options o = refusals[_i].o;
	struct api_bytes before;
	struct api_bytes after;

	o.struct_size = sizeof(o);
	api_close(image);
	image = api_open(path(), API_RW);
	before = api_read_file(path());
	API_FAILS(qcowfmt_amend(image, &o, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	after = api_read_file(path());
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
	api_close(image);
}

END_TEST

START_TEST(counts_that_do_not_fit)
{
	struct qcowfmt_image *image = make(3, 4096);
	struct qcowfmt_amend_options o = options();

	/* Compressed clusters share a host cluster. */
	for (uint64_t at = 524288; at < 524288 + 10 * 4096; at += 4096) {
		static const uint8_t ones[4096] = { 1, 1, 1 };

		API_OK(qcowfmt_pwrite_compressed(image, ones, sizeof(ones), at,
		                                 &api_error));
	}
	o.refcount_bits = 2;
	API_FAILS(qcowfmt_amend(image, &o, &api_error), EOVERFLOW,
	          QCOWFMT_ERR_LIMIT);
	o.refcount_bits = 4;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path());
}

END_TEST

START_TEST(other_formats)
{
	struct qcowfmt_image *image = api_make_version_1(path(), SIZE);
	struct qcowfmt_amend_options o = options();

	o.version = 3;
	API_FAILS(qcowfmt_amend(image, &o, &api_error), ENOTSUP,
	          QCOWFMT_ERR_UNSUPPORTED);
	api_close(image);
	image = make(3, 4096);
	api_close(image);
	image = api_open(path(), 0);
	API_FAILS(qcowfmt_amend(image, &o, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	api_close(image);
}

END_TEST

START_TEST(cancelled)
{
	for (int calls = 0; calls < 3; calls++) {
		struct qcowfmt_image *image = make(3, 512);
		struct qcowfmt_amend_options o = options();
		int left = calls;

		o.version = 2;
		o.progress = api_cancel_after;
		o.progress_opaque = &left;
		API_FAILS(qcowfmt_amend(image, &o, &api_error), ECANCELED,
		          QCOWFMT_ERR_CANCELLED);
		expect_image(image, 3, 16);
	}
}

END_TEST

START_TEST(a_name_that_does_not_fit)
{
	char name[600];
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = SIZE,
		.cluster_size = 512,
		.data_filename = "data",
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_amend_options o = options();
	struct qcowfmt_image *image = NULL;
	const char *data = scratch_path("data");

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	create.data_filename = data;
	API_OK(qcowfmt_create_file(path(), &create, &api_error));
	API_OK(qcowfmt_open_file(path(), &open, &image, &api_error));
	o.data_filename = name;
	API_FAILS(qcowfmt_amend(image, &o, &api_error), ENOSPC,
	          QCOWFMT_ERR_NO_SPACE);
	ck_assert_str_eq(info_of(image).data_filename, data);
	o.data_filename = "";
	API_OK(qcowfmt_amend(image, &o, &api_error));
	ck_assert_ptr_null(info_of(image).data_filename);
	o.data_filename = data;
	API_OK(qcowfmt_amend(image, &o, &api_error));
	ck_assert_str_eq(info_of(image).data_filename, data);
	api_close(image);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, refcount_widths, 0, 7);
	tcase_add_test(tcase, down_and_up_again);
	tcase_add_test(tcase, bitmaps_that_go_leave_free_space);
	tcase_add_test(tcase, nothing_to_do);
	tcase_add_loop_test(tcase, contradictions, 0, QCF_ARRAY_LEN(refusals));
	tcase_add_test(tcase, counts_that_do_not_fit);
	tcase_add_test(tcase, other_formats);
	tcase_add_test(tcase, cancelled);
	tcase_add_test(tcase, a_name_that_does_not_fit);
}

int main(int argc, char **argv)
{
	return api_main("amend_keeps_the_disk", add, argc, argv);
}
