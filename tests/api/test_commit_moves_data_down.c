/* SPDX-License-Identifier: MIT */
/*
 * Promise: commit copies what overlays hold into the base, which grows, and
 * empties the top image or leaves it; it refuses what cannot be committed before
 * it changes anything, and the progress callback can cancel.
 */
#include "api_test.h"

#define MIB ((uint64_t)1 << 20)

static struct qcowfmt_image *open_part(const char *name, uint32_t flags,
                                       uint32_t limit)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.chain_limit = limit,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error));
	return image;
}

/* base 2 MiB of 1; mid 3 MiB with some 2; top 4 MiB with some 3 and zeros. */
static void make_chain(void)
{
	struct qcowfmt_image *image;

	api_create(scratch_path("base"), 2 * MIB, 0);
	image = api_open(scratch_path("base"), API_RW);
	api_write(image, 0, 2 * MIB, 1);
	api_close(image);
	api_create_overlay(scratch_path("mid"), 3 * MIB, "base", "qcow2");
	image = open_part("mid", API_RW, 0);
	api_write(image, 64 * 1024, 100, 2);
	api_close(image);
	api_create_overlay(scratch_path("top"), 4 * MIB, "mid", "qcow2");
	image = open_part("top", API_RW, 0);
	api_write(image, 3 * MIB + 5, 100, 3);
	API_OK(qcowfmt_write_zeroes(image, MIB, 65536, 0, &api_error));
	api_close(image);
}

static void expect_disk(struct qcowfmt_image *image)
{
	ck_assert_uint_eq(qcowfmt_get_size(image), 4 * MIB);
	api_expect(image, 0, 64 * 1024, 1);
	api_expect(image, 64 * 1024, 100, 2);
	api_expect(image, 64 * 1024 + 100, 65536 - 100, 1);
	api_expect(image, MIB, 65536, 0);
	api_expect(image, MIB + 65536, MIB - 65536, 1);
	api_expect(image, 2 * MIB, MIB + 5, 0);
	api_expect(image, 3 * MIB + 5, 100, 3);
	api_expect(image, 3 * MIB + 105, MIB - 105, 0);
}

static void expect_disk_of(const char *name)
{
	struct qcowfmt_image *image = open_part(name, API_RW, 0);

	expect_disk(image);
	api_check_clean(image);
	api_close(image);
}

static bool is_empty(const char *name)
{
	struct qcowfmt_image *image = open_part(name, 0, 1);
	struct qcowfmt_extent extent;
	uint64_t size = qcowfmt_get_size(image);

	API_OK(qcowfmt_map(image, 0, size, QCOWFMT_MAP_TOP, &extent, 1,
	                   &api_error));
	api_close(image);
	return extent.kind == QCOWFMT_EXTENT_UNALLOCATED &&
	       extent.length == size;
}

static void commit(const char *base_name, uint32_t depth, uint32_t flags)
{
	struct qcowfmt_commit_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
	};
	struct qcowfmt_image *base = open_part(base_name, API_RW, 0);
	struct qcowfmt_image *top = open_part(
		"top", (flags & QCOWFMT_COMMIT_KEEP_TOP) != 0 ? 0 : API_RW,
		depth);

	API_OK(qcowfmt_commit(top, base, &options, &api_error));
	api_close(base);
	api_close(top);
}

START_TEST(into_the_next_image)
{
	make_chain();
	commit("mid", 1, 0);
	expect_disk_of("mid");
	expect_disk_of("top");
	ck_assert(is_empty("top"));
	api_qemu_check(scratch_path("mid"));
	api_qemu_check(scratch_path("top"));
}

END_TEST

START_TEST(into_one_further_down)
{
	make_chain();
	commit("base", 2, QCOWFMT_COMMIT_KEEP_TOP);
	expect_disk_of("base");
	expect_disk_of("top");
	ck_assert(!is_empty("top"));
	api_qemu_check(scratch_path("base"));
}

END_TEST

START_TEST(the_top_image_can_be_used_on)
{
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	make_chain();
	base = open_part("mid", API_RW, 0);
	top = open_part("top", API_RW, 1);
	API_OK(qcowfmt_commit(top, base, NULL, &api_error));
	api_write(top, 0, 65536, 9);
	api_close(top);
	api_close(base);
	top = open_part("top", API_RW, 0);
	api_expect(top, 0, 65536, 9);
	api_check_clean(top);
	api_close(top);
}

END_TEST

START_TEST(nothing_to_commit)
{
	make_chain();
	commit("mid", 1, 0);
	commit("mid", 1, 0);
	expect_disk_of("top");
}

END_TEST

/* Refused, and nothing is changed. */
static void refuse(struct qcowfmt_image *top, struct qcowfmt_image *base,
                   uint32_t flags, int err, int code)
{
	struct qcowfmt_commit_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
	};
	struct api_bytes before = api_read_file(scratch_path("mid"));
	struct api_bytes after;

	API_FAILS(qcowfmt_commit(top, base, &options, &api_error), err, code);
	after = api_read_file(scratch_path("mid"));
	ck_assert(api_bytes_equal(&before, &after));
	api_bytes_free(&before);
	api_bytes_free(&after);
}

