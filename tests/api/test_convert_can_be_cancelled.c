/* SPDX-License-Identifier: MIT */
/*
 * Promise: a progress callback can end a conversion at any of its calls, also
 * while workers are busy with slow storage; nothing hangs, no thread is left,
 * and the target can be used.
 */
#include <time.h>

#include "convert_test.h"
#include "delay_storage.h"

struct canceller {
	int calls;
	int cancel_at;
};

static int cancel(void *opaque, uint64_t done, uint64_t total)
{
	struct canceller *c = opaque;

	(void)done;
	(void)total;
	return ++c->calls == c->cancel_at;
}

static void expect_usable(struct qcowfmt_image *target)
{
	api_write(target, 0, 65536, 77);
	api_expect(target, 0, 65536, 77);
	api_check_clean(target);
}

/* Returns whether it was cancelled. */
static bool convert(struct qcowfmt_image *source, struct canceller *canceller,
                    uint32_t threads, uint32_t flags)
{
	struct qcowfmt_create_options create = { .struct_size =
		                                         sizeof(create) };
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.threads = threads,
		.progress = cancel,
		.progress_opaque = canceller,
	};
	struct api_disk disk = { 0 };
	struct qcowfmt_image *target = convert_target(&disk, &create, 0);
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_convert(&source, 1, target, &options, &error);

	ck_assert(convert_no_thread_left());
	if (ret == 0)
		convert_expect(target);
	else
		ck_assert_int_eq(ret, -ECANCELED);
	ck_assert_int_eq(qcowfmt_error_code(error),
	                 ret == 0 ? QCOWFMT_ERR_NONE : QCOWFMT_ERR_CANCELLED);
	qcowfmt_error_free(error);
	expect_usable(target);
	api_close(target);
	api_disk_fini(&disk);
	return ret != 0;
}

START_TEST(every_call)
{
	static const uint32_t threads[] = { 0, 1, 4 };
	static const uint32_t flags[] = { 0, QCOWFMT_CONVERT_COMPRESS };
	struct api_disk disk = { 0 };
	struct qcowfmt_image *source = convert_source(&disk);
	int cancelled = 0;

	for (size_t i = 0; i < 6; i++) {
		for (int at = 1;; at++) {
			struct canceller c = { .cancel_at = at };

			if (!convert(source, &c, threads[i / 2], flags[i % 2]))
				break;
			ck_assert_int_eq(c.calls, at);
			cancelled++;
		}
	}
	ck_assert_int_gt(cancelled, 12);
	api_close(source);
	api_disk_fini(&disk);
}

END_TEST

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Reading all of it would take many seconds; the callback is heard between. */
START_TEST(while_workers_are_busy)
{
	struct delay_plan plan = {
		.verbs = VERB_BIT(VERB_READ),
		.microseconds = 0,
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	struct api_disk disk = { 0 };
	struct canceller c = { .cancel_at = 4 };
	struct qcowfmt_image *source = NULL;
	double start;

	convert_source_bytes(&disk);
	API_OK(qcowfmt_open(delay_storage_new(api_disk_storage(&disk), &plan),
	                    &open, &source, &api_error));
	plan.microseconds = 30000;
	start = now();
	ck_assert(convert(source, &c, 3, 0));
	ck_assert(now() - start < 10);
	api_close(source);
	api_disk_fini(&disk);
}

END_TEST

/* The rate limit sleeps, but listens. */
START_TEST(while_it_is_held_back)
{
	struct qcowfmt_create_options create = { .struct_size =
		                                         sizeof(create) };
	struct canceller c = { .cancel_at = 6 };
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.threads = 1,
		.rate_limit = 1000,
		.progress = cancel,
		.progress_opaque = &c,
	};
	struct api_disk source_disk = { 0 };
	struct api_disk disk = { 0 };
	struct qcowfmt_image *source = convert_source(&source_disk);
	struct qcowfmt_image *target = convert_target(&disk, &create, 0);
	double start = now();

	API_FAILS(qcowfmt_convert(&source, 1, target, &options, &api_error),
	          ECANCELED, QCOWFMT_ERR_CANCELLED);
	ck_assert(now() - start < 5);
	api_close(target);
	api_close(source);
	api_disk_fini(&disk);
	api_disk_fini(&source_disk);
}

END_TEST

START_TEST(the_rate_is_kept)
{
	struct qcowfmt_create_options create = { .struct_size =
		                                         sizeof(create) };
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.threads = 2,
		.rate_limit = 16 << 20,
		.sparse_size = UINT64_MAX,
	};
	struct api_disk source_disk = { 0 };
	struct api_disk disk = { 0 };
	struct qcowfmt_image *source = convert_source(&source_disk);
	struct qcowfmt_image *target = convert_target(&disk, &create, 0);
	double start = now();

	API_OK(qcowfmt_convert(&source, 1, target, &options, &api_error));
	ck_assert(now() - start >= (double)MODEL_SIZE / (16 << 20) - 0.01);
	api_close(target);
	api_close(source);
	api_disk_fini(&disk);
	api_disk_fini(&source_disk);
}

END_TEST

static int ignore(void *opaque, const void *buffer, size_t len)
{
	(void)opaque;
	(void)buffer;
	(void)len;
	return 0;
}

START_TEST(streams)
{
	struct qcowfmt_create_options create = { .struct_size =
		                                         sizeof(create) };
	struct api_disk disk = { 0 };
	struct qcowfmt_image *source = convert_source(&disk);
	int ret = -ECANCELED;

	for (int at = 1; ret != 0; at++) {
		struct canceller c = { .cancel_at = at };
		struct qcowfmt_convert_options options = {
			.struct_size = sizeof(options),
			.threads = 2,
			.progress = cancel,
			.progress_opaque = &c,
		};

		ret = qcowfmt_stream(&source, 1, &create, &options, ignore,
		                     NULL, &api_error);
		ck_assert(ret == 0 || ret == -ECANCELED);
		ck_assert(convert_no_thread_left());
		api_error_reset();
	}
	api_close(source);
	api_disk_fini(&disk);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, every_call);
	tcase_add_test(tcase, while_workers_are_busy);
	tcase_add_test(tcase, while_it_is_held_back);
	tcase_add_test(tcase, the_rate_is_kept);
	tcase_add_test(tcase, streams);
}

int main(int argc, char **argv)
{
	return api_main("convert_can_be_cancelled", add, argc, argv);
}
