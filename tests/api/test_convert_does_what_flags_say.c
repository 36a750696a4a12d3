/* SPDX-License-Identifier: MIT */
/*
 * Promise: each flag and option of a conversion has its effect, and what makes no
 * sense is refused before anything is written.
 */
#include "convert_test.h"
#include "fail_storage.h"

#define MIB ((uint64_t)1 << 20)

static struct qcowfmt_convert_options with_flags(uint32_t flags)
{
	return (struct qcowfmt_convert_options){
		.struct_size = sizeof(struct qcowfmt_convert_options),
		.flags = flags,
		.threads = 2,
	};
}

static struct qcowfmt_image *new_image(const char *name, uint64_t size)
{
	api_create(scratch_path(name), size, 0);
	return api_open(scratch_path(name), API_RW);
}

static int kind_at(struct qcowfmt_image *image, uint64_t guest_offset)
{
	struct qcowfmt_extent extent;

	ck_assert_int_eq(qcowfmt_map(image, guest_offset, 1, QCOWFMT_MAP_TOP,
	                             &extent, 1, &api_error),
	                 1);
	return extent.kind;
}

/* ------------------------------------------------------------------- zeros */

START_TEST(target_is_zero)
{
	struct qcowfmt_convert_options options = with_flags(0);
	struct qcowfmt_image *source = new_image("s", 4 * MIB);
	struct qcowfmt_image *target = new_image("t", 4 * MIB);

	api_write(source, MIB, 65536, 1);
	api_write(target, 0, 4 * MIB, 9);
	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	api_expect(target, 0, MIB, 0);
	api_expect(target, MIB, 65536, 1);
	api_expect(target, 2 * MIB, 2 * MIB, 0);
	api_close(target);

	/* Believed, even where it is not so. */
	target = new_image("t", 4 * MIB);
	api_write(target, 3 * MIB, 65536, 9);
	options.flags = QCOWFMT_CONVERT_TARGET_IS_ZERO;
	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	api_expect(target, 3 * MIB, 65536, 9);
	ck_assert_int_eq(kind_at(target, 0), QCOWFMT_EXTENT_UNALLOCATED);
	api_close(target);
	api_close(source);
}

END_TEST

START_TEST(what_is_behind_the_sources_stays)
{
	struct qcowfmt_convert_options options = with_flags(0);
	struct qcowfmt_image *sources[2] = { new_image("s", MIB),
		                             new_image("s2", MIB) };
	struct qcowfmt_image *target = new_image("t", 4 * MIB);

	api_write(sources[0], MIB - 512, 512, 1);
	api_write(sources[1], 0, 512, 2);
	api_write(target, 0, 4 * MIB, 9);
	API_OK(qcowfmt_convert(sources, 2, target, &options, &api_error));
	api_expect(target, MIB - 512, 512, 1);
	api_expect(target, MIB, 512, 2);
	api_expect(target, MIB + 512, MIB - 512, 0);
	api_expect(target, 2 * MIB, 2 * MIB, 9);
	api_close(target);
	api_close(sources[0]);
	api_close(sources[1]);
}

END_TEST

/* ------------------------------------------------------------ backing files */

static struct qcowfmt_image *open_overlay(const char *name, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(scratch_path(name), &options, &image,
	                         &api_error));
	return image;
}

START_TEST(top_only)
{
	struct qcowfmt_convert_options options = with_flags(
		QCOWFMT_CONVERT_TOP_ONLY | QCOWFMT_CONVERT_TARGET_IS_ZERO);
	struct qcowfmt_image *base = new_image("base", 4 * MIB);
	struct qcowfmt_image *source;
	struct qcowfmt_image *target;

	api_write(base, 0, 4 * MIB, 7);
	api_close(base);
	api_create_overlay(scratch_path("s"), 6 * MIB, "base", "qcow2");
	api_create_overlay(scratch_path("t"), 6 * MIB, "base", "qcow2");
	source = open_overlay("s", API_RW);
	api_write(source, MIB, 65536, 1);
	API_OK(qcowfmt_write_zeroes(source, 2 * MIB, 65536, 0, &api_error));
	api_write(source, 5 * MIB, 65536, 2);
	target = open_overlay("t", API_RW);
	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	ck_assert_int_eq(kind_at(target, 0), QCOWFMT_EXTENT_UNALLOCATED);
	ck_assert_int_eq(kind_at(target, MIB), QCOWFMT_EXTENT_DATA);
	ck_assert_int_eq(kind_at(target, 2 * MIB), QCOWFMT_EXTENT_ZERO);
	ck_assert_int_eq(kind_at(target, 4 * MIB), QCOWFMT_EXTENT_UNALLOCATED);
	api_expect(target, 0, MIB, 7);
	api_expect(target, MIB, 65536, 1);
	api_expect(target, 2 * MIB, 65536, 0);
	api_expect(target, 5 * MIB, 65536, 2);
	api_check_clean(target);
	api_close(target);
	api_close(source);
}

