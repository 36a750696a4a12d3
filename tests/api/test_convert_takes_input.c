/* SPDX-License-Identifier: MIT */
/*
 * Promise: a disk that comes through a function, in pieces of any length, is
 * converted as it comes: the target grows, and ends up with its length and, for
 * any number of threads, the same bytes.  A function that fails, or gives more
 * than it was asked for, ends it.
 */
#include "convert_test.h"

struct giver {
	uint8_t *model;
	uint64_t size;
	uint64_t at;
	uint64_t fail_at; /* 0: never */
	size_t most;      /* in one call */
	bool lies;
};

static int64_t give(void *opaque, void *buffer, size_t len)
{
	struct giver *g = opaque;
	uint64_t part = g->size - g->at;

	if (g->lies)
		return (int64_t)len + 1;
	if (g->fail_at != 0 && g->at >= g->fail_at)
		return -ENOLINK;
	part = part < len ? part : len;
	part = part < g->most ? part : g->most;
	memcpy(buffer, g->model + g->at, part);
	g->at += part;
	return (int64_t)part;
}

static struct giver giver(size_t most)
{
	static uint8_t *model;

	if (model == NULL)
		model = convert_model();
	return (struct giver){
		.model = model,
		.size = MODEL_SIZE,
		.most = most,
	};
}

static struct qcowfmt_convert_options options_for(struct giver *g,
                                                  uint32_t flags,
                                                  uint32_t threads)
{
	return (struct qcowfmt_convert_options){
		.struct_size = sizeof(struct qcowfmt_convert_options),
		.flags = flags | QCOWFMT_CONVERT_TARGET_IS_ZERO,
		.threads = threads,
		.input = give,
		.input_opaque = g,
	};
}

static int take(struct api_disk *disk, struct giver *g, uint64_t size,
                uint32_t flags, uint32_t threads)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = size,
	};
	struct qcowfmt_convert_options options = options_for(g, flags, threads);
	struct qcowfmt_image *target = convert_target(disk, &create, 0);
	int ret = qcowfmt_convert(NULL, 0, target, &options, &api_error);

	ck_assert(convert_no_thread_left());
	if (ret < 0)
		api_error_reset();
	if (ret == 0) {
		ck_assert_uint_ge(qcowfmt_get_size(target), MODEL_SIZE);
		if ((flags & QCOWFMT_CONVERT_RESIZE) != 0)
			ck_assert_uint_eq(qcowfmt_get_size(target), MODEL_SIZE);
		convert_expect(target);
	}
	api_check_clean(target);
	api_close(target);
	return ret;
}

START_TEST(grows_to_its_length)
{
	static const size_t pieces[] = { 1000, 65536, 3 << 20, SIZE_MAX };
	static const uint32_t kinds[] = {
		QCOWFMT_CONVERT_RESIZE,
		QCOWFMT_CONVERT_RESIZE | QCOWFMT_CONVERT_COMPRESS,
	};

	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < 4; i++) {
			struct giver g = giver(pieces[i]);
			struct api_disk disk = { 0 };

			ck_assert_int_eq(
				take(&disk, &g, 512, kinds[k], (uint32_t)i * 2),
				0);
			api_disk_fini(&disk);
		}
	}
}

END_TEST

START_TEST(fits_what_is_there)
{
	struct api_disk disk = { 0 };
	struct giver g = giver(65536);

	ck_assert_int_eq(take(&disk, &g, MODEL_SIZE, 0, 2), 0);
	api_disk_fini(&disk);
	g.at = 0;
	ck_assert_int_eq(take(&disk, &g, 20 << 20, 0, 2), 0);
	api_disk_fini(&disk);
	g.at = 0;
	ck_assert_int_eq(take(&disk, &g, MODEL_SIZE - 512, 0, 2), -EINVAL);
	api_error_reset();
	api_disk_fini(&disk);
}

END_TEST

