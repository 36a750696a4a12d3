/* SPDX-License-Identifier: MIT */
/*
 * Promise: an image with a feature this library does not have is refused by the
 * feature's name and keeps every byte; autoclear bits go before the first write.
 */
#include "api_test.h"
#include "feature.h"

#define SIZE ((uint64_t)1 << 20)

static struct qcowfmt_image *image;

static int open_flags(uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path("x.qcow2"), &options, &image,
	                         &api_error);
}

static void make_image(void)
{
	api_create(scratch_path("x.qcow2"), SIZE, 0);
}

static void expect_refused(const char *words)
{
	static const uint32_t flags[] = { 0, API_RW,
		                          API_RW | QCOWFMT_OPEN_REPAIR };
	struct api_bytes before = api_read_file(scratch_path("x.qcow2"));
	struct api_bytes after;

	for (size_t i = 0; i < QCF_ARRAY_LEN(flags); i++) {
		API_FAILS_KEEP(open_flags(flags[i]), ENOTSUP,
		               QCOWFMT_ERR_UNSUPPORTED);
		API_ERROR_NAMES(words);
		API_ERROR_NAMES("x.qcow2");
		api_error_reset();
		ck_assert_ptr_null(image);
	}
	after = api_read_file(scratch_path("x.qcow2"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

START_TEST(unknown_incompatible_bits)
{
	make_image();
	for (uint32_t bit = 5; bit < 64; bit += 7) {
		char words[32];

		snprintf(words, sizeof(words), "bit %" PRIu32, bit);
		api_put(scratch_path("x.qcow2"), API_AT_INCOMPATIBLE, 8,
		        UINT64_C(1) << bit);
		expect_refused(words);
	}
}

END_TEST

START_TEST(the_image_may_name_them)
{
	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_INCOMPATIBLE, 8, 1 << 7);
	/* The first entry of the feature name table: set 0, bit 0, "dirty bit" */
	api_put(scratch_path("x.qcow2"), 120, 2, 7);
	expect_refused("dirty bit");
}

END_TEST

START_TEST(values_nobody_has_defined)
{
	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_INCOMPATIBLE, 8,
	        QCF_INCOMPAT_COMPRESSION);
	api_put(scratch_path("x.qcow2"), 104, 1, 2);
	expect_refused("compression type 2");
	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_CRYPT_METHOD, 4, 3);
	expect_refused("encryption method 3");
	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_VERSION, 4, 4);
	expect_refused("version 4");
}

END_TEST

START_TEST(unknown_compatible_bits_are_kept)
{
	const uint64_t bits = UINT64_C(0xfffffffffffffffe);

	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_COMPATIBLE, 8, bits);
	API_OK(open_flags(API_RW));
	api_write(image, 0, (size_t)SIZE, 'x');
	api_close(image);
	ck_assert_uint_eq(
		api_get(scratch_path("x.qcow2"), API_AT_COMPATIBLE, 8), bits);
}

END_TEST

START_TEST(unknown_autoclear_bits_are_cleared_by_writers_only)
{
	const uint64_t bits = UINT64_C(0x8000000000000004);

	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_AUTOCLEAR, 8, bits);
	API_OK(open_flags(0));
	api_close(image);
	ck_assert_uint_eq(api_get(scratch_path("x.qcow2"), API_AT_AUTOCLEAR, 8),
	                  bits);
	API_OK(open_flags(API_RW));
	ck_assert_uint_eq(api_get(scratch_path("x.qcow2"), API_AT_AUTOCLEAR, 8),
	                  0);
	api_close(image);
	api_qemu_check(scratch_path("x.qcow2"));
}

END_TEST

START_TEST(bitmaps_without_their_extension_are_cleared)
{
	make_image();
	api_put(scratch_path("x.qcow2"), API_AT_AUTOCLEAR, 8,
	        QCF_AUTOCLEAR_BITMAPS);
	API_OK(open_flags(API_RW));
	api_close(image);
	ck_assert_uint_eq(api_get(scratch_path("x.qcow2"), API_AT_AUTOCLEAR, 8),
	                  0);
}

END_TEST

START_TEST(snapshots_are_protected)
{
	const char *path = scratch_path("x.qcow2");

	make_image();
	API_OK(open_flags(API_RW));
	api_write(image, 0, 300000, 's');
	api_close(image);
	ck_assert_int_eq(
		api_run(api_qemu_img, "snapshot", "-c", "one", path, NULL), 0);
	API_OK(open_flags(API_RW));
	api_write(image, 0, 300000, 'n');
	api_write(image, 100000, 10, 'm');
	API_OK(qcowfmt_discard(image, 0, 131072, &api_error));
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path);
	ck_assert_int_eq(
		api_run(api_qemu_img, "snapshot", "-a", "one", path, NULL), 0);
	API_OK(open_flags(0));
	api_expect(image, 0, 300000, 's');
	api_close(image);
}

END_TEST

START_TEST(compressed_clusters_mix_with_others)
{
	const char *path = scratch_path("x.qcow2");

	make_image();
	ck_assert_int_eq(api_run(api_qemu_io, "-f", "qcow2", "-c",
	                         "write -c -P 7 0 64k", "-c",
	                         "write -P 8 64k 64k", path, NULL),
	                 0);
	API_OK(open_flags(API_RW));
	api_expect(image, 0, 65536, 7);
	api_expect(image, 65536, 65536, 8);
	api_write(image, 1000, 10, 'x');
	api_expect(image, 0, 1000, 7);
	api_expect(image, 1000, 10, 'x');
	api_expect(image, 1010, 64526, 7);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(path);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, unknown_incompatible_bits);
	tcase_add_test(tcase, the_image_may_name_them);
	tcase_add_test(tcase, values_nobody_has_defined);
	tcase_add_test(tcase, unknown_compatible_bits_are_kept);
	tcase_add_test(tcase,
	               unknown_autoclear_bits_are_cleared_by_writers_only);
	tcase_add_test(tcase, bitmaps_without_their_extension_are_cleared);
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, snapshots_are_protected);
	tcase_add_test(tcase, compressed_clusters_mix_with_others);
}

int main(int argc, char **argv)
{
	return api_main("features_are_honoured", add_tests, argc, argv);
}
