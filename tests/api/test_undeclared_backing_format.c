/* SPDX-License-Identifier: MIT */
/*
 * Promise: a backing file without a declared format is refused, taken as raw,
 * or probed, exactly as the caller chose; an unknown format is named.
 */
#include "api_test.h"

#define SIZE ((size_t)1 << 20)

static struct qcowfmt_image *image;

static int open_with(const char *name, int32_t undeclared)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.undeclared_format = undeclared,
	};

	image = NULL;
	return qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error);
}

/* base.qcow2 holds 'q' for the guest; o.qcow2 lies on it, undeclared. */
static void make_images(void)
{
	api_create(scratch_path("base.qcow2"), SIZE, 0);
	image = api_open(scratch_path("base.qcow2"), API_RW);
	api_write(image, 0, SIZE, 'q');
	api_close(image);
	api_create_overlay(scratch_path("o.qcow2"), SIZE, "base.qcow2", NULL);
}

START_TEST(the_default_is_to_refuse)
{
	make_images();
	API_FAILS_KEEP(open_with("o.qcow2", QCOWFMT_UNDECLARED_REFUSE), EACCES,
	               QCOWFMT_ERR_REFUSED);
	API_ERROR_NAMES("base.qcow2");
	API_ERROR_NAMES("undeclared_format");
	api_error_reset();
	ck_assert_ptr_null(image);
}

END_TEST

START_TEST(raw_shows_the_bytes_of_the_file)
{
	uint8_t head[4] = { 0 };

	make_images();
	API_OK(open_with("o.qcow2", QCOWFMT_UNDECLARED_RAW));
	API_OK(qcowfmt_pread(image, head, sizeof(head), 0, &api_error));
	ck_assert_mem_eq(head, "QFI\xfb", 4);
	api_close(image);
}

END_TEST

START_TEST(probing_shows_what_is_inside)
{
	make_images();
	API_OK(open_with("o.qcow2", QCOWFMT_UNDECLARED_PROBE));
	api_expect(image, 0, SIZE, 'q');
	api_close(image);
}

END_TEST

START_TEST(a_declared_format_is_never_probed)
{
	uint8_t head[4] = { 0 };

	make_images();
	api_create_overlay(scratch_path("r.qcow2"), SIZE, "base.qcow2", "raw");
	API_OK(open_with("r.qcow2", QCOWFMT_UNDECLARED_PROBE));
	API_OK(qcowfmt_pread(image, head, sizeof(head), 0, &api_error));
	ck_assert_mem_eq(head, "QFI\xfb", 4);
	api_close(image);
}

END_TEST

START_TEST(an_unknown_format_is_named)
{
	make_images();
	api_create_overlay(scratch_path("v.qcow2"), SIZE, "base.qcow2", "vmdk");
	API_FAILS_KEEP(open_with("v.qcow2", QCOWFMT_UNDECLARED_PROBE), ENOTSUP,
	               QCOWFMT_ERR_UNSUPPORTED);
	API_ERROR_NAMES("vmdk");
	api_error_reset();
}

END_TEST

START_TEST(version_1_below_is_found)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = SIZE,
	};
	struct qcowfmt_open_options v1 = {
		.struct_size = sizeof(v1),
		.format = QCOWFMT_FORMAT_QCOW,
		.flags = API_RW,
	};

	make_images();
	API_OK(qcowfmt_create_file(scratch_path("base.qcow2"), &options,
	                           &api_error));
	API_OK(qcowfmt_open_file(scratch_path("base.qcow2"), &v1, &image,
	                         &api_error));
	api_write(image, 0, SIZE, '1');
	api_close(image);
	API_OK(open_with("o.qcow2", QCOWFMT_UNDECLARED_PROBE));
	api_expect(image, 0, SIZE, '1');
	api_close(image);
}

END_TEST

START_TEST(other_choices_are_usage_errors)
{
	make_images();
	API_FAILS(open_with("o.qcow2", 3), EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(open_with("o.qcow2", -1), EINVAL, QCOWFMT_ERR_USAGE);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, the_default_is_to_refuse);
	tcase_add_test(tcase, raw_shows_the_bytes_of_the_file);
	tcase_add_test(tcase, probing_shows_what_is_inside);
	tcase_add_test(tcase, a_declared_format_is_never_probed);
	tcase_add_test(tcase, an_unknown_format_is_named);
	tcase_add_test(tcase, version_1_below_is_found);
	tcase_add_test(tcase, other_choices_are_usage_errors);
}

int main(int argc, char **argv)
{
	return api_main("undeclared_backing_format", add_tests, argc, argv);
}