END_TEST

START_TEST(a_missing_backing_file_is_not_zeros)
{
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_convert_options options = with_flags(0);
	struct qcowfmt_image *source = NULL;
	struct qcowfmt_image *target = new_image("t", MIB);

	api_create_overlay(scratch_path("s"), MIB, "gone", "raw");
	API_OK(qcowfmt_open_file(scratch_path("s"), &open, &source,
	                         &api_error));
	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          ENOTSUP, QCOWFMT_ERR_REFUSED);
	options.flags = QCOWFMT_CONVERT_TOP_ONLY;
	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	api_close(target);
	api_close(source);
}

END_TEST

/* ----------------------------------------------------------------- salvage */

struct losses {
	uint64_t first;
	uint64_t bytes;
	int calls;
};

static void note_loss(void *opaque, size_t source_index, uint64_t guest_offset,
                      uint64_t len, const char *message)
{
	struct losses *l = opaque;

	ck_assert_uint_eq(source_index, 1);
	ck_assert_ptr_nonnull(message);
	if (l->calls++ == 0)
		l->first = guest_offset;
	l->bytes += len;
}

/* The second source is damaged: a compressed cluster, and nothing else of what
 * is read together with it. */
START_TEST(salvage)
{
	static const uint32_t threads[] = { 0, 3 };
	struct losses losses = { 0 };
	struct qcowfmt_convert_result result = { .struct_size =
		                                         sizeof(result) };
	struct qcowfmt_convert_options options =
		with_flags(QCOWFMT_CONVERT_SALVAGE);
	struct qcowfmt_image *sources[2] = { new_image("s", MIB), NULL };
	struct qcowfmt_image *target = new_image("t", 2 * MIB);
	uint8_t words[65536];
	struct qcowfmt_image *bad = new_image("bad", MIB);

	memset(words, 'x', sizeof(words));
	API_OK(qcowfmt_pwrite_compressed(bad, words, sizeof(words), 0,
	                                 &api_error));
	api_write(bad, 65536, MIB - 65536, 3);
	api_close(bad);
	api_put(scratch_path("bad"),
	        api_get(scratch_path("bad"),
	                api_l2_entry_at(scratch_path("bad")), 8) &
	                0xffffffffff,
	        8, UINT64_MAX);
	sources[1] = api_open(scratch_path("bad"), 0);
	options.threads = threads[_i];
	options.result = &result;
	options.salvage = note_loss;
	options.salvage_opaque = &losses;
	API_OK(qcowfmt_convert(sources, 2, target, &options, &api_error));
	ck_assert_uint_eq(losses.first, 0);
	ck_assert_uint_eq(losses.bytes, 65536);
	ck_assert_int_eq(losses.calls, 1);
	ck_assert_uint_eq(result.lost_bytes, 65536);
	api_expect(target, MIB, 65536, 0);
	api_expect(target, MIB + 65536, MIB - 65536, 3);

	options.flags = 0;
	API_FAILS(qcowfmt_convert(sources, 2, target, &options, &api_error),
	          EIO, QCOWFMT_ERR_CORRUPT);
	ck_assert_int_eq(result.failed_stage, QCOWFMT_CONVERT_READING);
	ck_assert_uint_eq(result.failed_offset, MIB);
	api_close(target);
	api_close(sources[0]);
	api_close(sources[1]);
}