START_TEST(failures_end_it)
{
	for (uint32_t threads = 0; threads < 4; threads++) {
		struct api_disk disk = { 0 };
		struct giver g = giver(65536);

		g.fail_at = 5 << 20;
		ck_assert_int_eq(
			take(&disk, &g, 512, QCOWFMT_CONVERT_RESIZE, threads),
			-ENOLINK);
		api_error_reset();
		api_disk_fini(&disk);
		g.lies = true;
		ck_assert_int_eq(
			take(&disk, &g, 512, QCOWFMT_CONVERT_RESIZE, threads),
			-EIO);
		api_error_reset();
		api_disk_fini(&disk);
	}
}

END_TEST

static int ignore(void *opaque, const void *buffer, size_t len)
{
	(void)buffer;
	*(uint64_t *)opaque += len;
	return 0;
}

START_TEST(streams)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.format = QCOWFMT_FORMAT_RAW,
	};
	struct giver g = giver(70000);
	struct qcowfmt_convert_options options = options_for(&g, 0, 2);
	uint64_t len = 0;

	options.flags = 0;
	ck_assert_int_eq(qcowfmt_stream(NULL, 0, &create, &options, ignore,
	                                &len, &api_error),
	                 0);
	ck_assert_uint_eq(len, MODEL_SIZE);
	/* Tables cannot come before what they are about is known. */
	create.format = QCOWFMT_FORMAT_QCOW2;
	g.at = 0;
	ck_assert_int_eq(qcowfmt_stream(NULL, 0, &create, &options, ignore,
	                                &len, &api_error),
	                 -ENOTSUP);
	api_error_reset();
	create.virtual_size = MODEL_SIZE;
	options.sparse_size = UINT64_MAX;
	len = 0;
	ck_assert_int_eq(qcowfmt_stream(NULL, 0, &create, &options, ignore,
	                                &len, &api_error),
	                 0);
	ck_assert_uint_gt(len, MODEL_SIZE);
}

END_TEST

START_TEST(arguments)
{
	static const uint32_t never[] = {
		QCOWFMT_CONVERT_SALVAGE,
		QCOWFMT_CONVERT_TOP_ONLY,
		QCOWFMT_CONVERT_OUT_OF_ORDER,
		QCOWFMT_CONVERT_COPY_RANGE,
	};
	struct api_disk from = { 0 };
	struct qcowfmt_image *source = convert_source(&from);
	struct giver g = giver(65536);

	for (size_t i = 0; i < 4; i++) {
		struct api_disk disk = { 0 };

		ck_assert_int_eq(take(&disk, &g, MODEL_SIZE, never[i], 0),
		                 -EINVAL);
		api_error_reset();
		api_disk_fini(&disk);
	}
	{
		struct api_disk disk = { 0 };
		struct qcowfmt_create_options create = {
			.struct_size = sizeof(create),
		};
		struct qcowfmt_convert_options options = options_for(&g, 0, 0);
		struct qcowfmt_image *target =
			convert_target(&disk, &create, 0);

		ck_assert_int_eq(qcowfmt_convert(&source, 1, target, &options,
		                                 &api_error),
		                 -EINVAL);
		api_error_reset();
		options.input = NULL;
		options.flags = QCOWFMT_CONVERT_RESIZE;
		ck_assert_int_eq(qcowfmt_convert(&source, 1, target, &options,
		                                 &api_error),
		                 -EINVAL);
		api_error_reset();
		options.flags =
			QCOWFMT_CONVERT_IN_ORDER | QCOWFMT_CONVERT_OUT_OF_ORDER;
		ck_assert_int_eq(qcowfmt_convert(&source, 1, target, &options,
		                                 &api_error),
		                 -EINVAL);
		api_error_reset();
		options.flags = QCOWFMT_CONVERT_IN_ORDER;
		options.threads = 3;
		ck_assert_int_eq(qcowfmt_convert(&source, 1, target, &options,
		                                 &api_error),
		                 0);
		convert_expect(target);
		api_close(target);
		api_disk_fini(&disk);
	}
	api_close(source);
	api_disk_fini(&from);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, grows_to_its_length);
	tcase_add_test(tcase, fits_what_is_there);
	tcase_add_test(tcase, failures_end_it);
	tcase_add_test(tcase, streams);
	tcase_add_test(tcase, arguments);
}

int main(int argc, char **argv)
{
	return api_main("convert_takes_input", add, argc, argv);
}