START_TEST(unknown_flags)
{
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	make_chain();
	base = open_part("mid", API_RW, 0);
	top = open_part("top", API_RW, 1);
	refuse(top, base, 2, EINVAL, QCOWFMT_ERR_USAGE);
	api_close(top);
	api_close(base);
}

END_TEST

START_TEST(a_chain_that_is_not_cut)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW | QCOWFMT_OPEN_NO_LOCK,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct qcowfmt_image *base = NULL;
	struct qcowfmt_image *top = NULL;

	make_chain();
	API_OK(qcowfmt_open_file(scratch_path("mid"), &options, &base,
	                         &api_error));
	API_OK(qcowfmt_open_file(scratch_path("top"), &options, &top,
	                         &api_error));
	refuse(top, base, 0, EINVAL, QCOWFMT_ERR_USAGE);
	/* One that has no backing file at all. */
	refuse(base, top, 0, EINVAL, QCOWFMT_ERR_USAGE);
	api_close(top);
	api_close(base);
}

END_TEST

START_TEST(an_image_into_itself)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = API_RW | QCOWFMT_OPEN_NO_LOCK,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.chain_limit = 1,
	};
	struct qcowfmt_image *a = NULL;
	struct qcowfmt_image *b = NULL;

	make_chain();
	API_OK(qcowfmt_open_file(scratch_path("top"), &options, &a,
	                         &api_error));
	refuse(a, a, 0, EINVAL, QCOWFMT_ERR_USAGE);
	API_OK(qcowfmt_open_file(scratch_path("top"), &options, &b,
	                         &api_error));
	refuse(a, b, 0, EINVAL, QCOWFMT_ERR_USAGE);
	api_close(a);
	api_close(b);
}

END_TEST

START_TEST(images_opened_read_only)
{
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	make_chain();
	base = open_part("mid", API_RW, 0);
	top = open_part("top", 0, 1);
	refuse(top, base, 0, EROFS, QCOWFMT_ERR_READ_ONLY);
	api_close(base);
	api_close(top);
	base = open_part("mid", 0, 0);
	top = open_part("top", API_RW, 1);
	refuse(top, base, 0, EROFS, QCOWFMT_ERR_READ_ONLY);
	api_close(base);
	api_close(top);
}

END_TEST

START_TEST(a_base_that_cannot_grow)
{
	struct qcowfmt_create_options v1 = {
		.struct_size = sizeof(v1),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = MIB,
	};
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	make_chain();
	API_OK(qcowfmt_create_file(scratch_path("v1"), &v1, &api_error));
	api_create_overlay(scratch_path("over"), 2 * MIB, "v1", "qcow");
	base = open_part("v1", API_RW, 0);
	top = open_part("over", API_RW, 1);
	refuse(top, base, 0, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	api_close(base);
	api_close(top);
}

END_TEST

struct watch {
	uint64_t done;
	uint64_t total;
	unsigned int calls;
	unsigned int cancel_at;
};

static int look(void *opaque, uint64_t done, uint64_t total)
{
	struct watch *w = opaque;

	ck_assert_uint_ge(done, w->done);
	ck_assert_uint_le(done, total);
	w->done = done;
	w->total = total;
	return ++w->calls == w->cancel_at;
}

START_TEST(progress_and_cancelling)
{
	struct watch watch = { .cancel_at = 2 };
	struct qcowfmt_commit_options options = {
		.struct_size = sizeof(options),
		.progress = look,
		.progress_opaque = &watch,
	};
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	make_chain();
	base = open_part("mid", API_RW, 0);
	top = open_part("top", API_RW, 1);
	API_FAILS(qcowfmt_commit(top, base, &options, &api_error), ECANCELED,
	          QCOWFMT_ERR_CANCELLED);
	api_close(base);
	api_close(top);
	expect_disk_of("top");
	ck_assert(!is_empty("top"));
	watch = (struct watch){ 0 };
	base = open_part("mid", API_RW, 0);
	top = open_part("top", API_RW, 1);
	API_OK(qcowfmt_commit(top, base, &options, &api_error));
	api_close(base);
	api_close(top);
	ck_assert_uint_eq(watch.total, 4 * MIB);
	ck_assert_uint_eq(watch.done, watch.total);
	expect_disk_of("top");
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, into_the_next_image);
	tcase_add_test(tcase, into_one_further_down);
	tcase_add_test(tcase, the_top_image_can_be_used_on);
	tcase_add_test(tcase, nothing_to_commit);
	tcase_add_test(tcase, unknown_flags);
	tcase_add_test(tcase, a_chain_that_is_not_cut);
	tcase_add_test(tcase, an_image_into_itself);
	tcase_add_test(tcase, images_opened_read_only);
	tcase_add_test(tcase, a_base_that_cannot_grow);
	tcase_add_test(tcase, progress_and_cancelling);
}

int main(int argc, char **argv)
{
	return api_main("commit_moves_data_down", add, argc, argv);
}