END_TEST

/* ------------------------------------------------------ order and copy range */

START_TEST(out_of_order)
{
	struct qcowfmt_convert_options options = with_flags(
		QCOWFMT_CONVERT_OUT_OF_ORDER | QCOWFMT_CONVERT_TARGET_IS_ZERO);
	struct api_disk disk = { 0 };
	struct qcowfmt_image *source = convert_source(&disk);

	for (uint32_t threads = 0; threads < 6; threads += 5) {
		struct qcowfmt_image *target =
			new_image("t", qcowfmt_get_size(source));

		options.threads = threads;
		API_OK(qcowfmt_convert(&source, 1, target, &options,
		                       &api_error));
		convert_expect(target);
		api_check_clean(target);
		api_close(target);
	}
	api_close(source);
	api_disk_fini(&disk);
}

END_TEST

/* Whether storage can copy depends on the file system: the content does not. */
START_TEST(copy_range)
{
	struct qcowfmt_convert_result result = { .struct_size =
		                                         sizeof(result) };
	struct qcowfmt_convert_options options = with_flags(
		QCOWFMT_CONVERT_COPY_RANGE | QCOWFMT_CONVERT_TARGET_IS_ZERO);
	struct api_disk disk = { 0 };
	struct qcowfmt_image *target;
	struct qcowfmt_image *source;

	convert_source_bytes(&disk);
	api_write_file(scratch_path("s"), disk.bytes, disk.size);
	api_disk_fini(&disk);
	source = api_open(scratch_path("s"), 0);
	options.result = &result;
	for (uint64_t cluster = 4096; cluster <= 2 * MIB; cluster *= 8) {
		api_create(scratch_path("t"), qcowfmt_get_size(source),
		           cluster);
		target = api_open(scratch_path("t"), API_RW);
		API_OK(qcowfmt_convert(&source, 1, target, &options,
		                       &api_error));
		convert_expect(target);
		api_check_clean(target);
		api_close(target);
		api_qemu_check(scratch_path("t"));
		if (cluster <= 65536)
			ck_assert_uint_gt(result.shared_bytes, 0);
	}
	api_close(source);
}

END_TEST

/* ------------------------------------------------------------------ bitmaps */

START_TEST(what_a_bitmap_says)
{
	struct qcowfmt_convert_options options = with_flags(0);
	struct qcowfmt_image *source = new_image("s", 8 * MIB);
	struct qcowfmt_image *target = new_image("t", 8 * MIB);
	struct qcowfmt_bitmap_action add = {
		.struct_size = sizeof(add),
		.image = source,
		.name = "b",
		.kind = QCOWFMT_BITMAP_ADD,
		.granularity = 4096,
	};

	api_write(source, 0, 8 * MIB, 1);
	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	API_OK(qcowfmt_bitmap_change(&add, 1, NULL, &api_error));
	api_close(source);
	source = api_open(scratch_path("s"), API_RW);
	api_write(source, MIB + 100, 10, 2);
	api_write(source, 5 * MIB - 4096, 8192, 3);
	API_OK(qcowfmt_write_zeroes(source, 6 * MIB, 65536, 0, &api_error));
	api_close(source);
	source = api_open(scratch_path("s"), 0);
	api_write(target, 3 * MIB, 65536, 9);
	options.bitmap = "b";
	for (uint32_t threads = 0; threads < 3; threads++) {
		options.threads = threads;
		options.flags = threads == 1 ? QCOWFMT_CONVERT_COMPRESS : 0;
		API_OK(qcowfmt_convert(&source, 1, target, &options,
		                       &api_error));
		api_expect(target, MIB, 100, 1);
		api_expect(target, MIB + 100, 10, 2);
		api_expect(target, 5 * MIB - 4096, 8192, 3);
		api_expect(target, 6 * MIB, 65536, 0);
		/* What is clean stays as it is. */
		api_expect(target, 3 * MIB, 65536, 9);
	}
	options.bitmap = "none";
	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          ENOENT, QCOWFMT_ERR_USAGE);
	api_check_clean(target);
	api_close(target);
	api_close(source);
}

END_TEST

