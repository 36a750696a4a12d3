/* SPDX-License-Identifier: MIT */
/*
 * Promise: whichever call to storage fails while an image is converted, the
 * conversion ends with that failure, no thread is left, and the target is an
 * image that can be opened and has no corruption.
 */
#include "built_with.h"
#include "convert_test.h"
#include "fail_storage.h"

/* Every call for the first ones, some of the later. */
#define STEP(n) ((n) < 12 ? 1 : (n) / 6)

static const uint32_t thread_counts[] = { 0, 3 };

static struct qcowfmt_image *open_failing(struct api_disk *disk,
                                          struct fail_plan *plan,
                                          uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.cache_size = 1 << 16,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open(fail_storage_new(api_disk_storage(disk), plan),
	                    &options, &image, &api_error));
	return image;
}

/* No corruption; a leak is no loss. */
static void expect_sound(struct api_disk *disk)
{
	struct qcowfmt_image *image =
		convert_open(disk, QCOWFMT_FORMAT_QCOW2, API_RW);
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };

	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.corruptions, 0);
	api_close(image);
}

struct round {
	struct fail_plan source;
	struct fail_plan target;
	uint32_t threads;
	uint32_t flags;
	int64_t ret;
	struct qcowfmt_error *error;
	struct qcowfmt_convert_result result;
};

/* Convert with a plan of failures; they begin once both images are open. */
static void run_round(struct round *round, struct api_disk *source_disk)
{
	struct fail_plan source = round->source;
	struct fail_plan target = round->target;
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.cluster_size = 4096,
	};
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = round->flags | QCOWFMT_CONVERT_TARGET_IS_ZERO,
		.threads = round->threads,
		.result = &round->result,
	};
	struct api_disk disk = { 0 };
	struct qcowfmt_image *from;
	struct qcowfmt_image *to;

	round->source.nth = round->target.nth = 0;
	round->result.struct_size = sizeof(round->result);
	api_close(convert_target(&disk, &create, 0));
	from = open_failing(source_disk, &round->source, 0);
	to = open_failing(&disk, &round->target, API_RW);
	round->source.calls = round->target.calls = 0;
	round->source.nth = source.nth;
	round->target.nth = target.nth;
	round->ret = qcowfmt_convert(&from, 1, to, &options, &round->error);
	ck_assert(convert_no_thread_left());
	round->source.nth = round->target.nth = 0;
	if (round->ret == 0)
		convert_expect(to);
	(void)qcowfmt_close(to, NULL);
	api_close(from);
	expect_sound(&disk);
	api_disk_fini(&disk);
}

static void expect_failure(struct round *round, int err, int stage)
{
	ck_assert_int_eq(round->ret, -err);
	ck_assert_ptr_nonnull(round->error);
	ck_assert_int_eq(qcowfmt_error_errno(round->error), err);
	ck_assert_int_eq(round->result.failed_stage, stage);
	ck_assert_uint_lt(round->result.failed_offset, MODEL_SIZE);
	qcowfmt_error_free(round->error);
	round->error = NULL;
}

static void fail_each_read(uint32_t threads, uint32_t flags)
{
	struct api_disk source = { 0 };
	int failures = 0;

	convert_source_bytes(&source);
	for (uint64_t n = 1;; n += STEP(n)) {
		struct round round = {
			.source = { .verbs = VERB_BIT(VERB_READ),
			            .nth = n,
			            .error = EIO,
			            .sticky = true },
			.threads = threads,
			.flags = flags,
		};

		run_round(&round, &source);
		if (round.ret == 0)
			break;
		expect_failure(&round, EIO, QCOWFMT_CONVERT_READING);
		failures++;
	}
	ck_assert_int_gt(failures, 10);
	api_disk_fini(&source);
}

START_TEST(reading)
{
	fail_each_read(thread_counts[_i], 0);
	fail_each_read(thread_counts[_i], QCOWFMT_CONVERT_COMPRESS);
}

END_TEST

