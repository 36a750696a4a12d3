/* SPDX-License-Identifier: MIT */
/*
 * Promise: rebase gives an image another backing file, or none, without a change
 * for its guest; without looking if told so; and refuses what makes no sense before
 * it changes anything.
 */
#include "api_test.h"

#define MIB ((uint64_t)1 << 20)

static struct qcowfmt_image *open_chain(const char *name, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error));
	return image;
}

static void make(const char *name, uint64_t size, uint8_t value)
{
	struct qcowfmt_image *image;

	api_create(scratch_path(name), size, 0);
	image = api_open(scratch_path(name), API_RW);
	api_write(image, 0, size, value);
	api_close(image);
}

static void make_chain(void)
{
	struct qcowfmt_image *image;

	make("old", MIB, 1);
	make("new", 2 * MIB, 2);
	api_create_overlay(scratch_path("top"), 2 * MIB, "old", "qcow2");
	image = open_chain("top", API_RW);
	api_write(image, 65536 * 3 + 7, 10, 3);
	api_close(image);
}

static void expect_disk(void)
{
	struct qcowfmt_image *image = open_chain("top", API_RW);

	api_expect(image, 0, 65536 * 3 + 7, 1);
	api_expect(image, 65536 * 3 + 7, 10, 3);
	api_expect(image, 65536 * 3 + 17, MIB - 65536 * 3 - 17, 1);
	api_expect(image, MIB, MIB, 0);
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("top"));
}

static void expect_names(const char *name, const char *format)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path("top"), &options, &image,
	                         &api_error));
	API_OK(qcowfmt_get_info(image, 0, &info, &api_error));
	ck_assert_pstr_eq(info.backing_filename, name);
	ck_assert_pstr_eq(info.backing_format, format);
	api_close(image);
}

static int rebase(const char *new_name, const char *name, const char *format,
                  uint32_t flags)
{
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.backing_filename = name,
		.backing_format = format,
	};
	struct qcowfmt_image *new_base =
		new_name == NULL ? NULL : open_chain(new_name, 0);
	struct qcowfmt_image *top = open_chain("top", API_RW);
	int ret = qcowfmt_rebase(top, new_base, &options, &api_error);

	ck_assert_int_eq(qcowfmt_close(top, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(new_base, NULL), 0);
	return ret;
}

START_TEST(onto_another_file)
{
	make_chain();
	API_OK(rebase("new", "new", "qcow2", 0));
	expect_names("new", "qcow2");
	expect_disk();
}

END_TEST

START_TEST(onto_none)
{
	make_chain();
	API_OK(rebase(NULL, NULL, NULL, 0));
	expect_names(NULL, NULL);
	expect_disk();
}

END_TEST

START_TEST(with_compressed_copies)
{
	make_chain();
	API_OK(rebase(NULL, NULL, NULL, QCOWFMT_REBASE_COMPRESS));
	expect_disk();
}

END_TEST

START_TEST(without_looking)
{
	struct qcowfmt_image *image;

	make_chain();
	API_OK(rebase(NULL, "new", "qcow2", QCOWFMT_REBASE_UNSAFE));
	expect_names("new", "qcow2");
	image = open_chain("top", 0);
	api_expect(image, 0, 65536, 2);
	api_close(image);
	API_OK(rebase(NULL, NULL, NULL, QCOWFMT_REBASE_UNSAFE));
	expect_names(NULL, NULL);
}

END_TEST