/* ----------------------------------------------------------------- refusals */

START_TEST(what_is_refused)
{
	struct qcowfmt_convert_options options = with_flags(1u << 30);
	struct qcowfmt_image *source = new_image("s", 4 * MIB);
	struct qcowfmt_image *target = new_image("t", 4 * MIB);
	struct qcowfmt_image *both[2] = { source, source };

	api_write(source, 0, 512, 1);
	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	options = with_flags(QCOWFMT_CONVERT_COPY_RANGE |
	                     QCOWFMT_CONVERT_COMPRESS);
	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	options = with_flags(0);
	API_FAILS(qcowfmt_convert(&source, 0, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_convert(&target, 1, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_convert(both, 2, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	options.sparse_size = 17 * MIB;
	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	options.sparse_size = 0;
	options.bitmap = "b";
	API_FAILS(qcowfmt_convert(both, 2, target, &options, &api_error),
	          EINVAL, QCOWFMT_ERR_USAGE);
	api_expect(target, 0, 4 * MIB, 0);
	api_close(target);
	target = api_open(scratch_path("t"), 0);
	options.bitmap = NULL;
	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          EROFS, QCOWFMT_ERR_READ_ONLY);
	api_close(target);
	api_close(source);
}

END_TEST

static int never(void *opaque, const void *buffer, size_t len)
{
	(void)opaque;
	(void)buffer;
	(void)len;
	ck_abort_msg("something was passed on");
	return 0;
}

static void no_stream(struct qcowfmt_image *source, uint32_t flags,
                      const struct qcowfmt_create_options *change, int err,
                      int code)
{
	struct qcowfmt_convert_options options = with_flags(flags);
	struct qcowfmt_create_options create = *change;

	create.struct_size = sizeof(create);
	API_FAILS(qcowfmt_stream(&source, 1, &create, &options, never, NULL,
	                         &api_error),
	          err, code);
}

START_TEST(what_cannot_be_streamed)
{
	static const uint32_t flags[] = { QCOWFMT_CONVERT_OUT_OF_ORDER,
		                          QCOWFMT_CONVERT_COPY_RANGE,
		                          QCOWFMT_CONVERT_TARGET_IS_ZERO };
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.secret = "x",
		.secret_len = 1,
	};
	const struct qcowfmt_create_options creates[] = {
		{ .data_filename = "d" },
		{ .preallocation = QCOWFMT_PREALLOCATION_METADATA },
		{ .encryption = &encryption },
		{ .format = QCOWFMT_FORMAT_QCOW },
		{ .version = 2, .backing_filename = "b" },
	};
	const struct qcowfmt_create_options plain = { 0 };
	const struct qcowfmt_create_options small = { .virtual_size = 512 };
	const struct qcowfmt_create_options wrong = { .cluster_size = 5 };
	struct qcowfmt_image *source = new_image("s", 4 * MIB);

	for (size_t i = 0; i < QCF_ARRAY_LEN(flags); i++)
		no_stream(source, flags[i], &plain, EINVAL, QCOWFMT_ERR_USAGE);
	for (size_t i = 0; i < QCF_ARRAY_LEN(creates); i++)
		no_stream(source, 0, &creates[i], ENOTSUP,
		          QCOWFMT_ERR_UNSUPPORTED);
	no_stream(source, 0, &small, EINVAL, QCOWFMT_ERR_USAGE);
	no_stream(source, 0, &wrong, EINVAL, QCOWFMT_ERR_USAGE);
	api_close(source);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, target_is_zero);
	tcase_add_test(tcase, what_is_behind_the_sources_stays);
	tcase_add_test(tcase, top_only);
	tcase_add_test(tcase, a_missing_backing_file_is_not_zeros);
	tcase_add_loop_test(tcase, salvage, 0, 2);
	tcase_add_test(tcase, out_of_order);
	tcase_add_test(tcase, copy_range);
	tcase_add_test(tcase, what_a_bitmap_says);
	tcase_add_test(tcase, what_is_refused);
	tcase_add_test(tcase, what_cannot_be_streamed);
}

int main(int argc, char **argv)
{
	return api_main("convert_does_what_flags_say", add, argc, argv);
}