static void fail_each_change(uint32_t threads, uint32_t flags, int err)
{
	struct api_disk source = { 0 };
	int failures = 0;

	convert_source_bytes(&source);
	for (uint64_t n = 1;; n += STEP(n)) {
		struct round round = {
			.target = { .verbs = VERB_CHANGES,
			            .nth = n,
			            .error = err,
			            .sticky = true },
			.threads = threads,
			.flags = flags,
		};

		run_round(&round, &source);
		if (round.ret == 0)
			break;
		expect_failure(&round, err, QCOWFMT_CONVERT_WRITING);
		failures++;
	}
	ck_assert_int_gt(failures, 10);
	api_disk_fini(&source);
}

START_TEST(writing)
{
	fail_each_change(thread_counts[_i], 0, EIO);
	fail_each_change(thread_counts[_i], 0, ENOSPC);
	fail_each_change(thread_counts[_i], QCOWFMT_CONVERT_COMPRESS, ENOSPC);
}

END_TEST

/* Make the compressed clusters of a guest range unreadable; returns how many. */
static int damage(struct api_disk *disk, uint64_t from)
{
	struct qcowfmt_image *image =
		convert_open(disk, QCOWFMT_FORMAT_QCOW2, 0);
	const char *path = scratch_path("damaged");
	uint64_t l2;
	int count = 0;

	api_write_file(path, disk->bytes, disk->size);
	l2 = api_l2_entry_at(path);
	for (uint64_t at = from; at < MODEL_SIZE; at += 65536) {
		uint64_t entry = api_get(path, l2 + at / 65536 * 8, 8);

		if ((entry & UINT64_C(1) << 62) == 0)
			continue;
		memset(disk->bytes + (entry & 0xffffffffff), 0xff, 8);
		count++;
	}
	api_close(image);
	return count;
}

/* The failure with the lowest offset is the one that counts. */
START_TEST(the_same_failure_for_any_threads)
{
	struct api_disk source = { 0 };
	uint64_t offset = 0;

	convert_source_bytes(&source);
	ck_assert_int_gt(damage(&source, 3 << 20), 4);
	for (uint32_t threads = 0; threads < 6; threads++) {
		struct round round = { .threads = threads };

		run_round(&round, &source);
		if (threads == 0)
			offset = round.result.failed_offset;
		ck_assert_uint_ge(offset, 2 << 20);
		ck_assert_uint_eq(round.result.failed_offset, offset);
		expect_failure(&round, EIO, QCOWFMT_CONVERT_READING);
	}
	api_disk_fini(&source);
}

END_TEST

/* ------------------------------------------------------------------ streams */

struct outlet {
	uint64_t position;
	uint64_t fails_at;
};

static int put(void *opaque, const void *buffer, size_t len)
{
	struct outlet *outlet = opaque;

	(void)buffer;
	if (outlet->position + len > outlet->fails_at)
		return -EPIPE;
	outlet->position += len;
	return 0;
}

START_TEST(streaming)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.compression_type = built_with_zstd(),
	};
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_CONVERT_COMPRESS,
		.threads = thread_counts[_i],
	};
	struct api_disk disk = { 0 };
	struct qcowfmt_image *source = convert_source(&disk);
	struct outlet all = { .fails_at = UINT64_MAX };

	API_OK(qcowfmt_stream(&source, 1, &create, &options, put, &all,
	                      &api_error));
	for (uint64_t at = 0; at < all.position; at += all.position / 20 + 1) {
		struct outlet outlet = { .fails_at = at };

		API_FAILS(qcowfmt_stream(&source, 1, &create, &options, put,
		                         &outlet, &api_error),
		          EPIPE, QCOWFMT_ERR_SYSTEM);
		ck_assert_uint_le(outlet.position, at);
		ck_assert(convert_no_thread_left());
	}
	api_close(source);
	api_disk_fini(&disk);
}

END_TEST

static void add(TCase *tcase)
{
	int count = (int)QCF_ARRAY_LEN(thread_counts);

	tcase_add_loop_test(tcase, reading, 0, count);
	tcase_add_loop_test(tcase, writing, 0, count);
	tcase_add_test(tcase, the_same_failure_for_any_threads);
	tcase_add_loop_test(tcase, streaming, 0, count);
}

int main(int argc, char **argv)
{
	return api_main("convert_fails_cleanly", add, argc, argv);
}