static void refuse(const char *new_name, const char *name, const char *format,
                   uint32_t flags, int err)
{
	struct api_bytes before = api_read_file(scratch_path("top"));
	struct api_bytes after;
	int code = err == ENOSPC ? QCOWFMT_ERR_NO_SPACE : QCOWFMT_ERR_USAGE;

	API_FAILS(rebase(new_name, name, format, flags), err, code);
	after = api_read_file(scratch_path("top"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

START_TEST(what_does_not_fit_together)
{
	char name[1100];

	make_chain();
	refuse("new", "new", "qcow2", 8, EINVAL);
	refuse("new", NULL, NULL, 0, EINVAL);
	refuse(NULL, "new", "qcow2", 0, EINVAL);
	refuse(NULL, NULL, "qcow2", 0, EINVAL);
	refuse("new", "", "qcow2", 0, EINVAL);
	refuse("new", "new", "a format with a long name", 0, EINVAL);
	refuse("new", "new", "qcow2", QCOWFMT_REBASE_UNSAFE, EINVAL);
	refuse(NULL, "new", "qcow2",
	       QCOWFMT_REBASE_UNSAFE | QCOWFMT_REBASE_COMPRESS, EINVAL);
	memset(name, 'x', sizeof(name));
	name[1024] = '\0';
	refuse("new", name, "qcow2", 0, EINVAL);
}

END_TEST

START_TEST(a_name_for_which_there_is_no_room)
{
	char name[1001];
	struct qcowfmt_image *image;

	make("new", MIB, 2);
	api_create(scratch_path("top"), MIB, 512);
	image = api_open(scratch_path("top"), API_RW);
	api_write(image, 0, 512, 1);
	api_close(image);
	memset(name, 'x', sizeof(name));
	name[1000] = '\0';
	refuse("new", name, "qcow2", 0, ENOSPC);
}

END_TEST

START_TEST(images_that_cannot_have_one)
{
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_REBASE_UNSAFE,
		.backing_filename = "new",
		.backing_format = "qcow2",
	};
	struct qcowfmt_open_options raw = {
		.struct_size = sizeof(raw),
		.format = QCOWFMT_FORMAT_RAW,
		.flags = API_RW,
	};
	struct qcowfmt_image *image = NULL;

	make_chain();
	API_OK(qcowfmt_open_file(scratch_path("new"), &raw, &image,
	                         &api_error));
	API_FAILS(qcowfmt_rebase(image, NULL, &options, &api_error), ENOTSUP,
	          QCOWFMT_ERR_UNSUPPORTED);
	api_close(image);
	image = open_chain("top", 0);
	API_FAILS(qcowfmt_rebase(image, NULL, &options, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	api_close(image);
}

END_TEST

START_TEST(an_image_below_itself)
{
	struct qcowfmt_open_options unlocked = {
		.struct_size = sizeof(unlocked),
		.flags = QCOWFMT_OPEN_NO_LOCK,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.backing_filename = "above",
		.backing_format = "qcow2",
	};
	struct qcowfmt_image *above = NULL;
	struct qcowfmt_image *top = NULL;

	make_chain();
	api_create_overlay(scratch_path("above"), 2 * MIB, "top", "qcow2");
	API_OK(qcowfmt_open_file(scratch_path("above"), &unlocked, &above,
	                         &api_error));
	unlocked.flags |= API_RW;
	API_OK(qcowfmt_open_file(scratch_path("top"), &unlocked, &top,
	                         &api_error));
	API_FAILS(qcowfmt_rebase(top, above, &options, &api_error), ELOOP,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_rebase(top, top, &options, &api_error), ELOOP,
	          QCOWFMT_ERR_USAGE);
	api_close(top);
	api_close(above);
	expect_disk();
}

END_TEST

START_TEST(a_chain_that_is_not_there)
{
	struct qcowfmt_open_options cut = {
		.struct_size = sizeof(cut),
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_rebase_options options = { .struct_size =
		                                          sizeof(options) };
	struct qcowfmt_image *top = NULL;

	make_chain();
	API_OK(qcowfmt_open_file(scratch_path("top"), &cut, &top, &api_error));
	API_FAILS(qcowfmt_rebase(top, NULL, &options, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	api_close(top);
	expect_disk();
}

END_TEST

static int cancel(void *opaque, uint64_t done, uint64_t total)
{
	unsigned int *calls = opaque;

	ck_assert_uint_le(done, total);
	ck_assert_uint_eq(total, 2 * MIB);
	return ++*calls == 3;
}

START_TEST(cancelling)
{
	unsigned int calls = 0;
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.progress = cancel,
		.progress_opaque = &calls,
	};
	struct qcowfmt_image *top;

	make_chain();
	top = open_chain("top", API_RW);
	API_FAILS(qcowfmt_rebase(top, NULL, &options, &api_error), ECANCELED,
	          QCOWFMT_ERR_CANCELLED);
	api_close(top);
	expect_names("old", "qcow2");
	expect_disk();
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, onto_another_file);
	tcase_add_test(tcase, onto_none);
	tcase_add_test(tcase, with_compressed_copies);
	tcase_add_test(tcase, without_looking);
	tcase_add_test(tcase, what_does_not_fit_together);
	tcase_add_test(tcase, a_name_for_which_there_is_no_room);
	tcase_add_test(tcase, images_that_cannot_have_one);
	tcase_add_test(tcase, an_image_below_itself);
	tcase_add_test(tcase, a_chain_that_is_not_there);
	tcase_add_test(tcase, cancelling);
}

int main(int argc, char **argv)
{
	return api_main("rebase_keeps_the_disk", add, argc, argv);
}
