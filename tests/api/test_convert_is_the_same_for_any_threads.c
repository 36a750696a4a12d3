/* SPDX-License-Identifier: MIT */
/*
 * Promise: converting copies the disk, whatever the target is like, and the
 * target is the same byte for byte with any number of threads; so is an image
 * that is made in one go.
 */
#include "built_with.h"
#include "convert_test.h"

static const uint32_t thread_counts[] = { 0, 1, 2, 5 };

struct kind {
	const char *name;
	struct qcowfmt_create_options create;
	uint32_t flags;
	int level;
	bool streams;
	uint64_t sparse_size;
};

#define COMPRESS QCOWFMT_CONVERT_COMPRESS
#define SIZED    .struct_size = sizeof(struct qcowfmt_create_options)

static const struct kind kinds[] = {
	{ "plain", { SIZED }, 0, 0, true, 0 },
	{ "everything", { SIZED }, 0, 0, true, UINT64_MAX },
	{ "long holes", { SIZED }, 0, 0, true, 1 << 20 },
	{ "raw", { SIZED, .format = QCOWFMT_FORMAT_RAW }, 0, 0, true, 0 },
	{ "version 2", { SIZED, .version = 2 }, 0, 0, true, 0 },
	{ "version 1",
	  { SIZED, .format = QCOWFMT_FORMAT_QCOW },
	  0,
	  0,
	  false,
	  0 },
	{ "small clusters", { SIZED, .cluster_size = 512 }, 0, 0, true, 0 },
	{ "large clusters", { SIZED, .cluster_size = 2 << 20 }, 0, 0, true, 0 },
	{ "subclusters",
	  { SIZED, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  0,
	  0,
	  true,
	  0 },
	{ "deflate", { SIZED }, COMPRESS, 6, true, 0 },
	{ "deflate everything", { SIZED }, COMPRESS, 6, true, UINT64_MAX },
	{ "deflate, version 1",
	  { SIZED, .format = QCOWFMT_FORMAT_QCOW },
	  COMPRESS,
	  6,
	  false,
	  0 },
	{ "deflate, one bit counts",
	  { SIZED, .refcount_bits = 1 },
	  COMPRESS,
	  6,
	  true,
	  0 },
	{ "deflate, small clusters",
	  { SIZED, .cluster_size = 4096, .refcount_bits = 64 },
	  COMPRESS,
	  6,
	  true,
	  0 },
	{ "zstd", { SIZED, .compression_type = 1 }, COMPRESS, 0, true, 0 },
	{ "zstd, subclusters",
	  { SIZED, .compression_type = 1, .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  COMPRESS,
	  0,
	  true,
	  0 },
	{ "larger", { SIZED, .virtual_size = 20 << 20 }, 0, 0, true, 0 },
};

static bool is_built_in(const struct kind *kind)
{
	return kind->create.compression_type == 0 || built_with_zstd();
}

struct watch {
	uint64_t done;
	uint64_t total;
	int calls;
};

static int watch_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct watch *watch = opaque;

	ck_assert_uint_ge(done, watch->done);
	ck_assert_uint_le(done, total);
	watch->done = done;
	watch->total = total;
	watch->calls++;
	return 0;
}

static struct qcowfmt_convert_options options_for(const struct kind *kind,
                                                  uint32_t threads,
                                                  struct watch *watch)
{
	return (struct qcowfmt_convert_options){
		.struct_size = sizeof(struct qcowfmt_convert_options),
		.flags = kind->flags,
		.threads = threads,
		.sparse_size = kind->sparse_size,
		.progress = watch_progress,
		.progress_opaque = watch,
	};
}

static void expect_kind(struct api_disk *disk, const struct kind *kind)
{
	int format = kind->create.format != 0 ? kind->create.format
	                                      : QCOWFMT_FORMAT_QCOW2;
	struct qcowfmt_image *image = convert_open(disk, format, 0);

	convert_expect(image);
	if (format == QCOWFMT_FORMAT_QCOW2)
		api_check_clean(image);
	api_close(image);
}

static void expect_same(const struct api_disk *a, const struct api_disk *b,
                        const struct kind *kind, uint32_t threads)
{
	ck_assert_msg(
		a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0,
		"%s is another image with %u threads", kind->name, threads);
}

static void convert_kind(struct qcowfmt_image *source, const struct kind *kind,
                         uint32_t threads, struct api_disk *disk)
{
	struct qcowfmt_convert_result result = { .struct_size =
		                                         sizeof(result) };
	struct watch watch = { 0 };
	struct qcowfmt_convert_options options =
		options_for(kind, threads, &watch);
	struct qcowfmt_image *target =
		convert_target(disk, &kind->create, kind->level);

	options.flags |= QCOWFMT_CONVERT_TARGET_IS_ZERO;
	options.result = &result;
	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	api_close(target);
	ck_assert_uint_eq(watch.done, watch.total);
	ck_assert_uint_gt(watch.total, 0);
	ck_assert_int_gt(watch.calls, 1);
	ck_assert_uint_gt(result.data_bytes, 0);
	ck_assert_int_eq(result.failed_stage, QCOWFMT_CONVERT_NOT_FAILED);
	ck_assert(convert_no_thread_left());
}

START_TEST(converting)
{
	const struct kind *kind = &kinds[_i];
	struct api_disk source_disk = { 0 };
	struct api_disk first = { 0 };
	struct qcowfmt_image *source;

	if (!is_built_in(kind))
		return;
	source = convert_source(&source_disk);
	for (size_t i = 0; i < QCF_ARRAY_LEN(thread_counts); i++) {
		struct api_disk disk = { 0 };

		convert_kind(source, kind, thread_counts[i], &disk);
		if (i == 0) {
			first = disk;
			expect_kind(&first, kind);
			continue;
		}
		expect_same(&first, &disk, kind, thread_counts[i]);
		api_disk_fini(&disk);
	}
	api_close(source);
	api_disk_fini(&first);
	api_disk_fini(&source_disk);
}

END_TEST

/* ------------------------------------------------------------------ streams */

static int append(void *opaque, const void *buffer, size_t len)
{
	struct api_disk *disk = opaque;
	struct qcowfmt_storage_ops ops = api_disk_ops();

	return ops.pwrite(disk, buffer, len, disk->size);
}

static void stream_kind(struct qcowfmt_image *source, const struct kind *kind,
                        uint32_t threads, struct api_disk *disk)
{
	struct watch watch = { 0 };
	struct qcowfmt_convert_options options =
		options_for(kind, threads, &watch);

	API_OK(qcowfmt_stream(&source, 1, &kind->create, &options, append, disk,
	                      &api_error));
	ck_assert_uint_eq(watch.done, watch.total);
	ck_assert(convert_no_thread_left());
}

/* Compression by the default method need not give the same twice, so it is not
 * compared there; see lib/codec. */
static bool is_repeatable(const struct kind *kind)
{
	return kind->flags == 0 || kind->create.compression_type != 0;
}

START_TEST(streaming)
{
	const struct kind *kind = &kinds[_i];
	struct api_disk source_disk = { 0 };
	struct api_disk first = { 0 };
	struct qcowfmt_image *source;

	if (!kind->streams || !is_built_in(kind))
		return;
	source = convert_source(&source_disk);
	for (size_t i = 0; i < QCF_ARRAY_LEN(thread_counts); i++) {
		struct api_disk disk = { 0 };

		stream_kind(source, kind, thread_counts[i], &disk);
		expect_kind(&disk, kind);
		if (i == 0) {
			first = disk;
			continue;
		}
		if (is_repeatable(kind))
			expect_same(&first, &disk, kind, thread_counts[i]);
		api_disk_fini(&disk);
	}
	api_write_file(scratch_path("streamed"), first.bytes, first.size);
	if (kind->create.format != QCOWFMT_FORMAT_RAW)
		api_qemu_check(scratch_path("streamed"));
	api_close(source);
	api_disk_fini(&first);
	api_disk_fini(&source_disk);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, converting, 0, (int)QCF_ARRAY_LEN(kinds));
	tcase_add_loop_test(tcase, streaming, 0, (int)QCF_ARRAY_LEN(kinds));
}

int main(int argc, char **argv)
{
	return api_main("convert_is_the_same_for_any_threads", add, argc, argv);
}
